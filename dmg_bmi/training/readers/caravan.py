"""Caravan (Kratzert et al., 2023, https://doi.org/10.1038/s41597-023-01975-w) from its NetCDF or CSV files.

A file per basin, ``timeseries/netcdf/<source>/<id>.nc`` or ``timeseries/csv/<source>/<id>.csv``, and
tables ``attributes/<source>/*.csv``. The weather is that of ERA5-Land, aggregated to days of local time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np

from ...arrays import FloatArray, TimeArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io.cf_time import parse_dates
from ...io.csv_table import CsvTable
from ...io.netcdf import open_netcdf, part_of, standard_units, times_of, to_standard
from .attributes import Names, attribute_table, static
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
#: Units where a file does not say them.
UNITS = {
    "total_precipitation": "mm",
    "temperature_2m": "degC",
    "potential_evaporation": "mm",
    "streamflow": "mm d-1",
}
NOTHING: Mapping[str, str] = MappingProxyType({})


def caravan(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    *,
    pet: Pet = "fao_penman_monteith",
    inputs: Sequence[str] = (),
    targets: Mapping[str, str] = NOTHING,
) -> Source:
    """Find weather, flow and attributes.

    Parameters
    ----------
    path : path
        Folder that holds ``timeseries`` and ``attributes``.
    basins : sequence of str, optional
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

    Returns
    -------
    Source
        Daily. Forcings P, T, PET; target Q. Negative flow is missing, negative PET is zero.

    Raises
    ------
    ConfigError
        If the folder, a basin's file, a column or an attribute is not there.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    root = Path(path)
    files = _files(root)
    ids = tuple(files) if basins is None else tuple(basins)
    for name in ids:
        if name not in files:
            raise ConfigError(f"{root}: no file of basin {name!r}; {alternatives(name, files)}")
    folders = dict.fromkeys(files[name].parent.name for name in ids)
    tables = [table for folder in folders for table in sorted((root / "attributes" / folder).glob("*.csv"))]
    if not tables:
        raise ConfigError(f"{root}: has no attributes/<source>/*.csv of {', '.join(folders)}; download them")
    table = attribute_table(tables, ids, attributes)
    ids = tuple(table)
    arrays, known = static(table, attributes, ATTRIBUTES)

    columns = {
        "P": ("total_precipitation_sum",),
        "T": ("temperature_2m_mean",),
        "PET": PET_COLUMNS[pet],
        **{name: (name,) for name in inputs},
        "Q": ("streamflow",),
        **{flux: (name,) for flux, name in targets.items()},
    }
    spans: list[tuple[np.datetime64, np.datetime64]] = []
    units: dict[str, str] = {}
    for name in ids:
        with _open(files[name]) as data:
            spans.append((data.days[0], data.days[-1]))
            if not units:
                said = {n: data.units(data.column(c)) for n, c in columns.items()}
                units = {n: standard_units(n, given) for n, given in said.items()}
    start, end = min(first for first, _ in spans), max(last for _, last in spans)

    def pieces() -> Iterator[Chunk]:
        for row, name in enumerate(ids):
            with _open(files[name]) as data:
                steps = (data.days - start).astype(int)
                values = {n: data.series(n, data.column(c)) for n, c in columns.items()}
            yield Chunk(slice(row, row + 1), steps, _checked(values, files[name]))

    log.info("PET of Caravan: %s", pet)
    return Source(
        ids=ids,
        times=np.arange(start, end + 1).astype("datetime64[s]"),
        step=86400.0,
        attributes=arrays,
        units={**units, **known},
        forcings=("P", "T", "PET", *inputs),
        targets=("Q", *targets),
        pieces=pieces,
        files=tuple(files[name] for name in ids),
        options={"reader": "caravan", "pet": pet, **targets},
    )


@dataclass(frozen=True)
class _File:
    """One basin's file: days, names of the columns, their values, and the text that tells units."""

    path: Path
    days: TimeArray
    names: tuple[str, ...]
    values: Callable[[str], Any]
    said: str

    def column(self, names: Sequence[str]) -> str:
        """The first of some names that the file has."""
        for name in names:
            if name in self.names:
                return name
        hint = "; data.pet: era5_land takes the other" if names == PET_COLUMNS["fao_penman_monteith"] else ""
        there = ", ".join(sorted(self.names))
        raise ConfigError(f"{self.path}: has no {' or '.join(names)}{hint}; there is {there}")

    def units(self, column: str) -> str:
        """What the file tells of the band that a column aggregates."""
        lines = re.findall(r"^(\w+):.*?\[(.+?)\]", self.said, re.MULTILINE)
        told = {band: units for band, units in lines if column.startswith(band)}
        known = {band: units for band, units in UNITS.items() if column.startswith(band)}
        found = max(told, key=len, default=None)
        units = told[found] if found else next(iter(known.values()), "")
        return units.replace("°C", "degC")

    def series(self, name: str, column: str) -> FloatArray:
        """A column in the units of a variable."""
        try:
            values = np.ma.filled(np.ma.asarray(self.values(column)).astype(np.float64), np.nan)
        except (ValueError, RuntimeError, OSError) as error:
            if isinstance(error, ForcingError):
                raise
            raise ForcingError(f"{self.path}: {column} cannot be read: {error}") from error
        if values.shape != self.days.shape:
            raise ForcingError(f"{self.path}: {column} has shape {values.shape}, not a value a day")
        scale, offset = to_standard(name, self.units(column), 86400.0)
        return np.asarray(without_fills(values, f"{self.path}: {column}") * scale + offset)


def _files(root: Path) -> dict[str, Path]:
    """Basin to file; NetCDF where both are."""
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
        days = times_of(data["date"], str(file)).astype("datetime64[D]")
        names = tuple(name for name in data.variables if name != "date")
        said = str(getattr(data, "Units", ""))
        yield _File(
            file,
            _in_order(days, file),
            names,
            lambda name: part_of(data[name], slice(None), file, ForcingError),
            said,
        )


def _dates(table: CsvTable) -> TimeArray:
    if "date" not in table.columns:
        raise ForcingError(f"{table.path}: has no column 'date'; it has {', '.join(table.columns)}")
    days = parse_dates(table.columns["date"], table.lines, str(table.path), ForcingError)
    return _in_order(days.astype("datetime64[D]"), table.path)


def _in_order(days: TimeArray, file: Path) -> TimeArray:
    if len(days) == 0 or (np.diff(days).astype(int) <= 0).any():
        raise ForcingError(f"{file}: its days are not in order")
    return days


def _checked(values: dict[str, FloatArray], file: Path) -> dict[str, FloatArray]:
    pet, flow = values["PET"], values["Q"]
    if (pet < 0).any() and np.nanmean(pet) < 0:
        raise ForcingError(
            f"{file}: potential evaporation is negative on average: ERA5's sign, upward fluxes are "
            "negative, was not changed as Caravan does; change it in the file"
        )
    return {**values, "PET": np.where(pet < 0, 0.0, pet), "Q": np.where(flow < 0, np.nan, flow)}
