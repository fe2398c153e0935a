"""Series of many basins from their files into arrays, in memory or mapped from disk.

What is larger than memory is kept as one file per variable, a basin's steps side by side, and read
where a window or a basin needs it. All that takes a :class:`~dmg_bmi.io.timeseries.BasinDataset` takes both.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...arrays import FloatArray, FloatingArray, TimeArray
from ...errors import ForcingError
from ...io.atomic import create, locked, make_folder
from ...io.files import canonical, mapped, sha256
from ...io.timeseries import BasinDataset
from ...runtime.catchments import FILLS

log = logging.getLogger(__name__)

Missing = Literal["error", "interpolate", "leave_out"]
Series = Mapping[str, FloatingArray]


@dataclass(frozen=True)
class Chunk:
    """Part of a source.

    Parameters
    ----------
    basins, steps : slice or ndarray of int
        Its place; one of them is a slice.
    values : mapping of name to ndarray ``[basins, steps]``
    """

    basins: slice
    steps: slice | NDArray[np.intp]
    values: Series


@dataclass(frozen=True)
class Source:
    """Files of one layout, read piece by piece.

    Parameters
    ----------
    ids, times, step, attributes, units
        Of the dataset that it makes (see :class:`~dmg_bmi.io.timeseries.BasinDataset`).
    forcings, targets : tuple of str
        Names of its series.
    pieces : callable
        Reads the files; what no piece says is missing.
    files : tuple of Path
        That it reads.
    options : mapping of str to str
        What else its series depend on.
    """

    ids: tuple[str, ...]
    times: TimeArray
    step: float
    attributes: dict[str, FloatingArray]
    units: Mapping[str, str]
    forcings: tuple[str, ...]
    targets: tuple[str, ...]
    pieces: Callable[[], Iterator[Chunk]]
    files: tuple[Path, ...]
    options: Mapping[str, str]

    def fingerprint(self, missing: Missing) -> str:
        """Changes with its files and with everything that its series depend on."""
        stats = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in self.files]
        names = [*self.ids], [*self.forcings], [*self.targets]
        period = str(self.times[0]), len(self.times), self.step
        return sha256(canonical([stats, names, period, dict(self.options), missing]))[:16]


def gather(source: Source, missing: Missing = "error", cache: str | Path | None = None) -> BasinDataset:
    """All of a source as a dataset.

    Parameters
    ----------
    source : Source
    missing : {"error", "interpolate", "leave_out"}
        ``interpolate`` fills gaps within each forcing series linearly in time and reports how many
        steps; otherwise they stay NaN.
    cache : path, optional
        Folder for arrays mapped from disk, in float32, for data larger than memory. It is
        filled once; a change of the source's files fills another folder within.
    """
    shape = (len(source.ids), len(source.times))
    names = (*source.forcings, *source.targets)
    if cache is None:
        series = {name: np.full(shape, np.nan) for name in names}
        _fill(series, source, missing)
    else:
        folder = Path(cache) / source.fingerprint(missing)
        if not folder.is_dir():
            _write(folder, source, missing)
        series = {name: _cached(folder / f"{name}.npy", shape) for name in names}
    return BasinDataset(
        ids=source.ids,
        times=source.times,
        step=source.step,
        forcing={name: series[name].T for name in source.forcings},
        attributes=source.attributes,
        target={name: series[name].T for name in source.targets},
        units=source.units,
    )


def _cached(file: Path, shape: tuple[int, int]) -> FloatingArray:
    remedy = f"remove the folder {file.parent}, which is then filled anew"
    try:
        series = mapped(file, ForcingError)
    except ForcingError as problem:
        raise ForcingError(f"{problem}; {remedy}") from problem
    if series.shape != shape or series.dtype != np.float32:
        raise ForcingError(f"{file}: is torn; {remedy}")
    return series


def _write(folder: Path, source: Source, missing: Missing) -> None:
    """The folder whole or not at all; of several processes the first writes it."""
    shape = (len(source.ids), len(source.times))
    names = (*source.forcings, *source.targets)
    size = 4 * shape[0] * shape[1] * len(names)
    log.info("%s: %.1f GB of series are written, for this data once", folder, size / 1e9)
    make_folder(folder.parent)
    with locked(folder, patience=inf) as workspace:
        if folder.is_dir():
            return
        new = workspace / "new"
        new.mkdir()
        if shutil.disk_usage(new).free < size:
            raise ForcingError(f"{folder}: {size / 1e9:.1f} GB are needed; choose another data.cache")
        series: dict[str, FloatingArray] = {}
        for name in names:
            series[name] = np.lib.format.open_memmap(new / f"{name}.npy", "w+", np.float32, shape)
            for row in range(shape[0]):
                series[name][row] = np.nan
        _fill(series, source, missing)
        about = {"basins": [*source.ids], "options": dict(source.options), "units": dict(source.units)}
        create(new / "about.json", json.dumps(about, indent=1).encode("utf-8"))
        new.rename(folder)


def _fill(series: Series, source: Source, missing: Missing) -> None:
    for piece in source.pieces():
        for name, values in piece.values.items():
            series[name][piece.basins, piece.steps] = values
            if np.isinf(values).any():
                _refuse_infinite(series[name], name, source)
    if missing != "interpolate":
        return
    for row, basin in enumerate(source.ids):
        filled = {name: interpolate(series[name][row]) for name in source.forcings}
        said = ", ".join(f"{count} of {name}" for name, count in filled.items() if count)
        if said:
            log.warning("basin %s: steps interpolated: %s", basin, said)


def _refuse_infinite(series: FloatingArray, name: str, source: Source) -> None:
    row, step = np.argwhere(np.isinf(series))[0]
    raise ForcingError(
        f"{name} of basin {source.ids[row]} is infinite on {source.times[step]}; correct it in the file, "
        "or leave the value empty if it is missing"
    )


def without_fills(values: FloatArray, where: str) -> FloatArray:
    """Values with NaN where a number such as -9999 stands for a missing one; `where` is told of it."""
    marked = np.isin(values, FILLS)
    if not marked.any():
        return values
    shown = ", ".join(f"{number:g}" for number in np.unique(values[marked]))
    log.warning("%s: %d values are %s, and taken as missing", where, marked.sum(), shown)
    return np.where(marked, np.nan, values)


def interpolate(values: FloatingArray) -> int:
    """Fill gaps ``[time]`` linearly, in place; those at the ends stay. Returns how many steps."""
    there = np.flatnonzero(np.isfinite(values))
    if not len(there):
        return 0
    within = slice(there[0], there[-1] + 1)
    gaps = np.flatnonzero(~np.isfinite(values[within])) + there[0]
    values[gaps] = np.interp(gaps, there, values[there])
    return len(gaps)
