"""Every n-th thing that a system can refuse fails once, as SQLite tests it."""

from __future__ import annotations

import builtins
import errno
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest.mock import patch

#: What can fail: on a full disk, without a permission, on a lost network drive.
CALLS = ("open", "fsync", "replace", "rename", "mkdir", "unlink", "rmdir")


class Faults:
    """Counts calls of the system that change files, and lets one of them fail.

    Parameters
    ----------
    fails : int
        Which call fails, from 1; 0 lets all pass.
    error : BaseException, optional
        What it raises.
    """

    def __init__(self, fails: int = 0, error: BaseException | None = None) -> None:
        self.count, self.fails = 0, fails
        self.error = error or OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.failed = ""

    def passes(self, name: str) -> None:
        """Count one call, which may be the one that fails."""
        self.count += 1
        if self.count == self.fails:
            self.failed = name
            raise self.error

    @contextmanager
    def injected(self) -> Iterator[Faults]:
        """Let the calls of this process count."""
        with ExitStack() as stack:
            for name in CALLS:
                stack.enter_context(patch(f"os.{name}", self._counting(name, getattr(os, name))))
            stack.enter_context(patch("os.fdopen", self._writing(os.fdopen)))
            stack.enter_context(patch("builtins.open", self._writing(builtins.open)))
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
            opened = real(file, mode, *arguments, **options)
            return _Counted(opened, self) if set(mode) & set("wax+") else opened

        return call


class _Counted:
    """A file whose writes count."""

    def __init__(self, file, faults: Faults) -> None:
        self._file, self._faults = file, faults

    def write(self, content):
        self._faults.passes("write")
        return self._file.write(content)

    def __enter__(self):
        self._file.__enter__()
        return self

    def __exit__(self, *problem):
        return self._file.__exit__(*problem)

    def __iter__(self):
        return iter(self._file)

    def __getattr__(self, name):
        return getattr(self._file, name)
