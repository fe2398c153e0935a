"""CAMELS-US (Newman et al., 2014, 2015; Addor et al., 2017) from its text files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset import Dataset, day_of_year
from ..errors import ConfigError, ForcingError, there_is
from ..files import read_text
from ..physics.pet import hargreaves, oudin, priestley_taylor
from .blocks import Piece, Source, gather
from .tables import Names, as_mapping, attribute_table, static

log = logging.getLogger(__name__)

Pet = Literal["priestley_taylor", "hargreaves", "oudin"]
Area = Literal["area_gages2", "area_geospa_fabric", "forcing_header"]

#: Numeric attributes of climate, topography, vegetation, soil and geology with their units, after
#: Kratzert et al. (2019) and Feng et al. (2022); without those that have empty cells (porosity of
#: rocks, rooting depths).
ATTRIBUTES = {
    "p_mean": "mm d-1",
    "pet_mean": "mm d-1",
    "p_seasonality": "1",
    "frac_snow": "1",
    "aridity": "1",
    "high_prec_freq": "d yr-1",
    "high_prec_dur": "d",
    "low_prec_freq": "d yr-1",
    "low_prec_dur": "d",
    "elev_mean": "m",
    "slope_mean": "m km-1",
    "area_gages2": "km2",
    "frac_forest": "1",
    "lai_max": "1",
    "lai_diff": "1",
    "gvf_max": "1",
    "gvf_diff": "1",
    "dom_land_cover_frac": "1",
    "soil_depth_pelletier": "m",
    "soil_depth_statsgo": "m",
    "soil_porosity": "1",
    "soil_conductivity": "cm h-1",
    "max_water_content": "m",
    "sand_frac": "%",
    "silt_frac": "%",
    "clay_frac": "%",
    "glim_1st_class_frac": "1",
    "glim_2nd_class_frac": "1",
    "carbonate_rocks_frac": "1",
    "geol_permeability": "log10(m2)",
}
#: Columns of a forcing file; their names are in upper or lower case, with units behind them.
COLUMNS = ("dayl", "prcp", "srad", "tmax", "tmin", "vp")
#: Forcing that the reader makes of the files' columns.
FORCINGS = {"P": "mm", "T": "degC", "PET": "mm", "SRAD": "W m-2", "VP": "Pa", "daylength": "s"}

CUBIC_FOOT = 0.3048**3
MISSING_FLOW = -999.0


def read_camels(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    **options: Any,
) -> Dataset:
    """What :func:`camels` finds, read into memory."""
    return gather(camels(path, basins, attributes, **options))


def camels(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    *,
    forcing: str = "nldas",
    pet: Pet = "priestley_taylor",
    area: Area = "area_gages2",
) -> Source:
    """Find forcing, flow and attributes.

    Parameters
    ----------
    path : path
        Folder that holds ``basin_mean_forcing``, ``usgs_streamflow`` and ``camels_attributes_v2.0``, or
        folders of archives in which they lie.
    basins : sequence of str, optional
        Gauge ids with their leading zeros; all that have a forcing file by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of any attribute table, or names and the columns that give them, such as
        ``{elevation: elev_mean}``. A basin that lacks one is left out and reported.
    forcing : str
        Folder below ``basin_mean_forcing``: ``nldas``, ``daymet``, ``maurer`` or ``maurer_extended``.
    pet : {"priestley_taylor", "hargreaves", "oudin"}
        How PET is computed; see :mod:`dmg_bmi.physics.pet`.
    area : {"area_gages2", "area_geospa_fabric", "forcing_header"}
        Drainage area that turns the flow from cubic feet per second into mm per day.

    Returns
    -------
    Source
        Daily. Forcings P, T, PET, SRAD (shortwave radiation, mean of the whole
        day), VP (vapour pressure), daylength; target Q.
        Where a basin's files end before another's, its series hold NaN.

    Raises
    ------
    ConfigError
        If the folder, a basin's file or an attribute column is not there.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    root = Path(path)
    _require_folder(root)
    files = _files(_forcing_folder(root, forcing), "_forcing")
    flows = _files(_folder(root, "usgs_streamflow"), "_streamflow")
    ids = tuple(files) if basins is None else tuple(basins)
    for name in ids:
        if name not in files or name not in flows:
            kind, there = ("forcing", files) if name not in files else ("streamflow", flows)
            raise ConfigError(f"{root}: no {kind} file of basin {name!r}; {there_is(name, there)}")
    tables = _tables(root)
    wanted = as_mapping(attributes)
    if area != "forcing_header":
        wanted.setdefault(area, area)
    table = attribute_table(tables, ids, wanted, ";")
    ids = tuple(table)
    arrays, units = static(table, attributes, ATTRIBUTES)

    spans = [_span(files[name]) for name in ids]
    start, end = min(first for first, _ in spans), max(last for _, last in spans)

    def pieces() -> Iterator[Piece]:
        areas = {}
        for row, name in enumerate(ids):
            weather = _forcing(files[name])
            areas[name] = weather.area if area == "forcing_header" else table[name][area] * 1e6
            basin, steps = slice(row, row + 1), (weather.days - start).astype(int)
            yield Piece(basin, steps, weather.variables(pet, files[name]))
            days, values = _flow(flows[name], areas[name])
            within = (days >= start) & (days <= end)
            yield Piece(basin, (days[within] - start).astype(int), {"Q": values[within]})
        shown = ", ".join(f"{name} {a / 1e6:.1f}" for name, a in areas.items())
        log.info("areas from %s (km2): %s", area, shown)
        log.info("PET by %s; SRAD is the files' daylight mean x Dayl / 86400", pet.replace("_", "-"))

    return Source(
        ids=ids,
        times=np.arange(start, end + 1).astype("datetime64[s]"),
        step=86400.0,
        attributes=arrays,
        units={**FORCINGS, **units, "Q": "mm"},
        forcings=tuple(FORCINGS),
        targets=("Q",),
        pieces=pieces,
        files=tuple(file for name in ids for file in (files[name], flows[name])),
        options={"reader": "camels", "pet": pet, "area": area},
    )


