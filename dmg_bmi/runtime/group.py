"""A group: rows of one model that step together, whoever owns them.

One component over many catchments owns all rows of its group. In NextGen each component owns
one row, and all that name the same shared configuration join one group: weights, attributes
and compiled code exist once, and a model step runs batched for every row that is ready.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import get_ident
from typing import Protocol
from weakref import WeakValueDictionary

import numpy as np
import torch
from numpy.typing import NDArray

from ..bundle import BundleInfo
from ..dataset import day_of_year
from ..errors import AttributeTableError, ConfigError
from ..physics import Balance, State
from ..run_config import CatchmentTable, RunConfig, utc
from .clock import FAR_FUTURE, Clock
from .engine import Eager, make_engine
from .inputs import Place
from .metadata import Metadata
from .store import Store
from .weather import METHODS, make_inputs

FloatArray = NDArray[np.float64]
Rows = NDArray[np.int_]
log = logging.getLogger("dmg_bmi")


class Member(Protocol):
    """Who owns rows of a group: its rows and its own clock."""

    rows: Rows
    clock: Clock


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
        torch.set_num_threads(config.threads)
        self.info, self.config = info, config
        table = info.variables
        self.model = info.load_model()
        self.device = _device(config.device)
        self.model.to(self.device)
        clock = self.new_clock()
        forcings = [v for v in table if v.kind == "input"]
        needed = [v.name for v in table if v.kind == "attribute"]
        if config.pet is not None:
            needed += [n for n in METHODS[config.pet.method].attributes if n not in needed]
        if config.catchments.hydrofabric is not None and not self.model.declaration.graph:
            raise ConfigError(f"catchments.hydrofabric: {info.name} is no model of a river network")
        self.table = CatchmentTable.load(config.catchments, needed)
        #: Which rows act on which, of a model whose rows do.
        self.graph: State = self._graph()
        self.engine = make_engine(
            config.engine, self.model, info, config.device, config.trusted_compiled, self.graph
        )
        self.store: Store | None = None
        if config.forcing is not None:
            self.store = Store(config.forcing, forcings, self.table.ids, clock, config.start_time, config.pet)
            self.inputs = self.store.inputs
        else:
            self.inputs = make_inputs(forcings, clock.step, clock.model_step, config.pet)
        if self.inputs.attributes and config.start_time is None:
            raise ConfigError("pet: this method needs the day of the year, so give start_time")
        self.outputs = tuple(v for v in table if v.kind == "output" and not v.of)
        self.balance = next((b for b in self.model.declaration.balances if b.quantity == "water"), None)

        capacity = len(self.table.ids)
        self.n = 0
        self._rows: dict[str, int] = {}
        self._row_of = {name: k for k, name in enumerate(self.table.ids)}
        self._table_row = np.zeros(capacity, dtype=np.int64)
        self.attributes = {name: np.zeros(capacity) for name in self.table.attributes}
        self.multipliers = {v.name: np.ones(capacity) for v in table if v.kind == "multiplier"}
        self._parameter = {v.name: v.of for v in table if v.kind == "multiplier"}
        self._multiplied: set[str] = set()
        #: What frameworks set ``[variable, row]``, and what was set in each step of a model step.
        self.values: FloatArray = np.zeros((len(self.inputs.names), capacity))
        self.series: FloatArray = np.zeros((clock.ratio, len(self.inputs.names), capacity))
        #: Last legal value, for gaps; and how many were filled.
        self.last: FloatArray = np.zeros((len(self.inputs.names), capacity))
        self.filled = np.zeros(len(self.inputs.names), dtype=np.int64)
        #: Which model step a row's next one is.
        self._step_of = np.zeros(capacity, dtype=np.int64)
        #: Fluxes of the latest model step, and what is published of them.
        self.fluxes: FloatArray = np.zeros((len(self.outputs), capacity))
        self.published: FloatArray = np.zeros((len(self.outputs), capacity))

        #: Water of the latest model step, once a member books it: what came in, and what is stored.
        self.supplied: FloatArray = np.zeros(capacity)
        self.stored: FloatArray = np.zeros(capacity)
        self._booked = False

        #: Of members that joined since the state was built, where it is not the initial one.
        self._given: dict[Member, State] = {}
        self._about: dict[int, Metadata] = {}
        self._state: State = {}
        self._before: State = {}
        self._prepared: State = {}
        self._built = 0
        self._stale: set[int] = set()
        #: Members whose model step is due but has not run; members whose state is one step ahead.
        self.members: dict[Member, None] = {}
        self.pending: dict[Member, None] = {}
        self.ahead: dict[Member, None] = {}
        self._say(clock)

    def _graph(self) -> State:
        fabric = self.table.fabric
        if fabric is None:
            if self.model.declaration.graph and len(self.table.ids) > 1:
                raise ConfigError(
                    f"catchments: {self.info.name} routes through a network: name its GeoPackage under "
                    "catchments.hydrofabric"
                )
            return {}
        if self.config.shared is not None:
            raise ConfigError(
                "shared: the reaches of a network step together, so one component has to own them all"
            )
        return {name: tensor.to(self.device) for name, tensor in fabric.network.graph().items()}

    def _say(self, clock: Clock) -> None:
        """What a user should know, once."""
        if clock.ratio == 1:
            return
        log.info("%s: a model step of %g s is %d updates", self.info.name, clock.model_step, clock.ratio)
        if self.config.start_time is None:
            log.info("%s: there is no start_time, so model steps count from step 0", self.info.name)
        if self.store is None:
            log.info(
                "%s: outputs follow one model step behind their forcing; in the first nothing flows and "
                "levels are NaN, unless a restart file says otherwise",
                self.info.name,
            )

    def new_clock(self) -> Clock:
        """A clock at time zero."""
        config = self.config
        step = config.time_step or self.model.step
        end = FAR_FUTURE if config.end_seconds is None else config.end_seconds
        try:
            clock = Clock(step, self.model.step, end)
        except ConfigError as problem:
            raise ConfigError(f"time_step: {problem}") from problem
        if config.start_time is not None:
            start = utc(config.start_time)
            midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
            seconds = (start - midnight).total_seconds() - config.day_start_hour * 3600.0
            steps = (seconds % clock.model_step) / clock.step
            if clock.ratio > 1 and abs(steps - round(steps)) > 1e-6:
                raise ConfigError(
                    f"start_time: {config.start_time} is no whole number of steps of {clock.step:g} s after "
                    f"day_start_hour {config.day_start_hour:g}"
                )
            clock.phase = round(steps) % clock.ratio
        return clock

    # -- members ------------------------------------------------------------------

    def join(self, member: Member, names: Sequence[str]) -> Rows:
        """Rows for catchments of the table, side by side in the order given.

        Raises
        ------
        AttributeTableError
            For a catchment that the table lacks, or that has an owner.
        """
        for name in names:
            if name not in self._row_of:
                raise AttributeTableError(f"there is no catchment {name!r} in the table of catchments")
        rows = self._rejoin(names)
        here = [self._row_of[name] for name in names]
        self._table_row[rows] = here
        for name, values in self.table.attributes.items():
            self.attributes[name][rows] = values[here]
        for factors in self.multipliers.values():
            factors[rows] = 1.0
        for array in (self.values, self.last, self.series):
            array[..., rows] = np.nan
        self.fluxes[:, rows] = 0.0
        # Nothing flows yet; what the stores hold is not known as a level before the first step.
        levels = np.array([[v.aggregation != "sum"] for v in self.outputs])
        self.published[:, rows] = np.where(levels, np.nan, 0.0)
        self._rows.update(zip(names, rows.tolist(), strict=True))
        self.members[member] = None
        return rows

    def _rejoin(self, names: Sequence[str]) -> Rows:
        """New rows, or those that the same catchments had before their owner left."""
        known = [self._rows[name] for name in names if name in self._rows]
        if not known:
            rows = np.arange(self.n, self.n + len(names))
            self.n += len(names)
            return rows
        owned = {row for m in self.members for row in m.rows.tolist()}
        rows = np.array(known)
        if len(known) < len(names) or (np.diff(rows) != 1).any() or owned.intersection(known):
            raise AttributeTableError(
                f"catchment {names[0]!r} has been initialized before in this process; finalize it first"
            )
        if int(rows[-1]) < self._built:
            self._put(rows, self._initial(len(rows)))
            self._stale.update(rows.tolist())
        return rows

    def leave(self, member: Member) -> None:
        """The member's rows are not stepped any more."""
        for of in (self.members, self.pending, self.ahead, self._given):
            of.pop(member, None)

    def names(self, rows: Rows | slice) -> list[str]:
        """Catchments of rows."""
        return [self.table.ids[k] for k in self._table_row[rows]]

    def about(self, size: int) -> Metadata:
        """Of the variables of a member with `size` rows, one for all such members."""
        if size not in self._about:
            others = (v for v in self.info.variables if v.kind != "input")
            self._about[size] = Metadata((*self.inputs.forcings, *others), size, self.store is not None)
        return self._about[size]

    def default(self, name: str, rows: Rows) -> FloatArray:
        """What an attribute or a multiplier was before it was set."""
        return (
            np.ones(len(rows))
            if name in self.multipliers
            else self.table.attributes[name][self._table_row[rows]]
        )

    def areas(self, rows: Rows) -> FloatArray:
        """km2 of rows."""
        return self.table.area[self._table_row[rows]]

    # -- forcing ------------------------------------------------------------------

    def legal(self, values: FloatArray, rows: Rows | slice, now: float) -> FloatArray:
        """``values[variable, rows]`` with gaps filled, if the configuration says so.

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
            self.filled += gaps.sum(1)
            self.last[:, rows] = values
        return values

    # -- stepping -----------------------------------------------------------------

    def advance(self, member: Member, values: FloatArray) -> None:
        """Run the model step of one member now, on ``values[variable, rows]``."""
        self._step_of[member.rows] = member.clock.model_count
        self._run(member.rows, self.inputs.join(values[np.newaxis], self._place(member.rows)))

    def wait(self, member: Member) -> None:
        """The member's forcing of a model step is complete; it runs when the next one begins."""
        self.pending[member] = None
        self._step_of[member.rows] = member.clock.model_count

    def flush(self) -> None:
        """Run, in one batch, the model step of every member whose forcing is complete."""
        if self.pending:
            rows = _joined(self.pending)
            self._run(rows, self.inputs.join(self.series[:, :, rows], self._place(rows)))
            self.pending.clear()

    def begin(self, member: Member) -> None:
        """Make the model step that begins now, on stored forcing, the member's latest.

        If it has not run yet it runs for all members that are at the same time.
        """
        if member in self.ahead:
            del self.ahead[member]
            return
        assert self.store is not None  # noqa: S101  members of a group without a store do not come here
        clock = member.clock
        together = [
            m
            for m in self.members
            if m not in self.ahead
            and m.clock.begins
            and (m.clock.count, m.clock.phase) == (clock.count, clock.phase)
        ]
        rows = _joined(together)
        of_table = self._table_row[rows]
        series = self.store.take(clock.model_count, clock.count == 0, of_table, clock.now)
        series = np.stack([self.legal(record, rows, clock.now) for record in series])
        self._remember(rows)
        self._step_of[rows] = clock.model_count
        self._run(rows, self.inputs.join(series, self._place(rows)))
        self.ahead.update((m, None) for m in together if m is not member)

    def _place(self, rows: Rows) -> Place | None:
        """Where and when the rows' model step is, if their forcing depends on it."""
        start = self.config.start_time
        if not self.inputs.attributes or start is None:
            return None
        clock = self.new_clock()
        seconds = self._step_of[rows] * int(clock.model_step) - int(clock.phase * clock.step)
        dates = np.datetime64(utc(start).replace(tzinfo=None), "s") + seconds.astype("timedelta64[s]")
        table = {name: self.table.attributes[name][self._table_row[rows]] for name in self.inputs.attributes}
        return Place(table, day_of_year(dates))

    def _run(self, rows: Rows, forcing: Mapping[str, FloatArray]) -> None:
        self._build()
        tensors = {name: self._tensor(series)[None] for name, series in forcing.items()}
        if len(rows) == self.n:
            fluxes, state = self.engine.run(tensors, self._prepared, self._state)
            self._state = {**self._state, **state}
        else:
            index = self._index(rows)
            fluxes, state = self.engine.run(
                tensors, _taken(self._prepared, index), _taken(self._state, index)
            )
            self._put(rows, state)
        for k, variable in enumerate(self.outputs):
            self.fluxes[k, rows] = fluxes[variable.symbol][0].cpu().numpy()
        if self._booked:
            self._book(rows, forcing)

    # -- water --------------------------------------------------------------------

    def book(self) -> None:
        """From now on keep, for each model step, what water came in and what is stored after it."""
        if not self._booked:
            self._booked = True
            for member in [*self.ahead]:
                self.rewind(member)

    def _book(self, rows: Rows, forcing: Mapping[str, FloatArray]) -> None:
        assert self.balance is not None  # noqa: S101  only who has one opens a book
        self.supplied[rows] = sum(forcing[name] for name in self.balance.into)
        state = self._state if len(rows) == self.n else _taken(self._state, self._index(rows))
        self.stored[rows] = self._water(self.balance, state, rows)

    def storage(self, balance: Balance, member: Member) -> FloatArray:
        """Water in the member's stores at its own clock, in the units of the balance."""
        return self._water(balance, self.state(member), member.rows)

    def _water(self, balance: Balance, state: State, rows: Rows) -> FloatArray:
        prepared: State = {}
        if len(self.model.process_models) > 1:
            self._build()
            prepared = _taken(self._prepared, self._index(rows))
        return self.model.storage(balance, state, prepared).cpu().numpy()

    # -- state --------------------------------------------------------------------

    def state(self, member: Member) -> State:
        """The member's state at its own clock: tensors with its rows first."""
        if member in self.pending:
            self.flush()
        if int(member.rows[-1]) >= self._built:
            return self._given.get(member) or self._initial(len(member.rows))
        source = self._before if member in self.ahead else self._state
        return _taken(source, self._index(member.rows))

    def set_state(self, member: Member, state: State) -> None:
        """Replace the member's state, or some of it, at its own clock."""
        self.rewind(member)
        if int(member.rows[-1]) >= self._built:
            # Put in place with all others, when the first step needs them.
            self._given[member] = {**self.state(member), **state}
        else:
            self._put(member.rows, state)

    def rewind(self, member: Member) -> None:
        """Settle the member's state at its own clock, from where it goes on."""
        state = self.state(member)
        if member in self.ahead:
            del self.ahead[member]
            self.set_state(member, state)

    def changed_attributes(self, member: Member) -> None:
        """What follows from the member's attributes is computed anew before the next step."""
        self.rewind(member)
        self._stale.update(member.rows.tolist())

    def changed_multiplier(self, member: Member, name: str) -> None:
        """As :meth:`changed_attributes`; the first use of a multiplier concerns every row."""
        self.changed_attributes(member)
        if name not in self._multiplied:
            self._multiplied.add(name)
            self._stale.update(range(self.n))

    def _put(self, rows: Rows, state: State) -> None:
        index = self._index(rows)
        with torch.inference_mode():
            self._state = {
                name: old.index_copy(0, index, state[name].to(old.device, old.dtype))
                if name in state
                else old
                for name, old in self._state.items()
            }

    def _build(self) -> None:
        """State of rows that joined since the last step; what follows from new attributes."""
        if self._built < self.n:
            new = range(self._built, self.n)
            state = self._initial(len(new))
            self._state = {
                name: torch.cat([self._state[name], value]) if self._built else value
                for name, value in state.items()
            }
            self._stale.update(new)
            self._built = self.n
            if self._given:
                rows = np.concatenate([m.rows for m in self._given])
                given = [*self._given.values()]
                self._put(rows, {name: torch.cat([s[name] for s in given]) for name in given[0]})
                self._given.clear()
        if self._stale:
            rows = np.array(sorted(self._stale))
            index = self._index(rows)
            attributes = {name: self._tensor(values[rows]) for name, values in self.attributes.items()}
            attributes |= self.graph
            factors = {
                self._parameter[name]: self._tensor(self.multipliers[name][rows]) for name in self._multiplied
            }
            with torch.inference_mode():
                prepared = self.model.prepare(attributes, len(rows), torch.float64, factors)
                if not isinstance(self.engine, Eager) and any(".multiplier." in name for name in prepared):
                    log.info(
                        "%s: factors on parameters that change in time need the eager engine", self.info.name
                    )
                    self.engine = Eager(self.model)
                if len(rows) == self.n:
                    self._prepared = prepared
                else:
                    self._prepared = {
                        name: _grown(self._prepared[name], self.n).index_copy(0, index, value)
                        for name, value in prepared.items()
                    }
            self._stale.clear()

    def _remember(self, rows: Rows) -> None:
        """Keep the state of rows before a step that runs ahead of some members."""
        self._build()
        if len(rows) == self.n or not self._before:
            self._before = self._state
            return
        index = self._index(rows)
        with torch.inference_mode():
            self._before = {
                name: _grown(old, self.n).index_copy(0, index, self._state[name].index_select(0, index))
                for name, old in self._before.items()
            }

    def _initial(self, n: int) -> State:
        return self.model.init_state(n, dtype=torch.float64, device=self.device)

    def _index(self, rows: Rows) -> torch.Tensor:
        return torch.from_numpy(rows).to(self.device)

    def _tensor(self, values: FloatArray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64)).to(self.device)


