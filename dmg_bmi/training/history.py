"""The course of a training, and its file ``history.csv``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np

from ..arrays import FloatArray
from ..errors import ConfigError
from ..io.csv_table import CsvTable, write_csv

STEP, LOSS, SCORE = "step", "loss", "validation_NSE"


@dataclass
class History:
    """Losses of every step, scores of every validation, and the time that they took."""

    loss: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    best: tuple[int, float] | None = None
    seconds: float = 0.0

    @property
    def waited(self) -> int:
        """Return the number of validations since the best one."""
        return sum(1 for step, _ in self.scores if self.best is not None and step > self.best[0])

    def write(self, path: Path) -> None:
        """Write losses and scores as a CSV file, one line per step."""
        validated = dict(self.scores)
        rows = (
            [step, f"{loss:.6g}", validated.get(step, "")] for step, loss in enumerate(self.loss, start=1)
        )
        write_csv(path, [STEP, LOSS, SCORE], rows)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read losses and scores.

        Raises
        ------
        ConfigError
            If the file is not what :meth:`write` writes.
        """
        table = read_written(path, (STEP, LOSS, SCORE))
        rows = range(len(table.lines))
        scored = [row for row in rows if table.columns[SCORE][row]]
        steps, scores = numbers(table, STEP, scored), numbers(table, SCORE, scored)
        if not np.isfinite(steps).all():
            raise ConfigError(f"{path}: column {STEP!r} must hold whole numbers")
        validations = [(int(step), score) for step, score in zip(steps, scores.tolist(), strict=True)]
        return cls(numbers(table, LOSS, rows).tolist(), validations)


def read_written(path: Path, columns: Sequence[str]) -> CsvTable:
    """Read a table of a run folder that must have some columns."""
    table = CsvTable.read(path, ConfigError)
    absent = [name for name in columns if name not in table.columns]
    if absent:
        raise ConfigError(f"{path}: has no column {absent[0]!r}, so it is not what dmg-bmi train writes")
    return table


def numbers(table: CsvTable, name: str, rows: Sequence[int]) -> FloatArray:
    """Return some rows of a column of numbers, some of which may be infinite or NaN."""
    try:
        return np.array([float(table.columns[name][row]) for row in rows])
    except ValueError as problem:
        raise ConfigError(f"{table.path}: column {name!r}: {problem}") from problem
