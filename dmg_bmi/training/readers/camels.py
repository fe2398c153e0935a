"""CAMELS-US (Newman et al., 2014, 2015; Addor et al., 2017) from its text files."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from ...arrays import DAY, FloatArray, TimeArray
from ...errors import AttributeTableError, ConfigError, ForcingError, alternatives
from ...io.files import read_text
from ...io.timeseries import BasinDataset, day_of_year
from ...io.units import conversion
from ...physics.pet import hargreaves, oudin, priestley_taylor
from .attributes import Names, as_mapping, attribute_table, static
from .base import FileData
from .loading import Chunk, Source, load, without_fills

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
#: Lines before the first day: latitude, elevation, area, names of columns.
HEADER = 4
CUBIC_FOOT = 0.3048**3
#: Tables of attributes as they are published, and their folder.
TABLES = ("clim", "geol", "hydro", "soil", "topo", "vege")
OFFICIAL = "camels_attributes_v2.0"
#: How far below `path` the downloaded archives put the data.
DEPTHS = ("", "*/", "*/*/", "*/*/*/")


def read_camels(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    **options: Any,
) -> BasinDataset:
    """Read what :func:`camels` finds into memory."""
    return load(camels(path, basins, attributes, **options))


@dataclass(frozen=True, kw_only=True)
class CamelsData(FileData):
    """Basins of CAMELS-US.

    Parameters
    ----------
    path : path
        Folder that holds ``basin_mean_forcing``, ``usgs_streamflow`` and
        ``camels_attributes_v2.0`` as they are downloaded: itself or in folders in it, such as
        ``basin_dataset_public_v1p2``; the files with or without folders of regions; the tables of
        attributes in a folder of their own or not.
    basins : sequence of str, or path, optional
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
    """

    reader: str = "camels"
    attributes: tuple[str, ...] | dict[str, str] = tuple(ATTRIBUTES)
    forcing: str = "nldas"
    pet: Pet = "priestley_taylor"
    area: Area = "area_gages2"

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`camels`."""
        return camels(self.path, basins, self.attributes, forcing=self.forcing, pet=self.pet, area=self.area)


def camels(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    *,
    forcing: str = "nldas",
    pet: Pet = "priestley_taylor",
    area: Area = "area_gages2",
) -> Source:
    """Find forcing, flow and attributes; parameters are those of :class:`CamelsData`.

    Returns
    -------
    Source
        Daily. Forcings P, T, PET, SRAD (shortwave radiation, mean of the whole
        day), VP (vapour pressure), daylength; target Q.
        Where a basin's files end before another's, its series hold NaN.

    Raises
    ------
    ConfigError
        If the folder, a basin's file or an attribute column does not exist.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    root = Path(path)
    forcings, flows = _series_files(root, forcing)
    ids = tuple(forcings) if basins is None else tuple(basins)
    for name in ids:
        if name not in forcings or name not in flows:
            kind, files = ("forcing", forcings) if name not in forcings else ("streamflow", flows)
            raise ConfigError(f"{root}: no {kind} file of basin {name!r}; {alternatives(name, files)}")
    table = _attributes(root, ids, attributes, area)
    arrays, units = static(table, attributes, ATTRIBUTES)
    spans = [_span(forcings[name]) for name in table]
    days = np.arange(min(first for first, _ in spans), max(last for _, last in spans) + 1)
    areas = {name: None if area == "forcing_header" else row[area] for name, row in table.items()}
    basin_files = {name: _Basin(forcings[name], flows[name], areas[name]) for name in table}
    return Source(
        ids=tuple(table),
        times=days.astype("datetime64[s]"),
        step=DAY,
        attributes=arrays,
        units={**FORCINGS, **units, "Q": "mm"},
        forcings=tuple(FORCINGS),
        targets=("Q",),
        chunks=partial(_chunks, basin_files, days, pet, area),
        files=tuple(file for basin in basin_files.values() for file in (basin.forcing, basin.flow)),
        options={"reader": "camels", "pet": pet, "area": area},
    )


@dataclass(frozen=True)
class _Basin:
    """Files of one basin, and its area in km2 from the tables of attributes."""

    forcing: Path
    flow: Path
    area: float | None


def _chunks(basins: Mapping[str, _Basin], days: TimeArray, pet: Pet, area: Area) -> Iterator[Chunk]:
    """Read the series of each basin, at their places in `days`."""
    areas = {}
    for row, (name, basin) in enumerate(basins.items()):
        weather = _forcing(basin.forcing)
        areas[name] = weather.area if basin.area is None else basin.area * 1e6
        if not 0 < areas[name] < np.inf:
            raise AttributeTableError(
                f"{basin.forcing}: basin {name}: {area} is {areas[name] / 1e6:g} km2, and must be above "
                "zero; choose another data.area, or leave the basin out"
            )
        rows, steps = slice(row, row + 1), (weather.days - days[0]).astype(int)
        yield Chunk(rows, steps, weather.variables(pet, basin.forcing))
        measured, values = _flow(basin.flow, name, areas[name])
        within = (measured >= days[0]) & (measured <= days[-1])
        yield Chunk(rows, (measured[within] - days[0]).astype(int), {"Q": values[within]})
    shown = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in areas.items())
    log.info("areas from %s (km2): %s", area, shown)
    log.info("PET by %s; SRAD is the files' daylight mean x Dayl / 86400", pet.replace("_", "-"))


def _series_files(root: Path, forcing: str) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return the files of forcing and of flow by gauge id."""
    forcings = _files(find_folder(root, "basin_mean_forcing"), forcing, "_forcing")
    flow_folder = find_folder(root, "usgs_streamflow")
    return forcings, _files(flow_folder.parent, flow_folder.name, "_streamflow")


