"""A group: rows of one model that step together, whoever owns them.

One component over many catchments owns all rows of its group. In NextGen each component owns
one row, and all that name the same shared configuration join one group: weights, attributes
and compiled code exist once, and a model step runs batched for every row that is ready.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Protocol
from weakref import WeakSet, WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import AttributeTableError, ModelError
from ..model.bundle import BundleInfo
from ..physics import Balance, State
from .clock import Clock
from .config import RunConfig
from .metadata import Metadata
from .model_step import ModelStep
from .observed_window import INCREMENT, OBSERVATIONS, adjoint_variables
from .row_states import Rows, RowStates
from .shared_setup import SharedSetup
from .spin_up import spin_up, spins_up_from_store

log = logging.getLogger("dmg_bmi")


#: Every group of this process.
_GROUPS: WeakSet[Group] = WeakSet()


class Member(Protocol):
    """Who owns rows of a group: its rows, its clock and where it is in its model step."""

    rows: Rows
    clock: Clock
    model_step: ModelStep


class Group:
    """Rows of one model under one configuration.

    Rows are handed out by :meth:`join`. Arrays have a column per row and never move, so that
    views of them stay valid. The state is built when the first step needs it.

    Parameters
    ----------
    info : BundleInfo
    config : RunConfig
        Of all rows.
    """

    def __init__(self, info: BundleInfo, config: RunConfig) -> None:
        #: Held by whoever reads or changes what the members share.
        self.lock = RLock()
        self.setup = setup = SharedSetup(info, config)
        self.info, self.config, self.model, self.table = setup.info, config, setup.model, setup.table
        self.store, self.inputs = setup.store, setup.inputs
        self.outputs, self.balance = setup.outputs, setup.balance
        capacity, ratio = len(self.table.ids), setup.new_clock().ratio
        self.n = 0
        self._rows: dict[str, int] = {}
        self._row_of = {name: k for k, name in enumerate(self.table.ids)}
        self._table_row = np.zeros(capacity, dtype=np.int64)
        self.states = RowStates(setup, capacity)
        self.attributes, self.multipliers = self.states.attributes, self.states.multipliers
        #: What frameworks set ``[variable, row]``, and what was set in each step of a model step.
        self.values: FloatArray = np.zeros((len(self.inputs.names), capacity))
        self.series: FloatArray = np.zeros((ratio, len(self.inputs.names), capacity))
        #: Last legal value, for gaps; and how many were filled.
        self.last: FloatArray = np.zeros((len(self.inputs.names), capacity))
        self.filled = np.zeros(len(self.inputs.names), dtype=np.int64)
        #: Which model step a row's next one is.
        self._step_of = np.zeros(capacity, dtype=np.int64)
        #: Fluxes of the latest model step, replaced and never written to; and what is published of them.
        self.fluxes: FloatArray = np.zeros((len(self.outputs), capacity))
        self.published: FloatArray = np.zeros((len(self.outputs), capacity))

        #: Water of the latest model step, once a member tracks it: what came in, and what is stored. Replaced
        #: and never written to.
        self.supplied: FloatArray = np.zeros(capacity)
        self.stored: FloatArray = np.zeros(capacity)
        self._tracks_water = False
        #: Forcing of the latest model step by name, once a member asks for it. Replaced and never written to.
        self.forcing: dict[str, FloatArray] = {}

        #: Rows that stored forcing is yet to spin up; replaced and never written to.
        self._to_spin_up: frozenset[int] = frozenset()
        self._spins_up = spins_up_from_store(setup)
        #: Of members that joined since the states were built, where it is not the initial one.
        self._initial: dict[Member, State] = {}
        self._about: dict[int, Metadata] = {}
        #: Members whose model step is due but has not run; members whose state is one step ahead.
        self.members: dict[Member, None] = {}
        self.pending: dict[Member, None] = {}
        self.ahead: dict[Member, None] = {}
        _GROUPS.add(self)

    # -- members ------------------------------------------------------------------

    def join(self, member: Member, names: Sequence[str]) -> Rows:
        """Hand out rows for catchments of the table, side by side in this order.

        Raises
        ------
        AttributeTableError
            For a catchment that is not in the table, or that has an owner.
        """
        for name in names:
            if name not in self._row_of:
                raise AttributeTableError(f"there is no catchment {name!r} in the table of catchments")
        rows = self._rejoin(names)
        table_rows = [self._row_of[name] for name in names]
        self._table_row[rows] = table_rows
        for name, values in self.table.attributes.items():
            self.attributes[name][rows] = values[table_rows]
        for factors in self.multipliers.values():
            factors[rows] = 1.0
        for array in (self.values, self.last, self.series):
            array[..., rows] = np.nan
        self.fluxes = with_rows(self.fluxes, rows, 0.0)
        # Nothing flows yet; what the stores hold is not known as a level before the first step.
        levels = np.array([[v.aggregation != "sum"] for v in self.outputs])
        self.published[:, rows] = np.where(levels, np.nan, 0.0)
        self._rows.update(zip(names, rows.tolist(), strict=True))
        if self._spins_up:
            self._to_spin_up = self._to_spin_up | frozenset(rows.tolist())
        self.members[member] = None
        return rows

    def _rejoin(self, names: Sequence[str]) -> Rows:
        """Return new rows, or those that the catchments had before their owner left."""
        former = [self._rows[name] for name in names if name in self._rows]
        if not former:
            rows = np.arange(self.n, self.n + len(names))
            self.n += len(names)
            return rows
        owned = {row for m in self.members for row in m.rows.tolist()}
        rows = np.array(former)
        if len(former) < len(names) or (np.diff(rows) != 1).any() or owned.intersection(former):
            raise AttributeTableError(
                f"catchment {names[0]!r} has been initialized before in this process; finalize it first"
            )
        if int(rows[-1]) < self.states.size:
            self.states.assign(rows, self.setup.initial(len(rows)))
            self.states.changed(rows.tolist())
        return rows

    def owns(self, name: str) -> bool:
        """Tell whether a member has the row of a catchment."""
        row = self._rows.get(name)
        return row is not None and any(row in m.rows for m in self.members)

    def leave(self, member: Member) -> None:
        """Take the member's rows out of all further steps."""
        with self.lock:
            for members in (self.members, self.pending, self.ahead, self._initial):
                members.pop(member, None)
            self.skip_spin_up(member)

    def table_rows(self, rows: Rows) -> NDArray[np.int64]:
        """Return the rows of the table of catchments."""
        return self._table_row[rows]

    def names(self, rows: Rows | slice) -> list[str]:
        """Return the catchments of rows."""
        return [self.table.ids[k] for k in self._table_row[rows]]

    def about(self, size: int) -> Metadata:
        """Return metadata of the variables of a member with `size` rows, shared by all such members."""
        if size not in self._about:
            others = [v for v in self.info.variables if v.kind != "input"]
            if self.config.assimilation is not None:
                others += [*OBSERVATIONS, INCREMENT, *adjoint_variables(self.info.variables)]
            self._about[size] = Metadata((*self.inputs.forcings, *others), size, self.store is not None)
        return self._about[size]

    def default(self, name: str, rows: Rows) -> FloatArray:
        """Return what an attribute or a multiplier was before it was set."""
        return (
            np.ones(len(rows))
            if name in self.multipliers
            else self.table.attributes[name][self._table_row[rows]]
        )

    def areas(self, rows: Rows) -> FloatArray:
        """Return areas of rows, km2."""
        return self.table.area[self._table_row[rows]]

    # -- forcing ------------------------------------------------------------------

    def legal(self, values: FloatArray, rows: Rows | slice, now: float) -> FloatArray:
        """Return ``values[variable, rows]`` with gaps filled, if the configuration says so.

        Raises
        ------
        ForcingError
            Naming variable and catchment; nothing has changed then.
        """
        gaps = None
        if self.config.missing_forcing == "hold":
            gaps = np.isnan(values)
            values = np.where(gaps, self.last[:, rows], values)
        if not self.inputs.legal(values):
            raise self.inputs.refuse(values, self.names(rows), now)
        if gaps is not None:
            self.filled = self.filled + gaps.sum(1)
            self.last[:, rows] = values
        return values

    # -- stepping -----------------------------------------------------------------

    def advance(self, member: Member, values: FloatArray) -> None:
        """Run the model step of one member now, on ``values[variable, rows]``."""
        self._step_of[member.rows] = member.model_step.number(member.clock.count)
        self._run(member.rows, values[np.newaxis])

    def wait(self, member: Member) -> None:
        """Note that the member's forcing of a model step is complete; it runs when the next one begins."""
        self.pending[member] = None
        self._step_of[member.rows] = member.model_step.number(member.clock.count)

    def flush(self) -> None:
        """Run, in one batch, the model step of every member whose forcing is complete."""
        if self.pending:
            rows = _concatenate(self.pending)
            self._run(rows, self.series[:, :, rows])
            self.pending = {}

    def begin(self, member: Member) -> None:
        """Make the model step that begins now, on stored forcing, the member's latest.

        If it has not run yet, it runs for all members that are at the same time.
        """
        if member in self.ahead:
            del self.ahead[member]
            return
        assert self.store is not None  # noqa: S101  members of a group without a store do not come here
        clock, step = member.clock, member.model_step
        together = [
            m
            for m in self.members
            if m not in self.ahead
            and m.model_step.begins
            and (m.clock.count, m.model_step.position) == (clock.count, step.position)
        ]
        rows = _concatenate(together)
        table_rows = self._table_row[rows]
        number = step.number(clock.count)
        series = self.store.read(number, clock.count == 0, table_rows, clock.now)
        perturb = self.setup.perturbation
        if perturb is not None:
            times = clock.now + np.arange(len(series)) * self.inputs.step
            series = np.stack(
                [perturb.forcing(of, table_rows, now) for of, now in zip(series, times, strict=True)]
            )
        series = np.stack([self.legal(record, rows, clock.now) for record in series])
        self._build()
        self.states.save_previous(rows)
        self._step_of[rows] = number
        self._run(rows, series)
        self.ahead = self.ahead | {m: None for m in together if m is not member}

    def _run(self, rows: Rows, series: FloatArray) -> None:
        forcing = self.inputs.aggregate(series, self.setup.place(self._table_row[rows], self._step_of[rows]))
        self._build()
        fluxes = self.states.step(rows, forcing)
        self._check_finite(fluxes, rows)
        self.fluxes = with_rows(self.fluxes, rows, fluxes)
        if self._tracks_water:
            self._record_water(rows, forcing)
        if self.forcing:
            self.forcing = {name: with_rows(self.forcing[name], rows, forcing[name]) for name in self.forcing}

    def _check_finite(self, fluxes: FloatArray, rows: Rows) -> None:
        """Raise ModelError where a flux is not finite; one sum over all is the quickest look."""
        if np.isfinite(fluxes.sum()):
            return
        bad = ~np.isfinite(fluxes)
        if bad.any():
            k, row = (int(i) for i in np.argwhere(bad)[0])
            count = int(bad.sum())
            more = f" ({count} values in all)" if count > 1 else ""
            name, catchment = self.outputs[k].name, self.names(rows)[row]
            step = int(self._step_of[rows[row]]) + 1
            raise ModelError(
                f"{name} of catchment {catchment!r} became {fluxes[k, row]}{more} in step {step} of "
                f"{self.info.name}; nothing has changed. Look at its attributes, its states and the bundle"
            )

    # -- undoing ------------------------------------------------------------------

    def mark(self) -> tuple[object, ...]:
        """Remember what :meth:`revert` brings back: references, since nothing is written to in place."""
        return (
            self.fluxes,
            self.supplied,
            self.stored,
            self.forcing,
            self.pending,
            self.ahead,
            self._initial,
            self._to_spin_up,
            self.states.mark(),
        )

    def revert(self, marked: tuple[Any, ...]) -> None:
        """Bring back what was when :meth:`mark` was called."""
        (
            self.fluxes,
            self.supplied,
            self.stored,
            self.forcing,
            self.pending,
            self.ahead,
            self._initial,
            self._to_spin_up,
            states,
        ) = marked
        self.states.revert(states)

    # -- water --------------------------------------------------------------------

    def track_water(self) -> None:
        """Keep, from now on, what water each model step takes in and leaves in the stores."""
        if not self._tracks_water:
            self._tracks_water = True
            for member in [*self.ahead]:
                self.rewind(member)

    def keep_forcing(self) -> None:
        """Keep, from now on, the forcing of each row's latest model step."""
        capacity = len(self.table.ids)
        self.forcing = self.forcing or {name: np.zeros(capacity) for name in self.model.forcing_names}

    def _record_water(self, rows: Rows, forcing: Mapping[str, FloatArray]) -> None:
        assert self.balance is not None  # noqa: S101  a budget is opened only where there is one
        self.supplied = with_rows(self.supplied, rows, sum(forcing[name] for name in self.balance.into))
        state = self.states.current if len(rows) == self.n else self.states.select(rows)
        self.stored = with_rows(self.stored, rows, self.states.storage(self.balance, state, rows))

    def add_water(self, member: Member, water: FloatArray) -> None:
        """Count water that was added to the member's stores as stored after its latest model step."""
        self.stored = with_rows(self.stored, member.rows, self.stored[member.rows] + water)

    def water(self, series: FloatArray) -> FloatArray:
        """Compute the water in forcing ``[time, variable, rows]``, in the units of the balance."""
        assert self.balance is not None  # noqa: S101  a budget is opened only where there is one
        return self.inputs.amount(self.balance.into, series)

    def storage(self, balance: Balance, member: Member) -> FloatArray:
        """Compute the water in the member's stores at its own clock, in the units of the balance."""
        state = self.state(member)
        if len(self.model.process_models) > 1:
            self._build()
        return self.states.storage(balance, state, member.rows)

    # -- state --------------------------------------------------------------------

    def state(self, member: Member) -> State:
        """Return the member's state at its own clock: tensors with its rows first."""
        if member in self.pending:
            self.flush()
        if self._to_spin_up and self._to_spin_up.intersection(member.rows.tolist()):
            self._build()
        if int(member.rows[-1]) >= self.states.size:
            return self._initial.get(member) or self.setup.initial(len(member.rows))
        return (self.states.select_previous if member in self.ahead else self.states.select)(member.rows)

    def set_state(self, member: Member, state: State) -> None:
        """Replace the member's state, or some tensors of it, at its own clock."""
        self.rewind(member)
        if int(member.rows[-1]) >= self.states.size:
            # Put in place with all others, when the first step needs them.
            self._initial = self._initial | {member: {**self.state(member), **state}}
        else:
            self.states.assign(member.rows, state)

    def rewind(self, member: Member) -> None:
        """Settle the member's state at its own clock, from where it goes on."""
        state = self.state(member)
        if member in self.ahead:
            del self.ahead[member]
            self.set_state(member, state)

    def changed_attributes(self, member: Member) -> None:
        """Have constants of the member's rows recomputed before the next step."""
        self.rewind(member)
        self.states.changed(member.rows.tolist())

    def changed_multiplier(self, member: Member, name: str) -> None:
        """Have constants recomputed: of the member's rows, or of all at the first use of the multiplier."""
        self.changed_attributes(member)
        if not self.states.multiplied(name):
            self.states.changed(range(self.n))

    def _build(self) -> None:
        """Make the state of rows that joined since the last step, and constants of new attributes."""
        if self.states.size < self.n:
            self.states.extend(self.n)
        self.states.precompute()
        if self._to_spin_up:
            rows = np.array(sorted(self._to_spin_up))
            spin_up(self.setup, self.states, rows, self._table_row[rows], self.legal)
            self._to_spin_up = frozenset()
        if self._initial:
            rows = np.concatenate([m.rows for m in self._initial])
            states = [*self._initial.values()]
            self.states.assign(rows, {name: torch.cat([s[name] for s in states]) for name in states[0]})
            self._initial = {}

    def skip_spin_up(self, member: Member) -> None:
        """Leave the member's rows at the start of their spin-up: a state file takes its place."""
        self._to_spin_up = self._to_spin_up.difference(member.rows.tolist())


