"""What any NetCDF file gives: its times, its ids, a part of a variable, or an error in words; new files."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import netCDF4
import numpy as np

from ..arrays import TimeArray
from ..errors import DmgBmiError, ForcingError, WriteError
from .cf_time import decode
from .files import opened
from .identifiers import ids_from
from .netcdf3 import TornError, missing_bytes

_OF_TIME = (("units", ""), ("calendar", "standard"))


def open_netcdf(path: str | Path, error: type[DmgBmiError] = ForcingError) -> netCDF4.Dataset:
    """Open a file for reading; raise `error` if it is not a regular file or not NetCDF."""
    with opened(path, error) as file:
        try:
            missing = missing_bytes(file, os.fstat(file.fileno()).st_size)
        except TornError as problem:
            raise error(f"{path}: cannot be read as NetCDF: {problem}") from problem
    if missing:
        raise error(f"{path}: is truncated, {missing} bytes are missing at its end; copy it again")
    try:
        return netCDF4.Dataset(path)
    except (OSError, ValueError, RuntimeError, MemoryError) as problem:
        raise error(f"{path}: cannot be read as NetCDF: {problem}") from problem


class NetcdfReader:
    """A file that is open for reading, and closed again if it is not of the layout that is expected."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.data = open_netcdf(path)
        try:
            self._describe()
        except BaseException:
            self.data.close()
            raise

    def _describe(self) -> None:
        """Read what the whole file has: axes, ids, names of its series."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.data.close()


@contextmanager
def created(temporary: Path, path: Path) -> Iterator[netCDF4.Dataset]:
    """Create a file that will stand at `path`; its library's word for a full disk becomes a WriteError."""
    data = netCDF4.Dataset(temporary, "w", format="NETCDF4")
    try:
        try:
            yield data
        except BaseException:
            with suppress(RuntimeError):  # what went wrong first is what matters
                data.close()
            raise
        data.close()
    except RuntimeError as problem:
        if not str(problem).startswith("NetCDF:"):
            raise
        raise WriteError(errno.ENOSPC, f"{problem}; is there room on the disk?", str(path)) from problem


def times_of(
    variable: netCDF4.Variable[Any], path: str | Path, error: type[DmgBmiError] = ForcingError
) -> TimeArray:
    """Decode a CF time variable; calendars without leap days, as climate models use, are allowed."""
    return decoded_times(variable, path, error)[0]


def decoded_times(
    variable: netCDF4.Variable[Any],
    path: str | Path,
    error: type[DmgBmiError],
    part: Any = slice(None),
    time: netCDF4.Variable[Any] | None = None,
) -> tuple[TimeArray, TimeArray]:
    """Decode a CF time variable, or bounds of `time`; return times and the days that the calendar lacks."""
    units, calendar = (getattr(variable, n, getattr(time, n, default)) for n, default in _OF_TIME)
    values = part_of(variable, part, path, error)
    return decode(values, units, f"{path}: variable {variable.name!r}", error, calendar)


def ids_of(
    variable: netCDF4.Variable[Any], path: str | Path, error: type[DmgBmiError] = ForcingError
) -> tuple[str, ...]:
    """Read ids of any kind: text, arrays of characters, bytes, whole numbers; duplicates are refused."""
    values = part_of(variable, slice(None), path, error)
    if np.ma.getmaskarray(values).any() and values.dtype.kind != "S":
        raise error(f"{path}: {variable.name} has rows without an id")
    values = np.ma.getdata(values)
    if values.dtype.kind == "S" and values.ndim == 2:
        values = netCDF4.chartostring(values, encoding="bytes")
    return ids_from(values, f"{path}: {variable.name}", error)


def part_of(variable: netCDF4.Variable[Any], part: Any, path: str | Path, error: type[DmgBmiError]) -> Any:
    """Read values of a variable; raise `error`, naming it, for what the library says of a damaged file."""
    for name in ("scale_factor", "add_offset"):
        packed = getattr(variable, name, 1.0)
        number = not isinstance(packed, str) and np.ndim(packed) == 0 and np.isfinite(packed)
        shown = repr(packed) if isinstance(packed, str) else packed
        if not number or (name == "scale_factor" and packed == 0):
            raise error(f"{path}: {variable.name} has {name} {shown}, which is not a number to scale by")
    try:
        return variable[part]
    except (OSError, IndexError, RuntimeError, ValueError, AttributeError, MemoryError) as problem:
        raise error(f"{path}: {variable.name} cannot be read: {problem}") from problem
