"""Forecasts of many catchments as CF NetCDF: by reference time, lead time, member and catchment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np

from .. import __version__
from ..arrays import FloatArray, FloatingArray, TimeArray
from ..errors import ConfigError, ForcingError
from .atomic import make_folder, replacing
from .netcdf import EPOCH
from .netcdf_file import NetcdfReader, created, ids_of, part_of, times_of
from .units import conversion

#: Values that are compressed together.
CHUNK = 2**18
AXES = ("reference_time", "lead_time", "realization", "catchment")


@dataclass(frozen=True)
class ForecastSeries:
    """A forecast quantity.

    Parameters
    ----------
    values : ndarray ``[issues, leads, catchments]`` or ``[issues, leads, realizations, catchments]``
    meaning : str
    units : str
    standard_name : str
        Of CF's table, where it has one.
    quantile : float, optional
        Level, of a quantile.
    """

    values: FloatingArray
    meaning: str
    units: str = "mm"
    standard_name: str = ""
    quantile: float | None = None


def write(
    path: str | Path,
    ids: Sequence[str],
    issued: TimeArray,
    step: float,
    series: Mapping[str, ForecastSeries],
    lags: Sequence[float] = (),
    **attributes: str,
) -> None:
    """Write forecasts, whole or not at all; equal forecasts make equal bytes.

    Parameters
    ----------
    path : path
    ids : sequence of str
    issued : ndarray of datetime64[s] ``[issues]``
        Begin of the first step that is forecast.
    step : float
        Seconds; a lead time lies at the end of its step.
    series : mapping of name to ForecastSeries
        With realizations, or without.
    lags : sequence of float
        Of each realization, if there are any: seconds from its analysis to the reference time.
    **attributes : str
        Of the file.
    """
    # Of whole ensembles and what is derived of them the ensembles tell how many members there are.
    shape = max((one.values.shape for one in series.values()), key=len)
    axes = _axes(len(shape))
    make_folder(Path(path).parent)
    with replacing(Path(path)) as temporary, created(temporary, Path(path)) as data:
        # No time of writing: a run that was killed resumes to the same bytes.
        data.setncatts(
            {"Conventions": "CF-1.11", "source": f"dmg_bmi {__version__}", "history": "written by dmg_bmi"}
            | attributes
        )
        for axis, length in zip(axes, shape, strict=True):
            data.createDimension(axis, None if axis == "reference_time" else length)
        catchment = data.createVariable("catchment", str, ("catchment",))
        catchment.setncatts({"cf_role": "timeseries_id", "long_name": "catchment"})
        catchment[:] = np.array(ids, dtype=object)
        _create_times(data, issued.astype("datetime64[s]").astype(np.int64), step, shape[1])
        if "realization" in axes:
            _create_realizations(data, shape[2], lags)
        for name, one in series.items():
            of_one, shape = _axes(one.values.ndim), one.values.shape
            chunk = (min(shape[0], max(1, CHUNK // int(np.prod(shape[1:])))), *shape[1:])
            variable = data.createVariable(
                name,
                "f4",
                of_one,
                fill_value=np.float32(np.nan),
                compression="zlib",
                complevel=1,
                chunksizes=chunk,
            )
            located = "time lag" if lags and "realization" in of_one else "time"
            variable.setncatts({"units": one.units, "long_name": one.meaning, "coordinates": located})
            if one.standard_name:
                variable.standard_name = one.standard_name
            if one.quantile is not None:
                variable.quantile = one.quantile
            variable[:] = one.values


def _axes(count: int) -> tuple[str, ...]:
    return AXES if count == len(AXES) else tuple(axis for axis in AXES if axis != "realization")


def _create_realizations(data: netCDF4.Dataset, count: int, lags: Sequence[float]) -> None:
    """Create the numbers of the members, and how old their analyses are."""
    realization = data.createVariable("realization", "i4", ("realization",))
    realization.setncatts({"standard_name": "realization", "long_name": "number of the member", "units": "1"})
    realization[:] = np.arange(count)
    if lags:
        lag = data.createVariable("lag", "f8", ("realization",))
        lag.setncatts({"long_name": "time from the member's analysis to the reference time", "units": "s"})
        lag[:] = lags


def _create_times(data: netCDF4.Dataset, issued: np.ndarray, step: float, leads: int) -> None:
    """Create reference times, lead times, and the time for which each forecast holds."""
    of_date = {"units": EPOCH, "calendar": "standard", "units_metadata": "leap_seconds: none"}
    reference = data.createVariable("reference_time", "f8", ("reference_time",))
    reference.setncatts({"standard_name": "forecast_reference_time", "long_name": "time of issue", **of_date})
    reference[:] = issued
    lead = data.createVariable("lead_time", "f8", ("lead_time",))
    lead.setncatts({"standard_name": "forecast_period", "long_name": "end of the step", "units": "s"})
    ahead = (1 + np.arange(leads)) * step
    lead[:] = ahead
    time = data.createVariable("time", "f8", ("reference_time", "lead_time"))
    time.setncatts({"standard_name": "time", "long_name": "end of the step that is forecast", **of_date})
    time[:] = issued[:, None] + ahead


class ForecastReader(NetcdfReader):
    """Forecast weather, read issue by issue: the layout of :func:`write`, its axes in any order.

    Attributes
    ----------
    ids : tuple of str
    issued : ndarray of datetime64[s] ``[issues]``
    step : float
        Seconds from one lead to the next; the first lead is the end of the first step.
    leads, realizations : int
        A file without members has one.
    units : dict of str to str
        Of each series.

    Raises
    ------
    ForcingError
        Naming the file and what is missing.
    """

    def _describe(self) -> None:
        variables, required = self.data.variables, {"reference_time", "lead_time", "catchment"}
        for name in sorted(required):
            if name not in variables or variables[name].dimensions[:1] != (name,):
                raise ForcingError(f"{self.path}: has no dimension and variable {name!r}")
        self.ids = ids_of(variables["catchment"], self.path)
        self.issued = times_of(variables["reference_time"], self.path)
        if len({*self.issued.tolist()}) != len(self.issued):
            raise ForcingError(f"{self.path}: a reference_time appears twice")
        self.leads, self.step = self._lead_times()
        dimensions = self.data.dimensions
        self.realizations = len(dimensions["realization"]) if "realization" in dimensions else 1
        self.units = {
            name: str(getattr(variable, "units", ""))
            for name, variable in variables.items()
            if required <= {*variable.dimensions} <= {*AXES}
        }

    def _lead_times(self) -> tuple[int, float]:
        variable = self.data["lead_time"]
        try:
            scale, _ = conversion(str(getattr(variable, "units", "")), "s")
        except ConfigError as problem:
            raise ForcingError(f"{self.path}: lead_time: {problem}") from problem
        leads: FloatArray = np.ma.filled(
            np.ma.asarray(part_of(variable, slice(None), self.path, ForcingError)).astype(float), np.nan
        )
        seconds = leads * scale
        if not len(seconds) or not np.allclose(seconds, seconds[0] * (1 + np.arange(len(seconds)))):
            raise ForcingError(
                f"{self.path}: lead_time must be the ends of equal steps from the reference time on, such as "
                f"1, 2, 3 d; it begins {', '.join(f'{s:g}' for s in seconds[:3])} s"
            )
        return len(seconds), float(seconds[0])

    def series(self, name: str, issue: int) -> FloatArray:
        """Read the series of one issue, ``[leads, realizations, catchments]``."""
        variable = self.data[name]
        part = tuple(issue if axis == "reference_time" else slice(None) for axis in variable.dimensions)
        found = part_of(variable, part, self.path, ForcingError)
        values: FloatArray = np.ma.filled(np.ma.asarray(found).astype(np.float64), np.nan)
        axes: list[Any] = [axis for axis in variable.dimensions if axis != "reference_time"]
        if "realization" not in axes:
            axes.append("realization")
            values = values[..., None]
        return values.transpose([axes.index(axis) for axis in AXES[1:]])
