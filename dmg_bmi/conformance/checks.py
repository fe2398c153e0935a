"""Running checks on a component, each on a fresh instance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
from bmipy import Bmi

from .probe import Broken, NotApplicable, Values, read, same


@dataclass(frozen=True)
class Result:
    """Outcome of one check; `reason` says why it failed or was skipped."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.check}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Checks:
    """Checks of a component class; a method ``check_x`` is the check named ``x``.

    Parameters
    ----------
    cls : type of Bmi
        Made without arguments.
    config_file : str or path
        For `initialize`.
    values : mapping of input name to number
        Legal values to run with. An input without one keeps what it has after `initialize`,
        or becomes 1 where that is not finite.
    steps : int
        Updates of a run.
    time_steps : int
        Updates over which time must stay exact.
    """

    #: Checks of what the specification leaves open, and who relies on it.
    BEYOND: ClassVar[Mapping[str, str]] = {}
    #: Checks that need no inputs.
    UNFED: ClassVar[tuple[str, ...]] = ()

    cls: type[Bmi]
    config_file: Any
    values: Mapping[str, float] = field(default_factory=dict)
    steps: int = 5
    time_steps: int = 1000

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names of all checks."""
        return tuple(name.removeprefix("check_") for name in dir(cls) if name.startswith("check_"))

    def check(self) -> list[Result]:
        """Run them all."""
        return [self.run_check(name) for name in self.names()]

    def run_check(self, name: str) -> Result:
        """Run one check on a fresh instance, with legal inputs where the check needs them."""
        begun = False
        try:
            with self.running(fed=name not in self.UNFED) as bmi:
                begun = True
                getattr(self, f"check_{name}")(bmi)
        except NotApplicable as why:
            return Result(name, "skipped", str(why))
        except Exception as why:  # whatever a component raises is a finding
            reason = str(why) if isinstance(why, Broken) else f"{type(why).__name__}: {why}"
            if not begun:
                reason = f"cannot be looked at, since setting the inputs fails: {reason}"
            elif name in self.BEYOND:
                reason += f" [beyond the specification: {self.BEYOND[name]}]"
            return Result(name, "failed", reason)
        return Result(name, "passed")

    @cached_property
    def legal(self) -> dict[str, Values]:
        """Inputs to run with: the same for every instance, which may begin with random ones."""
        bmi = self.cls()
        bmi.initialize(str(self.config_file))
        try:
            legal = {}
            for name in bmi.get_input_var_names():
                now = read(bmi, name)
                if name in self.values or not np.isfinite(now).all():
                    now = np.full_like(now, self.values.get(name, 1.0))
                legal[name] = now
            return legal
        finally:
            with suppress(Exception):
                bmi.finalize()

    @contextmanager
    def running(self, fed: bool = True) -> Iterator[Bmi]:
        """Yield a fresh instance, with legal inputs if `fed`."""
        bmi = self.cls()
        bmi.initialize(str(self.config_file))
        try:
            if fed:
                self.feed(bmi)
            yield bmi
        finally:
            with suppress(Exception):  # whether finalize works is a check of its own
                bmi.finalize()

    def feed(self, bmi: Bmi) -> None:
        """Set inputs to legal values."""
        for name, values in self.legal.items():
            if not same(read(bmi, name), values):
                bmi.set_value(name, values.copy())

    def run(self, bmi: Bmi) -> list[dict[str, Values]]:
        """Return the outputs of `steps` updates."""
        series = []
        for _ in range(self.steps):
            bmi.update()
            series.append({name: read(bmi, name) for name in bmi.get_output_var_names()})
        return series