_SHARED: WeakValueDictionary[tuple[Path, int, str, int], Group] = WeakValueDictionary()


def group_of(info: BundleInfo, config: RunConfig) -> Group:
    """The group of a component: a new one, or that of its shared configuration."""
    if config.shared is None:
        return Group(info, config)
    # Members of one group step together, so each thread has groups of its own.
    key = (config.shared.resolve(), config.shared.stat().st_mtime_ns, info.fingerprint, get_ident())
    group = _SHARED.get(key)
    if group is None:
        group = _SHARED[key] = Group(info, config)
        log.info("%s: one group for the catchments of %s", info.name, config.shared)
    return group


def _device(name: str) -> torch.device:
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise ConfigError(f"device: {name!r} cannot be used here; choose cpu or cuda: {reason}") from problem


def _joined(members: Iterable[Member]) -> Rows:
    rows = [m.rows for m in members]
    return np.sort(np.concatenate(rows)) if len(rows) > 1 else rows[0]


def _taken(tensors: State, index: torch.Tensor) -> State:
    return {name: tensor.index_select(0, index) for name, tensor in tensors.items()}


def _grown(tensor: torch.Tensor, n: int) -> torch.Tensor:
    """With rows added up to `n`, to be filled by the caller."""
    more = n - tensor.shape[0]
    return torch.cat([tensor, tensor.new_zeros((more, *tensor.shape[1:]))]) if more else tensor
