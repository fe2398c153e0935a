"""Shares of the latest error that are carried on to the leads of a forecast."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg_bmi.forecast import ErrorCorrection
from dmg_bmi.forecast.error_correction import PRIOR


def errors_of(rho, forecasts, leads, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    latest = rng.normal(size=(forecasts, len(rho)))
    ahead = latest[:, None] * np.power(rho, np.arange(1, leads + 1)[:, None])
    return latest, ahead + noise * rng.normal(size=ahead.shape)


def test_shares_of_an_autoregression_are_its_powers():
    rho = np.array([0.9, 0.5])
    fitted = ErrorCorrection.fit(*errors_of(rho, 100_000, 3, noise=0.3))
    assert np.allclose(fitted.shares, np.power(rho, [[1], [2], [3]]), atol=0.01)


def test_a_row_of_few_forecasts_moves_to_the_mean_of_all():
    latest, errors = errors_of(np.array([0.9, 0.9, 0.0]), 5000, 1)
    few = latest.copy()
    few[10:, 2] = np.nan
    shares = ErrorCorrection.fit(few, errors).shares[0]
    mean = (5000 * 0.9 + 5000 * 0.9) / 10_010
    assert np.isclose(shares[2], (10 * 0.0 + PRIOR * mean) / (10 + PRIOR))


def test_missing_errors_correct_nothing():
    correction = ErrorCorrection(np.full((2, 1), 0.8))
    forecast = np.ones((1, 2, 1))
    assert np.array_equal(correction(forecast, np.array([[np.nan]])), forecast)


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=30), st.integers(0, 10))
@settings(max_examples=60, deadline=None)
def test_shares_lie_between_zero_and_one_and_flow_is_never_negative(values, seed):
    rng = np.random.default_rng(seed)
    latest = np.array(values)[:, None]
    errors = rng.normal(size=(len(values), 3, 1)) * latest[:, None]
    correction = ErrorCorrection.fit(latest, errors)
    assert ((correction.shares >= 0) & (correction.shares <= 1)).all()
    assert (correction(rng.random((len(values), 3, 1)), latest) >= 0).all()
