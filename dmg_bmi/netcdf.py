"""Series of many catchments as CF NetCDF: forcing in, outputs out.

The layout is CF's ``timeSeries``: dimensions ``time`` and ``catchment``, the ids as the string
variable ``catchment``, ``time`` at the start of each step with its bounds. Imported only
offline and by the command line: a NetCDF wheel loaded within ngen crashes it.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np
from numpy.typing import NDArray

from . import __version__
from .atomic import make_folder, replacing
from .dataset import Dataset
from .errors import ConfigError, ForcingError, WriteError
from .physics import forcings
from .physics.contract import Aggregation, Forcing
from .units import conversion, is_rate_of
from .variables import Variable

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
    "last": "time: point",
}


@dataclass(frozen=True)
class Column:
    """What a NetCDF variable says of itself."""

    units: str
    long_name: str = ""
    standard_name: str = ""
    aggregation: Aggregation = "mean"


def read(path: str | Path) -> Dataset:
    """Read a file of this layout whole.

    Raises
    ------
    ForcingError
        Naming the file and what is missing.
    """
    with Reader(path) as file:
        series = {name: file.series(name) for name in (*file.forcings, *file.targets)}
        return Dataset(
            file.ids,
            file.times,
            file.step,
            {name: series[name] for name in file.forcings},
            {name: file.attribute(name) for name in file.attributes},
            {name: series[name] for name in file.targets},
            file.units,
        )


class Reader:
    """Reads a file of this layout part by part; observations are marked by ``role = "target"``.

    Attributes
    ----------
    ids, times, step, units
        As of :class:`~dmg_bmi.dataset.Dataset`.
    forcings, targets, attributes : list of str
        Names of its series and of what does not change.

    Raises
    ------
    ForcingError
        Naming the file and what is missing.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.forcings: list[str] = []
        self.targets: list[str] = []
        self.attributes: list[str] = []
        try:
            self.data = netCDF4.Dataset(path)
        except OSError as problem:
            raise ForcingError(f"{path}: cannot be read as NetCDF: {problem}") from problem
        try:
            self._describe()
        except BaseException:
            self.data.close()
            raise

    def _describe(self) -> None:
        variables = self.data.variables
        for name in ("time", "catchment"):
            if name not in variables or name not in self.data.dimensions:
                raise ForcingError(f"{self.path}: has no dimension and variable {name!r}")
        self.ids = tuple(str(i) for i in self.data["catchment"][:])
        self.times = times_of(self.data["time"], str(self.path))
        self.step = _step(self.times, str(self.path))
        self.units = {name: getattr(variable, "units", "") for name, variable in variables.items()}
        for name, variable in variables.items():
            if variable.dtype is str or variable.dtype.kind not in "fiu":
                continue  # names and notes
            if variable.dimensions == ("catchment",) and name != "catchment":
                self.attributes.append(name)
            elif set(variable.dimensions) == {"time", "catchment"}:
                target = getattr(variable, "role", "") == "target"
                (self.targets if target else self.forcings).append(name)

    def series(self, name: str, steps: slice = slice(None)) -> NDArray[np.float64]:
        """Some steps of a series ``[time, catchment]``; NaN where the file has its fill value."""
        time_first = self.data[name].dimensions[0] == "time"
        values = self._values(name, (steps, slice(None)) if time_first else (slice(None), steps))
        return values if time_first else values.T

    def attribute(self, name: str) -> NDArray[np.float64]:
        """An attribute ``[catchment]``."""
        return self._values(name, (slice(None),))

    def _values(self, name: str, part: tuple[slice, ...]) -> NDArray[np.float64]:
        try:
            values: NDArray[np.float64] = np.ma.filled(self.data[name][part].astype(np.float64), np.nan)
        except (OSError, IndexError, RuntimeError, ValueError) as problem:
            raise ForcingError(f"{self.path}: {name} cannot be read: {problem}") from problem
        return values

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.data.close()


