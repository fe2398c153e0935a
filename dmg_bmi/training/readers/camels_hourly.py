"""CAMELS-US by hours (Gauch et al., 2021, https://doi.org/10.5281/zenodo.4072700): NLDAS-2 and USGS flow.

Either one NetCDF file of all basins, ``hourly/usgs-streamflow-nldas_hourly.nc``, or two CSV files per basin,
``hourly/nldas_hourly/<id>_hourly_nldas.csv`` and ``hourly/usgs-streamflow/<id>-usgs-hourly.csv``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import HOUR, FloatArray, TimeArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io.cf_time import parse_dates
from ...io.csv_table import CsvTable
from ...io.netcdf_file import ids_of, open_netcdf, part_of, times_of
from .attributes import Names, attribute_table, static
from .base import FileData
from .camels import ATTRIBUTES, CLASSES, attribute_files, find_folder
from .loading import Chunk, Source, without_fills

log = logging.getLogger(__name__)

FOLDER, NETCDF = "hourly", "usgs-streamflow-nldas_hourly.nc"
WEATHER, FLOWS = "nldas_hourly", ("usgs-streamflow", "usgs_streamflow")
#: Series with their columns: the flow has one name in the NetCDF file and another in the CSV files.
COLUMNS = {
    "P": ("total_precipitation",),
    "T": ("temperature",),
    "PET": ("potential_evaporation",),
    "Q": ("qobs_mm_per_hour", "QObs(mm/h)"),
}
#: NLDAS-2 has kg m-2, which is mm, of the hour; the flow is mm of the hour.
UNITS = {"P": "mm", "T": "degC", "PET": "mm", "Q": "mm"}
#: The files do not state the unit of temperature; where its median is above this, it is kelvin.
HOTTEST, FREEZING = 150.0, 273.15


@dataclass(frozen=True, kw_only=True)
class HourlyCamelsData(FileData):
    """Basins of hourly CAMELS-US.

    Parameters
    ----------
    path : path
        Folder that holds ``hourly`` and the tables of attributes of CAMELS-US: itself or in folders in it.
    basins : sequence of str, or path, optional
        Gauge ids with their leading zeros; all that have forcing and flow by default.
    attributes : sequence of str, or mapping of str to str
        As those of :class:`~dmg_bmi.training.readers.camels.CamelsData`.
    inputs : sequence of str
        Further columns, for networks, under their own names and in their own units.
    """

    reader: str = "camels_hourly"
    attributes: tuple[str, ...] | dict[str, str] = tuple(ATTRIBUTES)
    inputs: tuple[str, ...] = ()

    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files; see :func:`camels_hourly`."""
        return camels_hourly(self.path, basins, self.attributes, inputs=self.inputs)


def camels_hourly(
    path: str | Path,
    basins: Sequence[str] | None = None,
    attributes: Names = tuple(ATTRIBUTES),
    *,
    inputs: Sequence[str] = (),
) -> Source:
    """Find forcing, flow and attributes; parameters are those of :class:`HourlyCamelsData`.

    Returns
    -------
    Source
        Hourly, UTC. Forcings P, T, PET; target Q. Negative flow is missing, negative PET is zero.

    Raises
    ------
    ConfigError
        If the folder, a basin, a column or an attribute does not exist.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    root = Path(path)
    folder = find_folder(root, FOLDER)
    columns = {**COLUMNS, **{name: (name,) for name in inputs}}
    files: _Netcdf | _Csv = _Netcdf(folder / NETCDF) if (folder / NETCDF).exists() else _Csv.find(folder)
    available = files.ids()
    ids = tuple(available) if basins is None else tuple(basins)
    for name in ids:
        if name not in available:
            raise ConfigError(
                f"{folder}: no forcing and flow of basin {name!r}; {alternatives(name, available)}"
            )
    table = attribute_table(attribute_files(root), ids, attributes, ";", CLASSES)
    arrays, units = static(table, attributes, ATTRIBUTES)
    times = files.times(tuple(table))
    return Source(
        ids=tuple(table),
        times=times,
        step=HOUR,
        attributes=arrays,
        units={**UNITS, **units},
        forcings=("P", "T", "PET", *inputs),
        targets=("Q",),
        chunks=partial(_chunks, files, tuple(table), columns, times),
        files=files.all_files(tuple(table)),
        options={"reader": "camels_hourly"},
    )


def _chunks(
    files: _Netcdf | _Csv, ids: Sequence[str], columns: Mapping[str, Sequence[str]], hours: TimeArray
) -> Iterator[Chunk]:
    """Read the series of each basin, at their places in `hours`."""
    with files.opened() as read:
        for row, name in enumerate(ids):
            for times, values, where in read(name, columns):
                steps = (times - hours[0]) // np.timedelta64(1, "h")
                checked = {symbol: _checked(symbol, v, where) for symbol, v in values.items()}
                within = (steps >= 0) & (steps < len(hours))  # of flow there may be more than of weather
                yield Chunk(
                    slice(row, row + 1),
                    steps[within].astype(int),
                    {symbol: v[within] for symbol, v in checked.items()},
                )


def _checked(symbol: str, values: FloatArray, where: str) -> FloatArray:
    values = without_fills(values, f"{where}: {symbol}")
    if symbol == "Q":
        return np.where(values < 0, np.nan, values)
    if symbol == "PET":
        return np.where(values < 0, 0.0, values)
    if symbol == "T" and np.isfinite(values).any() and np.nanmedian(values) > HOTTEST:
        return values - FREEZING
    return values


Read = Callable[[str, Mapping[str, Sequence[str]]], Iterator[tuple[TimeArray, dict[str, FloatArray], str]]]


@dataclass(frozen=True)
class _Netcdf:
    """The file of all basins, with dimensions ``basin`` and ``date``."""

    path: Path

    def ids(self) -> tuple[str, ...]:
        with self._open() as data:
            return ids_of(data["basin"], self.path)

    def times(self, _: Sequence[str]) -> TimeArray:
        with self._open() as data:
            return _hours(times_of(data["date"], self.path), str(self.path))

    def all_files(self, _: Sequence[str]) -> tuple[Path, ...]:
        return (self.path,)

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield what reads the series of a basin."""
        with self._open() as data:
            place = {name: k for k, name in enumerate(ids_of(data["basin"], self.path))}
            times = _hours(times_of(data["date"], self.path), str(self.path))

            def read(
                name: str, columns: Mapping[str, Sequence[str]]
            ) -> Iterator[tuple[TimeArray, dict[str, FloatArray], str]]:
                chosen = {s: data[_first(names, data.variables, self.path)] for s, names in columns.items()}
                yield times, {s: self._series(v, place[name]) for s, v in chosen.items()}, str(self.path)

            yield read

    @contextmanager
    def _open(self) -> Iterator[Any]:
        with open_netcdf(self.path) as data:
            for name in ("basin", "date"):
                if name not in data.variables:
                    raise ForcingError(
                        f"{self.path}: has no variable {name!r}; it has {', '.join(data.variables)}"
                    )
            yield data

    def _series(self, variable: Any, row: int) -> FloatArray:
        if sorted(variable.dimensions) != ["basin", "date"]:
            raise ForcingError(
                f"{self.path}: {variable.name} has dimensions {', '.join(variable.dimensions)}, "
                "not basin and date"
            )
        part = (row, slice(None)) if variable.dimensions[0] == "basin" else (slice(None), row)
        values = part_of(variable, part, self.path, ForcingError)
        return np.ma.filled(np.ma.asarray(values).astype(np.float64), np.nan)


