"""Faults of forcing files that `ngen` would pass over in silence, found before a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...findings import Findings
from ...io.ngen_forcing import HOUR, CsvFolder, Forcing
from ...runtime.config import MissingForcing
from .context import Period
from .weather import examine

#: Catchments whose values are examined together.
BLOCK = 500


def lacking(forcing: Forcing) -> str:
    """Return what it means that catchments have no forcing, for a message."""
    if isinstance(forcing, CsvFolder):
        return "there are no files for them"
    return (
        f"has no such ids, but such as {forcing.ids[0]!r}; ngen gives them silently the values of the file's "
        "first catchment"
    )


def check_forcing(
    forcing: Forcing,
    columns: Sequence[str],
    ids: Sequence[str],
    period: Period | None,
    missing: MissingForcing,
    findings: Findings,
) -> None:
    """Examine ids, times and values of the columns that are used.

    Parameters
    ----------
    forcing : Forcing
    columns : sequence of str
    ids : sequence of str
        Catchments of the run.
    period : Period, optional
    missing : {"error", "hold"}
        Whether NaN is an error.
    findings : Findings
    """
    absent = forcing.absent(ids)
    if absent:
        findings.error(forcing.path, lacking(forcing), absent)
    _check_times(forcing, period, findings)
    without = {*absent}
    present = [i for i in ids if i not in without]
    for column in columns:
        _check_column(forcing, column, present, missing, findings)
    for file, fault, catchments in forcing.misread():
        findings.error(file, fault, catchments)


def _check_times(forcing: Forcing, period: Period | None, findings: Findings) -> None:
    times, steps = forcing.times, np.diff(forcing.times)
    if len(times) > 1 and (steps != HOUR).any():
        k = int(np.argmax(steps != HOUR))
        findings.error(
            forcing.path,
            f"records are not an hour apart (see {times[k]}), and ngen reads only hourly records correctly: "
            "daily ones are consumed one per hour, or multiplied by up to 2",
        )
    if period is None:
        return
    start, end = period
    if times[0] > start:
        findings.error(forcing.path, f"begins {times[0]}, after the run's start {start}")
    if times[-1] + HOUR < end:
        findings.error(
            forcing.path,
            f"ends {times[-1]}; ngen includes its end_time and asks for a record of {end - HOUR}",
        )


def _check_column(
    forcing: Forcing, column: str, ids: Sequence[str], missing: MissingForcing, findings: Findings
) -> None:
    units = forcing.units[column]
    if not units:
        findings.error(forcing.path, f"{column} has no units, so ngen takes them as 1 and converts nothing")
    empty: list[str] = []
    unlikely, rounded = "", 0
    for k in range(0, len(ids), BLOCK):
        block = ids[k : k + BLOCK]
        values = forcing.read(column, block).copy()
        empty += [block[j] for j in np.flatnonzero(np.isnan(values).any(1)).tolist()]
        problem, count = examine(column, units, values, block, forcing.times)
        unlikely, rounded = unlikely or problem, rounded + count
    if unlikely:
        findings.error(forcing.path, unlikely)
    if rounded:
        findings.warning(
            forcing.path,
            f"{column}: {rounded} values below zero by rounding, which ngen passes on; set them to zero, "
            "or use stored forcing",
        )
    if empty and missing == "error":
        findings.error(
            forcing.path,
            f"{column} is missing (NaN): fill it, or set missing_forcing: hold in the shared configuration",
            empty,
        )