def write(path: str | Path, dataset: Dataset, **attributes: str) -> None:
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
        length = max(1, 2**22 // max(1, len(dataset.ids)))
        for first in range(0, len(dataset.times), length):
            some = slice(first, first + length)
            writer.append(dataset.times[some], {name: values[some] for name, values in series.items()})


def standard_units(name: str, units: str) -> str:
    """Those of :data:`STANDARD`; other names keep theirs."""
    return STANDARD[name][0] if name in STANDARD else units


def to_standard(name: str, units: str, step: float) -> tuple[float, float]:
    """Scale and offset from `units` to the standard ones; a rate becomes the amount of `step` seconds.

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
    """How a series joins steps: amounts add up, their rates average."""
    wanted, aggregation = STANDARD.get(name, ("", "mean"))
    is_rate = aggregation == "sum" and bool(units) and is_rate_of(units, wanted)
    return "mean" if is_rate else aggregation


def model_input(forcing: Dataset, variable: Variable, ids: Sequence[str], path: str) -> NDArray[np.float64]:
    """One input ``[time, catchment]`` in the units the component takes."""
    for name in (variable.symbol, variable.name):
        if name in forcing.forcing:
            break
    else:
        raise ForcingError(
            f"{path}: has no {variable.symbol} ({variable.name}); it holds {', '.join(forcing.forcing)}"
        )
    absent = [i for i in ids if i not in forcing.ids]
    if absent:
        raise ForcingError(f"{path}: has no catchment {', '.join(absent[:5])}")
    order = [forcing.ids.index(i) for i in ids]
    units = forcing.units[name]
    if not units:
        raise ForcingError(f"{path}: {name} has no units; it should be convertible to {variable.units}")
    try:
        scale, offset = variable.from_units(units, forcing.step)
    except ConfigError as problem:
        raise ForcingError(f"{path}: {name}: {problem}") from problem
    return forcing.forcing[name][:, order].astype(np.float64) * scale + offset


class Writer:
    """Writes a series block by block under a temporary name; closing renames it.

    A run that fails leaves no file that looks complete.
    """

    def __init__(
        self,
        path: str | Path,
        ids: Sequence[str],
        columns: Mapping[str, Column],
        step: float,
        **attributes: str,
    ) -> None:
        self.path = Path(path)
        self._step = step
        make_folder(self.path.parent)
        with ExitStack() as stack:
            # A run takes long: who comes second is told at once.
            temporary = stack.enter_context(replacing(self.path, patience=0.0))
            self.data = netCDF4.Dataset(temporary, "w", format="NETCDF4")
            stack.push(self._closed)
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
                "axis": "T",
                "bounds": "time_bnds",
            }
        )
        data.createVariable("time_bnds", "f8", ("time", "bnds"))
        wide = min(max(len(ids), 1), 256)
        for name, column in columns.items():
            variable = data.createVariable(
                name,
                "f8",
                ("time", "catchment"),
                fill_value=np.nan,
                compression="zlib",
                complevel=1,
                chunksizes=(2**14 // wide, wide),  # by default one step: four times as slow for ten basins
            )
            described: dict[str, Any] = {"units": column.units, "long_name": column.long_name or name}
            if column.standard_name:
                # CSDMS names are not in CF's table, so they go under a name of their own.
                described["csdms_standard_name"] = column.standard_name
            variable.setncatts(described | {"cell_methods": _CELL_METHODS[column.aggregation]})

    def attribute(self, name: str, values: NDArray[np.floating], units: str) -> None:
        """Add a static attribute ``[catchment]``."""
        variable = self.data.createVariable(name, "f8", ("catchment",), fill_value=np.nan)
        variable.units = units
        variable[:] = values

    def append(self, times: NDArray[np.datetime64], values: Mapping[str, NDArray[np.floating]]) -> None:
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

    def _closed(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file; what its library says of a full disk becomes an error of writing."""
        try:
            self.data.close()
        except RuntimeError as problem:
            error = error or problem
        if isinstance(error, RuntimeError) and str(error).startswith("NetCDF:"):
            raise WriteError(errno.ENOSPC, f"{error}; is there room on the disk?", str(self.path)) from error


def _step(times: NDArray[np.datetime64], path: str) -> float:
    if len(times) < 2:
        raise ForcingError(f"{path}: needs at least two records to tell its step")
    gaps = np.diff(times.astype("datetime64[s]").astype(np.int64))
    if not (gaps == gaps[0]).all() or gaps[0] <= 0:
        k = int(np.argmax((gaps != gaps[0]) | (gaps <= 0))) + 1
        raise ForcingError(f"{path}: its records are not evenly spaced: see {times[k]}")
    return float(gaps[0])


def times_of(variable: netCDF4.Variable, path: str) -> NDArray[np.datetime64]:
    """Times of a CF time variable; ForcingError if it is none."""
    units = getattr(variable, "units", "")
    calendar = getattr(variable, "calendar", "standard")
    try:
        dates: Any = netCDF4.num2date(variable[:], units, calendar, only_use_cftime_datetimes=False)
    except ValueError as problem:
        raise ForcingError(f"{path}: variable 'time': {problem}") from problem
    return np.array([np.datetime64(d.replace(tzinfo=None), "s") for d in np.atleast_1d(dates)])
