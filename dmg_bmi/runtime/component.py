"""A component: rows of a group with a clock and published arrays of their own.

All that the BMI adapter needs, in the model's own terms.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import StateError, ValueShapeError, VariableError
from ..model.bundle import BundleInfo
from ..model.variables import Kind, Variable, unknown_variable
from . import restart
from .config import RunConfig, check_attribute, implausible, utc
from .group import Group, group_of, with_rows
from .mass_balance import WaterBudget
from .metadata import AREA, IDS

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
        self.group = group = group_of(info, config)
        self.info, self.config = group.info, config
        with group.lock:
            self._join(group.info, config, group)

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
        self._pointers: dict[str, NDArray[np.generic]] = {}
        #: What was published before the call under way, once it publishes.
        self._shown: FloatArray | None = None
        self._holds = config.missing_forcing == "hold"
        self._ledger: WaterBudget | None = None
        try:
            self._save_every = restart.steps_between(config.restart.every, self.clock.step)
            if config.restart.write is not None:
                restart.meant(self, config.restart.write)  # said now, not when the run has ended
            if config.restart.read is not None:
                restart.read(self, config.restart.read)
        except BaseException:
            group.leave(self)
            raise

    @classmethod
    def instead_of(cls, old: Component | None, info: BundleInfo, config: RunConfig) -> Self:
        """A new component, when it is ready, in place of one that is closed then.

        On an error the old one has not changed.
        """
        if old is not None and config.shared is not None and config.shared == old.config.shared:
            return cls._in_its_rows(old, info, config)
        new = cls(info, config)
        if old is not None:
            try:
                old.close()
            except BaseException:
                new.leave()
                raise
        return new

    @classmethod
    def _in_its_rows(cls, old: Component, info: BundleInfo, config: RunConfig) -> Self:
        """Rows have one owner, so the old one leaves first, and comes back if the new one fails."""
        with old.group.lock:
            before, arrays = old.save(), [a.copy() for a in (old.series, old.last, old._values)]
            old.close()
            try:
                return cls(info, config)
            except BaseException:
                old.group.members[old] = None
                old.load(before)
                for array, values in zip((old.series, old.last, old._values), arrays, strict=True):
                    array[...] = values
                raise

    @property
    def fluxes(self) -> FloatArray:
        """``[output, rows]`` of the latest model step."""
        return self.group.fluxes[:, self.part]

    @fluxes.setter
    def fluxes(self, values: FloatArray) -> None:
        self.group.fluxes = with_rows(self.group.fluxes, self.rows, values)

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

    def book(self) -> WaterBudget:
        """The book of the rows' water, opened when it is first asked for."""
        if self._ledger is None:
            self._ledger = WaterBudget(self)
        return self._ledger

    def update(self, steps: int = 1) -> None:
        """Advance; on an error, an interrupt or a state that cannot be saved nothing has changed."""
        with self.group.lock:
            before = self._mark(steps > 1)
            try:
                for _ in range(steps):
                    self._step()
            except BaseException:
                self._revert(before)
                raise

    def _mark(self, waiting: bool = False) -> tuple[Any, ...]:
        """Remember what :meth:`_revert` brings back, with `waiting` the forcing that waits too."""
        group, clock, ledger = self.group, self.clock, self._ledger
        self._shown = self.published.copy() if waiting else None
        return (
            group.mark(),
            self in group.pending,
            self in group.ahead,
            (clock.count, clock.begun, clock.phase, self.shares, self.due),
            (self.last.copy(), group.filled) if self._holds or waiting else None,
            self.series.copy() if waiting else None,
            None if ledger is None else ledger.mark(),
        )

    def _revert(self, marked: tuple[Any, ...]) -> None:
        """Bring back what was when :meth:`_mark` was called."""
        group, clock, ledger = self.group, self.clock, self._ledger
        shared, pending, ahead, own, held, series, booked = marked
        group.revert(shared)
        for members, was in ((group.pending, pending), (group.ahead, ahead)):
            members.pop(self, None)
            if was:
                members[self] = None
        clock.count, clock.begun, clock.phase, self.shares, self.due = own
        if self._shown is not None:
            self.published[...] = self._shown
        if held is not None:
            self.last[...], group.filled = held
        if series is not None:
            self.series[...] = series
        self._flow()
        if ledger is not None and booked is not None:
            ledger.revert(booked)
        self._refresh()

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
            restart.write(self, self.config.restart.write)

    def _refresh(self) -> None:
        for name, array in self._watched.items():
            array[...] = self.state_values(name)
        if self._ledger is not None:
            self._ledger.close()

    def _publish(self) -> None:
        """What a framework step gets of the latest model step's fluxes."""
        if self._shown is None:
            self._shown = self.published.copy()
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

    def pointer(self, name: str) -> NDArray[np.generic]:
        """The one array of a variable as others see it: what is no forcing cannot be written to.

        An attribute or a state that was written to there would be shown and not used.
        """
        array = self.array(name)
        variable = self.variable(name)
        if variable is not None and variable.kind == "input":
            return array
        key = name if variable is None else variable.name
        if key not in self._pointers:
            view = array.view()
            view.flags.writeable = False
            self._pointers[key] = view
        return self._pointers[key]

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
        with self.group.lock:
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
            with self.group.lock:
                before = self._mark()
                try:
                    self._set_state(variable, values)
                except BaseException:
                    self._revert(before)
                    raise
            return
        target = self.array(name)
        if values.size != target.size:
            raise ValueShapeError(f"{name!r} has {target.size} values, not {values.size}")
        if variable.kind in ("attribute", "multiplier"):
            new = np.asarray(values, dtype=np.float64).reshape(target.shape)
            check_attribute(name, new, self.ids, variable.lower, variable.upper, variable.kind)
            self.group.setup.check_trained({variable.name: new}, self.ids)
            self._change(variable.name, new)
        else:
            target[...] = values.reshape(target.shape)

    def _change(self, name: str, values: FloatArray) -> None:
        """Change an attribute or a multiplier from now on.

        The values come last: what is interrupted before has changed nothing, only looked anew.
        """
        with self.group.lock:
            self.changed[name] = None
            if name in self.group.multipliers:
                self.group.changed_multiplier(self, name)
            else:
                self.group.changed_attributes(self)
            self.settable[name][...] = values

    def _set_state(self, variable: Variable, values: NDArray[np.generic]) -> None:
        name = variable.symbol
        old = self.group.state(self)[name]
        if values.size != old.numel():
            raise ValueShapeError(f"{name!r} has {old.numel()} values, not {values.size}")
        new = np.array(values, dtype=np.float64).reshape(self.size, -1)
        wrong = restart.invalid_state_message(self, name, new, implausible(new))
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
        with self.group.lock:
            return restart.save(self)

    def load(self, content: bytes, source: str = "state") -> None:
        """Go on from a saved state; it takes effect whole or not at all.

        Raises
        ------
        StateError
            Torn, or of another model, other catchments, another step or another valid time.
        """
        with self.group.lock:
            before = self._mark(waiting=True)
            changed, settable = dict(self.changed), {n: v.copy() for n, v in self.settable.items()}
            try:
                restart.load(self, content, source)
            except BaseException:
                self._revert(before)
                for name, values in settable.items():
                    self.settable[name][...] = values
                self.changed = changed
                raise

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
        """Write the state file that the config names, then leave the group and say which gaps were filled.

        Where the file cannot be written the component stays as it is.
        """
        group = self.group
        with group.lock:
            if self.config.restart.write is not None:
                restart.write(self, self.config.restart.write)
            self.leave()
        if group.filled.any() and not group.members:
            counts = dict(zip(group.inputs.names, group.filled.tolist(), strict=True))
            log.warning("%s: missing forcing was replaced by the last value: %s", self.info.name, counts)

    def leave(self) -> None:
        """Give up the rows; nothing is written."""
        self.group.leave(self)


def number(name: str, position: int) -> int:
    """The digits of an id as a number, its position where it has none."""
    digits = "".join(c for c in name if c.isdigit())[-18:]
    return int(digits) if digits else position
