"""Metrics are those of neuralhydrology, on series with gaps, by the day and by the hour."""

import numpy as np
import pytest

pytest.importorskip("neuralhydrology", reason="runs in an environment of its own: .ci/environments.py")

import pandas as pd
import xarray
from neuralhydrology.evaluation.metrics import calculate_metrics

from dmg_bmi.training import metrics

#: Our names to its.
NAMES = {
    "NSE": "NSE",
    "KGE": "KGE",
    "RMSE": "RMSE",
    "r": "Pearson-r",
    "alpha_NSE": "Alpha-NSE",
    "beta_NSE": "Beta-NSE",
    "FHV": "FHV",
    "FMS": "FMS",
    "FLV": "FLV",
    "peak_timing": "Peak-Timing",
    "peak_MAPE": "Peak-MAPE",
    "missed_peaks": "Missed-Peaks",
}


@pytest.mark.parametrize(("seconds", "resolution"), [(86400.0, "1D"), (3600.0, "1h")])
@pytest.mark.parametrize("seed", range(3))
def test_they_are_those_of_neuralhydrology(seed, seconds, resolution):
    rng = np.random.default_rng(seed)
    steps = 3000
    recession = 0.97 ** np.arange(200)
    rain = rng.gamma(0.5, 9.0, steps) * (rng.random(steps) < 0.05)
    observed = 0.1 + np.convolve(rain, recession)[:steps]
    simulated = 0.2 + np.convolve(np.roll(rain, 1) * rng.uniform(0.5, 1.2, steps), recession)[:steps]
    observed[rng.random(steps) < 0.01] = np.nan
    times = pd.date_range("2001-01-01", periods=steps, freq=resolution)
    theirs = calculate_metrics(
        *(xarray.DataArray(q, coords={"date": times}, dims="date") for q in (observed, simulated)),
        metrics=[*NAMES.values()],
        resolution=resolution,
        datetime_coord="date",
    )
    for ours, name in NAMES.items():
        value = metrics.METRICS[ours](simulated, observed, seconds)
        assert value == pytest.approx(theirs[name], rel=1e-6, abs=1e-9), ours
