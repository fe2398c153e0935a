"""Aggregation of what a framework sets, step by step, to the forcing of one model step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from sys import float_info

import numpy as np
from numpy.typing import NDArray

from ...arrays import FloatArray
from ...errors import ForcingError
from ...model.variables import Variable

_AGGREGATE: dict[str, tuple[Callable[..., FloatArray], Callable[..., FloatArray]]] = {
    "sum": (np.sum, np.nansum),
    "mean": (np.mean, np.nanmean),
    "min": (np.min, np.nanmin),
    "max": (np.max, np.nanmax),
}


@dataclass(frozen=True)
class Place:
    """Place and time of rows: their :attr:`ForcingInputs.attributes` and the day of the year, ``[rows]``."""

    attributes: Mapping[str, FloatArray]
    day_of_year: NDArray[np.int64]


class ForcingInputs:
    """Input variables of a component, and the model's forcings that they make.

    Several forcings may come from one variable (daily minimum and maximum of a temperature).

    Parameters
    ----------
    forcings : sequence of Variable
        Rows of the table of kind ``input``.
    step : float
        Seconds for which one value of a variable holds.

    Attributes
    ----------
    attributes : tuple of str
        Columns of the table of catchments that aggregation needs, with the day of the year.
    """

    attributes: tuple[str, ...] = ()

    def __init__(self, forcings: Sequence[Variable], step: float) -> None:
        self.forcings, self.step = tuple(forcings), step
        by_name = {v.name: v for v in reversed(forcings)}
        self.names = tuple(dict.fromkeys(v.name for v in forcings))
        self.variables = tuple(by_name[name] for name in self.names)
        self._from = [self.names.index(v.name) for v in forcings]
        self._to_model = [v.to_model(step) for v in forcings]
        # Limits in the units in which values come, so that a value is judged as it comes.
        # The greatest number as a limit keeps out what is infinite.
        self._lower = np.full((len(self.names), 1), -float_info.max)
        self._upper = np.full((len(self.names), 1), float_info.max)
        for k, v, (scale, offset) in zip(self._from, forcings, self._to_model, strict=True):
            self._lower[k, 0] = max(self._lower[k, 0], (v.lower - offset) / scale)
            self._upper[k, 0] = min(self._upper[k, 0], (v.upper - offset) / scale)
        self._low, self._high = self._lower[:, 0].tolist(), self._upper[:, 0].tolist()

    def limits(self, number: int) -> tuple[float, float]:
        """Return the least and the greatest legal value of a variable, as it comes."""
        return self._low[number], self._high[number]

    def legal(self, values: FloatArray) -> bool:
        """Tell whether all ``values[variable, row]`` are numbers within their limits."""
        if values.shape[1] == 1:
            # Numpy takes longer over few numbers than Python does.
            for low, value, high in zip(self._low, values[:, 0].tolist(), self._high, strict=True):
                if not low <= value <= high:
                    return False
            return True
        return bool(((values >= self._lower) & (values <= self._upper)).all())

    def refuse(self, values: FloatArray, ids: Sequence[str], time: float) -> ForcingError:
        """Return the error for values that are not legal, naming variable and catchment."""
        bad = ~((values >= self._lower) & (values <= self._upper))
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
        if np.isinf(value):
            return ForcingError(f"{where} is {value:g}{more}; it must be finite")
        low, high = self._low[k], self._high[k]
        return ForcingError(
            f"{where} is {value:g}{more}, outside {low:g} to {high:g} {variable.units}: is the unit right?"
        )

    def amount(self, names: Sequence[str], series: FloatArray) -> FloatArray:
        """Add up the named forcings of ``series[time, variable, rows]``, in model units."""
        total = np.zeros(series.shape[-1])
        for k, variable, (scale, _) in zip(self._from, self.forcings, self._to_model, strict=True):
            if variable.symbol in names:
                total += np.nansum(series[:, k], axis=0) * scale
        return total

    def aggregate(self, series: FloatArray, place: Place | None = None) -> dict[str, FloatArray]:
        """Aggregate to the forcing of a model step, ``[rows]`` in model units by symbol.

        Parameters
        ----------
        series : array ``[time, variable, rows]``
            NaN where a first model step had begun before time zero; those steps are left out.
        place : Place, optional
            Where :attr:`attributes` are needed.
        """
        forcing = {}
        if len(series) == 1:  # nothing to combine, and a framework may ask for it row by row
            (now,) = series
            for k, variable, (scale, offset) in zip(self._from, self.forcings, self._to_model, strict=True):
                forcing[variable.symbol] = now[k] * scale + offset
            return forcing
        partial = bool(np.isnan(series[0]).any())
        for k, variable, (scale, offset) in zip(self._from, self.forcings, self._to_model, strict=True):
            values = series[:, k]
            if variable.aggregation == "last":
                aggregated = values[-1]
            else:
                aggregated = _AGGREGATE[variable.aggregation][partial](values, axis=0)
            # An offset belongs to levels, which are not summed.
            forcing[variable.symbol] = aggregated * scale + offset
        return forcing
