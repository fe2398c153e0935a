"""Series of many catchments as CF NetCDF: forcing in, outputs out.

The layout is CF's ``timeSeries``: dimensions ``time`` and ``catchment``, the ids as the string
variable ``catchment``, ``time`` at the start of each step with its bounds. Imported only
offline and by the command line: a NetCDF wheel loaded within ngen crashes it.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Hashable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np

from .. import __version__
from ..arrays import FloatArray, FloatingArray, TimeArray
from ..errors import ForcingError
from ..physics import forcings
from ..physics.contract import Aggregation, Forcing
from .atomic import make_folder, replacing
from .netcdf_file import NetcdfReader, created, decoded_times, ids_of, part_of
from .timeseries import LATITUDE, LONGITUDE, BasinDataset
from .units import cf_units, conversion, is_rate_of

log = logging.getLogger("dmg_bmi")

#: Series that process models take and give, in the units of training: units, and how steps join.
STANDARD: Mapping[str, tuple[str, Aggregation]] = {
    f.name: (f.units, f.aggregation) for f in vars(forcings).values() if isinstance(f, Forcing)
} | {"Q": ("mm", "sum"), "ET": ("mm", "sum"), "SWE": ("mm", "last")}
EPOCH = "seconds since 1970-01-01 00:00:00"
_CELL_METHODS: dict[Aggregation, str] = {
    "sum": "time: sum",
    "mean": "time: mean",
    "min": "time: minimum",
    "max": "time: maximum",
}


#: Names of CF's table, where ours measures just that.
_CF_NAMES: Mapping[tuple[str, str], Mapping[str, str]] = {
    ("P", "mm"): {"standard_name": "lwe_thickness_of_precipitation_amount"},
    ("P", "mm d-1"): {"standard_name": "lwe_precipitation_rate"},
    ("P", "mm h-1"): {"standard_name": "lwe_precipitation_rate"},
    ("T", "degC"): {"standard_name": "air_temperature", "units_metadata": "temperature: on_scale"},
    ("SWE", "mm"): {"standard_name": "lwe_thickness_of_surface_snow_amount"},
    ("SWE", "m"): {"standard_name": "lwe_thickness_of_surface_snow_amount"},
    ("discharge", "m3 s-1"): {"standard_name": "water_volume_transport_in_river_channel"},
}


@dataclass(frozen=True)
class Column:
    """Attributes of a NetCDF variable; those of observations have the role "target"."""

    units: str
    long_name: str = ""
    standard_name: str = ""
    aggregation: Aggregation = "mean"
    role: str = ""


def read(path: str | Path) -> BasinDataset:
    """Read a file of this layout whole.

    Raises
    ------
    ForcingError
        Naming the file and what is missing.
    """
    with Reader(path) as file:
        series = {name: file.series(name) for name in (*file.forcings, *file.targets)}
        return BasinDataset(
            file.ids,
            file.times,
            file.step,
            {name: series[name] for name in file.forcings},
            {name: file.attribute(name) for name in file.attributes},
            {name: series[name] for name in file.targets},
            file.units,
        )


class Reader(NetcdfReader):
    """A file of this layout, read part by part; observations are marked by ``role = "target"``.

    Attributes
    ----------
    ids, times, step, units
        As of :class:`~dmg_bmi.io.timeseries.BasinDataset`.
    forcings, targets, attributes : list of str
        Names of its series and of what does not change.

    Raises
    ------
    ForcingError
        Naming the file and what is missing.
    """

    def _describe(self) -> None:
        self.forcings: list[str] = []
        self.targets: list[str] = []
        self.attributes: list[str] = []
        variables = self.data.variables
        for name in ("time", "catchment"):
            if name not in variables or name not in self.data.dimensions:
                raise ForcingError(no_dimension(str(self.path), name, self.data.dimensions))
            if variables[name].dimensions[:1] != (name,):
                along = ", ".join(variables[name].dimensions)
                raise ForcingError(f"{self.path}: {name} has dimensions ({along}); it must lie along {name}")
        self.ids = ids_of(self.data["catchment"], self.path)
        self.times = self._starts()
        self.step = step_of(self.times, str(self.path))
        self.units = {name: str(getattr(variable, "units", "")) for name, variable in variables.items()}
        for name, variable in variables.items():
            if not isinstance(variable.datatype, np.dtype) or variable.dtype.kind not in "fiu":
                continue  # names and notes
            if variable.dimensions == ("catchment",) and name != "catchment":
                self.attributes.append(name)
            elif set(variable.dimensions) == {"time", "catchment"}:
                target = getattr(variable, "role", "") == "target"
                (self.targets if target else self.forcings).append(name)

    def _starts(self) -> TimeArray:
        """When each record begins: by its bounds, where the file has them, else its time.

        Days that its calendar does not have become records of their own, of NaN.
        """
        variable = self.data["time"]
        times, absent = decoded_times(variable, self.path, ForcingError)
        if not absent.size:
            step_of(times, str(self.path))
        bounds = str(getattr(variable, "bounds", ""))
        if bounds and bounds not in self.data.variables:
            log.warning("%s: has no %s, which its time names; times are taken as begins", self.path, bounds)
        elif bounds:
            edges = self.data[bounds]
            if edges.shape != (len(times), 2):
                raise ForcingError(f"{self.path}: {bounds} has shape {edges.shape}, not {(len(times), 2)}")
            starts, absent = decoded_times(edges, self.path, ForcingError, (slice(None), 0), variable)
            ends, _ = decoded_times(edges, self.path, ForcingError, (slice(None), 1), variable)
            require_bounds(times, starts, ends, f"{self.path}: {bounds}")
            times = starts
        self._of_file = np.arange(len(times))
        if absent.size:
            if (back := np.diff(times) <= np.timedelta64(0, "s")).any():
                late = times[1:][back][0]
                raise ForcingError(f"{self.path}: {late} does not lie after the record before it")
            log.warning(
                "%s: its calendar has no 29 February, in %d years; these days have no values",
                self.path,
                len(absent),
            )
            every = np.union1d(times, _filled(times, absent))
            self._of_file = np.searchsorted(every, times)
            self._length = len(every)
            return every
        self._length = len(times)
        return times

    def series(self, name: str, steps: slice = slice(None), columns: slice = slice(None)) -> FloatArray:
        """Read a part of a series ``[time, catchment]``; NaN where the file has its fill value."""
        time_first = self.data[name].dimensions[0] == "time"
        if len(self._of_file) != self._length:
            whole = self._values(name, (slice(None), columns) if time_first else (columns, slice(None)))
            series = np.full((self._length, whole.shape[time_first]), np.nan)
            series[self._of_file] = whole if time_first else whole.T
            return series[steps]
        values = self._values(name, (steps, columns) if time_first else (columns, steps))
        return values if time_first else values.T

    def attribute(self, name: str) -> FloatArray:
        """Read an attribute ``[catchment]``."""
        return self._values(name, (slice(None),))

    def _values(self, name: str, part: tuple[slice, ...]) -> FloatArray:
        found = part_of(self.data[name], part, self.path, ForcingError)
        values: FloatArray = np.ma.filled(np.ma.asarray(found).astype(np.float64), np.nan)
        return values


def write(path: str | Path, dataset: BasinDataset, **attributes: str) -> None:
    """Write a dataset whole: forcing, observations, attributes."""
    names = [*dataset.forcing, *dataset.target]
    columns = {
        name: Column(u := dataset.units.get(name, "1"), aggregation=_joined(name, u)) for name in names
    }
    with Writer(path, dataset.ids, columns, dataset.step, **attributes) as writer:
        for name, values in dataset.attributes.items():
            writer.attribute(name, values, dataset.units.get(name, "1"))
        for name in dataset.target:
            writer.data[name].role = "target"
        series = {**dataset.forcing, **dataset.target}
        length = block_length(len(dataset.ids))
        for first in range(0, len(dataset.times), length):
            some = slice(first, first + length)
            writer.append(dataset.times[some], {name: values[some] for name, values in series.items()})


def block_length(width: int) -> int:
    """Return how many records of `width` catchments are read or written at once: whole chunks, some MB."""
    steps, _ = chunk(width)
    return max(1, min(2**14, 2**21 // max(width, 1)) // steps) * steps


def chunk(width: int) -> tuple[int, int]:
    """Return how many records and catchments a file compresses together."""
    wide = min(max(width, 1), 256)
    return min(2**14 // wide, max(1, 2**21 // max(width, 1))), wide


def standard_units(name: str, units: str) -> str:
    """Look units up in :data:`STANDARD`; other names keep their own."""
    return STANDARD[name][0] if name in STANDARD else units


def to_standard(name: str, units: str, step: float) -> tuple[float, float]:
    """Return scale and offset from `units` to the standard ones; a rate becomes the amount of `step` seconds.

    Raises
    ------
    ConfigError
        If the units are not understood, or measure something else.
    """
    wanted = standard_units(name, units)
    if name not in STANDARD:
        return 1.0, 0.0
    if is_rate_of(units, wanted):
        return conversion(units, f"{wanted} s-1")[0] * step, 0.0
    return conversion(units, wanted)


def _joined(name: str, units: str) -> Aggregation:
    """Return how steps of a series are joined: amounts add up, their rates average."""
    wanted, aggregation = STANDARD.get(name, ("", "mean"))
    is_rate = aggregation == "sum" and bool(units) and is_rate_of(units, wanted)
    return "mean" if is_rate else aggregation


class Writer:
    """A file that is written block by block under a temporary name; closing renames it.

    A run that fails leaves no file that looks complete.
    """

    def __init__(
        self,
        path: str | Path,
        ids: Sequence[str],
        columns: Mapping[str, Column],
        step: float,
        dtype: str = "f8",
        **attributes: str,
    ) -> None:
        self.path = Path(path)
        self._dtype = dtype
        self._step = step
        self._series, self._coordinates = [*columns], list[str]()
        make_folder(self.path.parent)
        with ExitStack() as stack:
            # A run takes long: who comes second is told at once.
            temporary = stack.enter_context(replacing(self.path, patience=0.0))
            self.data = stack.enter_context(created(temporary, self.path))
            self._define(ids, columns, attributes)
            self._stack = stack.pop_all()

    def _define(
        self, ids: Sequence[str], columns: Mapping[str, Column], attributes: Mapping[str, str]
    ) -> None:
        data = self.data
        data.setncatts(
            {
                "Conventions": "CF-1.11",
                "featureType": "timeSeries",
                "source": f"dmg_bmi {__version__}",
                "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} written by dmg_bmi",
                **attributes,
            }
        )
        _create_coordinates(data, ids)
        for name, column in columns.items():
            variable = data.createVariable(
                name,
                self._dtype,
                ("time", "catchment"),
                fill_value=np.nan,
                compression="zlib",
                complevel=1,
                chunksizes=chunk(len(ids)),  # by default one step: four times as slow for ten basins
            )
            described: dict[str, Any] = {"units": column.units, "long_name": column.long_name or name}
            if column.standard_name:
                # CSDMS names are not in CF's table, so they go under a name of their own.
                described["csdms_standard_name"] = column.standard_name
            if column.aggregation in _CELL_METHODS:
                described["cell_methods"] = _CELL_METHODS[column.aggregation]
            else:  # the time of a record is its start
                described["comment"] = "value at the end of the step, the later of time_bnds"
            if column.role:
                described["role"] = column.role
            described |= _CF_NAMES.get((name, column.units), {})
            variable.setncatts(described)

    def attribute(self, name: str, values: FloatingArray, units: str) -> None:
        """Add a static attribute ``[catchment]``."""
        variable = self.data.createVariable(name, "f8", ("catchment",), fill_value=np.nan)
        meaning = f"{name.replace('_', ' ')} of the catchment"
        variable.setncatts({"units": cf_units(units), "long_name": meaning})
        variable[:] = values
        for standard, names in (("latitude", LATITUDE), ("longitude", LONGITUDE)):
            if name in names:
                variable.standard_name = standard
                self._coordinates.append(name)
                for series in self._series:
                    self.data[series].coordinates = " ".join(self._coordinates)

    def append(self, times: TimeArray, values: Mapping[str, FloatingArray]) -> None:
        """Add records that start at `times` ``[n]``, ``values[name][n, catchment]``."""
        begin = len(self.data.dimensions["time"])
        seconds = times.astype("datetime64[s]").astype(np.float64)
        block = slice(begin, begin + len(seconds))
        self.data["time"][block] = seconds
        self.data["time_bnds"][block] = np.stack([seconds, seconds + self._step], axis=1)
        for name, array in values.items():
            self.data[name][block] = array

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)


def _filled(times: TimeArray, days: TimeArray) -> TimeArray:
    """Insert records for missing days, at the hours of the others."""
    hours = np.unique(times - times.astype("datetime64[D]"))
    every = (days[:, None] + hours[None, :]).ravel()
    return every[(every > times[0]) & (every < times[-1])]


def step_of(times: TimeArray, path: str) -> float:
    """Return the seconds between times; ForcingError if they are uneven."""
    if len(times) < 2:
        raise ForcingError(f"{path}: needs at least two records to tell its step")
    gaps = np.diff(times.astype("datetime64[s]").astype(np.int64))
    if not (gaps == gaps[0]).all() or gaps[0] <= 0:
        k = int(np.argmax((gaps != gaps[0]) | (gaps <= 0))) + 1
        raise ForcingError(f"{path}: its records are not evenly spaced: see {times[k]}")
    return float(gaps[0])


def no_dimension(source: str, name: str, dimensions: Collection[Hashable]) -> str:
    """Return the message for a dimension that series do not have under its name."""
    held = ", ".join(map(str, dimensions)) or "none"
    if name in dimensions:
        return f"{source}: has no coordinate of its dimension {name!r}; add it"
    return f"{source}: has no dimension and coordinate {name!r}, its dimensions are {held}; rename them"


def require_bounds(times: TimeArray, starts: TimeArray, ends: TimeArray, where: str) -> None:
    """Refuse bounds that do not hold their times, or records that overlap.

    Raises
    ------
    ForcingError
        Naming the first record that is wrong.
    """
    if (outside := (starts > times) | (ends < times)).any():
        k = int(np.argmax(outside))
        raise ForcingError(
            f"{where} are {starts[k]} to {ends[k]} for the time {times[k]}, which lies outside; correct them"
        )
    if (overlaps := ends[:-1] > starts[1:]).any():
        k = int(np.argmax(overlaps))
        raise ForcingError(
            f"{where}: the record from {starts[k]} to {ends[k]} overlaps the next, from {starts[k + 1]}; "
            "give records that follow each other, not sums since a start or moving means"
        )


def _create_coordinates(data: netCDF4.Dataset, ids: Sequence[str]) -> None:
    """Create dimensions, ids and times with their bounds."""
    data.createDimension("time", None)
    data.createDimension("catchment", len(ids))
    data.createDimension("bnds", 2)
    catchment = data.createVariable("catchment", str, ("catchment",))
    catchment.setncatts({"cf_role": "timeseries_id", "long_name": "catchment"})
    catchment[:] = np.array(ids, dtype=object)
    time = data.createVariable("time", "f8", ("time",))
    time.setncatts(
        {
            "standard_name": "time",
            "units": EPOCH,
            "calendar": "standard",
            "units_metadata": "leap_seconds: none",
            "axis": "T",
            "bounds": "time_bnds",
        }
    )
    data.createVariable("time_bnds", "f8", ("time", "bnds"))
