"""A component: all that the BMI adapter needs, in the model's own terms."""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import StateError, ValueShapeError, VariableError
from ..io.files import sha256
from ..model.bundle import BundleInfo
from ..model.variables import Kind, Variable, unknown_variable
from . import restart
from .catchments import check_attribute, implausible
from .config import RunConfig, utc
from .group import Group, group_of, with_rows
from .metadata import AREA, IDS, Metadata, id_number
from .snapshot import Snapshot
from .stepping import SteppingRows

log = logging.getLogger("dmg_bmi")


class Component(SteppingRows):
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
    settable : dict of name to array
        Attributes and multipliers; `changed` names those that were set.
    about : Metadata
        What BMI getters say of the variables.
    catchments : tuple of str
        Those that a framework sees, an item each.
    """

    def __init__(self, info: BundleInfo, config: RunConfig) -> None:
        group = group_of(info, config)
        self.info, self.config = group.info, config
        with group.lock:
            super().__init__(group, self._row_names(group))
            self.settable: dict[str, FloatArray] = {
                n: v[self.part] for n, v in (group.attributes | group.multipliers).items()
            }
            self.changed: dict[str, None] = {}
            names = group.inputs.names if group.store is None else ()
            self.arrays: dict[str, NDArray[np.generic]] = {
                **self.settable,
                **self.published.arrays,
                **dict(zip(names, self._values, strict=bool(names))),
                IDS: np.array([id_number(name, k) for k, name in enumerate(self.ids)], dtype=np.int64),
                AREA: self.area,
                **({} if self.window is None else self.window.arrays),
            }
            self.about: Metadata = group.about(self.size)
            adjoints = (v for v in self.about.by_name.values() if v.kind == "adjoint")
            self.arrays |= {v.name: np.zeros(self.size * v.size) for v in adjoints}
            self._pointers: dict[str, NDArray[np.generic]] = {}
            try:
                self._begin_restarts()
            except BaseException:
                group.leave(self)
                raise

    def _row_names(self, group: Group) -> tuple[str, ...]:
        """Return the rows of the group's table that the component owns; they are its catchments."""
        catchment = self.config.catchment
        self.catchments = group.table.ids if catchment is None else (catchment,)
        return self.catchments

    def _begin_restarts(self) -> None:
        self._save_every = restart.steps_between(self.config.restart.every, self.clock.step)
        self._keeps_books = self._keeps_books or self._save_every > 0
        if self.config.restart.write is not None:
            self._state_file(self.config.restart.write)  # refused now, not when the run has ended
        if self.config.restart.read is not None:
            self.group.skip_spin_up(self)
            file = self._state_file(self.config.restart.read)
            self.load(restart.read(file), str(file))

    @classmethod
    def instead_of(
        cls,
        old: Component | None,
        info: BundleInfo,
        config: RunConfig,
        accept: Callable[[Component], None],
    ) -> Self:
        """Return a new component, and close the one that it replaces once `accept` has seen it.

        On an error, one of `accept` too, the old one has not changed.
        """
        if old is not None and config.shared is not None and config.shared == old.config.shared:
            return cls._in_its_rows(old, info, config, accept)
        new = cls(info, config)
        try:
            accept(new)
            if old is not None:
                old.close()
        except BaseException:
            new.leave()
            raise
        return new

    @classmethod
    def _in_its_rows(
        cls, old: Component, info: BundleInfo, config: RunConfig, accept: Callable[[Component], None]
    ) -> Self:
        """Close the old one first, since rows have one owner; bring it back if the new one fails."""
        with old.group.lock:
            before, arrays = old.save(), [a.copy() for a in (old.series, old.last, old._values)]
            old.close()
            try:
                return cls.instead_of(None, info, config, accept)
            except BaseException:
                old.group.members[old] = None
                old.load(before)
                for array, values in zip((old.series, old.last, old._values), arrays, strict=True):
                    array[...] = values
                raise

    # -- by name ------------------------------------------------------------------

    def variable(self, name: str) -> Variable | None:
        """Return the table's entry of a name or symbol; None for ids and areas, which have none."""
        variable = self.about.by_name.get(name)
        if variable is None and name not in (IDS, AREA):
            raise unknown_variable(name)
        return variable

    def array(self, name: str) -> NDArray[np.generic]:
        """Return the one array of a variable, the same object each time; a state's is for reading."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            name = variable.symbol
            if name not in self._shown_states:
                self._shown_states[name] = self.state_values(name)
                self._keeps_books = True
            return self._shown_states[name]
        name = name if variable is None else variable.name
        if name not in self.arrays:
            raise VariableError(f"{name!r} comes from the stored forcing; it cannot be set or read")
        return self.arrays[name]

    def pointer(self, name: str) -> NDArray[np.generic]:
        """Return the one array of a variable as others see it: only forcing can be written to.

        An attribute or a state that was written to there would be shown and not used.
        """
        array = self.array(name)
        variable = self.variable(name)
        if variable is not None and variable.kind == "adjoint":
            self._differentiate()
        if variable is not None and variable.kind in ("input", "observation"):
            return array
        key = name if variable is None else variable.name
        if key not in self._pointers:
            view = array.view()
            view.flags.writeable = False
            self._pointers[key] = view
        return self._pointers[key]

    def values(self, name: str) -> NDArray[np.generic]:
        """Return the present values of a variable, one-dimensional; not to be written to."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            return self.state_values(variable.symbol)
        if variable is not None and variable.kind == "adjoint":
            self._differentiate()
        return self.array(name)

    def _differentiate(self) -> None:
        """Refresh the misfit of the window to its observations, and its gradients."""
        assert self.window is not None  # noqa: S101  the variables are of components that have one
        found: dict[str, FloatArray] = {}
        if self.window.state is not None and self.window.state.steps:
            with self.group.lock:
                found = self.window.adjoint(self.group.states.constants_of(self.rows))
        for v in self.about.by_name.values():
            if v.kind == "adjoint":
                self.arrays[v.name][...] = found.get(v.name, 0.0)

    def by_kind(self, kind: Kind) -> dict[str, NDArray[Any]]:
        """Return the arrays of all variables of a kind, by name and by symbol."""
        return {
            name: self.arrays[v.name]
            for name, v in self.about.by_name.items()
            if v.kind == kind and v.name in self.arrays
        }

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Set an input, an attribute or a state, in place, from now on.

        Raises
        ------
        VariableError, ValueShapeError, AttributeTableError, StateError
        """
        variable = self.variable(name)
        if variable is None or variable.kind in ("output", "adjoint"):
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
            self._set_attribute(variable, np.asarray(values, dtype=np.float64).reshape(target.shape))
        else:
            target[...] = values.reshape(target.shape)

    def _set_attribute(self, variable: Variable, values: FloatArray) -> None:
        name = variable.name
        check_attribute(name, values, self.ids, variable.lower, variable.upper, variable.kind)
        self.group.setup.check_trained({name: values}, self.ids)
        self._change(name, values)

    def _change(self, name: str, values: FloatArray) -> None:
        """Change an attribute or a multiplier from now on.

        The values come last: an interrupt before has only had constants recomputed.
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
        wrong = restart.invalid_state_message(name, new, implausible(new), variable, self.ids)
        if wrong:
            raise StateError(wrong)
        state, budget = {name: torch.from_numpy(new).reshape(old.shape)}, self._budget
        if budget is None:
            self.group.set_state(self, state)
        else:
            budget.add(self.replace_state(state))
            budget.close(self.model_step.unreleased)
        if self.window is not None:
            self.window.state = None  # another begins from here
        if name in self._shown_states:
            self._shown_states[name][...] = new.ravel()

    def water_total(self, name: str) -> FloatArray:
        """Return a total of the water budget, ``[catchments]``, the same array for life."""
        total: FloatArray = getattr(self.open_budget(), name)
        return total

    # -- saving -------------------------------------------------------------------

    @property
    def valid_time(self) -> datetime | None:
        """UTC, of the component's own clock; None where no dates are known."""
        if self.config.start_time is None:
            return None
        return utc(self.config.start_time) + timedelta(seconds=self.clock.now)

    def snapshot(self) -> Snapshot:
        """Return the whole state at the component's own clock; nothing changes."""
        group = self.group
        with group.lock:
            state, time, step = group.state(self), self.valid_time, self.model_step
            header = {
                "fingerprint": self.info.fingerprint,
                "ids": list(self.ids),
                "attributes": {
                    name: sha256(group.default(name, self.rows).tobytes())[:16] for name in group.attributes
                },
                "time_step": self.clock.step,
                "stored_forcing": step.stored,
                "valid_time": None if time is None else time.isoformat(),
                **step.header(),
            }
            # A step that ran ahead for these rows has left its fluxes; their own are all released.
            fluxes = np.zeros_like(self.fluxes) if self in group.ahead else self.fluxes
            runtime = {"fluxes": fluxes, "published": self.published.values, "last": self.last}
            if step.collects:
                series = self.series.copy()
                series[step.position :] = np.nan
                runtime["series"] = series
            if self.window is not None:
                runtime |= self.window.runtime()
            return Snapshot.of(header, state, runtime, {name: self.settable[name] for name in self.changed})

    def restore(self, snapshot: Snapshot) -> None:
        """Go on from a snapshot of this model and these rows; it takes effect whole or not at all."""
        with self.group.lock:
            before = self._mark(waiting=True)
            changed, settable = dict(self.changed), {n: v.copy() for n, v in self.settable.items()}
            try:
                self._restore(snapshot)
            except BaseException:
                self._revert(before)
                for name, values in settable.items():
                    self.settable[name][...] = values
                self.changed = changed
                raise

    def _restore(self, snapshot: Snapshot) -> None:
        group, runtime, changed = self.group, snapshot.runtime, snapshot.changed
        group.set_state(self, snapshot.state)
        self.model_step = self.model_step.restored(snapshot.header)
        group.fluxes = with_rows(group.fluxes, self.rows, runtime["fluxes"])
        self.published.values[...] = runtime["published"]
        self.last[...] = runtime["last"]
        if "series" in runtime:
            self.series[...] = runtime["series"]
        for name in self.changed.keys() - changed:
            self._change(name, group.default(name, self.rows))
        for name, values in changed.items():
            self._change(name, values)
        self.changed = dict.fromkeys(changed)
        self.published.refresh_flows()
        if self.window is not None:
            self.window.state = self.window.restored(runtime, snapshot.state)
        if self._budget is not None:
            self._start(self._budget)
        self._refresh()

    def save(self) -> bytes:
        """Return the whole state at the component's own clock as bytes; nothing changes."""
        return restart.encode(self.snapshot())

    def load(self, content: bytes, source: str = "state") -> None:
        """Go on from a saved state; it takes effect whole or not at all.

        Raises
        ------
        StateError
            If it is corrupt or truncated, or of another model, other catchments, another step or another
            valid time.
        """
        saved = restart.decode(content, source)
        with self.group.lock:
            restart.check(saved, self.snapshot(), self.model_step, self.group, source)
            restart.check_window(saved, self.window, source)
            self.restore(saved)

    def resume(self, snapshot: Snapshot, count: int) -> None:
        """Go on from a snapshot that a run of this very configuration took after `count` steps."""
        with self.group.lock:
            self.group.skip_spin_up(self)
            self.clock.count = count
            self.restore(snapshot)

    def _state_file(self, template: Path) -> Path:
        return restart.file_path(template, self.config.catchment, self.valid_time)

    def _write_state(self) -> None:
        template = self.config.restart.write
        if template is not None:
            restart.write(self._state_file(template), template, self.snapshot())

    def close(self) -> None:
        """Write the state file that the configuration names, leave the group and report filled gaps.

        Where the file cannot be written the component stays as it is.
        """
        group = self.group
        with group.lock:
            self._write_state()
            self.leave()
        if group.filled.any() and not group.members:
            counts = dict(zip(group.inputs.names, group.filled.tolist(), strict=True))
            log.warning("%s: missing forcing was replaced by the last value: %s", self.info.name, counts)

    def leave(self) -> None:
        """Give up the rows; nothing is written."""
        self.group.leave(self)
