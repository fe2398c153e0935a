"""A component as simple as can be: the model stepped in one piece, everything else in plain Python.

It knows no groups, members, engines or codecs. Each call returns its answer, or raises
:class:`Due` with the errors of which the component owes one.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dmg_bmi.errors import (
    AttributeTableError,
    DmgBmiError,
    ForcingError,
    NotInitializedError,
    StateError,
    TimeError,
    TimeStepError,
    ValueShapeError,
    VariableError,
)
from dmg_bmi.model.bundle import BundleInfo

DAY = 86400.0
FACTOR = {("mm", "m"): 1e-3}
SAVING = "ngen::serialization_"
GIVEN = ("catchment__id", "catchment__area")


class Due(Exception):
    """One of these errors is due."""

    def __init__(self, *errors: type[DmgBmiError]) -> None:
        super().__init__(*errors)
        self.errors = errors


def need(*violated: tuple[bool, type[DmgBmiError]]) -> None:
    """Raise `Due` with the errors of what is violated, if anything is."""
    errors = [error for bad, error in violated if bad]
    if errors:
        raise Due(*errors)


@dataclass(frozen=True)
class Setup:
    """What a configuration says."""

    path: Path
    bundle: str
    n: int
    step: float
    end: int
    dated: bool
    phase: int
    attributes: dict[str, np.ndarray] = field(hash=False, compare=False, repr=False)
    area: np.ndarray = field(hash=False, compare=False, repr=False)


@cache
def loaded(bundle: str) -> tuple[Any, Any]:
    """The table of a bundle, and its model."""
    info = BundleInfo.read(bundle)
    return info.variables, info.load_model()


def plausible(values: np.ndarray) -> bool:
    """Finite, and not what uninitialised memory looks like."""
    size = np.abs(values)
    return bool(((size < 1e30) & ((values == 0) | (size >= 1e-200))).all())


class Reference:
    """The simple component."""

    def __init__(self) -> None:
        self.setup: Setup | None = None

    # -- life -------------------------------------------------------------------------

    def initialize(self, setup: Setup) -> None:
        self.setup, self.count, self.phase = setup, 0, setup.phase
        self.table, self.model = loaded(setup.bundle)
        self.ratio = round(self.model.step / setup.step)
        self.known = {v.symbol: v for v in self.table} | {v.name: v for v in self.table}
        n = setup.n
        self.values = {}
        for v in self.table:
            if v.kind == "input":
                self.values[v.name] = np.full(n, np.nan)
            elif v.kind == "output":
                level = v.aggregation != "sum" and not v.of
                self.values[v.name] = np.full(n, np.nan if level else 0.0)
            elif v.kind == "attribute":
                self.values[v.name] = setup.attributes[v.name].copy()
            elif v.kind == "multiplier":
                self.values[v.name] = np.ones(n)
        self.state = self.model.init_state(n, dtype=torch.float64)
        self.buffer = np.full((self.ratio, len(self.inputs()), n), np.nan)
        self.due = False
        self.fluxes: dict[str, np.ndarray] = {}
        self.saved: Reference | None = None
        self.announced: int | None = None

    def finalize(self) -> None:
        self.setup = None

    def ready(self) -> Setup:
        if self.setup is None:
            raise Due(NotInitializedError)
        return self.setup

    # -- time -------------------------------------------------------------------------

    def update(self) -> None:
        setup = self.ready()
        # The component looks at time first, but owes either error.
        need((self.count >= setup.end, TimeError), (not self.legal(), ForcingError))
        now = np.array([self.values[v.name] for v in self.inputs()])
        if self.ratio == 1:
            self.run(now[None])
            self.publish(1)
        else:
            if self.due:
                self.publish(self.ratio)
                self.due = False
            position = (self.phase + self.count) % self.ratio
            self.buffer[position] = now
            if position == self.ratio - 1:
                self.run(self.buffer)
                self.due = True
        self.count += 1

    def update_until(self, time: float) -> None:
        setup = self.ready()
        if not np.isfinite(time):
            raise Due(TimeError)
        steps = time / setup.step
        if abs(steps - round(steps)) > 1e-6:
            raise Due(TimeStepError)
        need((round(steps) < self.count, TimeError), (round(steps) > setup.end, TimeError))
        for _ in range(round(steps) - self.count):
            self.update()

    def legal(self) -> bool:
        return all(
            (np.isfinite(x) & (x >= v.lower) & (x <= v.upper)).all()
            for v in self.inputs()
            for x in (self.amount(v, self.values[v.name]),)
        )

    def amount(self, v: Any, values: np.ndarray) -> np.ndarray:
        """In model units: of a rate, what one framework step brings."""
        per = {"mm d-1": DAY, "mm h-1": 3600.0}.get(v.units)
        return values if per is None else values * (self.ready().step / per)

    def run(self, series: np.ndarray) -> None:
        """One model step on ``series[time, input, n]``, NaN where there was none."""
        forcing = {}
        for k, v in enumerate(self.inputs()):
            join = np.nansum if v.aggregation == "sum" else np.nanmean
            forcing[v.symbol] = torch.from_numpy(join(self.amount(v, series[:, k]), axis=0))[None]
        attributes = {
            v.name: torch.from_numpy(self.values[v.name]) for v in self.table if v.kind == "attribute"
        }
        factors = {
            v.of: torch.from_numpy(self.values[v.name])
            for v in self.table
            if v.kind == "multiplier" and (self.values[v.name] != 1).any()
        }
        with torch.inference_mode():
            constants = self.model.precompute(attributes, self.ready().n, torch.float64, factors)
            fluxes, self.state = self.model.run(forcing, constants, self.state)
        self.fluxes = {name: values[0].numpy() for name, values in fluxes.items()}

    def publish(self, shares: int) -> None:
        setup = self.ready()
        for v in self.table:
            if v.kind == "output" and not v.of:
                share = shares if v.aggregation == "sum" else 1
                factor = FACTOR.get((v.model_units, v.units), 1.0)
                self.values[v.name] = self.fluxes[v.symbol] * factor / share
        for v in self.table:
            if v.of and v.kind == "output":
                depth = self.values[self.known[v.of].name]
                self.values[v.name] = depth * setup.area * 1e6 / setup.step

    # -- values -----------------------------------------------------------------------

    def inputs(self) -> list[Any]:
        return [v for v in self.table if v.kind == "input"]

    def variable(self, name: object) -> Any:
        self.ready()
        if name in GIVEN:
            return None
        if name not in self.known:
            raise Due(VariableError)
        return self.known[name]

    def value(self, name: object) -> np.ndarray:
        v = self.variable(name)
        if v is None:
            return self.ready().area if name == GIVEN[1] else np.arange(1, 1 + self.ready().n)
        if v.kind == "state":
            return self.state[v.symbol].to(torch.float64).numpy().ravel()
        return self.values[v.name]

    def set_value(self, name: object, given: object) -> None:
        self.ready()
        if isinstance(name, str) and name.startswith(SAVING):
            self.protocol(name.removeprefix(SAVING), given)
            return
        values = numbers(given)
        try:
            v = self.variable(name)
        except Due as due:
            raise Due(*due.errors, *([] if values is not None else [ValueShapeError])) from None
        size = self.value(name).size
        need(
            (v is None or v.kind == "output", VariableError),
            (values is None or values.size != size, ValueShapeError),
        )
        assert values is not None
        self.put(v, np.array(values, dtype=np.float64).ravel())

    def put(self, v: Any, new: np.ndarray) -> None:
        if v.kind == "state":
            need((not plausible(new) or (new < v.lower).any(), StateError))
            old = self.state[v.symbol]
            shaped = torch.from_numpy(new).reshape(old.shape).to(old.dtype)
            self.state = {**self.state, v.symbol: shaped}
        elif v.kind in ("attribute", "multiplier"):
            within = plausible(new) and ((new >= v.lower) & (new <= v.upper)).all()
            need((not within, AttributeTableError))
            self.values[v.name] = new
        else:
            self.values[v.name] = new

    def set_at(self, name: object, inds: object, given: object) -> None:
        old = self.value(name)
        where, values, v = indices(inds, old.size), numbers(given), self.variable(name)
        need(
            (v is None or v.kind == "output", VariableError),
            (where is None or values is None or values.size != where.size, ValueShapeError),
        )
        assert where is not None
        assert values is not None
        new = old.copy()
        new[where] = values.ravel()
        self.put(v, new)

    def get(self, name: object, dest: object) -> np.ndarray:
        values = self.value(name)
        need((not takes(dest, values.size, values.dtype), ValueShapeError))
        return values

    def get_at(self, name: object, dest: object, inds: object) -> np.ndarray:
        values = self.value(name)
        where = indices(inds, values.size)
        need((where is None or not takes(dest, where.size, values.dtype), ValueShapeError))
        return values[where]

    # -- saving and restoring -----------------------------------------------------------

    def protocol(self, word: str, given: object) -> None:
        values = numbers(given)
        need((values is None, ValueShapeError))
        assert values is not None
        if word == "create":
            self.saved = self.snapshot()
            self.announced = None
        elif word == "free":
            self.saved = self.announced = None
        elif word == "size":
            good = values.size == 1 and np.isfinite(values).all() and 0 <= values.ravel()[0] <= 16 * 2**30
            need((not good, ValueShapeError))
            self.saved, self.announced = None, int(values.ravel()[0])

    def snapshot(self) -> Reference:
        kept = copy.copy(self)
        kept.values = {name: values.copy() for name, values in self.values.items()}
        kept.buffer = self.buffer.copy()
        kept.buffer[(self.phase + self.count) % self.ratio :] = np.nan
        kept.saved = None
        return kept

    def restore(self, of: Reference | None, size: int) -> None:
        """From bytes that were saved by `of`, or None if they are no state."""
        setup = self.ready()
        wrong = of is None or of.setup != setup or (setup.dated and of.count != self.count)
        unannounced = self.announced is not None and self.announced != size
        need((wrong or unannounced, StateError))
        assert of is not None
        position = (of.phase + of.count) % self.ratio
        self.phase = (position - self.count) % self.ratio
        kept = of.snapshot()
        inputs = {v.name: self.values[v.name] for v in self.inputs()}
        self.values = kept.values | inputs
        self.state, self.due, self.fluxes, self.buffer = of.state, of.due, of.fluxes, kept.buffer
        self.saved = self.announced = None


def numbers(given: object) -> np.ndarray | None:
    """As an array of whole or floating numbers, if it is one."""
    try:
        values = np.asarray(given)
    except ValueError:
        return None
    return values if values.dtype.kind in "fiu" else None


def indices(given: object, size: int) -> np.ndarray | None:
    """As indices of an array of `size`, if they are."""
    inds = np.asarray(given)
    good = inds.dtype.kind in "iu" and (inds.size == 0 or (inds.min() >= 0 and inds.max() < size))
    return inds.ravel() if good else None


def takes(dest: object, size: int, dtype: np.dtype) -> bool:
    """Whether values can be copied into it."""
    return (
        isinstance(dest, np.ndarray)
        and dest.size == size
        and dest.dtype.kind in "fiuc"
        and dest.flags.writeable
        and np.can_cast(dtype, dest.dtype, casting="same_kind")
    )
