"""Observed flow of catchments from a file, as depths of the steps of a model or of a framework."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ...arrays import FloatArray, TimeArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io import netcdf
from ...io.units import conversion
from ...model.variables import FLOW, RUNOFF
from ..catchments import CatchmentTable

#: Names of observed flow: as depth, and over the area of the catchment.
NAMES = ("Q", RUNOFF, "discharge", FLOW)


def read(path: str | Path, table: CatchmentTable, times: TimeArray, step: float) -> FloatArray:
    """Read observed flow of the catchments of a table, mm per step, ``[time, catchments]``.

    Parameters
    ----------
    path : path
        A file of the layout of :mod:`dmg_bmi.io.netcdf` with one series of :data:`NAMES`, as a depth or as
        flow. Its records may be shorter than the steps, which then have the mean of those that are there,
        or longer.
    table : CatchmentTable
    times : ndarray of datetime64[s] ``[time]``
        Begins of the steps.
    step : float
        Seconds.

    Returns
    -------
    ndarray
        NaN where nothing was observed: of a catchment that the file lacks, throughout.

    Raises
    ------
    ForcingError
        If the file holds no such series or none of the catchments, or a flow that needs an area.
    """
    with netcdf.Reader(path) as data:
        name, scale = _series(data, str(path))
        columns = {i: k for k, i in enumerate(data.ids)}
        present = [row for row, i in enumerate(table.ids) if i in columns]
        if not present:
            raise ForcingError(f"{path}: has none of the catchments; {alternatives(table.ids[0], data.ids)}")
        chosen = [columns[table.ids[row]] for row in present]
        if _is_flow(data.units[name]):
            area = table.area[present]
            if np.isnan(area).any():
                missing = table.ids[present[int(np.argmax(np.isnan(area)))]]
                raise ForcingError(
                    f"{path}: {name} is in {data.units[name]}, so catchment {missing!r} needs an area "
                    "(area_km2)"
                )
            scale = scale / (area * 1e3)  # m3 s-1 over km2 is mm s-1
        part = _covering(data.times, data.step, times, step)
        values = data.series(name, part, slice(min(chosen), max(chosen) + 1))
        rate = values[:, np.array(chosen) - min(chosen)].astype(np.float64) * scale
        observed = np.full((len(times), len(table.ids)), np.nan)
        observed[:, present] = _over_steps(rate, data.times[part], data.step, times, step) * step
    return observed


def _covering(records: TimeArray, length: float, times: TimeArray, step: float) -> slice:
    """Return the records that lie in steps, or that these lie in."""
    first, last = (
        np.searchsorted(records, times[0] - np.timedelta64(round(length), "s"), side="right"),
        np.searchsorted(records, times[-1] + np.timedelta64(round(step), "s"), side="left"),
    )
    return slice(int(first), max(int(first), int(last)))


def _series(data: netcdf.Reader, path: str) -> tuple[str, FloatArray | float]:
    """Return the observed series, and what its values are to be multiplied by for mm s-1 or m3 s-1."""
    held = [*data.forcings, *data.targets]
    found = [name for name in NAMES if name in held]
    if len(found) != 1:
        wrong = f"holds observed flow as {' and '.join(found)}; keep one" if found else "has no observed flow"
        raise ForcingError(f"{path}: {wrong}; it is named {', '.join(NAMES)}")
    units = data.units[found[0]]
    try:
        if _is_flow(units):
            scale = conversion(units, "m3 s-1")[0]
        else:
            scale = netcdf.to_standard("Q", units, data.step)[0] / data.step
    except ConfigError as problem:
        raise ForcingError(f"{path}: {found[0]}: {problem}") from problem
    return found[0], scale


def _is_flow(units: str) -> bool:
    """Tell whether units measure volume in time."""
    try:
        conversion(units, "m3 s-1")
    except ConfigError:
        return False
    return True


def _over_steps(
    rate: FloatArray, of_records: TimeArray, length: float, times: TimeArray, step: float
) -> FloatArray:
    """Return the mean of the records within each step, or that of the one that the step lies in."""
    begin = times.astype("datetime64[s]").astype(np.int64)
    records = of_records.astype("datetime64[s]").astype(np.int64)
    first = np.searchsorted(records, begin, side="left" if length < step else "right")
    first = first if length < step else first - 1
    last = np.searchsorted(records, begin + step, side="left")
    means = np.full((len(times), rate.shape[1]), np.nan)
    for k, (low, high) in enumerate(zip(first, last, strict=True)):
        part = rate[max(low, 0) : high]
        if length >= step:
            part = part[:1] if low >= 0 and begin[k] + step <= records[low] + length else part[:0]
        known = np.isfinite(part)
        total = np.where(known, part, 0.0).sum(0)
        np.divide(total, known.sum(0), out=means[k], where=known.any(0))
    return means
