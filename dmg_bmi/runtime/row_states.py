"""Tensors of the rows of a group: their state, and constants that follow from their attributes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import FloatArray
from ..physics import Balance, State
from .shared_setup import SharedSetup

Rows = NDArray[np.int_]


class RowStates:
    """State of rows, rows first, whoever owns them.

    Tensors are never written to, only replaced: what was selected of them stays what it was.

    Parameters
    ----------
    setup : SharedSetup
    capacity : int
        The most rows that there can be.

    Attributes
    ----------
    attributes, multipliers : dict of name to array ``[capacity]``
        Whoever changes them calls :meth:`changed`.
    size : int
        Rows that have a state.
    constants : dict of name to Tensor
        Of all rows.
    """

    def __init__(self, setup: SharedSetup, capacity: int) -> None:
        self._setup = setup
        self.attributes = {name: np.zeros(capacity) for name in setup.table.attributes}
        multipliers = [v for v in setup.info.variables if v.kind == "multiplier"]
        self.multipliers = {v.name: np.ones(capacity) for v in multipliers}
        self._parameter = {v.name: v.of for v in multipliers}
        self._multiplied: set[str] = set()
        self.size = 0
        self.constants: State = {}
        self._all: State = {}
        #: States of rows that have stepped alone since `_all` was made: replaced as well.
        self._alone: Mapping[int, State] = {}
        #: Constants of rows that step alone, and the constants of all that they are taken from.
        self._constants_alone: tuple[State, dict[int, State]] = ({}, {})
        #: Before a step that ran ahead of some owners, and rows whose attributes changed: replaced as well.
        self.previous: State = {}
        self.stale: frozenset[int] = frozenset()

    # -- state --------------------------------------------------------------------

    @property
    def current(self) -> State:
        """Tensors of all rows; what stepped alone is put in its place first, all in one copy."""
        if self._alone:
            index = torch.tensor([*self._alone], device=self._setup.device)
            states = [*self._alone.values()]
            with torch.inference_mode():
                self._all = {
                    name: old.index_copy(0, index, torch.cat([state[name] for state in states]))
                    for name, old in self._all.items()
                }
            self._alone = {}
        return self._all

    @current.setter
    def current(self, state: State) -> None:
        self._all, self._alone = state, {}

    def mark(self) -> tuple[object, ...]:
        """Remember what :meth:`revert` brings back: references, since nothing is written to in place."""
        return self.size, self._all, self._alone, self.constants, self.previous, self.stale

    def revert(self, marked: tuple[Any, ...]) -> None:
        """Bring back what was when :meth:`mark` was called."""
        self.size, self._all, self._alone, self.constants, self.previous, self.stale = marked

    def extend(self, n: int) -> None:
        """Add rows up to `n`, with their initial state."""
        state = self._setup.initial(n - self.size)
        self.current = {
            name: torch.cat([self.current[name], value]) if self.size else value
            for name, value in state.items()
        }
        self.changed(range(self.size, n))
        self.size = n

    def select(self, rows: Rows) -> State:
        """Return the state of rows."""
        if len(rows) > 1:
            return _select(self.current, self._index(rows))
        alone = self._alone.get(int(rows[0]))
        return _select(self._all, self._index(rows)) if alone is None else alone

    def assign(self, rows: Rows, state: State) -> None:
        """Replace the state of rows, or some tensors of it."""
        index = self._index(rows)
        with torch.inference_mode():
            self.current = {
                name: old.index_copy(0, index, state[name].to(old.device, old.dtype))
                if name in state
                else old
                for name, old in self.current.items()
            }

    def save_previous(self, rows: Rows) -> None:
        """Keep the state of rows before a step that runs ahead of some owners."""
        if len(rows) == self.size or not self.previous:
            self.previous = self.current
            return
        index = self._index(rows)
        with torch.inference_mode():
            self.previous = {
                name: _padded(old, self.size).index_copy(0, index, self.current[name].index_select(0, index))
                for name, old in self.previous.items()
            }

    def select_previous(self, rows: Rows) -> State:
        """Return the state of rows as it was last kept."""
        return _select(self.previous, self._index(rows))

    # -- what follows from attributes -----------------------------------------------

    def changed(self, rows: Iterable[int]) -> None:
        """Note that attributes or multipliers of rows have changed, or will before the next step."""
        self.stale = self.stale | frozenset(rows)

    def multiplied(self, name: str) -> bool:
        """Tell whether a multiplier has been in use; from now on it is."""
        used = name in self._multiplied
        self._multiplied.add(name)
        return used

    def precompute(self) -> None:
        """Recompute constants of rows whose attributes or multipliers have changed."""
        if not self.stale:
            return
        rows = np.array(sorted(self.stale))
        attributes = {name: self._tensor(values[rows]) for name, values in self.attributes.items()}
        factors = {
            self._parameter[name]: self._tensor(self.multipliers[name][rows]) for name in self._multiplied
        }
        with torch.inference_mode():
            constants = self._setup.precompute(attributes, len(rows), factors)
            if len(rows) == self.size:
                self.constants = constants
            else:
                index = self._index(rows)
                self.constants = {
                    name: _padded(self.constants[name], self.size).index_copy(0, index, value)
                    for name, value in constants.items()
                }
        self.stale = frozenset()

    # -- stepping -----------------------------------------------------------------

    def step(self, rows: Rows, forcing: Mapping[str, FloatArray]) -> FloatArray:
        """Run one model step of rows on ``forcing[rows]``; ``[output, rows]`` in the order of the setup."""
        tensors = {name: self._tensor(values)[None] for name, values in forcing.items()}
        engine = self._setup.engine
        if len(rows) == self.size:
            fluxes, state = engine.run(tensors, self.constants, self.current)
            self.current = {**self.current, **state}
        elif len(rows) == 1:  # as a framework steps its catchments; copying all for one would be their square
            row, before = int(rows[0]), self.select(rows)
            fluxes, state = engine.run(tensors, self._constants_of(row), before)
            self._alone = {**self._alone, row: {**before, **state}}
        else:
            index = self._index(rows)
            fluxes, state = engine.run(tensors, _select(self.constants, index), _select(self.current, index))
            self.assign(rows, state)
        # One transfer, where they come from a GPU.
        return torch.cat([fluxes[v.symbol] for v in self._setup.outputs]).cpu().numpy()

    def _constants_of(self, row: int) -> State:
        if self._constants_alone[0] is not self.constants:
            self._constants_alone = self.constants, {}
        of_rows = self._constants_alone[1]
        if row not in of_rows:
            of_rows[row] = _select(self.constants, self._index(np.array([row])))
        return of_rows[row]

    def constants_of(self, rows: Rows) -> State:
        """Return the constants of rows."""
        return _select(self.constants, self._index(rows))

    def storage(self, balance: Balance, state: State, rows: Rows) -> FloatArray:
        """Compute what a state of rows holds of a conserved quantity, ``[rows]``."""
        model = self._setup.model
        constants: State = {}
        if len(model.process_models) > 1:
            constants = _select(self.constants, self._index(rows))
        return model.storage(balance, state, constants).cpu().numpy()

    def _tensor(self, values: FloatArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float64)).to(self._setup.device)

    def _index(self, rows: Rows) -> Tensor:
        return torch.from_numpy(rows).to(self._setup.device)


def _select(tensors: State, index: Tensor) -> State:
    return {name: tensor.index_select(0, index) for name, tensor in tensors.items()}


def _padded(tensor: Tensor, n: int) -> Tensor:
    """Return a tensor with rows of zeros added up to `n`."""
    missing = n - tensor.shape[0]
    return torch.cat([tensor, tensor.new_zeros((missing, *tensor.shape[1:]))]) if missing else tensor
