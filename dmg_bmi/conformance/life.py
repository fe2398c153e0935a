"""Checks of a component's time, and of its life from `initialize` to `finalize`."""

from __future__ import annotations

from fractions import Fraction
from math import isclose, lcm

import numpy as np
from bmipy import Bmi

from .checks import Checks
from .probe import Broken, NotApplicable, agree, possible, read, require, same, variables


class LifeChecks(Checks):
    """Checks of updates, times, ends, beginning anew, and of other instances beside it."""

    def check_update(self, bmi: Bmi) -> None:
        """Check that time advances by the step, up to the rounding of a sum."""
        start, step = bmi.get_start_time(), bmi.get_time_step()
        for k in range(1, possible(bmi, self.steps) + 1):
            bmi.update()
            now, then = bmi.get_current_time(), start + k * step
            require(isclose(now, then, rel_tol=1e-12 * k), f"after {k} updates it is {now!r}, not {then!r}")

    def check_exact_time(self, bmi: Bmi) -> None:
        """Check that time is exact: after k updates k times the step, rounded once."""
        start, step = Fraction(bmi.get_start_time()), Fraction(bmi.get_time_step())
        whole = lcm(start.denominator, step.denominator)  # a quotient of integers is rounded once
        first, each = int(start * whole), int(step * whole)
        for k in range(1, possible(bmi, self.time_steps) + 1):
            bmi.update()
            now, exact = bmi.get_current_time(), (first + k * each) / whole
            require(now == exact, f"after {k} updates it is {now!r}, not {exact!r}")

    def check_reading(self, bmi: Bmi) -> None:
        """Check that reading values and metadata between updates changes nothing."""
        with self.running() as twin:
            unread = self.run(twin)
        for expected in unread:
            for name in variables(bmi):
                values = read(bmi, name)
                bmi.get_value_at_indices(name, values[:1].copy(), np.array([0]))
                bmi.get_var_units(name), bmi.get_var_location(name), bmi.get_var_grid(name)
            bmi.get_end_time(), bmi.get_time_units(), bmi.get_component_name()
            bmi.update()
            now = {name: read(bmi, name) for name in expected}
            agree([now], [expected], "differs from a run that was not read in between")

    def check_split(self, bmi: Bmi) -> None:
        """Check that two calls of `update_until` equal one to the time of the second."""
        count = possible(bmi, self.steps)
        start, step = bmi.get_start_time(), bmi.get_time_step()
        with self.running() as twin:
            twin.update_until(start + count * step)
            for part in (count // 3, count):
                bmi.update_until(start + part * step)
            for name in bmi.get_output_var_names():
                require(same(read(bmi, name), read(twin, name)), f"{name}: differs by a stop on the way")

    def check_update_until(self, bmi: Bmi) -> None:
        """Check that `update_until` is that many updates, none for now, and an error for the past."""
        count = possible(bmi, self.steps)
        then = bmi.get_start_time() + count * bmi.get_time_step()
        bmi.update_until(then)
        with self.running() as twin:
            for _ in range(count):
                twin.update()
            for occasion in ("updates one by one", "update_until the current time"):
                now = bmi.get_current_time()
                require(isclose(now, then, rel_tol=1e-12 * count), f"it is {now!r}, not {then!r}")
                for name in bmi.get_output_var_names():
                    require(same(read(bmi, name), read(twin, name)), f"{name}: differs by {occasion}")
                bmi.update_until(then)
        try:
            bmi.update_until(bmi.get_start_time())
        except Exception:
            require(bmi.get_current_time() == now, "time moves although update_until raises")
        else:
            raise Broken("a time that has passed is taken")

    def check_outputs_finite(self, bmi: Bmi) -> None:
        """Check that outputs are finite after legal updates."""
        if not bmi.get_output_var_names():
            raise NotApplicable("the component has no outputs")
        for name, values in self.run(bmi)[-1].items():
            require(bool(np.isfinite(values).all()), f"{name}: is not finite")

    def check_finalize(self, bmi: Bmi) -> None:
        """Check that a second `finalize` is harmless, and one without `initialize`."""
        bmi.update()
        bmi.finalize()
        bmi.finalize()
        self.cls().finalize()

    def check_initialize(self, bmi: Bmi) -> None:
        """Check that `initialize` after `finalize` makes an instance as good as new."""
        first = self.run(bmi)
        bmi.finalize()
        bmi.initialize(str(self.config_file))
        self.feed(bmi)
        require(bmi.get_current_time() == bmi.get_start_time(), "time does not begin anew")
        agree(self.run(bmi), first, "differs from the first run")

    def check_independence(self, bmi: Bmi) -> None:
        """Check that instances in one process do not disturb each other."""
        alone = self.run(bmi)
        with self.running() as again, self.running() as another:
            another.update()
            agree(self.run(again), alone, "differs beside another instance")
