"""Caravan (Kratzert et al., 2023, https://doi.org/10.1038/s41597-023-01975-w) from its NetCDF files.

A file per basin, ``timeseries/netcdf/<source>/<id>.nc``, and tables ``attributes/<source>/*.csv``. The
weather is that of ERA5-Land, aggregated to days of local time.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, ForcingError, there_is
from ..netcdf import open_netcdf, standard_units, times_of, to_standard
from .blocks import Piece, Source
from .tables import Names, attribute_table, static

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
    files = {file.stem: file for file in sorted((root / "timeseries" / "netcdf").glob("*/*.nc"))}
    if not files:
        raise ConfigError(
            f"{root}: no timeseries/netcdf/<source>/<id>.nc in it; is this a folder of Caravan?"
        )
    ids = tuple(files) if basins is None else tuple(basins)
    for name in ids:
        if name not in files:
            raise ConfigError(f"{root}: no file of basin {name!r}; {there_is(name, files)}")
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
            days = _days(data, files[name])
            spans.append((days[0], days[-1]))
            if not units:
                said = {n: _said(data, _column(data, c, files[name])) for n, c in columns.items()}
                units = {n: standard_units(n, given) for n, given in said.items()}
    start, end = min(first for first, _ in spans), max(last for _, last in spans)

    def pieces() -> Iterator[Piece]:
        for row, name in enumerate(ids):
            with _open(files[name]) as data:
                steps = (_days(data, files[name]) - start).astype(int)
                values = {n: _series(data, n, _column(data, c, files[name])) for n, c in columns.items()}
            yield Piece(slice(row, row + 1), steps, _checked(values, files[name]))

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


def _open(file: Path) -> Any:
    return open_netcdf(file)


def _days(data: Any, file: Path) -> NDArray[np.datetime64]:
    if "date" not in data.variables:
        raise ForcingError(f"{file}: has no variable 'date'; is this a file of Caravan?")
    days = times_of(data["date"], str(file)).astype("datetime64[D]")
    if len(days) == 0 or (np.diff(days).astype(int) <= 0).any():
        raise ForcingError(f"{file}: its days are not in order")
    return days


def _column(data: Any, names: Sequence[str], file: Path) -> str:
    """The first of some names that the file has."""
    for name in names:
        if name in data.variables:
            return name
    hint = "; data.pet: era5_land takes the other" if names == PET_COLUMNS["fao_penman_monteith"] else ""
    there = ", ".join(sorted(name for name in data.variables if name != "date"))
    raise ConfigError(f"{file}: has no {' or '.join(names)}{hint}; there is {there}")


def _said(data: Any, column: str) -> str:
    """The units that the file's attribute ``Units`` tells of the band that a column aggregates."""
    lines = re.findall(r"^(\w+):.*?\[(.+?)\]", getattr(data, "Units", ""), re.MULTILINE)
    told = {band: units for band, units in lines if column.startswith(band)}
    known = {band: units for band, units in UNITS.items() if column.startswith(band)}
    found = max(told, key=len, default=None)
    units = told[found] if found else next(iter(known.values()), "")
    return units.replace("°C", "degC")


def _series(data: Any, name: str, column: str) -> NDArray[np.float64]:
    values = np.ma.filled(data[column][:].astype(np.float64), np.nan)
    scale, offset = to_standard(name, _said(data, column), 86400.0)
    return np.asarray(values * scale + offset)


def _checked(values: dict[str, NDArray[np.float64]], file: Path) -> dict[str, NDArray[np.float64]]:
    pet, flow = values["PET"], values["Q"]
    if np.nanmean(pet) < 0:
        raise ForcingError(
            f"{file}: potential evaporation is negative on average: ERA5's sign, upward fluxes are "
            "negative, was not changed as Caravan does; change it in the file"
        )
    return {**values, "PET": np.where(pet < 0, 0.0, pet), "Q": np.where(flow < 0, np.nan, flow)}
