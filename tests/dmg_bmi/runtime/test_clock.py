"""Time in whole steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import ConfigError, TimeError, TimeStepError
from dmg_bmi.runtime.clock import FAR_FUTURE, Clock

DAY = 86400.0


@pytest.mark.parametrize("step", [0.1, 1 / 3, 3600.0, 900.0, 86400.0])
def test_time_is_the_rounded_product_after_any_number_of_steps(step):
    clock = Clock(step, step)
    for count in (1, 3, 10**6, 10**9 + 1):
        clock.count = count
        assert clock.now == float(np.longdouble(step) * count)


@given(st.sampled_from([0.1, 900.0, 3600.0, 86400.0]), st.integers(0, 10**6), st.integers(0, 10**6))
def test_steps_until_a_multiple_are_whole(step, begin, end):
    clock = Clock(step, step, count=begin)
    if end >= begin:
        assert clock.steps_until(end * step) == end - begin
    else:
        with pytest.raises(TimeError, match="has passed"):
            clock.steps_until(end * step)


@pytest.mark.parametrize("time", [1.0, 3599.0, 5400.0, 3600.1])
def test_what_lies_between_steps_is_refused(time):
    with pytest.raises(TimeStepError, match="3600"):
        Clock(3600.0, 3600.0).steps_until(time)


def test_rounding_of_a_callers_sum_is_forgiven():
    times = np.cumsum(np.full(1000, 0.1))
    clock = Clock(0.1, 0.1)
    assert [clock.steps_until(t) for t in times] == list(range(1, 1001))


@pytest.mark.parametrize("step", [0.0, -1.0, 7000.0, 172800.0, float("nan"), float("inf")])
def test_a_step_divides_the_models(step):
    with pytest.raises(ConfigError, match="does not divide"):
        Clock(step, DAY)


@pytest.mark.parametrize(("step", "ratio"), [(DAY, 1), (3600.0, 24), (900.0, 96), (DAY / 7, 7), (1.0, 86400)])
def test_a_model_step_is_a_whole_number_of_steps(step, ratio):
    assert Clock(step, DAY).ratio == ratio


@pytest.mark.parametrize("step", [0.1, 7.0, 2 * DAY, 0.0, -1.0, float("nan")])
def test_any_other_step_is_refused(step):
    with pytest.raises(ConfigError, match="into 1 to 86400 parts"):
        Clock(step, DAY)


@pytest.mark.parametrize(("error", "fine"), [(5e-10, True), (-5e-10, True), (5e-9, False), (-5e-9, False)])
def test_a_step_may_be_rounded(error, fine):
    if fine:
        assert Clock(3600.0 * (1 + error), DAY).ratio == 24
    else:
        with pytest.raises(ConfigError, match="does not divide"):
            Clock(3600.0 * (1 + error), DAY)


@pytest.mark.parametrize("time", [float("nan"), float("inf"), -float("inf")])
def test_a_time_is_a_finite_number(time):
    with pytest.raises(TimeError, match="must be a finite number of seconds"):
        Clock(3600.0, 3600.0).steps_until(time)


def test_a_run_may_end_where_it_begins():
    clock = Clock(3600.0, 3600.0, end=0.0)
    assert clock.steps_until(0.0) == 0
    with pytest.raises(TimeError, match="ends at 0 s"):
        clock.check_step()


def test_nothing_goes_beyond_the_end():
    clock = Clock(3600.0, 3600.0, end=7200.0)
    assert clock.steps_until(7200.0) == 2
    with pytest.raises(TimeError, match="ends at 7200"):
        clock.steps_until(10800.0)
    clock.count = 1
    clock.check_step()
    clock.count = 2
    with pytest.raises(TimeError, match="ends at 7200"):
        clock.check_step()


def test_an_end_between_steps_is_not_passed():
    clock = Clock(3600.0, 3600.0, end=5000.0, count=1)
    with pytest.raises(TimeError):
        clock.check_step()


def test_the_end_is_finite_and_whole_when_it_is_not_known():
    assert Clock(1.0, 1.0).end == FAR_FUTURE
    assert FAR_FUTURE == 1e15 < 2**63


@pytest.mark.parametrize("model_step", [float("nan"), float("inf"), 0.0, -DAY])
def test_a_model_has_a_step(model_step):
    with pytest.raises(ConfigError, match="does not divide"):
        Clock(3600.0, model_step)
