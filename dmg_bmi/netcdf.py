"""Series of many catchments as CF NetCDF: forcing in, outputs out.

The layout is CF's ``timeSeries``: dimensions ``time`` and ``catchment``, the ids as the string
variable ``catchment``, ``time`` at the start of each step with its bounds. Imported only
offline and by the command line: a NetCDF wheel loaded within ngen crashes it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np
from numpy.typing import NDArray

from . import __version__
from .dataset import Dataset
from .errors import DmgBmiError, ForcingError
from .physics.contract import Aggregation

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
    """Read a file of this layout; observations are marked by ``role = "target"``.

    Raises
    ------
    ForcingError
        Naming the file and what is missing.
    """
    forcing: dict[str, NDArray[np.floating]] = {}
    target: dict[str, NDArray[np.floating]] = {}
    attributes: dict[str, NDArray[np.floating]] = {}
    units: dict[str, str] = {}
    try:
        with netCDF4.Dataset(path) as data:
            for name in ("time", "catchment"):
                if name not in data.variables or name not in data.dimensions:
                    raise ForcingError(f"{path}: has no dimension and variable {name!r}")
            ids = tuple(str(i) for i in data["catchment"][:])
            times = _times(data["time"], str(path))
            for name, variable in data.variables.items():
                units[name] = getattr(variable, "units", "")
                if name != "catchment" and variable.dimensions == ("catchment",):
                    attributes[name] = np.ma.filled(variable[:].astype(np.float64), np.nan)
                elif set(variable.dimensions) == {"time", "catchment"}:
                    array = np.ma.filled(variable[:].astype(np.float64), np.nan)
                    array = array if variable.dimensions[0] == "time" else array.T
                    kind = target if getattr(variable, "role", "") == "target" else forcing
                    kind[name] = array
    except (OSError, IndexError, RuntimeError) as problem:
        raise ForcingError(f"{path}: cannot be read as NetCDF: {problem}") from problem
    return Dataset(ids, times, _step(times, str(path)), forcing, attributes, target, units)


def write(path: str | Path, dataset: Dataset, **attributes: str) -> None:
    """Write a dataset whole: forcing, observations, attributes."""
    names = [*dataset.forcing, *dataset.target]
    columns = {name: Column(dataset.units.get(name, "1")) for name in names}
    with Writer(path, dataset.ids, columns, dataset.step, **attributes) as writer:
        for name, values in dataset.attributes.items():
            writer.attribute(name, values, dataset.units.get(name, "1"))
        for name in dataset.target:
            writer.data[name].role = "target"
        writer.append(dataset.times, {**dataset.forcing, **dataset.target})


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
        self._partial = self.path.with_name(f".{self.path.name}.{os.getpid()}.part")
        self._step = step
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.data = netCDF4.Dataset(self._partial, "w", format="NETCDF4")
        except OSError as problem:
            raise DmgBmiError(f"{self.path}: cannot be written ({problem.strerror or problem})") from problem
        self._define(ids, columns, attributes)

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
        for name, column in columns.items():
            variable = data.createVariable(
                name, "f8", ("time", "catchment"), fill_value=np.nan, compression="zlib", complevel=1
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
        self.data.close()
        if kind is None:
            os.replace(self._partial, self.path)
        else:
            self._partial.unlink(missing_ok=True)


def _step(times: NDArray[np.datetime64], path: str) -> float:
    if len(times) < 2:
        raise ForcingError(f"{path}: needs at least two records to tell its step")
    gaps = np.diff(times.astype("datetime64[s]").astype(np.int64))
    if not (gaps == gaps[0]).all() or gaps[0] <= 0:
        k = int(np.argmax((gaps != gaps[0]) | (gaps <= 0))) + 1
        raise ForcingError(f"{path}: its records are not evenly spaced: see {times[k]}")
    return float(gaps[0])


def _times(variable: netCDF4.Variable, path: str) -> NDArray[np.datetime64]:
    units = getattr(variable, "units", "")
    calendar = getattr(variable, "calendar", "standard")
    try:
        dates: Any = netCDF4.num2date(variable[:], units, calendar, only_use_cftime_datetimes=False)
    except ValueError as problem:
        raise ForcingError(f"{path}: variable 'time': {problem}") from problem
    return np.array([np.datetime64(d.replace(tzinfo=None), "s") for d in np.atleast_1d(dates)])
