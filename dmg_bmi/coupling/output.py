"""Output of a component of a coupled run as NetCDF, in blocks that fit in memory."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from ..arrays import FloatArray
from ..io.netcdf import Writer
from ..runtime.config import utc
from .component import CoupledComponent

#: Numbers in a block.
BLOCK = 2_000_000


class Recorder:
    """Writer of the records of a component; a run that fails leaves no file.

    Parameters
    ----------
    path : Path
    component : CoupledComponent
    start : datetime
        UTC, of the first record.
    """

    def __init__(self, path: Path, component: CoupledComponent, start: datetime) -> None:
        self.path = path
        ids, columns = component.columns()
        self._symbols = dict(zip(component.written, columns, strict=True))
        self._step = component.step
        self._next = np.datetime64(utc(start).replace(tzinfo=None), "ms")
        self._block = max(1, BLOCK // (len(ids) * len(columns)))
        self._waiting: list[dict[str, FloatArray]] = []
        title = f"{component.bmi.get_component_name()} in a coupled run"
        self._writer = Writer(path, ids, columns, component.step, title=title)

    def append(self, records: list[dict[str, FloatArray]]) -> None:
        """Add the outputs of the latest updates."""
        self._waiting += records
        if len(self._waiting) >= self._block:
            self._write()

    def _write(self) -> None:
        if not self._waiting:
            return
        milliseconds = np.round(np.arange(len(self._waiting) + 1) * self._step * 1e3).astype(
            "timedelta64[ms]"
        )
        times = self._next + milliseconds
        series = {
            symbol: np.stack([record[name] for record in self._waiting])
            for name, symbol in self._symbols.items()
        }
        self._writer.append(times[:-1], series)
        self._next, self._waiting = times[-1], []

    def __enter__(self) -> Self:
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._write()
        except BaseException as problem:
            self._writer.__exit__(type(problem), problem, problem.__traceback__)
            raise
        self._writer.__exit__(kind, error, trace)
