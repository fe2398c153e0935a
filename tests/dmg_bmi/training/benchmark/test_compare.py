"""The comparison of two models says who is better, by how much, and how sure that is."""

import numpy as np
import pytest

from dmg_bmi.training.benchmark.compare import compared, sign_test


@pytest.mark.parametrize(("better", "worse"), [(0, 0), (5, 5), (9, 1), (1, 9), (30, 46), (300, 231)])
def test_the_sign_test_is_the_binomial_one(better, worse):
    stats = pytest.importorskip("scipy.stats")
    expected = 1.0 if better + worse == 0 else stats.binomtest(better, better + worse).pvalue
    assert sign_test(better, worse) == pytest.approx(expected, rel=1e-9)


def test_a_model_that_is_better_everywhere_is_told_so():
    scores = np.random.default_rng(0).uniform(0, 1, 40)
    found = compared(scores + 0.1, scores)
    assert (found.basins, found.better) == (40, 40)
    assert found.difference == pytest.approx(0.1)
    assert found.low == pytest.approx(0.1) == pytest.approx(found.high)
    assert found.p == pytest.approx(2 / 2**40)


def test_turning_the_pair_round_turns_the_result_round():
    rng = np.random.default_rng(1)
    first, other = rng.normal(0.6, 0.2, 50), rng.normal(0.5, 0.2, 50)
    one, turned = compared(first, other), compared(other, first)
    assert one.difference == pytest.approx(-turned.difference)
    assert (one.low, one.high) == pytest.approx((-turned.high, -turned.low))
    assert one.better + turned.better == 50
    assert one.p == turned.p


def test_basins_without_both_scores_and_ties_do_not_count():
    first = np.array([0.5, np.nan, 0.7, 0.3, 0.9])
    other = np.array([0.4, 0.1, np.nan, 0.3, 0.8])
    found = compared(first, other)
    assert (found.basins, found.better, found.p) == (3, 2, 0.5)


def test_nothing_in_common_is_no_comparison():
    found = compared(np.array([np.nan]), np.array([1.0]))
    assert found.basins == 0
    assert np.isnan([found.difference, found.low, found.high, found.p]).all()


def test_two_alike_models_are_not_told_apart():
    rng = np.random.default_rng(2)
    scores = rng.normal(0.6, 0.2, 200)
    found = compared(scores + rng.normal(0, 0.05, 200), scores + rng.normal(0, 0.05, 200))
    assert found.low < 0 < found.high
    assert found.p > 0.01
