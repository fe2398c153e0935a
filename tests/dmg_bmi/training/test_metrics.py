"""Metrics against values worked out by hand and in other ways, and what they are when flows are equal."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.training import metrics

OBSERVED = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
SIMULATED = np.array([1.0, 2.0, 3.0, 4.0, 10.0])


def test_values_worked_out_by_hand():
    # Errors 0 0 0 0 5; variance of 1..5 is 2; means 3 and 4; the simulated variance is 10.
    assert metrics.nse(SIMULATED, OBSERVED) == pytest.approx(1 - 25 / 10)
    assert metrics.rmse(SIMULATED, OBSERVED) == pytest.approx(np.sqrt(5))
    assert metrics.bias(SIMULATED, OBSERVED) == pytest.approx(100 * 5 / 15)
    # Covariance: (-2)(-3) + (-1)(-2) + 0 + 0 + (2)(6) = 20, over 5; correlation 4 / sqrt(2 * 10).
    assert metrics.alpha_nse(SIMULATED, OBSERVED) == pytest.approx(np.sqrt(10 / 2))
    assert metrics.beta_nse(SIMULATED, OBSERVED) == pytest.approx((4 - 3) / np.sqrt(2))
    r = 4 / np.sqrt(20)
    assert metrics.correlation(SIMULATED, OBSERVED) == pytest.approx(r)
    alpha, beta = np.sqrt(10) / np.sqrt(2), 4 / 3
    expected = 1 - np.sqrt((r - 1) ** 2 + (alpha - 1) ** 2 + (beta - 1) ** 2)
    assert metrics.kge(SIMULATED, OBSERVED) == pytest.approx(expected)
    gamma = (np.sqrt(10) / 4) / (np.sqrt(2) / 3)
    expected = 1 - np.sqrt((r - 1) ** 2 + (gamma - 1) ** 2 + (beta - 1) ** 2)
    assert metrics.kge_2012(SIMULATED, OBSERVED) == pytest.approx(expected)


def test_fhv_is_the_bias_of_the_two_highest_of_a_hundred():
    observed = np.arange(1.0, 101.0)
    simulated = observed.copy()
    simulated[:98] = 0.5  # low flows do not count
    simulated[98:] *= 1.1
    assert metrics.fhv(simulated[::-1], observed) == pytest.approx(10.0)


def test_fms_compares_slopes_of_the_middle_in_log_space():
    observed = np.geomspace(0.1, 100.0, 100)
    steep = observed**2
    assert metrics.fms(steep[::-1], observed) == pytest.approx(100.0, rel=1e-5)
    assert metrics.fms(3.0 * observed, observed) == pytest.approx(0.0, abs=1e-9)
    ends = observed.copy()
    ends[:29], ends[81:] = 0.01, 1e3  # neither the lowest nor the highest flows count
    assert metrics.fms(ends, observed) == pytest.approx(0.0, abs=1e-9)


def test_flv_compares_the_logarithms_of_the_lowest_flows():
    observed = np.geomspace(0.1, 100.0, 100)
    # Twice as steep in log space: sum(log q - log q_min) doubles, FLV is -100 (2 - 1).
    steep = observed**2
    assert metrics.flv(steep, observed) == pytest.approx(-100.0, rel=1e-3)
    # A factor moves the curve and leaves its shape.
    assert metrics.flv(3.0 * observed, observed) == pytest.approx(0.0, abs=1e-3)


flows = st.lists(st.floats(0.01, 100.0), min_size=5, max_size=60, unique=True).map(np.array)


@given(flows)
def test_a_perfect_simulation_has_perfect_scores(flow):
    assert metrics.nse(flow, flow) == 1.0
    assert metrics.kge(flow, flow) == pytest.approx(1.0)
    assert metrics.kge_2012(flow, flow) == pytest.approx(1.0)
    assert metrics.alpha_nse(flow, flow) == 1.0
    for name in ("rmse", "bias", "beta_nse", "fhv", "fms", "flv"):
        assert getattr(metrics, name)(flow, flow) == pytest.approx(0.0, abs=1e-9)


@given(flows)
def test_the_mean_flow_has_an_nse_of_zero(flow):
    assert metrics.nse(np.full_like(flow, flow.mean()), flow) == pytest.approx(0.0, abs=1e-9)


@given(flows, st.floats(0.1, 10.0))
def test_a_factor_changes_kge_by_bias_and_variability_alone(flow, factor):
    wrong = abs(factor - 1)
    assert metrics.kge(factor * flow, flow) == pytest.approx(1 - np.sqrt(2) * wrong, abs=1e-6)
    assert metrics.kge_2012(factor * flow, flow) == pytest.approx(1 - wrong, abs=1e-6)
    assert metrics.correlation(factor * flow, flow) == pytest.approx(1.0)


def test_missing_observations_leave_their_steps_out():
    observed = np.array([OBSERVED, OBSERVED]).T
    simulated = np.array([SIMULATED, SIMULATED]).T
    observed[4, 1] = np.nan
    scores = metrics.per_basin(simulated, observed)
    np.testing.assert_allclose(scores["NSE"], [-1.5, 1.0])
    names = {"NSE", "KGE", "KGE_2012", "RMSE", "bias", "r", "alpha_NSE", "beta_NSE", "FHV", "FMS", "FLV"}
    names |= {"peak_timing", "peaks", "peak_MAPE", "missed_peaks"}
    assert {*scores} == names == {*metrics.METRICS}


def test_a_basin_without_observations_or_variation_has_no_score():
    observed = np.array([[np.nan, 2.0, 1.0]] * 3)
    observed[2, 2] = 3.0
    scores = metrics.per_basin(np.ones((3, 3)), observed)
    assert np.isnan(scores["NSE"][0])
    assert np.isnan(scores["NSE"][1])
    assert scores["NSE"][2] == pytest.approx(1 - 4 / (8 / 3))
    assert np.isnan(scores["KGE"][2])  # a constant simulation has no correlation


def hydrograph(seed: int = 0, days: int = 1500) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rain = rng.gamma(0.6, 8.0, days) * (rng.random(days) < 0.25)
    flow = np.empty(days)
    store = 5.0
    for t in range(days):
        store += rain[t]
        flow[t] = 0.05 * store + 0.002 * store**2
        store -= flow[t]
    return flow


def test_peak_timing_is_how_many_steps_peaks_are_off():
    observed = np.ones(1000)
    simulated = np.ones(1000)
    for k, late in enumerate((0, 1, -2, 3)):
        observed[150 + 200 * k] = 9.0
        simulated[150 + 200 * k + late] = 5.0
    assert metrics.peak_timing(simulated, observed) == pytest.approx((0 + 1 + 2 + 3) / 4)
    assert metrics.peaks_compared(simulated, observed) == 4


@pytest.mark.parametrize(("step", "late"), [(3600.0, 12), (1800.0, 24), (6 * 3600.0, 3), (86400.0, 3)])
def test_peaks_are_looked_for_within_half_a_day_and_at_least_three_steps(step, late):
    """As in neuralhydrology, whose window is max(12 hours, 3 steps)."""
    observed, simulated = np.ones(300), np.ones(300)
    observed[150] = 9.0
    simulated[150 + late], simulated[150 + late + 1] = 5.0, 7.0
    scores = metrics.per_basin(simulated[:, None], observed[:, None], step)
    assert scores["peak_timing"] == [late]
    assert scores["peaks"] == [1.0]


def test_a_simulated_peak_on_the_day_counts_as_such_though_a_higher_one_is_near():
    observed, simulated = np.ones(300), np.ones(300)
    observed[150], simulated[150], simulated[152] = 9.0, 5.0, 7.0
    assert metrics.peak_timing(simulated, observed) == 0.0


def test_peaks_beside_a_gap_or_an_end_or_a_higher_peak_or_too_low_do_not_count():
    observed, simulated = np.ones(1000), np.ones(1000)
    observed[[2, 200, 250, 500, 700]] = [9.0, 9.0, 8.0, 9.0, 1.1]
    observed[502] = np.nan
    simulated[[2 + 1, 201, 252, 503, 703]] = 5.0
    assert metrics.peak_timing(simulated, observed) == 1.0  # only that of step 200
    assert metrics.peaks_compared(simulated, observed) == 1
    assert metrics.peaks_compared(simulated, observed, 3600.0) == 1
    observed[188] = np.nan  # of the half day around it
    assert metrics.peaks_compared(simulated, observed) == 1
    assert metrics.peaks_compared(simulated, observed, 3600.0) == 0
    assert np.isnan(metrics.peak_timing(np.ones(50), np.ones(50)))
    assert np.isnan(metrics.peak_timing(np.ones(2), np.full(2, np.nan)))


def test_the_error_at_peaks_is_that_of_their_steps():
    observed, simulated = np.ones(1000), np.ones(1000)
    observed[[200, 500, 800]] = 10.0
    simulated[[200, 501, 800]] = [8.0, 10.0, 13.0]  # the second is a step late
    observed[400] = np.nan
    assert metrics.peak_mape(simulated, observed) == pytest.approx(100 * (0.2 + 0.9 + 0.3) / 3)
    assert np.isnan(metrics.peak_mape(np.ones(50), np.ones(50)))


def test_a_peak_is_missed_if_none_is_simulated_within_a_step_or_half_a_day():
    observed, simulated = np.ones(1000), np.ones(1000)
    observed[[200, 400, 600, 800, 900]] = 10.0
    simulated[[201, 402, 590]] = 5.0
    observed[901] = np.nan  # of a peak with a gap beside it nothing is said, but it is one
    assert metrics.missed_peaks(simulated, observed) == pytest.approx(3 / 5)
    assert metrics.missed_peaks(simulated, observed, 6 * 3600.0) == pytest.approx(2 / 5)
    assert metrics.missed_peaks(simulated, np.ones(1000)) == 0.0
    assert np.isnan(metrics.missed_peaks(simulated, np.full(1000, np.nan)))


@pytest.mark.parametrize(("apart", "prominence", "plateau"), [(100, 0.5, 1), (100, 0.5, 2), (7, 0.1, 1)])
def test_peaks_are_those_that_scipy_finds(apart, prominence, plateau):
    signal = pytest.importorskip("scipy.signal")
    flow = np.repeat(hydrograph(), plateau)
    expected, _ = signal.find_peaks(flow, distance=apart, prominence=prominence)
    assert len(expected) > 3
    assert metrics.peaks(flow, apart, prominence) == expected.tolist()


def test_metrics_are_those_of_a_published_library():
    library = pytest.importorskip("hydroeval")
    observed = hydrograph(1)
    simulated = hydrograph(2) * 0.3 + observed * 0.6
    for name, function, scale in (
        ("NSE", library.nse, 1.0),
        ("RMSE", library.rmse, 1.0),
        ("bias", library.pbias, -1.0),  # it takes too much water as negative
    ):
        expected = scale * np.ravel(library.evaluator(function, simulated, observed))[0]
        assert metrics.METRICS[name](simulated, observed) == pytest.approx(expected)
    for name, function in (("KGE", library.kge), ("KGE_2012", library.kgeprime)):
        value, r, *_ = np.ravel(library.evaluator(function, simulated, observed))
        assert metrics.METRICS[name](simulated, observed) == pytest.approx(value)
        assert metrics.METRICS["r"](simulated, observed) == pytest.approx(r)


def test_a_distribution_is_the_share_of_basins_that_are_not_higher():
    values, share = metrics.distribution(np.array([0.5, np.nan, -1.0, 0.5, 0.9]))
    np.testing.assert_array_equal(values, [-1.0, 0.5, 0.5, 0.9])
    np.testing.assert_array_equal(share, [0.25, 0.5, 0.75, 1.0])
    assert [len(part) for part in metrics.distribution(np.array([np.nan]))] == [0, 0]