_SHARED: WeakValueDictionary[tuple[Path, int, str], Group] = WeakValueDictionary()
_lookup = Lock()


def _key(info: BundleInfo, shared: Path) -> tuple[Path, int, str]:
    return shared.resolve(), shared.stat().st_mtime_ns, info.fingerprint


def is_owned(info: BundleInfo, config: RunConfig) -> bool:
    """Tell whether the one catchment of a shared configuration has an owner in this process."""
    if config.shared is None or config.catchment is None:
        return False
    with _lookup:
        group = _SHARED.get(_key(info, config.shared))
        return group is not None and group.owns(config.catchment)


def group_of(info: BundleInfo, config: RunConfig) -> Group:
    """Return the group of a component: a new one, or that of its shared configuration."""
    if config.shared is None:
        return Group(info, config)
    key = _key(info, config.shared)
    with _lookup:
        group = _SHARED.get(key)
        if group is None:
            group = _SHARED[key] = Group(info, config)
            log.info("%s: one group for the catchments of %s", info.name, config.shared)
        return group


def _after_fork() -> None:
    """Replace locks in a child process: no thread there holds them, whoever did in the parent."""
    global _lookup
    _lookup = Lock()
    for group in _GROUPS:
        group.lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def with_rows(array: FloatArray, rows: Rows, values: FloatArray | float) -> FloatArray:
    """Return a copy of ``array[..., rows]`` with other values in some rows."""
    new = array.copy()
    new[..., rows] = values
    return new


def _concatenate(members: Iterable[Member]) -> Rows:
    rows = [m.rows for m in members]
    return np.sort(np.concatenate(rows)) if len(rows) > 1 else rows[0]
