"""A component: rows of a group with a clock and published arrays of their own.

All that the BMI adapter needs, in the model's own terms.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..bundle import BundleInfo
from ..errors import StateError, ValueShapeError, VariableError
from ..run_config import RunConfig, check_attribute, implausible, utc
from ..variables import Kind, Variable, unknown_variable
from . import saved
from .group import group_of
from .ledger import Ledger
from .metadata import AREA, IDS

FloatArray = NDArray[np.float64]
log = logging.getLogger("dmg_bmi")


class Component:
    """A model at work on its catchments.

    Parameters
    ----------
    info : BundleInfo
    config : RunConfig

    Attributes
    ----------
    arrays : dict of name to array
        Inputs, outputs, attributes, ids and areas: one-dimensional, C-contiguous, allocated once
        and refreshed in place.
    """

    def __init__(self, info: BundleInfo, config: RunConfig) -> None:
        self.info, self.config = info, config
        self.group = group = group_of(info, config)
        with group.lock:
            self._join(info, config, group)

    def _join(self, info: BundleInfo, config: RunConfig, group: Group) -> None:
        self.clock = group.setup.new_clock()
        self.ids = (config.catchment,) if config.catchment is not None else group.table.ids
        self.rows = group.join(self, self.ids)
        # Rows of a member stand side by side, so that its part of an array is a view.
        part = slice(int(self.rows[0]), int(self.rows[-1]) + 1)
        self.part: slice = part
        self._values, self.series = group.values[:, part], group.series[:, :, part]
        self.published = group.published[:, part]
        self.last = group.last[:, part]
        self._spread = np.array([[v.aggregation == "sum"] for v in group.outputs])
        self._scale = np.array([[v.from_model()[0]] for v in group.outputs])
        self._offset = np.array([[v.from_model()[1]] for v in group.outputs])
        self.shares = self.clock.ratio
        #: Whether the latest model step's fluxes are to be published by the next update.
        self.due: bool = False

        #: Attributes and multipliers: what is set once, and which of them was.
        self.settable = {n: v[part] for n, v in (group.attributes | group.multipliers).items()}
        self.changed: dict[str, None] = {}
        area = group.areas(self.rows)
        names = group.inputs.names if group.store is None else ()
        self.arrays: dict[str, NDArray[np.generic]] = {
            **self.settable,
            **dict(zip((v.name for v in group.outputs), self.published, strict=True)),
            **dict(zip(names, self._values, strict=bool(names))),
            IDS: np.array([number(name, k) for k, name in enumerate(self.ids)], dtype=np.int64),
            AREA: area,
        }
        #: What BMI getters say of the variables.
        self.about = group.about(self.size)
        symbols = [v.symbol for v in group.outputs]
        #: Flows, each with the depth and the area per second that make it.
        self._flows = [
            (
                np.zeros(self.size),
                self.published[symbols.index(v.of)],
                area * 1e6 / self.clock.step,
            )
            for v in info.variables
            if v.kind == "output" and v.of
        ]
        flows = (v.name for v in info.variables if v.kind == "output" and v.of)
        self.arrays |= {name: flow for name, (flow, _, _) in zip(flows, self._flows, strict=True)}
        self._flow()
        self._watched: dict[str, FloatArray] = {}
        self._ledger: Ledger | None = None
        try:
            self._save_every = saved.steps_between(config.restart.every, self.clock.step)
            if config.restart.read is not None:
                saved.read(self, config.restart.read)
        except BaseException:
            group.leave(self)
            raise

    @property
    def fluxes(self) -> FloatArray:
        """``[output, rows]`` of the latest model step."""
        return self.group.fluxes[:, self.part]

    @property
    def size(self) -> int:
        """Catchments."""
        return len(self.rows)

    @property
    def unreleased(self) -> float:
        """Which part of the model step that is being released comes with later updates."""
        clock = self.clock
        return (clock.ratio - clock.position) % clock.ratio / self.shares

    def waiting(self) -> FloatArray:
        """Forcing ``[time, variable, rows]`` of the model step that is not yet complete."""
        return self.series[: self.clock.position]

    def book(self) -> Ledger:
        """The book of the rows' water, opened when it is first asked for."""
        if self._ledger is None:
            self._ledger = Ledger(self)
        return self._ledger

    def update(self, steps: int = 1) -> None:
        """Advance; on an error, an interrupt or a state that cannot be saved nothing has changed."""
        with self.group.lock, self.undoing(steps > 1):
            for _ in range(steps):
                self._step()

    @contextmanager
    def undoing(self, series: bool = False) -> Iterator[None]:
        """Bring everything back when the block raises; with `series` the forcing that waits too."""
        clock, ledger = self.clock, self._ledger
        marked = self.group.mark()
        own = (clock.count, clock.begun, clock.phase, self.shares, self.due, self in self.group.pending)
        last, filled = (self.last.copy(), self.group.filled) if self._holds else (None, None)
        waiting = self.series.copy() if series else None
        published = self.published.copy()
        booked = None if ledger is None else ledger.mark()
        try:
            yield
        except BaseException:
            self.group.revert(marked)
            clock.count, clock.begun, clock.phase, self.shares, self.due, pending = own
            if not pending:
                self.group.pending.pop(self, None)
            if last is not None:
                self.last[...], self.group.filled = last, filled
            if waiting is not None:
                self.series[...] = waiting
            self.published[...] = published
            self._flow()
            if ledger is not None:
                ledger.revert(booked)
            self._refresh()
            raise

    def _step(self) -> None:
        clock, group = self.clock, self.group
        clock.check_step()
        if group.store is not None:
            if clock.begins:
                group.begin(self)
                clock.begun = True
                self.shares = clock.ratio - clock.position
                self._publish()
        else:
            values = group.legal(self._values, self.part, clock.now)
            if clock.ratio == 1:
                group.advance(self, values)
                self._publish()
            else:
                if self.due:
                    group.flush()
                    self._publish()
                    self.due = False
                position = clock.position
                self.series[position] = values
                if self._ledger is not None:
                    self._ledger.receive(values)
                if position == clock.ratio - 1:
                    group.wait(self)
                    self.due = True
        clock.count += 1
        self._refresh()
        if self._save_every and clock.count % self._save_every == 0:
            saved.write(self, self.config.restart.write)

    def _refresh(self) -> None:
        for name, array in self._watched.items():
            array[...] = self.state_values(name)
        if self._ledger is not None:
            self._ledger.close()

    def _publish(self) -> None:
        """What a framework step gets of the latest model step's fluxes."""
        factor = np.where(self._spread, self._scale / self.shares, self._scale)
        np.multiply(self.fluxes, factor, out=self.published)
        self.published += self._offset
        self._flow()
        if self._ledger is not None:
            self._ledger.consume()

    def _flow(self) -> None:
        for flow, depth, area_per_second in self._flows:
            np.multiply(depth, area_per_second, out=flow)

    # -- by name ------------------------------------------------------------------

    def variable(self, name: str) -> Variable | None:
        """The table's row for a name or symbol; None for ids and areas, which have none."""
        variable = self.about.by_name.get(name)
        if variable is None and name not in (IDS, AREA):
            raise unknown_variable(name)
        return variable

    def array(self, name: str) -> NDArray[np.generic]:
        """The one array of a variable, the same object each time; a state's is for reading."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            name = variable.symbol
            if name not in self._watched:
                self._watched[name] = self.state_values(name)
            return self._watched[name]
        name = name if variable is None else variable.name
        if name not in self.arrays:
            raise VariableError(f"{name!r} comes from the stored forcing; it is not set or read here")
        return self.arrays[name]

    def values(self, name: str) -> NDArray[np.generic]:
        """What a variable is now, one-dimensional; not to be written to."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            return self.state_values(variable.symbol)
        return self.array(name)

    def by_kind(self, kind: Kind) -> dict[str, NDArray[Any]]:
        """Arrays of all variables of a kind, by name and by symbol."""
        return {
            name: self.arrays[v.name]
            for name, v in self.about.by_name.items()
            if v.kind == kind and v.name in self.arrays
        }

    def state_values(self, symbol: str) -> FloatArray:
        """A copy of a state, one-dimensional, rows first."""
        return self.group.state(self)[symbol].to("cpu", torch.float64).numpy().flatten()

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Set an input, an attribute or a state, in place, from now on.

        Raises
        ------
        VariableError, ValueShapeError, AttributeTableError, StateError
        """
        variable = self.variable(name)
        if variable is None or variable.kind == "output":
            raise VariableError(f"{name!r} is given by the component and cannot be set")
        if variable.kind == "state":
            self._set_state(variable, values)
            return
        target = self.array(name)
        if values.size != target.size:
            raise ValueShapeError(f"{name!r} has {target.size} values, not {values.size}")
        if variable.kind in ("attribute", "multiplier"):
            new = np.asarray(values, dtype=np.float64).reshape(target.shape)
            check_attribute(name, new, self.ids, variable.lower, variable.upper, variable.kind)
            self._change(variable.name, new)
        else:
            target[...] = values.reshape(target.shape)

    def _change(self, name: str, values: FloatArray) -> None:
        """Change an attribute or a multiplier from now on."""
        if name in self.group.multipliers:
            self.group.changed_multiplier(self, name)
        else:
            self.group.changed_attributes(self)
        self.settable[name][...] = values
        self.changed[name] = None

    def _set_state(self, variable: Variable, values: NDArray[np.generic]) -> None:
        name = variable.symbol
        old = self.group.state(self)[name]
        if values.size != old.numel():
            raise ValueShapeError(f"{name!r} has {old.numel()} values, not {values.size}")
        new = np.array(values, dtype=np.float64).reshape(self.size, -1)
        wrong = saved.impossible(self, name, new, implausible(new))
        if wrong:
            raise StateError(wrong)
        ledger = self._ledger
        held = 0.0 if ledger is None else ledger.storage()
        self.group.set_state(self, {name: torch.from_numpy(new).reshape(old.shape)})
        if ledger is not None:
            ledger.add(ledger.storage() - held)
        if name in self._watched:
            self._watched[name][...] = new.ravel()

    # -- saving -------------------------------------------------------------------

    @property
    def valid_time(self) -> datetime | None:
        """UTC, of the component's own clock; None where no dates are known."""
        if self.config.start_time is None:
            return None
        return utc(self.config.start_time) + timedelta(seconds=self.clock.now)

    def save(self) -> bytes:
        """The whole state at the component's own clock; nothing changes."""
        return saved.save(self)

    def load(self, content: bytes, source: str = "state") -> None:
        """Go on from a saved state; it takes effect whole or not at all.

        Raises
        ------
        StateError
            Torn, or of another model, other catchments, another step or another valid time.
        """
        saved.load(self, content, source)

    def restored(self, shares: int, due: bool, changed: Mapping[str, FloatArray]) -> None:
        """Everything else is in place: say how far the latest model step has been released."""
        self.shares, self.due = shares, due
        for name in self.changed.keys() - changed:
            self._change(name, self.group.default(name, self.rows))
        for name, values in changed.items():
            self._change(name, values)
        self.changed = dict.fromkeys(changed)
        self._flow()
        if self._ledger is not None:
            self._ledger.open()
        self._refresh()

    def close(self) -> None:
        """Write the state file that the config names, say which gaps were filled, leave the group."""
        group = self.group
        try:
            if self.config.restart.write is not None:
                saved.write(self, self.config.restart.write)
        finally:
            group.leave(self)
        if group.filled.any() and not group.members:
            counts = dict(zip(group.inputs.names, group.filled.tolist(), strict=True))
            log.warning("%s: missing forcing was replaced by the last value: %s", self.info.name, counts)


def number(name: str, position: int) -> int:
    """The digits of an id as a number, its position where it has none."""
    digits = "".join(c for c in name if c.isdigit())[-18:]
    return int(digits) if digits else position
