"""A learned error improves forecasts that are off in a way that can be learned, and says how sure it is."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from made_up_forecasts import BASINS, ISSUES, LEADS, made_up

from dmg_bmi.errors import ConfigError
from dmg_bmi.forecast import LearnedError
from dmg_bmi.forecast.error_features import features
from dmg_bmi.forecast.hindcast import SMALLEST, Forecasts
from dmg_bmi.training.probabilistic import LEVELS, per_basin

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def error():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmg_bmi.forecast.learned_error.STEPS", 400)
        patch.setattr("dmg_bmi.forecast.learned_error.BATCH", 2048)
        return LearnedError.fit(made_up(2000))


@pytest.fixture(scope="module")
def later():
    return made_up(seed=1)


def test_what_can_be_learned_of_the_error_is_taken_away(error, later):
    found = error(later).mean
    off, left = (np.square(f - later.observed).mean((0, 1)) for f in (later.analysed.flow, found))
    assert (left < 0.7 * off).all()


def test_quantiles_never_cross_are_never_negative_and_hold_as_often_as_they_say(error, later):
    quantiles = error(later).quantiles
    assert quantiles.shape == (len(LEVELS), ISSUES, LEADS, BASINS)
    assert (np.diff(quantiles, axis=0) >= 0).all()
    assert (quantiles >= 0).all()
    shares = (quantiles >= later.observed).mean((1, 2, 3))
    np.testing.assert_allclose(shares, LEVELS, atol=0.08)


def test_calibrated_quantiles_hold_in_a_world_that_is_noisier_than_the_one_learned_from(error):
    validation, test = (made_up(1500, noise=0.5, seed=k) for k in (2, 3))
    raw, calibrated = error(test).quantiles, error.calibrated(validation)(test).quantiles
    for lead in range(LEADS):
        before, after = (
            per_basin(q[:, :, lead], LEVELS, test.observed[:, lead])["coverage"] for q in (raw, calibrated)
        )
        assert (before < 0.75).all()
        np.testing.assert_allclose(after, 0.9, atol=0.04)
    assert (np.diff(calibrated, axis=0) >= 0).all()


def test_a_forecast_does_not_know_what_was_observed_after_its_issue(error, later):
    other = replace(later, observed=3 * later.observed)
    assert np.array_equal(error(other).quantiles, error(later).quantiles)
    assert np.array_equal(features(other), features(later))


def test_weather_beyond_a_lead_does_not_act_on_it(error, later):
    weather = {name: values.copy() for name, values in later.weather.items()}
    weather["P"][:, -1] += 50.0
    changed = error(replace(later, weather=weather)).mean
    assert np.array_equal(changed[:, :-1], error(later).mean[:, :-1])
    assert not np.array_equal(changed[:, -1], error(later).mean[:, -1])


def test_basins_never_mix_and_may_be_any_others(error, later):
    def of(k):
        return replace(
            later,
            ids=tuple(later.ids[j] for j in k),
            open_loop=Forecasts(later.open_loop.flow[..., k], later.open_loop.recent[..., k]),
            analysed=Forecasts(later.analysed.flow[..., k], later.analysed.recent[..., k]),
            observed=later.observed[..., k],
            observed_recent=later.observed_recent[..., k],
            weather={name: v[..., k] for name, v in later.weather.items()},
            moved={name: v[..., k] for name, v in later.moved.items()},
            typical=later.typical[k],
        )

    swapped = [2, 0, 3, 1]
    expected = error(later).quantiles[..., swapped]
    np.testing.assert_allclose(error(of(swapped)).quantiles, expected, rtol=1e-4, atol=1e-5)


def test_gaps_and_a_silent_gauge_leave_a_forecast(error, later):
    gaps = later.observed_recent.copy()
    gaps[::3, -1] = np.nan
    for some in (replace(later, observed_recent=gaps), later.blind()):
        found = error(some)
        assert np.isfinite(found.mean).all()
        assert np.isfinite(found.quantiles).all()


def test_a_river_that_never_flows_and_one_that_was_never_observed_harm_no_other(monkeypatch):
    monkeypatch.setattr("dmg_bmi.forecast.learned_error.STEPS", 9)
    past = made_up()
    flow, recent = past.observed.copy(), past.observed_recent.copy()
    for values in (flow, recent):
        values[..., 0], values[..., 1] = 0.0, np.nan
    typical = np.array([SMALLEST, SMALLEST, 2.0, 4.0])
    odd = replace(past, observed=flow, observed_recent=recent, typical=typical)
    error = LearnedError.fit(odd)
    found = error.calibrated(odd)(odd)
    assert np.isfinite(found.quantiles).all()
    assert np.isfinite(found.mean).all()


def test_blocks_of_issues_have_the_quantiles_of_all_at_once(error, later, monkeypatch):
    expected = error(later)
    monkeypatch.setattr("dmg_bmi.forecast.learned_error.ROWS", 100)
    found = error(later)
    np.testing.assert_allclose(found.quantiles, expected.quantiles, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(error(later.some(slice(3, 9))).mean, expected.mean[3:9], rtol=1e-4, atol=1e-5)


def test_more_forecasts_than_fit_into_memory_are_thinned(monkeypatch):
    monkeypatch.setattr("dmg_bmi.forecast.learned_error.STEPS", 9)
    past = made_up()
    expected = LearnedError.fit(past.some(slice(None, None, 3)))(past)
    monkeypatch.setattr("dmg_bmi.forecast.learned_error.MOST", past.observed.size // 2)
    assert np.array_equal(LearnedError.fit(past)(past).mean, expected.mean)


def test_the_same_seed_learns_the_same_and_leaves_the_callers_random_numbers_alone(monkeypatch, later):
    monkeypatch.setattr("dmg_bmi.forecast.learned_error.STEPS", 9)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one, same, other = (LearnedError.fit(later, seed)(later).mean for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_too_few_forecasts_to_learn_from_are_refused_with_a_remedy(later):
    few = replace(later, observed=np.where(np.arange(ISSUES)[:, None, None] < 8, later.observed, np.nan))
    with pytest.raises(ConfigError, match="96 were observed; choose a longer period or a smaller --fit"):
        LearnedError.fit(few)
