"""Time in whole steps of a framework, some of which make one step of the model."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..errors import ConfigError, TimeError, TimeStepError

#: What `get_end_time` says when no end is known: finite, and whole as an integer of seconds.
FAR_FUTURE = 1.0e15
#: Framework steps of one model step: seconds of a day.
MOST_STEPS = 86400


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
    count : int
        Framework steps taken.

    Attributes
    ----------
    ratio : int
        Framework steps of a model step.
    """

    step: float
    model_step: float
    end: float = FAR_FUTURE
    phase: int = 0
    count: int = 0
    ratio: int = field(init=False)
    _latest: float = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._latest = self.end * (1 + 1e-12)
        ratio = self.model_step / self.step if self.step > 0 else 0
        # Forcing of a whole model step is kept, so its steps must be few; NaN fails the comparison.
        self.ratio = round(ratio) if ratio <= MOST_STEPS else 0
        if self.ratio < 1 or abs(ratio - self.ratio) > 1e-9 * ratio:
            raise ConfigError(
                f"a step of {self.step:g} s does not divide the model's step of {self.model_step:g} s "
                f"into 1 to {MOST_STEPS} parts"
            )

    @property
    def now(self) -> float:
        """Seconds since the start: a product, so that no error builds up."""
        return self.count * self.step

    def check_step(self) -> None:
        """Raise TimeError if one more step would pass the end."""
        if (self.count + 1) * self.step > self._latest:
            raise TimeError(f"the run ends at {self.end:g} s; a step from {self.now:g} s would go beyond")

    def steps_until(self, time: float) -> int:
        """Return the steps from now until `time`.

        Raises
        ------
        TimeStepError
            If `time` is not a whole number of steps away.
        TimeError
            If it has passed or lies beyond the end.
        """
        try:
            # NumPy before 2.4 makes a number of an array of one, with a warning.
            seconds = float("nan" if getattr(time, "ndim", 0) else time)
        except (TypeError, ValueError, OverflowError) as problem:
            raise TimeError(f"update_until({time!r}): the time must be a number of seconds") from problem
        if not np.isfinite(seconds):
            raise TimeError(f"update_until({seconds}): the time must be a finite number of seconds")
        exact = seconds / self.step
        whole = round(exact)
        if abs(exact - whole) > 1e-6:
            raise TimeStepError(
                f"update_until({seconds:g}): this component steps by {self.step:g} s and cannot stop "
                "in between"
            )
        if whole < self.count:
            raise TimeError(f"update_until({seconds:g}): this time has passed, it is {self.now:g} s")
        if whole * self.step > self._latest:
            raise TimeError(f"update_until({seconds:g}): the run ends at {self.end:g} s")
        return whole - self.count
