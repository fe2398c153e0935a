"""Promises of the Basic Model Interface, checked on any component.

bmi-tester reads metadata; it never sets a value, never updates, never looks at time. These
checks do. Each has fresh instances, so that none depends on another::

    for result in Conformance(MyBmi, "config.yaml", {"rain__rate": 2.0}).check():
        print(result)

With pytest, a test per check: ``pytest --bmi my_package:MyBmi --bmi-config config.yaml``. What
only NextGen asks for is in :mod:`dmg_bmi.nextgen.conformance`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from math import isclose, isfinite, lcm
from typing import Any, ClassVar, Literal

import numpy as np
from bmipy import Bmi
from numpy.typing import NDArray

Values = NDArray[Any]
NOWHERE = "no_such_variable__of_any_component"
#: What an interface raises by accident, not by intent.
ACCIDENTS = (AttributeError, TypeError, NameError, IndexError, AssertionError)


class Broken(Exception):
    """A promise is not kept."""


class NotApplicable(Exception):
    """The component has nothing that the check could look at."""


@dataclass(frozen=True)
class Result:
    """Of one check; `reason` says why it failed or was skipped."""

    check: str
    outcome: Literal["passed", "failed", "skipped"]
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.outcome:8}{self.check}" + (f": {self.reason}" if self.reason else "")


@dataclass(frozen=True)
class Conformance:
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
    BEYOND: ClassVar[Mapping[str, str]] = {
        "exact_time": "hosts compare times, and a sum of many steps drifts",
        "finalize": "NextGen finalizes a routing component twice, and what failed to initialize too",
        "initialize": "pymt initializes an instance again",
        "pointer_layout": "NextGen ends at any other shape, and reads past a shorter array",
        "unknown_names": "hosts tell a missing variable from a fault by its error",
    }
    #: Checks that need no inputs.
    UNFED: ClassVar[tuple[str, ...]] = (
        "names",
        "variable_metadata",
        "grid_metadata",
        "time_metadata",
        "unknown_names",
    )

    cls: type[Bmi]
    config_file: Any
    values: Mapping[str, float] = field(default_factory=dict)
    steps: int = 5
    time_steps: int = 1000

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Of all checks."""
        return tuple(name.removeprefix("check_") for name in dir(cls) if name.startswith("check_"))

    def check(self) -> list[Result]:
        """Run them all."""
        return [self.run_check(name) for name in self.names()]

    def run_check(self, name: str) -> Result:
        """Run one on a fresh instance, of which the time and values are looked at with legal inputs."""
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
        """A fresh instance, with legal inputs if `fed`."""
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
        """Outputs of `steps` updates."""
        series = []
        for _ in range(self.steps):
            bmi.update()
            series.append({name: read(bmi, name) for name in bmi.get_output_var_names()})
        return series

    # -- what it says of itself -------------------------------------------------------

    def check_names(self, bmi: Bmi) -> None:
        """Names are strings in tuples, without repetition, as many as counted."""
        called = bmi.get_component_name()
        require(isinstance(called, str) and bool(called), f"the component's name is {called!r}")
        for listed, count in (
            (bmi.get_input_var_names(), bmi.get_input_item_count()),
            (bmi.get_output_var_names(), bmi.get_output_item_count()),
        ):
            good = isinstance(listed, tuple) and all(isinstance(name, str) for name in listed)
            require(good, f"not a tuple of strings: {listed!r}")
            require(len(set(listed)) == len(listed) == count, f"{count} distinct names should be {listed}")

    def check_variable_metadata(self, bmi: Bmi) -> None:
        """Type, item size, bytes, units, location and grid of each variable agree."""
        for name in variables(bmi):
            dtype, units = np.dtype(bmi.get_var_type(name)), bmi.get_var_units(name)
            itemsize, nbytes = bmi.get_var_itemsize(name), bmi.get_var_nbytes(name)
            grid, location = bmi.get_var_grid(name), bmi.get_var_location(name)
            require(itemsize == dtype.itemsize, f"{name}: an item of {dtype} has not {itemsize} bytes")
            require(isinstance(units, str), f"{name}: units are {units!r}")
            require(whole(grid), f"{name}: grid is {grid!r}")
            require(location in ("node", "edge", "face", "none"), f"{name}: location is {location!r}")
            if location == "node":
                size = bmi.get_grid_size(grid)
                require(nbytes == itemsize * size, f"{name}: {nbytes} bytes for {size} nodes")

    def check_grid_metadata(self, bmi: Bmi) -> None:
        """Rank and size of a grid are whole numbers, its type a string; a scalar has rank 0."""
        for grid in {bmi.get_var_grid(name) for name in variables(bmi)}:
            kind, rank, size = bmi.get_grid_type(grid), bmi.get_grid_rank(grid), bmi.get_grid_size(grid)
            require(isinstance(kind, str) and bool(kind), f"grid {grid}: type is {kind!r}")
            require(whole(rank) and 0 <= rank <= 3, f"grid {grid}: rank is {rank!r}")
            require(whole(size) and size > 0, f"grid {grid}: size is {size!r}")
            require(kind != "scalar" or rank == 0, f"grid {grid}: a scalar of rank {rank}")

    def check_time_metadata(self, bmi: Bmi) -> None:
        """Times are finite floats, now is the start, the end not before it, the step positive."""
        start, end, step = bmi.get_start_time(), bmi.get_end_time(), bmi.get_time_step()
        for time in (start, bmi.get_current_time(), end, step):
            require(isinstance(time, float) and isfinite(time), f"{time!r} is no finite float")
        require(bmi.get_current_time() == start, "the current time after initialize is not the start time")
        require(end >= start and step > 0, f"from {start} to {end} by {step}")
        units = bmi.get_time_units()
        require(isinstance(units, str) and bool(units), f"time units are {units!r}")

    def check_unknown_names(self, bmi: Bmi) -> None:
        """A name that does not exist raises one and the same error everywhere, which says the name."""
        one, first = np.zeros(1), np.zeros(1, dtype=int)
        calls: dict[str, tuple[Any, ...]] = {
            **{f"get_var_{what}": () for what in ("grid", "type", "units", "itemsize", "nbytes", "location")},
            **{"get_value": (one,), "get_value_ptr": (), "get_value_at_indices": (one, first)},
            **{"set_value": (one,), "set_value_at_indices": (first, one)},
        }
        raised = set()
        for call, arguments in calls.items():
            try:
                getattr(bmi, call)(NOWHERE, *arguments)
            except Exception as error:
                meant = NOWHERE in str(error) and not isinstance(error, ACCIDENTS)
                require(meant, f"{call} raises {type(error).__name__}: {error}")
                raised.add(type(error).__name__)
            else:
                raise Broken(f"{call} takes the unknown name {NOWHERE!r}")
        require(len(raised) == 1, f"not one error but {', '.join(sorted(raised))}")

    # -- values -----------------------------------------------------------------------

    def check_get_value(self, bmi: Bmi) -> None:
        """`get_value` fills and returns the array it is given, a copy of the variable."""
        bmi.update()
        for name in variables(bmi):
            expected = read(bmi, name)
            dest = other(expected)
            require(bmi.get_value(name, dest) is dest, f"{name}: another array is returned")
            require(same(dest, expected), f"{name}: items of the array are left as they were")
            dest[:] = other(dest)
            require(same(read(bmi, name), expected), f"{name}: is the variable itself, not a copy")

    def check_pointer_layout(self, bmi: Bmi) -> None:
        """`get_value_ptr` is one-dimensional and C-contiguous."""
        for name in variables(bmi):
            array = pointer(bmi, name)
            flat = array.ndim == 1 and array.flags.c_contiguous
            require(flat, f"{name}: shape {array.shape}, strides {array.strides}")

    def check_pointer_type(self, bmi: Bmi) -> None:
        """`get_value_ptr` is of the type and bytes the metadata say."""
        for name in variables(bmi):
            array, dtype, nbytes = pointer(bmi, name), bmi.get_var_type(name), bmi.get_var_nbytes(name)
            require(array.dtype == np.dtype(dtype), f"{name}: is {array.dtype}, said to be {dtype}")
            require(array.nbytes == nbytes, f"{name}: has {array.nbytes} bytes, said to be {nbytes}")

    def check_pointer_identity(self, bmi: Bmi) -> None:
        """An array from `get_value_ptr` stays the variable's memory through updates and `set_value`."""
        held = {name: pointer(bmi, name) for name in variables(bmi)}
        for step in range(self.steps):
            for name, values in self.legal.items():
                bmi.set_value(name, values.copy() if step % 2 else other(values))
            bmi.update()
            for name, array in held.items():
                moved = array.ctypes.data != pointer(bmi, name).ctypes.data
                require(not moved, f"{name}: has moved after {step + 1} updates")
                require(same(array, read(bmi, name)), f"{name}: is stale after {step + 1} updates")

    def check_set_value(self, bmi: Bmi) -> None:
        """`set_value` copies what it is given, and leaves it alone."""
        for name in inputs(bmi):
            new = other(read(bmi, name))
            src = new.copy()
            bmi.set_value(name, src)
            require(same(read(bmi, name), new), f"{name}: reads back other than it was set")
            require(same(src, new), f"{name}: the argument is changed")
            src[:] = other(src)
            require(same(read(bmi, name), new), f"{name}: the caller's array is kept, not its values")

    def check_indices(self, bmi: Bmi) -> None:
        """Items are set and read by index, in place, the others left alone."""
        for name in inputs(bmi):
            expected = read(bmi, name)
            new, last = other(expected), expected.size - 1
            expected[last] = new[last]
            bmi.set_value_at_indices(name, np.array([last]), new[last:])
            require(same(read(bmi, name), expected), f"{name}: set_value_at_indices misses")
            chosen = expected[[last, 0]]
            dest = other(chosen)
            got = bmi.get_value_at_indices(name, dest, np.array([last, 0]))
            require(got is dest and same(dest, chosen), f"{name}: get_value_at_indices misses")

    def check_write_through(self, bmi: Bmi) -> None:
        """Writing into an input's `get_value_ptr` is setting it."""
        with self.running() as twin:
            for name in inputs(bmi):
                new = other(read(bmi, name))
                twin.set_value(name, new.copy())
                pointer(bmi, name).flat[:] = new
                require(same(read(bmi, name), new), f"{name}: get_value does not see what was written")
            agree(self.run(bmi), self.run(twin), "differs from a run whose inputs were set")

    # -- time and life ----------------------------------------------------------------

    def check_update(self, bmi: Bmi) -> None:
        """Time advances by the step, up to the rounding of a sum."""
        start, step = bmi.get_start_time(), bmi.get_time_step()
        for k in range(1, possible(bmi, self.steps) + 1):
            bmi.update()
            now, then = bmi.get_current_time(), start + k * step
            require(isclose(now, then, rel_tol=1e-12 * k), f"after {k} updates it is {now!r}, not {then!r}")

    def check_exact_time(self, bmi: Bmi) -> None:
        """Time is exact: after k updates the k-fold of the step, rounded once."""
        start, step = Fraction(bmi.get_start_time()), Fraction(bmi.get_time_step())
        whole = lcm(start.denominator, step.denominator)  # a quotient of integers is rounded once
        first, each = int(start * whole), int(step * whole)
        for k in range(1, possible(bmi, self.time_steps) + 1):
            bmi.update()
            now, exact = bmi.get_current_time(), (first + k * each) / whole
            require(now == exact, f"after {k} updates it is {now!r}, not {exact!r}")

    def check_reading(self, bmi: Bmi) -> None:
        """Reading values and metadata between updates changes nothing."""
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
        """Two calls of `update_until` are one to the second's time."""
        count = possible(bmi, self.steps)
        start, step = bmi.get_start_time(), bmi.get_time_step()
        with self.running() as twin:
            twin.update_until(start + count * step)
            for part in (count // 3, count):
                bmi.update_until(start + part * step)
            for name in bmi.get_output_var_names():
                require(same(read(bmi, name), read(twin, name)), f"{name}: differs by a stop on the way")

    def check_update_until(self, bmi: Bmi) -> None:
        """`update_until` is that many updates; now is none; what has passed is refused."""
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
        """Outputs are finite after legal updates."""
        if not bmi.get_output_var_names():
            raise NotApplicable("the component has no outputs")
        for name, values in self.run(bmi)[-1].items():
            require(bool(np.isfinite(values).all()), f"{name}: is not finite")

    def check_finalize(self, bmi: Bmi) -> None:
        """A second `finalize` is harmless, and one of what was never initialized."""
        bmi.update()
        bmi.finalize()
        bmi.finalize()
        self.cls().finalize()

    def check_initialize(self, bmi: Bmi) -> None:
        """After `finalize` and `initialize` an instance is as good as new."""
        first = self.run(bmi)
        bmi.finalize()
        bmi.initialize(str(self.config_file))
        self.feed(bmi)
        require(bmi.get_current_time() == bmi.get_start_time(), "time does not begin anew")
        agree(self.run(bmi), first, "differs from the first run")

    def check_independence(self, bmi: Bmi) -> None:
        """Instances in one process do not disturb each other."""
        alone = self.run(bmi)
        with self.running() as again, self.running() as another:
            another.update()
            agree(self.run(again), alone, "differs beside another instance")


def require(kept: bool, otherwise: str) -> None:
    """Raise :class:`Broken` unless kept."""
    if not kept:
        raise Broken(otherwise)


def same(a: Values, b: Values) -> bool:
    """Whether all items are the same, in whatever shape; NaN is the same as NaN."""
    return np.array_equal(a.ravel(), b.ravel(), equal_nan=a.dtype.kind in "fc")


def agree(series: list[dict[str, Values]], expected: list[dict[str, Values]], otherwise: str) -> None:
    """Require that two runs are the same."""
    for now, then in zip(series, expected, strict=True):
        for name in then:
            require(same(now[name], then[name]), f"{name}: {otherwise}")


def read(bmi: Bmi, name: str) -> Values:
    """A copy of a variable by `get_value`, into an array made as the metadata say."""
    size = bmi.get_var_nbytes(name) // bmi.get_var_itemsize(name)
    dest: Values = np.zeros(size, bmi.get_var_type(name))
    bmi.get_value(name, dest)
    return dest


def pointer(bmi: Bmi, name: str) -> Values:
    """The variable's memory, which a component need not give."""
    try:
        get = bmi.get_value_ptr
    except AttributeError:
        raise NotApplicable("there is no get_value_ptr") from None
    try:
        return get(name)
    except NotImplementedError:
        raise NotApplicable("get_value_ptr is not implemented") from None


def whole(number: object) -> bool:
    """Whether it is a whole number, of Python or numpy."""
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def inputs(bmi: Bmi) -> tuple[str, ...]:
    """Names of inputs, if there are any."""
    if not bmi.get_input_var_names():
        raise NotApplicable("the component has no inputs")
    return bmi.get_input_var_names()


def variables(bmi: Bmi) -> tuple[str, ...]:
    """Names of inputs and outputs."""
    return tuple(dict.fromkeys((*bmi.get_input_var_names(), *bmi.get_output_var_names())))


def possible(bmi: Bmi, wanted: int) -> int:
    """Steps to take, as many as wanted if the component does not end before."""
    steps = (bmi.get_end_time() - bmi.get_start_time()) / bmi.get_time_step()
    if steps < 3:
        raise NotApplicable(f"the component ends after {int(steps)} steps")
    return wanted if steps > wanted else int(steps)


def other(values: Values) -> Values:
    """Each another than it was and distinct among equals, but of the same magnitude, so as likely legal."""
    if values.dtype.kind in "fc":
        finite = np.where(np.isfinite(values), values, 0.0)
        share = np.arange(1, 1 + values.size) / (16 * values.size)
        return (finite + np.where(finite == 0, 1.0, finite) * share).astype(values.dtype)
    return (values + 1 + np.arange(values.size) % 7).astype(values.dtype)