def _attributes(root: Path, ids: Sequence[str], attributes: Names, area: Area) -> dict[str, dict[str, float]]:
    """Read the attributes, and the area where a table gives it."""
    columns = as_mapping(attributes)
    if area != "forcing_header" and columns.setdefault(area, area) != area:
        raise ConfigError(
            f"data.attributes: {area} is the area of the flow; give {columns[area]} another name"
        )
    return attribute_table(attribute_files(root), ids, columns, ";", CLASSES)


@dataclass(frozen=True)
class _Weather:
    """One forcing file."""

    latitude: float
    elevation: float
    area: float
    days: TimeArray
    columns: dict[str, FloatArray]

    def variables(self, method: Pet, file: Path) -> dict[str, FloatArray]:
        """Return the series named in :data:`FORCINGS`."""
        c = self.columns
        mean = (c["tmax"] + c["tmin"]) / 2.0
        values = {
            "P": c["prcp"],
            "T": mean,
            "SRAD": c["srad"] * c["dayl"] / DAY,
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


def find_folder(root: Path, name: str) -> Path:
    """Return the nearest folder of that name in the root or in folders below it."""
    for depth in DEPTHS:
        folders = sorted(folder for folder in root.glob(depth + name) if folder.is_dir())
        if len(folders) > 1:
            both = ", ".join(str(folder) for folder in folders)
            raise ConfigError(f"{root}: has several folders {name}: {both}; give the path of one of them")
        if folders:
            return folders[0]
    raise ConfigError(
        f"{root}: has no folder {name}; give the folder of CAMELS-US that holds it as data.path"
    )


def _files(parent: Path, name: str, suffix: str) -> dict[str, Path]:
    """Return gauge id to file, with or without folders of the HUC-2 regions; ignore case in `name`."""
    folders = {folder.name: folder for folder in sorted(parent.glob("*/"))}
    folder = folders.get(name) or {key.lower(): f for key, f in folders.items()}.get(name.lower())
    if folder is None:
        raise ConfigError(f"{parent}: has no folder {name}; {alternatives(name, folders)}")
    files: dict[str, Path] = {}
    for file in sorted([*folder.glob("*.txt"), *folder.glob("*/*.txt")]):
        if suffix not in file.name or file.name.startswith("."):
            continue
        first = files.setdefault(file.name.split("_")[0], file)
        if first != file:
            raise ConfigError(f"{first} and {file} are of one basin; remove one of them")
    if not files:
        has = ", ".join(sorted(p.name for p in folder.iterdir())[:5]) or "nothing"
        raise ConfigError(
            f"{folder}: has no file <id>*{suffix}*.txt, nor have the folders in it; it holds {has}"
        )
    return dict(sorted(files.items()))


def attribute_files(root: Path) -> list[Path]:
    """Return the tables of attributes in the folder that is nearest to the root."""
    for depth in DEPTHS:
        files = [file for table in TABLES for file in root.glob(f"{depth}camels_{table}.txt")]
        folders = sorted({file.parent for file in files}, key=lambda folder: folder.name != OFFICIAL)
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
    """Return the first and last day of a forcing file."""
    lines = _numbered(read_text(file, ForcingError))
    try:
        if len(lines) <= HEADER:
            raise ValueError("it has no rows")
        days = _days(_rows([*lines[HEADER : HEADER + 1], *lines[HEADER + 1 :][-1:]], usecols=(0, 1, 2)))
    except (ValueError, IndexError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US forcing file: {error}") from error
    return days[0], days[-1]


def _forcing(file: Path) -> _Weather:
    lines = _numbered(read_text(file, ForcingError))
    try:
        latitude, elevation, area = (_header_number(lines, k) for k in range(HEADER - 1))
        names = lines[HEADER - 1][1].split()
        table = _rows(lines[HEADER:])
        days = _days(table[:, :3])
    except (ValueError, IndexError) as error:
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
        short, _, units = name.removesuffix(")").partition("(")
        short = short.lower()
        if short in columns:
            raise ForcingError(f"{file}: column {name} appears twice; rename or remove one of them")
        columns[short] = values
        if short in COLUMNS:
            scale, offset = _conversion(units, COLUMNS[short], f"{file}: column {name}")
            columns[short] = without_fills(values, f"{file}: {name}") * scale + offset
    absent = [name for name in COLUMNS if name not in columns]
    if absent:
        raise ForcingError(f"{file}: has no column {', '.join(absent)}; it has {' '.join(names)}")
    return _Weather(latitude, elevation, area, days, columns)


def _conversion(units: str, official: str, where: str) -> tuple[float, float]:
    """Return scale and offset from the units that a header names, in any case where they are the official."""
    if units.lower() in ("", official.lower()):
        return 1.0, 0.0
    wanted = "degC" if official == "C" else official
    try:
        return conversion(units, wanted)
    except ConfigError as error:
        raise ForcingError(f"{where}: {error}; write it in {wanted}") from error


def _flow(file: Path, basin: str, area: float) -> tuple[TimeArray, FloatArray]:
    """Return days, and flow in mm d-1 over an area in m2; NaN where it is below zero (-999)."""
    lines = _numbered(read_text(file, ForcingError))
    gauges = {line.split(maxsplit=1)[0] for _, line in lines}
    # Only a number is a gauge: what else begins a line is told by what its other columns hold.
    other = sorted(g for g in gauges if g.isdecimal() and g.lstrip("0") != basin.lstrip("0"))
    if other:
        raise ForcingError(f"{file}: holds the flow of gauge {other[0]}, its name says {basin}; correct one")
    try:
        table = _rows(lines, usecols=(1, 2, 3, 4))
        days = _days(table[:, :3])
    except (ValueError, IndexError) as error:
        raise ForcingError(f"{file}: not a CAMELS-US streamflow file: {error}") from error
    cfs = np.where(table[:, 3] < 0, np.nan, table[:, 3])
    return days, cfs * CUBIC_FOOT * DAY * 1000.0 / area


def _numbered(text: str) -> list[tuple[int, str]]:
    """Return the lines that are not blank, with their numbers."""
    return [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _header_number(lines: Sequence[tuple[int, str]], k: int) -> float:
    try:
        return float(lines[k][1])
    except (ValueError, IndexError):
        shown = repr(lines[k][1][:60]) if k < len(lines) else "missing"
        raise ValueError(
            f"its first three lines must be latitude, elevation and area; one is {shown}"
        ) from None


def _rows(lines: Sequence[tuple[int, str]], usecols: tuple[int, ...] | None = None) -> FloatArray:
    """Return the numbers of numbered lines; raise ValueError, naming the line, where there are others."""
    if not lines:
        raise ValueError("it has no rows")
    try:
        return np.loadtxt([line for _, line in lines], usecols=usecols, ndmin=2)
    except ValueError:
        raise ValueError(_fault(lines, usecols)) from None


def _fault(lines: Sequence[tuple[int, str]], usecols: tuple[int, ...] | None) -> str:
    """Say what the first line is that is not as the others."""
    width = len(lines[0][1].split())
    for number, line in lines:
        cells = line.partition("#")[0].split()
        wanted = range(width) if usecols is None else usecols
        if (cells and len(cells) <= max(wanted)) or (usecols is None and len(cells) > width):
            blanks = "; separate them by blanks" if "," in line or ";" in line else "; is the file whole?"
            return f"line {number} has {len(cells)} values, not {max(width, max(wanted) + 1)}{blanks}"
        for cell in (cells[k] for k in wanted if k < len(cells)):
            try:
                float(cell)
            except ValueError:
                return f"line {number}: {cell!r} is not a number; write NaN where a value is missing"
    return "its rows are not numbers"


def _days(ymd: FloatArray) -> TimeArray:
    """Return days of the calendar, in order; raise ValueError for others."""
    year, month, day = ymd.T
    whole = np.isfinite(ymd).all(axis=1) & (ymd == np.round(np.nan_to_num(ymd))).all(axis=1)
    valid = whole & (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    _require_none(ymd[~valid])
    years, month_numbers, month_days = ymd.astype(int).T
    months = (years - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month_numbers - 1)
    days: TimeArray = months.astype("datetime64[D]") + (month_days - 1)
    _require_none(ymd[days.astype("datetime64[M]") != months])
    if (np.diff(days).astype(int) <= 0).any():
        raise ValueError("its days are not in order")
    return days


def _require_none(wrong: FloatArray) -> None:
    if len(wrong):
        raise ValueError(f"{wrong[0][0]:g} {wrong[0][1]:g} {wrong[0][2]:g} is not a day of the calendar")
