"""Scores of distributions are those of public libraries, and say what they should of a known truth."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dmg_bmi.training import probabilistic as scores

LEVELS = scores.LEVELS


def truth(steps=20_000, seed=0):
    """Observations, and the quantiles of the normal distributions that they were drawn from."""
    statistics = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(seed)
    mean, std = rng.uniform(5, 10, steps), rng.uniform(0.5, 2, steps)
    observed = rng.normal(mean, std)
    quantiles = mean + std * statistics.norm.ppf(LEVELS)[:, None]
    return quantiles[:, :, None], observed[:, None], mean[:, None], std[:, None]


def test_crps_of_members_is_that_of_public_libraries():
    rng = np.random.default_rng(1)
    members, observed = rng.gamma(0.5, 2, (11, 40, 3)), rng.gamma(0.5, 2, (40, 3))
    found = scores.crps_of_members(members, observed)
    for name, function in (("properscoring", "crps_ensemble"), ("scoringrules", "crps_ensemble")):
        library = pytest.importorskip(name)
        expected = getattr(library, function)(observed, np.moveaxis(members, 0, -1))
        np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_crps_of_evenly_spaced_quantiles_is_that_of_a_public_library():
    library = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(2)
    quantiles, observed = np.sort(rng.normal(size=(10, 50, 2)), axis=0), rng.normal(size=(50, 2))
    levels = (np.arange(10) + 0.5) / 10
    expected = library.crps_quantile(observed, np.moveaxis(quantiles, 0, -1), levels)
    np.testing.assert_allclose(scores.crps_of_quantiles(quantiles, levels, observed), expected, rtol=1e-12)


def test_crps_of_a_normal_distribution_is_that_of_a_public_library():
    library = pytest.importorskip("scoringrules")
    _, observed, mean, std = truth(50)
    expected = library.crps_normal(observed, mean, std)
    np.testing.assert_allclose(scores.crps_of_normal(mean, std, observed), expected, rtol=1e-9)


def test_crps_of_many_quantiles_and_of_many_members_is_the_closed_form():
    statistics = pytest.importorskip("scipy.stats")
    levels = (np.arange(2000) + 0.5) / 2000
    observed = np.array([-1.3, 0.0, 2.5])
    quantiles = np.repeat(statistics.norm.ppf(levels)[:, None], 3, axis=1)
    exact = scores.crps_of_normal(np.zeros(3), np.ones(3), observed)
    np.testing.assert_allclose(scores.crps_of_quantiles(quantiles, levels, observed), exact, atol=1e-3)
    np.testing.assert_allclose(scores.crps_of_members(quantiles, observed), exact, atol=1e-3)


def test_brier_is_that_of_a_public_library():
    library = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(3)
    probability, observed = rng.random(100), rng.gamma(0.5, 2, 100)
    expected = library.brier_score((observed > 1.0).astype(float), probability)
    np.testing.assert_allclose(scores.brier(probability, observed, np.ones(100)), expected)


def test_quantiles_of_the_truth_are_reliable():
    quantiles, observed, _, _ = truth()
    np.testing.assert_allclose(scores.reliability(quantiles, observed), LEVELS, atol=0.01)
    inside = scores.pit(quantiles, LEVELS, observed)
    counts, _ = np.histogram(inside[(inside > 0.051) & (inside < 0.949)], bins=9, range=(0.05, 0.95))
    assert counts.std() < 0.05 * counts.mean()
    found = scores.per_basin(quantiles, LEVELS, observed)
    assert found["coverage"][0] == pytest.approx(0.9, abs=0.01)
    assert found["CRPSS"][0] > 0.2


@pytest.mark.parametrize("change", [lambda q: q + 0.5, lambda q: 7 + 2.5 * (q - 7), lambda q: 7 + 0 * q])
def test_no_other_quantiles_score_better_than_the_truth(change):
    quantiles, observed, _, _ = truth()
    right, wrong = (scores.per_basin(q, LEVELS, observed) for q in (quantiles, change(quantiles)))
    assert right["CRPS"] < wrong["CRPS"]
    assert right["Brier_90"] < wrong["Brier_90"]


def test_the_climate_itself_has_no_skill():
    observed = np.random.default_rng(4).gamma(0.5, 2, (500, 1))
    climate = np.repeat(np.quantile(observed, LEVELS)[:, None, None], 500, axis=1)
    found = scores.per_basin(climate, LEVELS, observed)
    assert found["CRPSS"][0] == pytest.approx(0.0, abs=1e-12)
    assert found["width"][0] == pytest.approx(np.quantile(observed, 0.95) - np.quantile(observed, 0.05))


def test_coverage_in_the_highest_flows_is_counted_there_alone():
    observed = np.arange(1.0, 101.0)[:, None]
    quantiles = np.stack([np.zeros_like(observed), observed, np.full_like(observed, 97.5)])
    found = scores.per_basin(quantiles, (0.05, 0.5, 0.95), observed)
    assert found["coverage"][0] == pytest.approx(0.97)
    assert found["coverage_high"][0] == pytest.approx(2 / 5)


def test_ranks_of_members_of_the_truth_are_equally_frequent_ties_included():
    rng = np.random.default_rng(5)
    values = np.round(rng.gamma(0.5, 2, (10, 50_000)), 1)  # with many ties
    counts = np.bincount(scores.ranks(values[1:], values[0]).astype(int), minlength=10)
    assert len(counts) == 10
    assert counts.std() < 0.03 * counts.mean()


@pytest.mark.parametrize(("threshold", "above"), [(0.0, 0.9), (2.0, 0.5), (2.5, 0.3), (9.0, 0.1)])
def test_the_probability_above_a_threshold_is_interpolated_between_levels(threshold, above):
    quantiles = np.array([[1.0], [2.0], [3.0]])
    found = scores.probability_above(quantiles, (0.1, 0.5, 0.9), np.array([threshold]))
    assert found[0] == pytest.approx(above)


def test_quantiles_that_are_all_one_jump_from_never_to_always():
    quantiles = np.full((3, 2), 1.0)
    found = scores.probability_above(quantiles, (0.1, 0.5, 0.9), np.array([0.9, 1.1]))
    np.testing.assert_allclose(found, [0.9, 0.1])


def test_what_was_not_observed_does_not_count_and_a_basin_without_any_has_no_score():
    quantiles, observed, _, _ = truth(400)
    gaps = np.where(np.arange(400)[:, None] % 3 == 0, np.nan, observed)
    seen = ~np.isnan(gaps[:, 0])
    found = scores.per_basin(quantiles, LEVELS, gaps)
    expected = scores.per_basin(quantiles[:, seen], LEVELS, observed[seen])
    assert all(found[name] == expected[name] for name in expected)
    for function in (scores.pit, scores.crps_of_quantiles):
        assert np.array_equal(np.isnan(function(quantiles, LEVELS, gaps)), np.isnan(gaps))
    assert np.array_equal(np.isnan(scores.ranks(quantiles, gaps)), np.isnan(gaps))
    none = scores.per_basin(quantiles, LEVELS, np.full_like(observed, np.nan))
    assert all(np.isnan(values).all() for values in none.values())


@given(st.lists(st.floats(0, 100), min_size=1, max_size=9), st.floats(0, 100))
@settings(max_examples=60, deadline=None)
def test_crps_is_never_negative_and_of_one_member_the_error(values, observed):
    found = scores.crps_of_members(np.array(values)[:, None], np.array([observed]))
    assert found[0] >= -1e-12
    if len(values) == 1:
        assert found[0] == pytest.approx(abs(values[0] - observed))
