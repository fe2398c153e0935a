"""Caravan (Kratzert et al., 2023, https://doi.org/10.1038/s41597-023-01975-w) from its NetCDF or CSV files.

A file per basin, ``timeseries/netcdf/<source>/<id>.nc`` or ``timeseries/csv/<source>/<id>.csv``, and
tables ``attributes/<source>/*.csv``. The weather is that of ERA5-Land, aggregated to days of local time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ...arrays import DAY, FloatArray, TimeArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io.cf_time import parse_dates, whole_days
from ...io.csv_table import CsvTable
from ...io.netcdf import standard_units, to_standard
from ...io.netcdf_file import open_netcdf, part_of, times_of
from .attributes import Names, attribute_table, static
from .base import FileData
from .loading import Chunk, Source, without_fills

log = logging.getLogger(__name__)

Pet = Literal["fao_penman_monteith", "era5_land"]

#: Attributes with their units: climate of the years 1981 to 2020, and of HydroATLAS.
ATTRIBUTES = {
    "p_mean": "mm d-1",
    "pet_mean_FAO_PM": "mm d-1",
    "aridity_FAO_PM": "1",
    "moisture_index_FAO_PM": "1",
    "seasonality_FAO_PM": "1",
    "frac_snow": "1",
    "high_prec_freq": "1",
    "high_prec_dur": "d",
    "low_prec_freq": "1",
    "low_prec_dur": "d",
    "area": "km2",
    "ele_mt_sav": "m",
    "slp_dg_sav": "",
    "for_pc_sse": "%",
    "cly_pc_sav": "%",
    "slt_pc_sav": "%",
    "snd_pc_sav": "%",
    "kar_pc_sse": "%",
}
#: The names in the files, by version: PET of ERA5-Land was renamed in 1.5, which added the other.
PET_COLUMNS: Mapping[Pet, tuple[str, ...]] = {
    "fao_penman_monteith": ("potential_evaporation_sum_FAO_PENMAN_MONTEITH",),
    "era5_land": ("potential_evaporation_sum_ERA5_LAND", "potential_evaporation_sum"),
}
#: Units where a file does not state them.
UNITS = {
    "total_precipitation": "mm",
    "temperature_2m": "degC",
    "potential_evaporation": "mm",
    "streamflow": "mm d-1",
}
NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class CaravanData(FileData):
    """Basins of Caravan.

    Parameters
    ----------
    path : path
        Folder that holds ``timeseries`` and ``attributes``.
    basins : sequence of str, or path, optional
        Such as ``camels_01013500``; all that have a file by default.
    attributes : sequence of str, or mapping of str to str
        Numeric columns of any attribute table, or names and the columns that give them. A basin that
        lacks one is left out and reported.
    pet : {"fao_penman_monteith", "era5_land"}
        The first, new in Caravan 1.5, is computed from the weather after Allen et al. (1998). ERA5-Land's
        own is the evaporation of open water and in many basins a multiple of it.
    inputs : sequence of str
        Further columns of the files, for networks, under their own names and in their own units.
    targets : mapping of flux to str
        Further columns to compare fluxes with, such as ``{SWE: snow_depth_water_equivalent_mean}``
        (which ERA5-Land has simulated, not observed).
    """

    reader: str = "caravan"
    attributes: tuple[str, ...] | dict[str, str] = tuple(ATTRIBUTES)
    pet: Pet = "fao_penman_monteith"
    inputs: tuple[str, ...] = ()
    targets: dict[str, str] = field(default_factory=dict)

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`caravan`."""
        return caravan(
            self.path, basins, self.attributes, pet=self.pet, inputs=self.inputs, targets=self.targets
        )


