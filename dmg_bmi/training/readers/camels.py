"""CAMELS-US (Newman et al., 2014, 2015; Addor et al., 2017) from its text files."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ...arrays import FloatArray, TimeArray
from ...errors import AttributeTableError, ConfigError, ForcingError, alternatives
from ...io.files import read_text
from ...io.timeseries import BasinDataset, day_of_year
from ...physics.pet import hargreaves, oudin, priestley_taylor
from .attributes import Names, as_mapping, attribute_table, static
from .loading import Chunk, Source, gather, without_fills

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
ROCKS = (
    "Acid plutonic rocks",
    "Acid volcanic rocks",
    "Basic plutonic rocks",
    "Basic volcanic rocks",
    "Carbonate sedimentary rocks",
    "Intermediate plutonic rocks",
    "Intermediate volcanic rocks",
    "Metamorphics",
    "Mixed sedimentary rocks",
    "Pyroclastics",
    "Siliciclastic sedimentary rocks",
    "Unconsolidated sediments",
)
SEASONS = ("djf", "jja", "mam", "son")
#: Columns of classes: those of all 671 basins in the order of the alphabet, capital letters first. A
#: class's place is its number, as hydroDL and dmg count them, whatever basins are read.
CLASSES = {
    "dom_land_cover": (
        "Barren or Sparsely Vegetated",
        "Closed Shrublands",
        "Croplands",
        "Deciduous Broadleaf Forest",
        "Evergreen Broadleaf Forest",
        "Evergreen Needleleaf Forest",
        "Grasslands",
        "Mixed Forests",
        "Open Shrublands",
        "Savannas",
        "Woody Savannas",
        "cropland/natural vegetation mosaic",
    ),
    "geol_1st_class": ROCKS,
    "geol_2nd_class": (*ROCKS, "Water bodies"),
    "high_prec_timing": SEASONS,
    "low_prec_timing": SEASONS,
}
#: Forcing that the reader makes of the files' columns.
FORCINGS = {"P": "mm", "T": "degC", "PET": "mm", "SRAD": "W m-2", "VP": "Pa", "daylength": "s"}

#: Columns of a forcing file with their units; the files have them in upper or lower case.
COLUMNS = {"dayl": "s", "prcp": "mm/day", "srad": "W/m2", "tmax": "C", "tmin": "C", "vp": "Pa"}
CUBIC_FOOT = 0.3048**3
#: Tables of attributes as they are published, and their folder.
TABLES = ("clim", "geol", "hydro", "soil", "topo", "vege")
OFFICIAL = "camels_attributes_v2.0"
#: How far below the given folder the downloaded archives put the data.
DEPTHS = ("", "*/", "*/*/", "*/*/*/")


def read_camels(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    **options: Any,
) -> BasinDataset:
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
        Folder that holds ``basin_mean_forcing``, ``usgs_streamflow`` and
        ``camels_attributes_v2.0`` as they are downloaded: itself or in folders in it, such as
        ``basin_dataset_public_v1p2``; the files with or without folders of regions; the tables of
        attributes in a folder of their own or not.
    basins : sequence of str, optional
        Gauge ids with their leading zeros; all that have a forcing file by default.
    attributes : sequence of str, or mapping of str to str
        Columns of any attribute table, numeric or of :data:`CLASSES`, or names and the columns that
        give them, such as ``{elevation: elev_mean}``. A basin that lacks one is left out and reported.
    forcing : str
        Folder below ``basin_mean_forcing``: ``nldas``, ``daymet``, ``maurer``, or another such as
        ``maurer_extended``.
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
    files = _files(_folder(root, "basin_mean_forcing"), forcing, "_forcing")
    flow_folder = _folder(root, "usgs_streamflow")
    flows = _files(flow_folder.parent, flow_folder.name, "_streamflow")
    ids = tuple(files) if basins is None else tuple(basins)
    for name in ids:
        if name not in files or name not in flows:
            kind, there = ("forcing", files) if name not in files else ("streamflow", flows)
            raise ConfigError(f"{root}: no {kind} file of basin {name!r}; {alternatives(name, there)}")
    tables = _tables(root)
    wanted = as_mapping(attributes)
    if area != "forcing_header" and wanted.setdefault(area, area) != area:
        raise ConfigError(
            f"data.attributes: {area} is the area of the flow; give {wanted[area]} another name"
        )
    table = attribute_table(tables, ids, wanted, ";", CLASSES)
    ids = tuple(table)
    arrays, units = static(table, attributes, ATTRIBUTES)

    spans = [_span(files[name]) for name in ids]
    start, end = min(first for first, _ in spans), max(last for _, last in spans)

    def pieces() -> Iterator[Chunk]:
        areas = {}
        for row, name in enumerate(ids):
            weather = _forcing(files[name])
            areas[name] = weather.area if area == "forcing_header" else table[name][area] * 1e6
            if not 0 < areas[name] < np.inf:
                raise AttributeTableError(
                    f"{root}: basin {name}: {area} is {areas[name] / 1e6:g} km2, and must be above zero; "
                    "choose another data.area, or leave the basin out"
                )
            basin, steps = slice(row, row + 1), (weather.days - start).astype(int)
            yield Chunk(basin, steps, weather.variables(pet, files[name]))
            days, values = _flow(flows[name], areas[name])
            within = (days >= start) & (days <= end)
            yield Chunk(basin, (days[within] - start).astype(int), {"Q": values[within]})
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
    days: TimeArray
    columns: dict[str, FloatArray]

    def variables(self, method: Pet, file: Path) -> dict[str, FloatArray]:
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
            if ((low == high) | low.isnan() | high.isnan()).all():
                raise ConfigError(
                    f"{file}: Tmax equals Tmin on every day, so Hargreaves PET would be zero; "
                    "choose pet: priestley_taylor or oudin"
                )
            result = hargreaves(low, high, tensor["T"], latitude, day)
        else:
            elevation = torch.tensor(self.elevation, dtype=torch.float64)
            result = priestley_taylor(tensor["T"], tensor["SRAD"], tensor["VP"], elevation, latitude, day)
        return {**values, "PET": result.numpy()}


def _folder(root: Path, name: str) -> Path:
    """The folder of that name in the root or in folders of it, the nearest one."""
    for depth in DEPTHS:
        found = sorted(folder for folder in root.glob(depth + name) if folder.is_dir())
        if len(found) > 1:
            both = ", ".join(str(folder) for folder in found)
            raise ConfigError(f"{root}: has several folders {name}: {both}; give the path of one of them")
        if found:
            return found[0]
    raise ConfigError(
        f"{root}: has no folder {name}; give the folder of CAMELS-US that holds it as data.path"
    )


def _files(parent: Path, given: str, suffix: str) -> dict[str, Path]:
    """Gauge id to file, with or without folders of the HUC-2 regions; capital letters do not matter."""
    there = {folder.name: folder for folder in sorted(parent.glob("*/"))}
    folder = there.get(given) or {name.lower(): f for name, f in there.items()}.get(given.lower())
    if folder is None:
        raise ConfigError(f"{parent}: has no folder {given}; {alternatives(given, there)}")
    found: dict[str, Path] = {}
    for file in sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")]):
        if suffix not in file.name or file.name.startswith("."):
            continue
        first = found.setdefault(file.name.split("_")[0], file)
        if first != file:
            raise ConfigError(f"{first} and {file} are of one basin; remove one of them")
    if not found:
        has = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise ConfigError(
            f"{folder}: has no file <id>*{suffix}*.txt, nor have the folders in it; it holds {has}"
        )
    return dict(sorted(found.items()))


def _tables(root: Path) -> list[Path]:
    """The tables of attributes of the folder that is nearest to the root."""
    for depth in DEPTHS:
        found = [file for table in TABLES for file in root.glob(f"{depth}camels_{table}.txt")]
        folders = sorted({file.parent for file in found}, key=lambda folder: folder.name != OFFICIAL)
        if len(folders) > 1 and folders[0].name != OFFICIAL:
            both = ", ".join(str(folder) for folder in folders)
            raise ConfigError(f"{root}: has several folders of camels_*.txt: {both}; keep one of them")
        if folders:
            return sorted(folders[0].glob("camels_*.txt"))
    raise ConfigError(
        f"{root}: has no attributes camels_*.txt (camels_clim.txt, camels_topo.txt, ...), nor have folders "
        f"in it, such as {OFFICIAL}; download them as well"
    )


def _span(file: Path) -> tuple[np.datetime64, np.datetime64]:
    """First and last day of a forcing file."""
    lines = read_text(file, ForcingError).rstrip().splitlines()
    try:
        ends = [
            [float(number) for number in line.split()[:3]] for line in dict.fromkeys((lines[4], lines[-1]))
        ]
        days = _days(np.array(ends))
    except (ValueError, IndexError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US forcing file: {error}") from error
    return days[0], days[-1]


def _forcing(file: Path) -> _Weather:
    lines = iter(read_text(file, ForcingError).splitlines())
    try:
        latitude, elevation, area = (float(next(lines)) for _ in range(3))
        names = next(lines).split()
        table = _rows(lines)
        days = _days(table[:, :3])
    except (ValueError, IndexError, StopIteration, RuntimeError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US forcing file: {error}") from error
    if not (abs(latitude) <= 90 and abs(elevation) < 1e4):
        raise ForcingError(
            f"{file}: its first lines must be latitude in degrees and elevation in m; "
            f"they are {latitude:g} and {elevation:g}"
        )
    if len(names) != table.shape[1]:
        raise ForcingError(f"{file}: line 4 names {len(names)} columns, the rows have {table.shape[1]}")
    columns = {}
    for name, values in zip(names, table.T, strict=True):
        short, _, units = name.lower().removesuffix(")").partition("(")
        if short in columns:
            raise ForcingError(f"{file}: column {name} appears twice; rename or remove one of them")
        if units and units != COLUMNS.get(short, units).lower():
            raise ForcingError(f"{file}: column {name} must be in {COLUMNS[short]}; convert it")
        columns[short] = without_fills(values, f"{file}: {name}") if short in COLUMNS else values
    lacking = [name for name in COLUMNS if name not in columns]
    if lacking:
        raise ForcingError(f"{file}: has no column {', '.join(lacking)}; it has {' '.join(names)}")
    return _Weather(latitude, elevation, area, days, columns)


def _flow(file: Path, area: float) -> tuple[TimeArray, FloatArray]:
    """Days, and flow in mm d-1 over an area in m2; below zero (-999) nothing was measured."""
    lines = read_text(file, ForcingError).splitlines()
    try:
        table = _rows(lines, usecols=(1, 2, 3, 4))
        days = _days(table[:, :3])
    except (ValueError, IndexError, RuntimeError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US streamflow file: {error}") from error
    cfs = np.where(table[:, 3] < 0, np.nan, table[:, 3])
    return days, cfs * CUBIC_FOOT * 86400.0 * 1000.0 / area


def _rows(lines: Iterable[str], usecols: tuple[int, ...] | None = None) -> FloatArray:
    there = [line for line in lines if line.strip()]
    if not there:
        raise ValueError("it has no rows")
    return np.loadtxt(there, usecols=usecols, ndmin=2)


def _days(ymd: FloatArray) -> TimeArray:
    """Days of a calendar, in order; ValueError for others."""
    year, month, day = ymd.T
    whole = np.isfinite(ymd).all(axis=1) & (ymd == np.round(np.nan_to_num(ymd))).all(axis=1)
    right = whole & (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    wrong = ymd[~right]
    if not len(wrong):
        years, since, on = ymd.astype(int).T
        months = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (since - 1)
        days: TimeArray = months.astype("datetime64[D]") + (on - 1)
        wrong = ymd[days.astype("datetime64[M]") != months]
    if len(wrong):
        raise ValueError(f"{wrong[0][0]:g} {wrong[0][1]:g} {wrong[0][2]:g} is no day of a calendar")
    if (np.diff(days).astype(int) <= 0).any():
        raise ValueError("its days are not in order")
    return days
