"""Forecasts of many catchments as CF NetCDF: by reference time, lead time and catchment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import netCDF4
import numpy as np

from .. import __version__
from ..arrays import FloatArray, TimeArray
from .atomic import make_folder, replacing
from .netcdf import EPOCH

AXES = ("reference_time", "lead_time", "catchment")


def write(
    path: str | Path,
    ids: Sequence[str],
    issued: TimeArray,
    step: float,
    series: Mapping[str, tuple[FloatArray, str]],
    **attributes: str,
) -> None:
    """Write forecasts, whole or not at all.

    Parameters
    ----------
    path : path
    ids : sequence of str
    issued : ndarray of datetime64[s] ``[issues]``
        Begin of the first step that is forecast.
    step : float
        Seconds; a lead time lies at the end of its step.
    series : mapping of name to (values, meaning)
        Values ``[issues, leads, catchments]`` in mm per step.
    **attributes : str
        Of the file.
    """
    leads = next(iter(series.values()))[0].shape[1]
    make_folder(Path(path).parent)
    with replacing(Path(path)) as temporary, netCDF4.Dataset(temporary, "w", format="NETCDF4") as data:
        data.setncatts(
            {
                "Conventions": "CF-1.11",
                "source": f"dmg_bmi {__version__}",
                "history": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} written by dmg_bmi",
                **attributes,
            }
        )
        for axis, length in zip(AXES, (len(issued), leads, len(ids)), strict=True):
            data.createDimension(axis, length)
        catchment = data.createVariable("catchment", str, ("catchment",))
        catchment.setncatts({"cf_role": "timeseries_id", "long_name": "catchment"})
        catchment[:] = np.array(ids, dtype=object)
        _create_times(data, issued.astype("datetime64[s]").astype(np.int64), step, leads)
        for name, (values, meaning) in series.items():
            variable = data.createVariable(
                name, "f4", AXES, fill_value=np.float32(np.nan), compression="zlib"
            )
            variable.setncatts({"units": "mm", "long_name": meaning, "coordinates": "time"})
            variable[:] = values


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