@dataclass(frozen=True)
class _Weather:
    """One forcing file."""

    latitude: float
    elevation: float
    area: float
    days: NDArray[np.datetime64]
    columns: dict[str, NDArray[np.float64]]

    def variables(self, method: Pet, file: Path) -> dict[str, NDArray[np.float64]]:
        """The series named in :data:`FORCINGS`."""
        c = self.columns
        mean = (c["tmax"] + c["tmin"]) / 2.0
        values = {
            "P": c["prcp"],
            "T": mean,
            "SRAD": c["srad"] * c["dayl"] / 86400.0,
            "VP": c["vp"],
            "daylength": c["dayl"],
        }
        tensor = {name: torch.from_numpy(v) for name, v in values.items()}
        latitude = torch.tensor(self.latitude, dtype=torch.float64)
        day = torch.from_numpy(day_of_year(self.days))
        if method == "oudin":
            result = oudin(tensor["T"], latitude, day)
        elif method == "hargreaves":
            low, high = torch.from_numpy(c["tmin"]), torch.from_numpy(c["tmax"])
            if torch.equal(low, high):
                raise ConfigError(
                    f"{file}: Tmax equals Tmin on every day, so Hargreaves PET would be zero; "
                    "choose pet: priestley_taylor or oudin"
                )
            result = hargreaves(low, high, tensor["T"], latitude, day)
        else:
            elevation = torch.tensor(self.elevation, dtype=torch.float64)
            result = priestley_taylor(tensor["T"], tensor["SRAD"], tensor["VP"], elevation, latitude, day)
        return {**values, "PET": result.numpy()}


def _require_folder(root: Path) -> None:
    if not root.is_dir():
        raise ConfigError(f"{root}: there is no such folder; data.path is that of CAMELS-US")


def _folder(root: Path, name: str) -> Path:
    """A folder of the data set: in `root`, or in a folder that its archive makes."""
    for place in (root, *sorted(p for p in root.iterdir() if p.is_dir())):
        for folder in (place / name, place / name / name):
            if folder.is_dir() and any(folder.iterdir()) and not (folder / name).is_dir():
                return folder
    held = ", ".join(sorted(p.name for p in root.iterdir())[:8])
    raise ConfigError(f"{root}: has no folder {name}, nor has a folder in it; it holds {held}")


def _forcing_folder(root: Path, forcing: str) -> Path:
    parent = _folder(root, "basin_mean_forcing")
    folders = {p.name.lower(): p for p in sorted(parent.iterdir()) if p.is_dir()}
    if forcing.lower() not in folders:
        raise ConfigError(f"{parent}: has no forcing {forcing!r}; {there_is(forcing, folders)}")
    return folders[forcing.lower()]


def _tables(root: Path) -> list[Path]:
    """Attribute tables ``camels_*.txt``, wherever they lie within two folders."""
    for pattern in ("camels_attributes*/", "", "*/", "*/*/"):
        found = sorted(root.glob(f"{pattern}camels_*.txt"))
        if found:
            return found
    raise ConfigError(
        f"{root}: has no camels_*.txt of attributes, such as camels_attributes_v2.0/camels_topo.txt"
    )


def _files(folder: Path, suffix: str) -> dict[str, Path]:
    """Gauge id to file, in the folder or in folders of the HUC-2 regions."""
    every = sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")])
    found = {p.name.split("_")[0]: p for p in every if suffix in p.name}
    if not found:
        held = ", ".join(sorted(p.name for p in folder.iterdir())[:5])
        raise ConfigError(f"{folder}: has no <id>*{suffix}*.txt in it or a folder deeper; it holds {held}")
    return dict(sorted(found.items()))


def _span(file: Path) -> tuple[np.datetime64, np.datetime64]:
    """First and last day of a forcing file."""
    lines = read_text(file, ForcingError).rstrip().splitlines()
    try:
        ends = [[float(number) for number in line.split()[:3]] for line in (lines[4], lines[-1])]
        first, last = _days(np.array(ends))
    except (ValueError, IndexError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US forcing file: {error}") from error
    return first, last


def _forcing(file: Path) -> _Weather:
    lines = read_text(file, ForcingError).splitlines()
    try:
        latitude, elevation, area = (float(line) for line in lines[:3])
        names = [name.split("(")[0].lower() for name in lines[3].split()]
        table = np.loadtxt(lines[4:], ndmin=2)
        days = _days(table[:, :3])
        columns = dict(zip(names, table.T, strict=True))
    except (ValueError, IndexError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US forcing file: {error}") from error
    lacking = [name for name in COLUMNS if name not in columns]
    if lacking:
        raise ForcingError(f"{file}: has no column {', '.join(lacking)}; it has {lines[3].strip()}")
    return _Weather(latitude, elevation, area, days, columns)


def _flow(file: Path, area: float) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Days, and flow in mm d-1 over an area in m2."""
    try:
        lines = read_text(file, ForcingError).splitlines()
        table = np.loadtxt(lines, usecols=(1, 2, 3, 4), ndmin=2)
        days = _days(table[:, :3])
    except (ValueError, IndexError) as error:
        if isinstance(error, ForcingError):
            raise
        raise ForcingError(f"{file}: not a CAMELS-US streamflow file: {error}") from error
    cfs = np.where(table[:, 3] == MISSING_FLOW, np.nan, table[:, 3])
    return days, cfs * CUBIC_FOOT * 86400.0 * 1000.0 / area


def _days(ymd: NDArray[np.float64]) -> NDArray[np.datetime64]:
    year, month, day = ymd.astype(int).T
    months = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    days: NDArray[np.datetime64] = months.astype("datetime64[D]") + (day - 1)
    if (np.diff(days).astype(int) <= 0).any():
        raise ValueError("its days are not in order")
    return days
