"""A store of forcing for components that read their own, made from NextGen's files."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ...errors import NextGenError
from ...io.atomic import replacing_folder
from ...io.ngen_forcing import HOUR, Forcing
from ...runtime.forcing.stored import INDEX, write_index
from ..check.findings import listed
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
    whole: np.datetime64,
    gaps: bool = False,
) -> None:
    """Copy hourly forcing of ``[start, end)``, and on to the end of the last model step, into plain arrays.

    Parameters
    ----------
    folder : Path
    forcing : Forcing
    columns : mapping of name in the store to column of the forcing
    ids : sequence of str
        Catchments, in the order of the arrays.
    start, end : datetime64
        Of the run.
    whole : datetime64
        End of the model step in which the run ends.
    gaps : bool
        Whether NaN may stay.

    Raises
    ------
    NextGenError
        If the forcing does not cover the period, or has gaps that must not be.
    """
    if absent := forcing.absent(ids):
        raise NextGenError(f"{forcing.path}: {lacking(forcing)}: {listed(absent)}")
    first = int(np.searchsorted(forcing.times, start))
    count = int((whole - start) / HOUR)
    part = forcing.times[first : first + count]
    # Of the last model step there may be no more than the run needs.
    partial = len(part) < count
    if not len(part) or part[0] != start or part[-1] < end - HOUR or (np.diff(part) != HOUR).any():
        raise NextGenError(
            f"{forcing.path}: holds {forcing.times[0]} to {forcing.times[-1]}; needed is every hour from "
            f"{start} to before {end}"
        )
    count = len(part)
    files = {name: f"{_file(name)}.npy" for name in columns}
    with replacing_folder(folder, *STORE) as new:
        _fill(new, forcing, columns, files, ids, slice(first, first + count), gaps)
        variables = {
            name: {"file": files[name], "units": forcing.units[column]} for name, column in columns.items()
        }
        write_index(new, ids, start, variables, partial)


def _fill(
    folder: Path,
    forcing: Forcing,
    columns: Mapping[str, str],
    files: Mapping[str, str],
    ids: Sequence[str],
    period: slice,
    gaps: bool,
) -> None:
    shape = (period.stop - period.start, len(ids))
    arrays = {
        name: np.lib.format.open_memmap(folder / file, mode="w+", dtype=np.float32, shape=shape)
        for name, file in files.items()
    }
    for file in files.values():
        _reserve(folder / file)
    rounded = dict.fromkeys(columns.values(), 0)
    with tqdm(total=len(ids), unit="catchment", desc="forcing") as bar:
        for begin in range(0, len(ids), BLOCK):
            chosen = ids[begin : begin + BLOCK]
            for name, column in columns.items():
                values = forcing.read(column, chosen)[:, period]
                empty = np.isnan(values).any(1)
                if empty.any() and not gaps:
                    missing = [chosen[k] for k in np.flatnonzero(empty).tolist()]
                    raise NextGenError(
                        f"{forcing.path}: {column} has gaps in {listed(missing)}; fill them, or choose "
                        "--gaps hold to repeat the last value"
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
    """Take a file's room now: a disk that is full when a mapped array is filled ends the process (SIGBUS)."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as problem:
            if problem.errno not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
                raise


def _file(name: str) -> str:
    return name.replace("~", "-")
