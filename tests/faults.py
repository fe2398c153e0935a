"""Every n-th thing that a system can refuse fails once, as SQLite tests it."""

from __future__ import annotations

import builtins
import errno
import os
import signal
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

import netCDF4
import numpy as np

#: What can fail: on a full disk, without a permission, on a lost network drive.
CALLS = (
    "chmod", "fsync", "ftruncate", "link", "mkdir", "open", "posix_fallocate", "pwrite", "remove", "rename",
    "replace", "rmdir", "sendfile", "symlink", "truncate", "unlink", "write",
)  # fmt: skip
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
ERRORS = (FULL, OSError(errno.EIO, os.strerror(errno.EIO)), KeyboardInterrupt(), MemoryError())
#: Whether everything is to fail once: DMG_BMI_FAULTS=all, or k/n for the k-th of n parts of it.
PART = os.environ.get("DMG_BMI_FAULTS", "").replace("all", "1/1")
ALL = bool(PART)


def chosen(total: int, some: int) -> range:
    """Which of `total` calls fail, from 1: with :data:`ALL` all of this part, else `some`, spread evenly.

    Those are the middles of equal parts: a command opens, fills, closes and exchanges its files in this
    order, so that each stage has its share.
    """
    if ALL:
        k, n = map(int, PART.split("/"))
        return range(k, total + 1, n)
    step = max(1, total // some)
    return range(1 + step // 2, total + 1, step)


class Faults:
    """Counts calls of the system that change files, and lets one of them fail.

    Parameters
    ----------
    fails : int
        Which call fails, from 1; 0 lets all pass.
    error : BaseException, optional
        What it raises; for a library with errors of its own, the one that it makes of this.
    meanwhile : callable, optional
        What happens just before that call, which then does not fail.
    """

    def __init__(
        self,
        fails: int = 0,
        error: BaseException | None = None,
        meanwhile: Callable[[], object] | None = None,
    ) -> None:
        self.count, self.fails, self.meanwhile = 0, fails, meanwhile
        self.error = error or FULL
        self.failed = ""

    def passes(self, name: str, own: Exception | None = None) -> None:
        """Count one call, which may be the one that fails."""
        self.count += 1
        if self.count == self.fails:
            self.failed = name
            if self.meanwhile is not None:
                self.meanwhile()
                return
            raise own if own is not None and isinstance(self.error, OSError) else self.error

    @contextmanager
    def injected(self) -> Iterator[Faults]:
        """Let the calls of this process count."""
        with ExitStack() as stack:
            for name in CALLS:
                if hasattr(os, name):
                    stack.enter_context(patch(f"os.{name}", self._counting(name, getattr(os, name))))
            for name in ("io.open", "builtins.open"):
                stack.enter_context(patch(name, self._writing(builtins.open)))
            flush = self._counting("flush", np.memmap.flush)
            stack.enter_context(patch.object(np.memmap, "flush", lambda array: flush(array)))
            stack.enter_context(patch("netCDF4.Dataset", self._netcdf(netCDF4.Dataset)))
            stack.enter_context(patch("sqlite3.connect", self._sqlite(sqlite3.connect)))
            yield self

    def _counting(self, name, real):
        def call(*arguments, **options):
            # Only what opens for writing changes anything.
            if name != "open" or arguments[1] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self.passes(name)
            return real(*arguments, **options)

        return call

    def _writing(self, real):
        def call(file, mode="r", *arguments, **options):
            if not set(mode) & set("wax+"):
                return real(file, mode, *arguments, **options)
            if not isinstance(file, int):
                self.passes("open")
            return _Counted(real(file, mode, *arguments, **options), self)

        return call

    def _netcdf(self, real):
        def call(path, mode="r", *arguments, **options):
            if mode == "r":
                return real(path, mode, *arguments, **options)
            self.passes("netCDF create", OSError(errno.ENOSPC, "no room", str(path)))
            return _Dataset(real(path, mode, *arguments, **options), self)

        return call

    def _sqlite(self, real):
        faults, own = self, sqlite3.OperationalError("database or disk is full")

        class Counted(sqlite3.Connection):
            def execute(self, *arguments):
                faults.passes("SQLite execute", own)
                return super().execute(*arguments)

            def executemany(self, *arguments):
                faults.passes("SQLite executemany", own)
                return super().executemany(*arguments)

            def executescript(self, *arguments):
                faults.passes("SQLite executescript", own)
                return super().executescript(*arguments)

            def commit(self):
                faults.passes("SQLite commit", own)
                super().commit()

        def call(path, *arguments, **options):
            if "mode=ro" in str(path):
                return real(path, *arguments, **options)
            return real(path, *arguments, factory=Counted, **options)

        return call


class _Counted:
    """A file whose writes count."""

    def __init__(self, file, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, content):
        self._faults.passes("write")
        return self._file.write(content)

    def flush(self):
        self._faults.passes("flush")
        self._file.flush()

    def close(self):
        # What is refused here was waiting in memory; the file is closed all the same.
        try:
            if not self._file.closed:
                self._faults.passes("close")
        finally:
            self._file.close()

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *problem):
        self.close()

    def __iter__(self):
        return iter(self._file)

    def __getattr__(self, name):
        return getattr(self._file, name)


class _Dataset:
    """A NetCDF file that is written, whose calls count."""

    def __init__(self, data, faults: Faults) -> None:
        self._data, self._faults = data, faults
        self._own = RuntimeError("NetCDF: HDF error")

    def createVariable(self, *arguments, **options):
        self._faults.passes("netCDF variable", self._own)
        return self._data.createVariable(*arguments, **options)

    def __getitem__(self, name):
        self._faults.passes("netCDF write", self._own)
        return self._data[name]

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        self.close()

    def close(self):
        self._faults.passes("netCDF close", self._own)
        self._data.close()

    def __getattr__(self, name):
        return getattr(self._data, name)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Let no file grow beyond `size` bytes, not those of libraries in C either."""
    import resource

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def forked(work: Callable[[], object]) -> int:
    """Do some work in a child process; its number."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # fork beside idle threads
        child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    return child


def killed(work: Callable[[], object], n: int) -> bool:
    """Do some work in a process that is killed (SIGKILL) just before its n-th call; whether it was."""

    def until() -> None:
        with Faults(n, meanwhile=lambda: os.kill(os.getpid(), signal.SIGKILL)).injected():
            work()

    return os.WIFSIGNALED(os.waitpid(forked(until), 0)[1])
