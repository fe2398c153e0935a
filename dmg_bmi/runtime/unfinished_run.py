"""A run that is under way: its records so far on disk, and now and then the state to go on from."""

from __future__ import annotations

import errno
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np

from ..arrays import FloatingArray
from ..errors import StateError, WriteError
from ..io.atomic import alone, make_folder
from ..processes import rank
from . import state_codec
from .snapshot import Snapshot

log = logging.getLogger("dmg_bmi")
RECORDS, STATE = "unfinished.records", "unfinished.state"
#: Of one of several processes.
SHARED = "unfinished.{}.{}"
MARK = b"DMG_BMI_RECORDS\x00"
#: Between two states; a run that takes less leaves none.
SECONDS = 60.0


@dataclass(frozen=True)
class Layout:
    """How records are stored: blocks of some steps, each with its series ``[step, catchment]`` one by one.

    Parameters
    ----------
    series : sequence of str
    width : int
        Catchments.
    dtype : str
    length : int
        Steps of a block; the last may have fewer.
    """

    series: Sequence[str]
    width: int
    dtype: str
    length: int

    @property
    def bytes_of_step(self) -> int:
        """Bytes of all series of one step."""
        return len(self.series) * self.width * np.dtype(self.dtype).itemsize

    def place(self, step: int) -> int:
        """Return where in the file a block that begins with a step is."""
        return len(MARK) + step * self.bytes_of_step

    def read(self, file: BinaryIO, begin: int, steps: int) -> dict[str, FloatingArray]:
        """Read a block."""
        file.seek(self.place(begin))
        return {
            name: np.fromfile(file, self.dtype, steps * self.width).reshape(steps, self.width)
            for name in self.series
        }


class UnfinishedRun:
    """Records of a run, and the state after some of them, in two files of its output folder.

    Entered, it takes up what a killed run of the same identity left. In the end the files are removed; where
    an error ends it they stay if a state is among them, so that the same command goes on from there.

    Parameters
    ----------
    folder : Path
    identity : mapping
        All that the records depend on, as JSON takes it; another run's records are dropped.
    layout : Layout
        Of this process.
    widths : sequence of int
        Catchments of each process that shares the run; each has two files of its own.

    Attributes
    ----------
    done : int
        Steps whose records are on disk.
    begun : str
        UTC, when the run was first begun.
    snapshot : Snapshot, optional
        State to go on from; None at the start.
    """

    def __init__(
        self, folder: Path, identity: Mapping[str, Any], layout: Layout, widths: Sequence[int] = ()
    ) -> None:
        self._widths = widths or (layout.width,)
        self._folder = folder
        self._records, self._state = self._files(rank())
        self._identity = {**identity, "layout": [*layout.series, layout.width, layout.dtype, layout.length]}
        self.layout = layout
        self.done = 0
        self.snapshot: Snapshot | None = None
        self.begun = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        self._kept = monotonic()
        self._file: BinaryIO

    def __enter__(self) -> Self:
        make_folder(self._records.parent)
        with ExitStack() as stack:
            stack.enter_context(alone(self._records))
            with self._told():
                if self._records.exists() and not self._is_marked():
                    raise FileExistsError(
                        errno.EEXIST, "it exists and holds no records of a run; move it away"
                    )
                self._take_up()
                self._file = stack.enter_context(open(self._records, "r+b" if self.snapshot else "w+b"))
                if self.snapshot:
                    self._file.truncate(self.layout.place(self.done))
                    self._file.seek(0, os.SEEK_END)
                else:
                    self._file.write(MARK)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._stack:
            if kind is not None and self._state.exists():
                log.info("%s: keeps what was done; the same command goes on from there", self._state)
                return
            with self._told():
                for file in (self._state, self._records):  # without its state nobody takes up the records
                    file.unlink(missing_ok=True)

    def append(self, steps: int, block: Mapping[str, FloatingArray]) -> None:
        """Add the records of a block of some steps, ``[step, catchment]`` by series."""
        with self._told():
            for name in self.layout.series:
                self._file.write(np.ascontiguousarray(block[name], dtype=self.layout.dtype).data)
        self.done += steps

    @property
    def is_due(self) -> bool:
        """True where the last state is old enough for another one."""
        return monotonic() - self._kept >= SECONDS

    def keep(self, snapshot: Snapshot) -> None:
        """Keep the state after all records so far."""
        with self._told():
            self._file.flush()
            os.fsync(self._file.fileno())
        about = {"identity": self._identity, "done": self.done, "begun": self.begun}
        state_codec.write(
            self._state, state_codec.encode({**snapshot.header, "run": about}, snapshot.tensors)
        )
        self._kept = monotonic()

    def blocks(self) -> Iterator[tuple[slice, dict[str, FloatingArray]]]:
        """Read all records of all processes block by block: which steps, and their series.

        Raises
        ------
        WriteError
            If a file of another process cannot be read.
        """
        self._file.flush()
        length, layouts = self.layout.length, [replace(self.layout, width=w) for w in self._widths]
        with self._told(), ExitStack() as stack:
            files = [stack.enter_context(open(self._files(k)[0], "rb")) for k in range(len(layouts))]
            for begin in range(0, self.done, length):
                parts = [
                    layout.read(file, begin, min(length, self.done - begin))
                    for file, layout in zip(files, layouts, strict=True)
                ]
                whole = {name: [part[name] for part in parts] for name in self.layout.series}
                joined = {name: np.concatenate(v, 1) if len(v) > 1 else v[0] for name, v in whole.items()}
                yield slice(begin, begin + min(length, self.done - begin)), joined

    def _files(self, process: int) -> tuple[Path, Path]:
        """Return the files of the records and of the state of a process."""
        if len(self._widths) == 1:
            return self._folder / RECORDS, self._folder / STATE
        records, state = (SHARED.format(process, name.split(".")[1]) for name in (RECORDS, STATE))
        return self._folder / records, self._folder / state

    def _take_up(self) -> None:
        """Find the state of a run that was killed; what does not fit is dropped, and it is said."""
        if not self._state.is_file():
            return
        try:
            header, tensors = state_codec.decode(state_codec.read(self._state), str(self._state))
            run = header["run"]
            done, begun, same = int(run["done"]), str(run["begun"]), run["identity"] == self._identity
        except (StateError, KeyError, TypeError, ValueError) as problem:
            raise StateError(f"{self._state}: is not of a run ({problem}); move it away") from problem
        if not same:
            log.warning("%s: is of another run, or its inputs have changed since; begins anew", self._state)
            self._state.unlink()
        elif not self._records.exists() or self._records.stat().st_size < self.layout.place(done):
            log.warning("%s: has lost records of the run that was ended; begins anew", self._records)
            self._state.unlink()
        else:
            self.done, self.begun, self.snapshot = done, begun, Snapshot(header, tensors)

    def _is_marked(self) -> bool:
        if not self._records.is_file():
            return False
        with open(self._records, "rb") as file:
            return MARK.startswith(file.read(len(MARK)))  # its writer may have been killed at once

    @contextmanager
    def _told(self) -> Iterator[None]:
        """Name the file in errors."""
        try:
            yield
        except OSError as problem:
            reason = problem.strerror or str(problem)
            raise WriteError(problem.errno, reason, str(self._records)) from problem
