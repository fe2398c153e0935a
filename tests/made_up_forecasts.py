"""Forecasts with a known error, from which one can be learned."""

import numpy as np

from dmg_bmi.forecast import Hindcast
from dmg_bmi.forecast.hindcast import RECENT, Forecasts

ISSUES, LEADS, BASINS = 400, 3, 4


def made_up(issues=ISSUES, noise=0.2, seed=0):
    """Forecasts of a model that is 40 % too low where it rains, with log-normal noise on the truth."""
    rng = np.random.default_rng(seed)
    steps = issues + RECENT + LEADS
    typical = np.array([0.5, 1.0, 2.0, 4.0])
    rain = rng.gamma(0.3, 10.0, (steps, BASINS))
    simulated = typical * (0.3 + np.apply_along_axis(np.convolve, 0, rain, 0.7 ** np.arange(9))[:steps] / 10)
    truth = simulated * np.where(rain > 1, 1.4, 1.0) * np.exp(noise * rng.standard_normal(simulated.shape))
    at = np.arange(RECENT, RECENT + issues)[:, None] + np.arange(-RECENT, LEADS)
    flow = Forecasts(simulated[at][:, RECENT:], simulated[at][:, :RECENT])
    issued = np.datetime64("2001-01-01", "s") + np.arange(issues) * np.timedelta64(86400, "s")
    return Hindcast(
        tuple("abcd"),
        issued,
        86400.0,
        flow,
        flow,
        truth[at][:, RECENT:],
        truth[at][:, :RECENT],
        {"P": rain[at], "T": np.zeros_like(rain[at])},
        {"P": np.zeros((issues, 2, BASINS)), "SM": np.zeros((issues, 1, BASINS))},
        typical,
    )
