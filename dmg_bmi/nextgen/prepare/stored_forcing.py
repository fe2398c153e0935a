"""Stored forcing, which components read themselves, made from NextGen's files."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ...errors import NextGenError
from ...findings import listed
from ...io.atomic import replacing_folder
from ...io.ngen_forcing import HOUR, Forcing
from ...progress import progress
from ...runtime.config import MissingForcing
from ...runtime.forcing.stored import INDEX, write_index
from ..check.forcing import lacking
from ..check.weather import examine

log = logging.getLogger("dmg_bmi")
#: Names in the folder of a store, and their pattern.
STORE = ((INDEX,), "*.npy")
#: Catchments read at once.
BLOCK = 500


def write_store(
    folder: Path,
    forcing: Forcing,
    columns: Mapping[str, str],
    ids: Sequence[str],
    start: np.datetime64,
    end: np.datetime64,
    last: np.datetime64,
    missing: MissingForcing = "error",
) -> None:
    """Copy hourly forcing into plain arrays, from the start of a run to the end of its last model step.

    Parameters
    ----------
    folder : Path
    forcing : Forcing
    columns : mapping of name in the store to column of the forcing
    ids : sequence of str
        Catchments, in the order of the arrays.
    start, end : datetime64
        The run covers ``[start, end)``.
    last : datetime64
        End of the model step in which the run ends.
    missing : {"error", "hold"}
        Whether NaN is refused, or stays for components to repeat the last value.

    Raises
    ------
    NextGenError
        If the forcing does not cover the period, or has NaN that is refused.
    """
    if absent := forcing.absent(ids):
        raise NextGenError(f"{forcing.path}: {lacking(forcing)}: {listed(absent)}")
    period = _records(forcing, start, end, last)
    # Of the last model step there may be no more than the run needs.
    partial = period.stop - period.start < int((last - start) / HOUR)
    files = {name: f"{name.replace('~', '-')}.npy" for name in columns}
    with replacing_folder(folder, *STORE) as new:
        _fill(new, forcing, columns, files, ids, period, missing)
        variables = {
            name: {"file": files[name], "units": forcing.units[column]} for name, column in columns.items()
        }
        write_index(new, ids, start, variables, partial)


def _records(forcing: Forcing, start: np.datetime64, end: np.datetime64, last: np.datetime64) -> slice:
    """Return which records are stored: every hour of the run, and on to `last` as far as there are any."""
    first = int(np.searchsorted(forcing.times, start))
    part = forcing.times[first : first + int((last - start) / HOUR)]
    if not len(part) or part[0] != start or part[-1] < end - HOUR or (np.diff(part) != HOUR).any():
        raise NextGenError(
            f"{forcing.path}: covers {forcing.times[0]} to {forcing.times[-1]}; required is every hour from "
            f"{start} to before {end}"
        )
    return slice(first, first + len(part))


def _fill(
    folder: Path,
    forcing: Forcing,
    columns: Mapping[str, str],
    files: Mapping[str, str],
    ids: Sequence[str],
    period: slice,
    missing: MissingForcing,
) -> None:
    shape = (period.stop - period.start, len(ids))
    arrays = {
        name: np.lib.format.open_memmap(folder / file, mode="w+", dtype=np.float32, shape=shape)
        for name, file in files.items()
    }
    for file in files.values():
        _reserve(folder / file)
    rounded = dict.fromkeys(columns.values(), 0)
    with progress(len(ids), "forcing", "catchment") as bar:
        for begin in range(0, len(ids), BLOCK):
            chosen = ids[begin : begin + BLOCK]
            for name, column in columns.items():
                values = forcing.read(column, chosen)[:, period]
                empty = np.isnan(values).any(1)
                if empty.any() and missing == "error":
                    names = [chosen[k] for k in np.flatnonzero(empty).tolist()]
                    raise NextGenError(
                        f"{forcing.path}: {column} is missing (NaN) in {listed(names)}; fill it, or choose "
                        "--missing-forcing hold to repeat the last value"
                    )
                problem, count = examine(column, forcing.units[column], values, chosen, forcing.times[period])
                if problem:
                    raise NextGenError(f"{forcing.path}: {problem}")
                rounded[column] += count
                arrays[name][:, begin : begin + len(chosen)] = values.T
            bar.update(len(chosen))
    for array in arrays.values():
        array.flush()
    for column, count in rounded.items():
        if count:
            log.info("%s: %s: %d values below zero by rounding became zero", forcing.path, column, count)


def _reserve(path: Path) -> None:
    """Allocate a file's space now: filling a mapped array on a full disk would end the process (SIGBUS)."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as problem:
            if problem.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise
