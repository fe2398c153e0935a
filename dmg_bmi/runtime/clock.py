"""Time as whole steps, and how steps of a framework make steps of a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, TimeError, TimeStepError
from ..physics.contract import Aggregation

FloatArray = NDArray[np.float64]
#: What `get_end_time` says when no end is known: finite, and whole as an integer of seconds.
FAR_FUTURE = 1.0e15


@dataclass
class Clock:
    """Counts the framework's steps; a model step is `ratio` of them.

    Parameters
    ----------
    step : float
        Seconds of one framework step.
    model_step : float
        Seconds of one model step, a whole multiple of `step`.
    end : float
        Seconds; no step may go beyond.
    phase : int
        Framework steps by which time zero lies after the start of a model step.
    """

    step: float
    model_step: float
    end: float = FAR_FUTURE
    phase: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        ratio = self.model_step / self.step if self.step > 0 else 0
        self.ratio = round(ratio)
        if self.ratio < 1 or abs(ratio - self.ratio) > 1e-9 * ratio:
            raise ConfigError(
                f"a step of {self.step:g} s does not divide the model's step of {self.model_step:g} s"
            )

    @property
    def now(self) -> float:
        """Seconds since the start: a product, so that no error builds up."""
        return self.count * self.step

    @property
    def position(self) -> int:
        """Framework steps already done of the current model step."""
        return (self.phase + self.count) % self.ratio

    def check_step(self) -> None:
        """Raise TimeError if one more step would pass the end."""
        if (self.count + 1) * self.step > self.end * (1 + 1e-12):
            raise TimeError(f"the run ends at {self.end:g} s; a step from {self.now:g} s would go beyond")

    def steps_until(self, time: float) -> int:
        """Steps from now until `time`.

        Raises
        ------
        TimeStepError
            If `time` is not a whole number of steps away.
        TimeError
            If it has passed or lies beyond the end.
        """
        exact = time / self.step
        if not np.isfinite(exact):
            raise TimeError(f"update_until({time}): the time must be a finite number of seconds")
        whole = round(exact)
        if abs(exact - whole) > 1e-6:
            raise TimeStepError(
                f"update_until({time:g}): this component steps by {self.step:g} s and cannot stop in between"
            )
        if whole < self.count:
            raise TimeError(f"update_until({time:g}): this time has passed, it is {self.now:g} s")
        if whole * self.step > self.end * (1 + 1e-12):
            raise TimeError(f"update_until({time:g}): the run ends at {self.end:g} s")
        return whole - self.count


class Aggregator:
    """Joins framework steps into one model step: sums, means, extremes, last values.

    Its buffer ``[rows, columns]`` is part of the component's state.

    Parameters
    ----------
    kinds : list of {"sum", "mean", "min", "max", "last"}
        One per column.
    rows : int
    """

    def __init__(self, kinds: list[Aggregation], rows: int) -> None:
        kind = np.array(kinds)
        self._adds = np.isin(kind, ("sum", "mean"))
        self._mean, self._min, self._max = kind == "mean", kind == "min", kind == "max"
        self.buffer: FloatArray = np.zeros((rows, len(kinds)))
        self.count = 0

    def add(self, values: FloatArray) -> None:
        """Take one framework step's ``values[rows, columns]``."""
        if self.count == 0:
            self.buffer[...] = values
        else:
            joined = np.where(self._adds, self.buffer + values, values)
            joined = np.where(self._min, np.minimum(self.buffer, values), joined)
            self.buffer[...] = np.where(self._max, np.maximum(self.buffer, values), joined)
        self.count += 1

    def take(self) -> FloatArray:
        """The model step's ``[rows, columns]``; the buffer is empty afterwards."""
        joined = np.where(self._mean, self.buffer / self.count, self.buffer)
        self.buffer[...] = 0.0
        self.count = 0
        return joined
