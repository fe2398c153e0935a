"""Series of many basins from their files into arrays, in memory or mapped from disk.

Data larger than memory are kept as one file per variable, a basin's steps side by side, and read
where a window or a basin needs them. Everything that takes a :class:`~dmg_bmi.io.timeseries.BasinDataset`
takes both.
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

Missing = Literal["error", "drop", "interpolate"]
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
    """Files of one layout, read chunk by chunk.

    Parameters
    ----------
    ids, times, step, attributes, units
        Those of the dataset that it becomes (see :class:`~dmg_bmi.io.timeseries.BasinDataset`).
    forcings, targets : tuple of str
        Names of the series.
    chunks : callable
        Reads the files; values that no chunk holds are missing.
    files : tuple of Path
        All files that `chunks` reads.
    options : mapping of str to str
        Everything else that the series depend on.
    """

    ids: tuple[str, ...]
    times: TimeArray
    step: float
    attributes: dict[str, FloatingArray]
    units: Mapping[str, str]
    forcings: tuple[str, ...]
    targets: tuple[str, ...]
    chunks: Callable[[], Iterator[Chunk]]
    files: tuple[Path, ...]
    options: Mapping[str, str]

    def fingerprint(self, missing: Missing) -> str:
        """Return a key that changes with the files and with everything that the series depend on."""
        stats = [(str(f.resolve()), f.stat().st_size, f.stat().st_mtime_ns) for f in self.files]
        names = [*self.ids], [*self.forcings], [*self.targets]
        period = str(self.times[0]), len(self.times), self.step
        return sha256(canonical([stats, names, period, dict(self.options), missing]))[:16]


def load(source: Source, missing: Missing = "error", cache: str | Path | None = None) -> BasinDataset:
    """Load all of a source as a dataset.

    Parameters
    ----------
    source : Source
    missing : {"error", "drop", "interpolate"}
        ``interpolate`` fills gaps within each forcing series linearly in time and logs how many
        steps; otherwise they stay NaN.
    cache : path, optional
        Folder for arrays mapped from disk, in float32, for data larger than memory. It is
        filled once; a change of the source's files fills another subfolder.

    Raises
    ------
    ForcingError
        If a value is infinite, a cached array is corrupt, or the disk has no room for the cache.
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
        raise ForcingError(f"{file}: is corrupt or truncated; {remedy}")
    return series


def _write(folder: Path, source: Source, missing: Missing) -> None:
    """Write the cache, whole or not at all; of several processes the first writes it."""
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
    for chunk in source.chunks():
        for name, values in chunk.values.items():
            series[name][chunk.basins, chunk.steps] = values
            if np.isinf(values).any():
                _refuse_infinite(series[name], name, source)
    if missing != "interpolate":
        return
    for row, basin in enumerate(source.ids):
        filled = {name: interpolate(series[name][row]) for name in source.forcings}
        counts = ", ".join(f"{count} of {name}" for name, count in filled.items() if count)
        if counts:
            log.warning("basin %s: steps interpolated: %s", basin, counts)


def _refuse_infinite(series: FloatingArray, name: str, source: Source) -> None:
    row, step = np.argwhere(np.isinf(series))[0]
    raise ForcingError(
        f"{name} of basin {source.ids[row]} is infinite on {source.times[step]}; correct it in the file, "
        "or leave the value empty if it is missing"
    )


def without_fills(values: FloatArray, where: str) -> FloatArray:
    """Return the values with NaN for numbers such as -9999 that mark missing ones; log them under `where`."""
    marked = np.isin(values, FILLS)
    if not marked.any():
        return values
    shown = ", ".join(f"{number:g}" for number in np.unique(values[marked]))
    log.warning("%s: %d values are %s, and taken as missing", where, marked.sum(), shown)
    return np.where(marked, np.nan, values)


def interpolate(values: FloatingArray) -> int:
    """Fill gaps ``[time]`` linearly, in place, and return the number of steps; gaps at the ends stay."""
    present = np.flatnonzero(np.isfinite(values))
    if not len(present):
        return 0
    within = slice(present[0], present[-1] + 1)
    gaps = np.flatnonzero(~np.isfinite(values[within])) + present[0]
    values[gaps] = np.interp(gaps, present, values[present])
    return len(gaps)
