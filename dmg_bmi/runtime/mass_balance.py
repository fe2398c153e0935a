"""The water of a component's rows, booked so that a framework can check that none is lost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray

if TYPE_CHECKING:
    from .component import Component


class WaterBudget:
    """What went in and out of the rows since the book was opened, and what they hold.

    At each step of the framework ``mass_in = mass_out + stored + mass_leaked``, in the units of the
    model's balance. What was stored when the book was opened counts as having gone in, as
    does what setting a state adds. Water that waits for its model step to be complete, and
    runoff that is not yet released, count as stored; declared exchange with the outside counts
    as leaked.

    Parameters
    ----------
    component : Component
        Of a model with a balance of water.
    """

    _step_out: FloatArray
    _step_leak: FloatArray

    def __init__(self, component: Component) -> None:
        group = component.group
        assert group.balance is not None  # noqa: S101  only who has a balance opens a book
        self._component, self._balance = component, group.balance
        group.book()
        symbols = [v.symbol for v in group.outputs]
        self._out = [symbols.index(name) for name in self._balance.out]
        self._exchange = [symbols.index(name) for name in self._balance.exchange]
        self.mass_in, self.mass_out, self.stored, self.mass_leaked = (
            np.zeros(component.size) for _ in range(4)
        )
        self.open()

    def open(self) -> None:
        """Begin anew from what is stored now."""
        c = self._component
        self._store = self.storage()
        # Asking for the storage ran a model step that waited; the next update only publishes it.
        self._ran = c.due
        self._buffer = np.zeros(c.size) if c.due else c.group.inputs.amount(self._balance.into, c.waiting())
        self._supplied = np.zeros(c.size)
        self._take()
        held = self._unreleased()
        self._booked_out = -(1.0 - held) * self._step_out
        self._booked_leak = -(1.0 - held) * self._step_leak
        self._opened_with = self._store + held * (self._step_out + self._step_leak)
        self.close()

    def mark(self) -> dict[str, Any]:
        """Remember what :meth:`revert` brings back; only the four totals are ever written to in place."""
        return {name: value for name, value in vars(self).items() if name.startswith("_")}

    def revert(self, marked: Mapping[str, Any]) -> None:
        """Bring back what was when :meth:`mark` was called."""
        vars(self).update(marked)

    def receive(self, values: FloatArray) -> None:
        """Forcing ``[variable, rows]`` of a step of the framework that waits for its model step."""
        self._buffer = self._buffer + self._component.group.inputs.amount(self._balance.into, values[None])

    def consume(self) -> None:
        """A model step ran for these rows, and its fluxes begin to be released."""
        if self._ran:
            self._ran = False
            return
        group, part = self._component.group, self._component.part
        self._booked_out = self._booked_out + self._step_out
        self._booked_leak = self._booked_leak + self._step_leak
        self._supplied = self._supplied + group.supplied[part]
        self._store = group.stored[part].copy()
        self._buffer = np.zeros_like(self._buffer)
        self._take()

    def storage(self) -> FloatArray:
        """Water in the model's stores at the component's own clock."""
        return self._component.group.storage(self._balance, self._component)

    def add(self, water: FloatArray) -> None:
        """A state was set, which added water."""
        self._opened_with = self._opened_with + water
        self._store = self._store + water
        group, part = self._component.group, self._component.part
        stored = group.stored.copy()
        stored[part] += water
        group.stored = stored
        self.close()

    def close(self) -> None:
        """Bring the four totals up to date."""
        held = self._unreleased()
        self.mass_in[...] = self._opened_with + self._supplied + self._buffer
        self.mass_out[...] = self._booked_out + (1.0 - held) * self._step_out
        self.mass_leaked[...] = self._booked_leak + (1.0 - held) * self._step_leak
        self.stored[...] = self._store + self._buffer + held * (self._step_out + self._step_leak)

    def _take(self) -> None:
        """Fluxes of the model step that is being released."""
        fluxes = self._component.group.fluxes[:, self._component.part]
        self._step_out = fluxes[self._out].sum(0)
        self._step_leak = -fluxes[self._exchange].sum(0)

    def _unreleased(self) -> float:
        """Which part of the model step's fluxes will be released later."""
        return 1.0 if self._ran else self._component.unreleased
