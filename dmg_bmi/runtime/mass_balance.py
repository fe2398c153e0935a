"""Water budget of rows, kept so that a framework can check that no water is lost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..physics import Balance


class WaterBudget:
    """Totals of water that went into and out of rows since the budget was opened, and what they hold.

    After each framework step ``mass_in = mass_out + stored + mass_leaked``, in the units of the
    model's balance. What was stored when the budget was opened counts as having gone in, as
    does what setting a state adds. Water that waits for its model step to be complete, and
    runoff that is not yet released, count as stored; declared exchange with the outside, and what
    an analysis of observations takes, count as leaked.

    Parameters
    ----------
    balance : Balance
        Of water.
    outputs : sequence of str
        Symbols of the fluxes of a model step, in their order.
    rows : int

    Attributes
    ----------
    mass_in, mass_out, stored, mass_leaked : array ``[rows]``
        The same arrays for life.
    """

    def __init__(self, balance: Balance, outputs: Sequence[str], rows: int) -> None:
        self._out = [outputs.index(name) for name in balance.out]
        self._exchange = [outputs.index(name) for name in balance.exchange]
        self.mass_in, self.mass_out, self.stored, self.mass_leaked = (np.zeros(rows) for _ in range(4))
        # Replaced and never written to, so that a mark is the references.
        nothing = np.zeros(rows)
        self._store = self._waiting = self._opened_with = self._supplied = nothing
        self._step_out = self._step_leak = self._booked_out = self._booked_leak = nothing
        self._ran_early = False

    def open(
        self,
        store: FloatArray,
        waiting: FloatArray,
        fluxes: FloatArray,
        unreleased: float,
        ran_early: bool = False,
    ) -> None:
        """Begin anew.

        Parameters
        ----------
        store, waiting : array ``[rows]``
            Water in the model's stores, and in forcing of a model step that is not complete.
        fluxes : array ``[output, rows]``
            Of the latest model step.
        unreleased : float
            Fraction of `fluxes` that is still to be released.
        ran_early : bool
            Whether `fluxes` are those of a model step that is due: it ran to tell `store`, and the
            next framework step begins to release them.
        """
        self._store, self._waiting, self._ran_early = store, waiting, ran_early
        self._supplied = np.zeros_like(store)
        self._take(fluxes)
        held = 1.0 if ran_early else unreleased
        self._booked_out = -(1.0 - held) * self._step_out
        self._booked_leak = -(1.0 - held) * self._step_leak
        self._opened_with = store + held * (self._step_out + self._step_leak)
        self.close(unreleased)

    def mark(self) -> dict[str, Any]:
        """Remember what :meth:`revert` brings back; only the four totals are ever written to in place."""
        return {name: value for name, value in vars(self).items() if name.startswith("_")}

    def revert(self, marked: Mapping[str, Any]) -> None:
        """Bring back what was when :meth:`mark` was called."""
        vars(self).update(marked)

    def receive(self, water: FloatArray) -> None:
        """Add water of forcing that waits for its model step."""
        self._waiting = self._waiting + water

    def release(self, fluxes: FloatArray, supplied: FloatArray, store: FloatArray) -> None:
        """Begin to release the fluxes of a model step.

        Parameters
        ----------
        fluxes : array ``[output, rows]``
        supplied, store : array ``[rows]``
            Water that the step took in, and what the stores hold after it.
        """
        if self._ran_early:
            self._ran_early = False
            return
        self._booked_out = self._booked_out + self._step_out
        self._booked_leak = self._booked_leak + self._step_leak
        self._supplied = self._supplied + supplied
        self._store = store.copy()
        self._waiting = np.zeros_like(self._waiting)
        self._take(fluxes)

    def add(self, water: FloatArray) -> None:
        """Book water that setting a state added."""
        self._opened_with = self._opened_with + water
        self._store = self._store + water

    def exchange(self, water: FloatArray) -> None:
        """Book water that came into the stores from outside, other than by a flux."""
        self._booked_leak = self._booked_leak - water
        self._store = self._store + water

    def close(self, unreleased: float) -> None:
        """Bring the four totals up to date, with a fraction `unreleased` of the latest fluxes."""
        held = 1.0 if self._ran_early else unreleased
        self.mass_in[...] = self._opened_with + self._supplied + self._waiting
        self.mass_out[...] = self._booked_out + (1.0 - held) * self._step_out
        self.mass_leaked[...] = self._booked_leak + (1.0 - held) * self._step_leak
        self.stored[...] = self._store + self._waiting + held * (self._step_out + self._step_leak)

    def _take(self, fluxes: FloatArray) -> None:
        self._step_out = fluxes[self._out].sum(0)
        self._step_leak = -fluxes[self._exchange].sum(0)
