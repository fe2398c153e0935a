"""Pictures of distributions are drawn from gaps, too."""

from io import BytesIO

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from dmg_bmi.plotting.distributions import fan_chart, rank_histogram, reliability_diagram

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)


def test_each_picture_is_a_png():
    rng = np.random.default_rng(0)
    times = np.datetime64("2001-01-01") + np.arange(50)
    quantiles = np.sort(rng.random((5, 50)), axis=0)
    observed = np.where(np.arange(50) % 7 == 0, np.nan, rng.random(50))
    for draw in (
        lambda file: fan_chart(file, times, quantiles, LEVELS, observed, "a basin"),
        lambda file: reliability_diagram(file, LEVELS, {"lead 1": np.array(LEVELS) ** 2}),
        lambda file: rank_histogram(file, np.array([0.0, 3.0, np.nan, 1.0]), 5),
    ):
        file = BytesIO()
        draw(file)
        assert file.getvalue().startswith(b"\x89PNG")
