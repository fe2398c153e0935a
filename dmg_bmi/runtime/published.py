"""Outputs as a framework reads them: shares of the latest model step's fluxes in the units of the BMI."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..arrays import FloatArray
from ..model.variables import Variable


class PublishedOutputs:
    """Published arrays of rows, refreshed in place, and flows that depths make over areas.

    Parameters
    ----------
    outputs : sequence of Variable
        Those that the model gives.
    flows : sequence of Variable
        Those that an output makes over the area of a row.
    values : array ``[output, rows]``
        Where outputs are published.
    area : array ``[rows]``
        km2.
    step : float
        Seconds of a framework step.

    Attributes
    ----------
    values : array ``[output, rows]``
    arrays : dict of name to array ``[rows]``
        Outputs and flows.
    """

    def __init__(
        self,
        outputs: Sequence[Variable],
        flows: Sequence[Variable],
        values: FloatArray,
        area: FloatArray,
        step: float,
    ) -> None:
        self.values = values
        self._sums = np.array([[v.aggregation == "sum"] for v in outputs])
        self._scale = np.array([[v.from_model()[0]] for v in outputs])
        self._offset = np.array([[v.from_model()[1]] for v in outputs])
        self._factors = (1, self._scale)
        symbols = [v.symbol for v in outputs]
        #: Each flow with its depth and the area per second that makes it.
        self._flows = [(np.zeros(len(area)), values[symbols.index(v.of)], area * 1e6 / step) for v in flows]
        self.arrays: dict[str, FloatArray] = {
            **dict(zip((v.name for v in outputs), values, strict=True)),
            **{v.name: flow for v, (flow, _, _) in zip(flows, self._flows, strict=True)},
        }
        #: What was published before the call under way, once it publishes.
        self._before: FloatArray | None = None
        self.refresh_flows()

    def publish(self, fluxes: FloatArray, shares: int) -> None:
        """Publish the share of a framework step: amounts are divided, levels are not.

        Parameters
        ----------
        fluxes : array ``[output, rows]``
            Of the latest model step.
        shares : int
        """
        if self._before is None:
            self._before = self.values.copy()
        last_shares, factors = self._factors
        if last_shares != shares:
            factors = np.where(self._sums, self._scale / shares, self._scale)
            self._factors = (shares, factors)
        np.multiply(fluxes, factors, out=self.values)
        self.values += self._offset
        self.refresh_flows()

    def refresh_flows(self) -> None:
        """Make flows of the depths that are published."""
        for flow, depth, area_per_second in self._flows:
            np.multiply(depth, area_per_second, out=flow)

    def mark(self, now: bool) -> None:
        """Remember what :meth:`revert` brings back: `now`, or once something is published."""
        self._before = self.values.copy() if now else None

    def revert(self) -> None:
        """Bring back what was when :meth:`mark` was called."""
        if self._before is not None:
            self.values[...] = self._before
        self.refresh_flows()
