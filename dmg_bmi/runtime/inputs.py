"""From what a framework sets, step by step, to the forcing of one model step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..errors import ForcingError
from ..variables import Variable

FloatArray = NDArray[np.float64]

_JOIN: dict[str, tuple[Callable[..., FloatArray], Callable[..., FloatArray]]] = {
    "sum": (np.sum, np.nansum),
    "mean": (np.mean, np.nanmean),
    "min": (np.min, np.nanmin),
    "max": (np.max, np.nanmax),
}


class Inputs:
    """The input variables of a component, and the model's forcings that they make.

    Several forcings may come from one variable (daily minimum and maximum of a temperature).

    Parameters
    ----------
    forcings : sequence of Variable
        Rows of the table of kind ``input``.
    step : float
        Seconds for which one value of a variable stands.
    """

    def __init__(self, forcings: Sequence[Variable], step: float) -> None:
        self.forcings = tuple(forcings)
        by_name = {v.name: v for v in reversed(forcings)}
        self.names = tuple(dict.fromkeys(v.name for v in forcings))
        self.variables = tuple(by_name[name] for name in self.names)
        self._from = [self.names.index(v.name) for v in forcings]
        self._to_model = [v.to_model(step) for v in forcings]
        # Limits in the units in which values come, so that a value is judged as it comes.
        self._lower = np.full((len(self.names), 1), -np.inf)
        self._upper = np.full((len(self.names), 1), np.inf)
        for k, v, (scale, offset) in zip(self._from, forcings, self._to_model, strict=True):
            self._lower[k, 0] = max(self._lower[k, 0], (v.lower - offset) / scale)
            self._upper[k, 0] = min(self._upper[k, 0], (v.upper - offset) / scale)

    def legal(self, values: FloatArray) -> bool:
        """Whether all ``values[variable, row]`` are numbers within their limits."""
        return bool(((values >= self._lower) & (values <= self._upper) & (np.abs(values) < np.inf)).all())

    def refuse(self, values: FloatArray, ids: Sequence[str], time: float) -> ForcingError:
        """The error for values that are not legal, naming variable and catchment."""
        bad = ~((values >= self._lower) & (values <= self._upper) & (np.abs(values) < np.inf))
        k, row = (int(i) for i in np.argwhere(bad)[0])
        variable, value = self.variables[k], values[k, row]
        count = int(bad.sum())
        more = f" ({count} values in all)" if count > 1 else ""
        where = f"{variable.name} of catchment {ids[row]!r} at {time:g} s"
        if np.isnan(value):
            return ForcingError(
                f"{where} is NaN{more}: missing, or never set. Set it before update, or configure "
                "missing_forcing: hold"
            )
        low, high = self._lower[k, 0], self._upper[k, 0]
        return ForcingError(
            f"{where} is {value:g}{more}, outside {low:g} to {high:g} {variable.units}: is the unit right?"
        )

    def join(self, series: FloatArray) -> dict[str, FloatArray]:
        """The forcing of a model step, ``[rows]`` in model units by symbol.

        Parameters
        ----------
        series : array ``[time, variable, rows]``
            NaN where a first model step had begun before time zero: water adds up over what
            is there, other quantities join what is there.
        """
        partial = bool(np.isnan(series[0]).any())
        forcing = {}
        for k, variable, (scale, offset) in zip(self._from, self.forcings, self._to_model, strict=True):
            values = series[:, k]
            if variable.aggregation == "last":
                joined = values[-1]
            else:
                joined = _JOIN[variable.aggregation][partial](values, axis=0)
            # An offset belongs to levels, which are not summed.
            forcing[variable.symbol] = joined * scale + offset
        return forcing