@dataclass(frozen=True)
class _Csv:
    """Two files per basin: weather and flow."""

    files: Mapping[str, tuple[Path, Path]]

    @classmethod
    def find(cls, folder: Path) -> _Csv:
        """Find the files of all basins that have both."""
        weather = {f.name.partition("_")[0]: f for f in sorted((folder / WEATHER).glob("[!.]*.csv"))}
        flows = {
            f.name.partition("-")[0]: f
            for n in FLOWS
            for f in sorted((folder / n).rglob("*-usgs-hourly.csv"))
        }
        both = {name: (file, flows[name]) for name, file in weather.items() if name in flows}
        if not both:
            raise ConfigError(
                f"{folder}: has no {NETCDF}, and no basin with both {WEATHER}/<id>_hourly_nldas.csv and "
                f"{FLOWS[0]}/<id>-usgs-hourly.csv"
            )
        if lone := sorted(weather.keys() ^ flows.keys()):
            log.warning(
                "%s: left out are %d basins with only one of both files: %s", folder, len(lone), lone[:5]
            )
        return cls(both)

    def ids(self) -> tuple[str, ...]:
        return tuple(self.files)

    def times(self, ids: Sequence[str]) -> TimeArray:
        spans = [_times(CsvTable.read(self.files[name][0], ForcingError))[[0, -1]] for name in ids]
        hour = np.timedelta64(1, "h")
        return np.arange(min(a for a, _ in spans), max(b for _, b in spans) + hour, hour).astype(
            "datetime64[s]"
        )

    def all_files(self, ids: Sequence[str]) -> tuple[Path, ...]:
        return tuple(file for name in ids for file in self.files[name])

    @contextmanager
    def opened(self) -> Iterator[Read]:
        """Yield what reads the series of a basin."""

        def read(
            name: str, columns: Mapping[str, Sequence[str]]
        ) -> Iterator[tuple[TimeArray, dict[str, FloatArray], str]]:
            weather = {s: names for s, names in columns.items() if s != "Q"}
            for file, chosen in zip(self.files[name], (weather, {"Q": columns["Q"]}), strict=True):
                table = CsvTable.read(file, ForcingError)
                rows = range(len(table.lines))
                values = {
                    s: table.numbers(_first(names, table.columns, file), rows) for s, names in chosen.items()
                }
                yield _times(table), values, str(file)

        yield read


def _times(table: CsvTable) -> TimeArray:
    if "date" not in table.columns:
        raise ForcingError(f"{table.path}: has no column 'date'; it has {', '.join(table.columns)}")
    return _hours(
        parse_dates(table.columns["date"], table.lines, str(table.path), ForcingError), str(table.path)
    )


def _hours(times: TimeArray, where: str) -> TimeArray:
    """Return times that are full hours, in order."""
    whole = times.astype("datetime64[h]")
    if len(times) == 0 or (whole != times).any() or (np.diff(whole).astype(int) <= 0).any():
        raise ForcingError(f"{where}: its dates are not full hours in order")
    return whole.astype("datetime64[s]")


def _first(names: Sequence[str], available: Mapping[str, Any], path: Path) -> str:
    """Return the first of some names that a file has."""
    for name in names:
        if name in available:
            return name
    raise ConfigError(f"{path}: has no {' or '.join(names)}; available: {', '.join(available)}")
