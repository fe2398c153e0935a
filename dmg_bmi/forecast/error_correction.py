"""Error correction: what a forecast is off at its begin, carried on to its leads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import FloatArray

#: Forecasts that the mean of all rows counts for.
PRIOR = 100


@dataclass(frozen=True)
class ErrorCorrection:
    """A share of the latest error that is added at each lead, by row.

    With the errors of a plain simulation this is the first-order autoregression that operational services
    use, its coefficients fitted at each lead; after an analysis it carries what the analysis left.

    Parameters
    ----------
    shares : ndarray ``[leads, rows]``
        Between 0 and 1.
    """

    shares: FloatArray

    @classmethod
    def fit(cls, latest: FloatArray, errors: FloatArray) -> ErrorCorrection:
        """Fit shares by least squares to past forecasts; those of few move towards the mean of all rows.

        Parameters
        ----------
        latest : ndarray ``[forecasts, rows]``
            Observed less simulated flow at the last step before each forecast; NaN is missing.
        errors : ndarray ``[forecasts, leads, rows]``
            Observed less forecast flow; NaN is missing.
        """
        known = np.isfinite(errors) & np.isfinite(latest)[:, None]
        before = np.where(known, latest[:, None], 0.0)
        products = (before * np.where(known, errors, 0.0)).sum(0)
        squares = np.square(before).sum(0)
        own = np.clip(products / np.where(squares > 0, squares, np.inf), 0.0, 1.0)
        count = known.sum(0)
        mean = (own * count).sum(1, keepdims=True) / np.maximum(count.sum(1, keepdims=True), 1)
        return cls((count * own + PRIOR * mean) / (count + PRIOR))

    def __call__(self, forecast: FloatArray, latest: FloatArray) -> FloatArray:
        """Correct forecasts ``[forecasts, leads, rows]``; a missing latest error corrects nothing.

        Flow does not become negative.
        """
        return np.maximum(forecast + self.shares * np.nan_to_num(latest)[:, None], 0.0)