def caravan(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    *,
    pet: Pet = "fao_penman_monteith",
    inputs: Sequence[str] = (),
    targets: Mapping[str, str] = NOTHING,
) -> Source:
    """Find weather, flow and attributes; parameters are those of :class:`CaravanData`.

    Returns
    -------
    Source
        Daily. Forcings P, T, PET; target Q. Negative flow is missing, negative PET is zero.

    Raises
    ------
    ConfigError
        If the folder, a basin's file, a column or an attribute does not exist.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    root = Path(path)
    files = _files(root)
    ids = tuple(files) if basins is None else tuple(basins)
    for name in ids:
        if name not in files:
            raise ConfigError(f"{root}: no file of basin {name!r}; {alternatives(name, files)}")
    table = attribute_table(_tables(root, [files[name] for name in ids]), ids, attributes)
    files = {name: files[name] for name in table}
    arrays, attribute_units = static(table, attributes, ATTRIBUTES)
    series = {"P": "total_precipitation_sum", "T": "temperature_2m_mean", "Q": "streamflow"}
    series |= {**{name: name for name in inputs}, **targets}
    columns = {"PET": PET_COLUMNS[pet], **{name: (column,) for name, column in series.items()}}
    days, units = _days_and_units([*files.values()], columns)
    log.info("PET of Caravan: %s", pet)
    return Source(
        ids=tuple(files),
        times=days.astype("datetime64[s]"),
        step=DAY,
        attributes=arrays,
        units={**units, **attribute_units},
        forcings=("P", "T", "PET", *inputs),
        targets=("Q", *targets),
        chunks=partial(_chunks, [*files.values()], columns, days[0]),
        files=tuple(files.values()),
        options={"reader": "caravan", "pet": pet, **targets},
    )


def _tables(root: Path, files: Iterable[Path]) -> list[Path]:
    """Return the tables of attributes of all sources that the files are of."""
    folders = dict.fromkeys(file.parent.name for file in files)
    tables = [table for folder in folders for table in sorted((root / "attributes" / folder).glob("*.csv"))]
    if not tables:
        raise ConfigError(f"{root}: has no attributes/<source>/*.csv of {', '.join(folders)}; download them")
    return tables


def _days_and_units(
    files: Sequence[Path], columns: Mapping[str, Sequence[str]]
) -> tuple[TimeArray, dict[str, str]]:
    """Return all days of the files, and the units of each series by the first file."""
    spans: list[tuple[np.datetime64, np.datetime64]] = []
    units: dict[str, str] = {}
    for file in files:
        with _open(file) as data:
            spans.append((data.days[0], data.days[-1]))
            if not units:
                units = {n: standard_units(n, data.units(data.column(c))) for n, c in columns.items()}
    return np.arange(min(first for first, _ in spans), max(last for _, last in spans) + 1), units


def _chunks(
    files: Sequence[Path], columns: Mapping[str, Sequence[str]], start: np.datetime64
) -> Iterator[Chunk]:
    """Read the series of each file, at their places from `start` on."""
    for row, file in enumerate(files):
        with _open(file) as data:
            steps = (data.days - start).astype(int)
            values = {n: data.series(n, data.column(c)) for n, c in columns.items()}
        yield Chunk(slice(row, row + 1), steps, _checked(values, file))


@dataclass(frozen=True)
class _File:
    """One basin's file: days, names of the columns, their values, and the text that states units."""

    path: Path
    days: TimeArray
    names: tuple[str, ...]
    values: Callable[[str], Any]
    units_text: str

    def column(self, names: Sequence[str]) -> str:
        """Return the first of some names that the file has."""
        for name in names:
            if name in self.names:
                return name
        hint = "; data.pet: era5_land takes the other" if names == PET_COLUMNS["fao_penman_monteith"] else ""
        available = ", ".join(sorted(self.names))
        raise ConfigError(f"{self.path}: has no {' or '.join(names)}{hint}; available: {available}")

    def units(self, column: str) -> str:
        """Return the units that the file states for the band that a column aggregates, or their default."""
        lines = re.findall(r"^(\w+):.*?\[(.+?)\]", self.units_text, re.MULTILINE)
        stated = {band: units for band, units in lines if column.startswith(band)}
        defaults = [units for band, units in UNITS.items() if column.startswith(band)]
        band = max(stated, key=len, default=None)
        units = stated[band] if band else next(iter(defaults), "")
        return units.replace("°C", "degC")

    def series(self, name: str, column: str) -> FloatArray:
        """Return a column in the units of a variable."""
        try:
            values = np.ma.filled(np.ma.asarray(self.values(column)).astype(np.float64), np.nan)
        except (ValueError, RuntimeError, OSError) as error:
            if isinstance(error, ForcingError):
                raise
            raise ForcingError(f"{self.path}: {column} cannot be read: {error}") from error
        if values.shape != self.days.shape:
            raise ForcingError(f"{self.path}: {column} has shape {values.shape}, not a value a day")
        try:
            scale, offset = to_standard(name, self.units(column), DAY)
        except ConfigError as error:
            raise error.within(f"{self.path}: {column}") from error
        return np.asarray(without_fills(values, f"{self.path}: {column}") * scale + offset)


def _files(root: Path) -> dict[str, Path]:
    """Return basin to file; NetCDF files where there are CSV files too."""
    for kind, end in (("netcdf", "nc"), ("csv", "csv")):
        files = {file.stem: file for file in sorted((root / "timeseries" / kind).glob(f"*/[!.]*.{end}"))}
        if files:
            return files
    raise ConfigError(
        f"{root}: no timeseries/netcdf/<source>/<id>.nc and no timeseries/csv/<source>/<id>.csv in it; "
        "is this a folder of Caravan?"
    )


@contextmanager
def _open(file: Path) -> Iterator[_File]:
    if file.suffix == ".csv":
        table = CsvTable.read(file, ForcingError)
        rows = range(len(table.lines))
        days = _dates(table)
        names = tuple(name for name in table.columns if name not in ("date", ""))
        yield _File(file, days, names, lambda name: table.numbers(name, rows), "")
        return
    with open_netcdf(file) as data:
        if "date" not in data.variables:
            raise ForcingError(f"{file}: has no variable 'date'; is this a file of Caravan?")
        days = whole_days(times_of(data["date"], str(file)), str(file), ForcingError)
        names = tuple(name for name in data.variables if name != "date")
        yield _File(
            file,
            days,
            names,
            lambda name: part_of(data[name], slice(None), file, ForcingError),
            str(getattr(data, "Units", "")),
        )


def _dates(table: CsvTable) -> TimeArray:
    if "date" not in table.columns:
        raise ForcingError(f"{table.path}: has no column 'date'; it has {', '.join(table.columns)}")
    times = parse_dates(table.columns["date"], table.lines, str(table.path), ForcingError)
    return whole_days(times, str(table.path), ForcingError)


def _checked(values: dict[str, FloatArray], file: Path) -> dict[str, FloatArray]:
    pet, flow = values["PET"], values["Q"]
    if (pet < 0).any() and np.nanmean(pet) < 0:
        raise ForcingError(
            f"{file}: potential evaporation is negative on average: ERA5's sign, upward fluxes are "
            "negative, was not changed as Caravan does; change it in the file"
        )
    return {**values, "PET": np.where(pet < 0, 0.0, pet), "Q": np.where(flow < 0, np.nan, flow)}
