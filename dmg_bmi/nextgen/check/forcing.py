"""What `ngen` would silently make of forcing files, found before a run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...io.ngen_forcing import HOUR, CsvFolder, Forcing
from .findings import Findings
from .weather import examine

#: Catchments whose values are looked at together.
BLOCK = 500


def lacking(forcing: Forcing) -> str:
    """What it means that catchments have no forcing."""
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
    period: tuple[np.datetime64, np.datetime64] | None,
    gaps: bool,
    findings: Findings,
) -> None:
    """Examine ids, times and values of the columns that are used.

    Parameters
    ----------
    forcing : Forcing
    columns : sequence of str
    ids : sequence of str
        Catchments of the run.
    period : pair of datetime64, optional
        Begin of the first and end of the last step.
    gaps : bool
        Whether NaN may be there.
    findings : Findings
    """
    stop = findings.stop
    absent = forcing.absent(ids)
    if absent:
        stop(forcing.path, lacking(forcing), absent)
    times, steps = forcing.times, np.diff(forcing.times)
    if len(times) > 1 and (steps != HOUR).any():
        k = int(np.argmax(steps != HOUR))
        stop(
            forcing.path,
            f"records are not an hour apart (see {times[k]}): ngen handles hourly records alone rightly; "
            "daily ones are consumed one per hour, or multiplied by up to 2",
        )
    if period is not None:
        begin, end = period
        if times[0] > begin:
            stop(forcing.path, f"begins {times[0]}, after the run's start {begin}")
        if times[-1] + HOUR < end:
            stop(
                forcing.path,
                f"ends {times[-1]}; ngen includes its end_time and asks for a record of {end - HOUR}",
            )
    gone = {*absent}
    present = [i for i in ids if i not in gone]
    for column in columns:
        if not forcing.units[column]:
            stop(forcing.path, f"{column} has no units, so ngen takes them as 1 and converts nothing")
        empty: list[str] = []
        unlikely, rounded = "", 0
        for k in range(0, len(present), BLOCK):
            block = present[k : k + BLOCK]
            values = forcing.read(column, block).copy()
            empty += [block[j] for j in np.flatnonzero(np.isnan(values).any(1)).tolist()]
            problem, count = examine(column, forcing.units[column], values, block, times)
            unlikely, rounded = unlikely or problem, rounded + count
        if unlikely:
            stop(forcing.path, unlikely)
        if rounded:
            findings.note(
                forcing.path,
                f"{column}: {rounded} values below zero by rounding, which ngen hands on; set them to zero, "
                "or let the component read its own forcing",
            )
        if empty and not gaps:
            stop(
                forcing.path,
                f"{column} has gaps: fill them, or set missing_forcing: hold in the shared configuration",
                empty,
            )
    if isinstance(forcing, CsvFolder):
        for name, problem in forcing.problems.items():
            stop(forcing.files[name], problem, (name,))
