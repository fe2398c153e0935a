"""Rows of a group that step by a clock of their own, all or nothing."""

from __future__ import annotations

from typing import Any

import torch

from ..arrays import FloatArray
from ..physics import State
from .group import Group
from .mass_balance import WaterBudget
from .model_step import ModelStep
from .observed_window import ObservedWindow, make_window
from .published import PublishedOutputs


class SteppingRows:
    """Rows of a group with a clock, published outputs and, once it is asked for, a water budget.

    Parameters
    ----------
    group : Group
        Which they join, and whose lock is held by the caller.
    ids : sequence of str
        Catchments of the rows.

    Attributes
    ----------
    clock : Clock
    model_step : ModelStep
        How far the forcing and the fluxes of a model step have come.
    area : array ``[rows]``
        km2.
    series : array ``[time, variable, rows]``
        Forcing of the model step that is not yet complete, up to the position of `model_step`.
    last : array ``[variable, rows]``
        Last legal forcing.
    """

    def __init__(self, group: Group, ids: tuple[str, ...]) -> None:
        self.group, self.ids = group, ids
        self.clock = clock = group.setup.new_clock()
        self.model_step = ModelStep.at_start(clock.ratio, group.store is not None, clock.phase)
        self.rows = group.join(self, ids)
        # Rows of a member stand side by side, so that its part of an array is a view.
        self.part = part = slice(int(self.rows[0]), int(self.rows[-1]) + 1)
        self._values, self.series = group.values[:, part], group.series[:, :, part]
        self.last = group.last[:, part]
        self._holds_last = group.config.missing_forcing == "hold"
        self.area = group.areas(self.rows)
        flows = [v for v in group.info.variables if v.kind == "output" and v.of]
        self.published = PublishedOutputs(
            group.outputs, flows, group.published[:, part], self.area, clock.step
        )
        #: States that are shown, refreshed in place.
        self._shown_states: dict[str, FloatArray] = {}
        self._budget: WaterBudget | None = None
        self.window: ObservedWindow | None = make_window(
            group.config,
            group.model,
            group.table_rows(self.rows),
            len(group.table.ids),
            self.area,
            clock.step,
        )
        if self.window is not None:
            group.keep_forcing()
        #: Framework steps after which a state is written again; 0 for never.
        self._save_every = 0
        #: Whether even a quiet framework step changes more than the progress of the rows: they hold the last
        #: forcing, save or show states, or keep a budget or a window. Asked at every step, so no property.
        self._keeps_books = self._holds_last or self.window is not None

    @property
    def fluxes(self) -> FloatArray:
        """``[output, rows]`` of the latest model step."""
        return self.group.fluxes[:, self.part]

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.rows)

    # -- stepping -----------------------------------------------------------------

    def update(self, steps: int = 1) -> None:
        """Advance; on an error, an interrupt or a state that cannot be saved nothing has changed."""
        with self.group.lock:
            if steps == 1 and self.model_step.is_quiet and not self._keeps_books:
                self._step_quietly()
                return
            before = self._mark(steps > 1)
            try:
                for _ in range(steps):
                    self._step()
            except BaseException:
                self._revert(before)
                raise

    def _write_state(self) -> None:
        """Write a state file; an error undoes the step."""
        raise NotImplementedError

    def _step_quietly(self) -> None:
        """Advance where nothing has to be undone: all that can fail comes before all that counts."""
        step, clock = self.model_step, self.clock
        clock.check_step()
        if step.collects:
            self.series[step.position] = self.group.legal(self._values, self.part, clock.now)
        # One statement: an interrupt finds both done, or neither.
        self.model_step, clock.count = step.following, clock.count + 1

    def _step(self) -> None:
        clock, group, step, window = self.clock, self.group, self.model_step, self.window
        clock.check_step()
        observed = None if window is None else window.observed(self.ids, clock.now)
        if window is not None and window.state is None:
            window.start(group.state(self))
        if group.store is not None:
            if step.begins:
                group.begin(self)
                self.model_step = step = step.begin()
                self._publish()
        else:
            values = group.legal(self._values, self.part, clock.now)
            if step.length == 1:
                group.advance(self, values)
                self._publish()
            else:
                self._collect(values)
        self.model_step = step.following
        clock.count += 1
        if window is not None and observed is not None:
            window.collect(*observed)
            if step.is_last:
                self._analyse(window)
        self._refresh()
        if self._save_every and clock.count % self._save_every == 0:
            self._write_state()

    def _collect(self, values: FloatArray) -> None:
        """Keep forcing of one framework step until that of its model step is complete."""
        group, step = self.group, self.model_step
        if step.due:
            group.flush()
            self._publish()
        self.series[step.position] = values
        if self._budget is not None:
            self._budget.receive(group.water(values[None]))
        if step.is_last:
            group.wait(self)

    def _analyse(self, window: ObservedWindow) -> None:
        """Bring the state at the end of a model step in line with what was observed up to there."""
        group = self.group
        state = group.state(self)  # runs a model step that is due
        forcing = {name: values[self.part] for name, values in group.forcing.items()}
        found = window.close(forcing, group.states.constants_of(self.rows), state)
        if found is not None:
            added = self.replace_state(found)
            if self._budget is not None:
                self._budget.exchange(added)
            window.increment[...] = added / 1000.0

    def replace_state(self, state: State) -> FloatArray:
        """Replace the state, or some tensors of it; return the water that this added to the stores."""
        before = self._stored_water()
        self.group.set_state(self, state)
        added = self._stored_water() - before
        self.group.add_water(self, added)
        return added

    def _publish(self) -> None:
        """Begin to release the fluxes of a model step."""
        self.published.publish(self.fluxes, self.model_step.shares)
        if self._budget is not None:
            group, part = self.group, self.part
            self._budget.release(self.fluxes, group.supplied[part], group.stored[part])

    def _refresh(self) -> None:
        for name, array in self._shown_states.items():
            array[...] = self.state_values(name)
        if self._budget is not None:
            self._budget.close(self.model_step.unreleased)

    def _mark(self, waiting: bool = False) -> tuple[Any, ...]:
        """Remember what :meth:`_revert` brings back, with `waiting` the forcing that waits too."""
        group, budget = self.group, self._budget
        self.published.mark(waiting)
        return (
            group.mark(),
            self in group.pending,
            self in group.ahead,
            (self.clock.count, self.model_step),
            (self.last.copy(), group.filled) if self._holds_last or waiting else None,
            self.series.copy() if waiting else None,
            None if budget is None else budget.mark(),
            None if self.window is None else self.window.mark(),
        )

    def _revert(self, marked: tuple[Any, ...]) -> None:
        """Bring back what was when :meth:`_mark` was called."""
        group, budget = self.group, self._budget
        shared, pending, ahead, progress, held, series, booked, observed = marked
        group.revert(shared)
        for members, was_in in ((group.pending, pending), (group.ahead, ahead)):
            members.pop(self, None)
            if was_in:
                members[self] = None
        self.clock.count, self.model_step = progress
        self.published.revert()
        if held is not None:
            self.last[...], group.filled = held
        if series is not None:
            self.series[...] = series
        if budget is not None and booked is not None:
            budget.revert(booked)
        if self.window is not None:
            self.window.revert(observed)
        self._refresh()

    # -- water --------------------------------------------------------------------

    def open_budget(self) -> WaterBudget:
        """Return the water budget of the rows, opened when it is first asked for."""
        if self._budget is None:
            balance = self.group.balance
            assert balance is not None  # noqa: S101  a budget is asked for only where there is one
            self.group.track_water()
            budget = WaterBudget(balance, [v.symbol for v in self.group.outputs], self.size)
            self._start(budget)
            self._budget, self._keeps_books = budget, True
        return self._budget

    def _start(self, budget: WaterBudget) -> None:
        """Begin a budget anew from what is stored now."""
        step = self.model_step
        store = self._stored_water()  # runs a model step that is due
        # In a model step that is due nothing waits: `position` is 0.
        waiting = self.group.water(self.series[: step.position])
        budget.open(store, waiting, self.fluxes, step.unreleased, step.due)

    def _stored_water(self) -> FloatArray:
        """Compute the water in the model's stores at the component's own clock."""
        balance = self.group.balance
        assert balance is not None  # noqa: S101  a budget is asked for only where there is one
        return self.group.storage(balance, self)

    # -- state --------------------------------------------------------------------

    def state_values(self, symbol: str) -> FloatArray:
        """Return a copy of a state, one-dimensional, rows first."""
        with self.group.lock:
            return self.group.state(self)[symbol].to("cpu", torch.float64).numpy().flatten()
