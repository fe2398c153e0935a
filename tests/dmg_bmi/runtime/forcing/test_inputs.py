"""What a framework sets, made into the forcing of a model step: by hand, variable by variable."""

import numpy as np
import pytest

from dmg_bmi.errors import ForcingError
from dmg_bmi.model.variables import Variable
from dmg_bmi.runtime.forcing.aggregation import ForcingInputs

HOUR, DAY = 3600.0, 86400.0


def variable(symbol, units, model_units, aggregation="mean", lower=-np.inf, upper=np.inf, name=None):
    return Variable(name or symbol, symbol, "input", units, model_units, "", aggregation, lower, upper)


P = variable("P", "mm h-1", "mm", "sum", 0.0, 3000.0)
T = variable("T", "degC", "degC", "mean", -90.0, 60.0)
#: Steps of two hours; ``[time, variable, rows]`` of three steps of two rows.
PAIR = ForcingInputs([P, T], 2 * HOUR)
SERIES = np.array([[[1.0, 0.0], [4.0, -1.0]], [[2.0, 0.5], [6.0, -2.0]], [[3.0, 0.0], [11.0, -6.0]]])


def test_rates_add_up_over_their_steps_and_levels_average():
    forcing = PAIR.aggregate(SERIES)
    assert forcing.keys() == {"P", "T"}
    np.testing.assert_allclose(forcing["P"], [12.0, 1.0], rtol=1e-15)  # (1 + 2 + 3) mm/h for 2 h each
    np.testing.assert_allclose(forcing["T"], [7.0, -3.0], rtol=1e-15)


def test_of_a_step_that_began_before_time_zero_only_what_is_there_counts():
    series = SERIES.copy()
    series[0] = np.nan
    forcing = PAIR.aggregate(series)
    np.testing.assert_allclose(forcing["P"], [10.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(forcing["T"], [8.5, -4.0], rtol=1e-15)


def test_one_row_that_began_later_does_not_change_the_others():
    series = SERIES.copy()
    series[0, :, 1] = np.nan
    forcing = PAIR.aggregate(series)
    np.testing.assert_allclose(forcing["P"], [12.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(forcing["T"], [7.0, -4.0], rtol=1e-15)


@pytest.mark.parametrize(
    ("aggregation", "whole", "part"), [("min", -2.0, -2.0), ("max", 7.0, 4.0), ("last", 4.0, 4.0)]
)
def test_extremes_and_the_last_value_of_a_model_step(aggregation, whole, part):
    inputs = ForcingInputs([variable("x", "m", "mm", aggregation)], HOUR)
    series = np.array([7.0, -2.0, 4.0]).reshape(3, 1, 1)
    assert inputs.aggregate(series)["x"] == 1000 * whole
    series[0] = np.nan
    assert inputs.aggregate(series)["x"] == 1000 * part


def test_several_forcings_come_from_one_variable_and_keep_their_units():
    low = variable("Tmin", "degC", "K", "min", name="air__temperature", lower=150.0, upper=330.0)
    high = variable("Tmax", "degC", "K", "max", name="air__temperature", lower=200.0, upper=360.0)
    inputs = ForcingInputs([low, high, P], HOUR)
    assert inputs.names == ("air__temperature", "P")
    assert [v.symbol for v in inputs.variables] == ["Tmin", "P"]
    forcing = inputs.aggregate(np.array([[[10.0], [0.0]], [[-5.0], [2.0]]]))
    assert forcing["Tmin"] == pytest.approx(268.15, abs=1e-12)
    assert forcing["Tmax"] == pytest.approx(283.15, abs=1e-12)
    assert forcing["P"] == 2.0
    # The limits of both hold, in the units in which values come: 200 K and 330 K.
    for celsius, fine in ((-73.0, True), (-74.0, False), (56.0, True), (57.0, False)):
        assert inputs.legal(np.array([[celsius], [0.0]])) is fine


def test_what_is_given_of_some_forcings_adds_up_to_an_amount():
    snow = variable("S", "mm d-1", "mm", "sum", 0.0)
    inputs = ForcingInputs([T, P, snow], 2 * HOUR)
    series = np.concatenate([SERIES[:, ::-1], np.full((3, 1, 2), 24.0)], axis=1)
    np.testing.assert_allclose(inputs.amount(("P",), series), [12.0, 1.0], rtol=1e-15)
    np.testing.assert_allclose(inputs.amount(("P", "S"), series), [18.0, 7.0], rtol=1e-15)
    np.testing.assert_array_equal(inputs.amount((), series), [0.0, 0.0])
    series[0] = np.nan
    np.testing.assert_allclose(inputs.amount(("S", "P"), series), [14.0, 5.0], rtol=1e-15)


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    ("k", "value", "fine"),
    [
        (0, 0.0, True),
        (0, -1e-9, False),
        (0, 1500.0, True),  # 3000 mm in 2 h
        (0, 1500.1, False),
        (1, -90.0, True),
        (1, -90.001, False),
        (1, 60.0, True),
        (1, 60.001, False),
        (0, np.nan, False),
        (1, np.inf, False),
        (1, -np.inf, False),
    ],
)
def test_limits_belong_to_what_is_legal_for_one_row_as_for_many(rows, k, value, fine):
    values = np.array([[1.0] * rows, [5.0] * rows])
    values[k, -1] = value
    assert PAIR.legal(values) is fine


@pytest.mark.parametrize("rows", [1, 2])
@pytest.mark.parametrize(
    ("value", "fine"), [(1e300, True), (-1e300, True), (np.inf, False), (-np.inf, False)]
)
def test_without_limits_any_finite_number_is_legal(rows, value, fine):
    assert ForcingInputs([variable("x", "1", "1")], HOUR).legal(np.full((1, rows), value)) is fine


@pytest.mark.parametrize(("metres", "fine"), [(0.49, False), (0.5, True), (2.0, True), (2.01, False)])
def test_limits_are_compared_in_the_units_in_which_values_come(metres, fine):
    depth = ForcingInputs([variable("x", "m", "mm", lower=500.0, upper=2000.0)], HOUR)
    assert depth.legal(np.array([[metres]])) is fine
    if not fine:
        with pytest.raises(ForcingError, match=r"outside 0.5 to 2 m: is"):
            raise depth.refuse(np.array([[metres]]), ["a"], 0.0)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, r"^T of catchment 'b' at 7200 s is NaN: missing, or never set\. Set it before update"),
        (np.inf, r"^T of catchment 'b' at 7200 s is inf; it must be finite$"),
        (70.0, r"^T of catchment 'b' at 7200 s is 70, outside -90 to 60 degC: is the unit right\?$"),
        (-90.5, r"is -90.5, outside -90 to 60 degC"),
    ],
)
def test_a_refusal_names_variable_catchment_time_and_limits(value, message):
    values = np.array([[1.0, 1.0], [5.0, value]])
    with pytest.raises(ForcingError, match=message):
        raise PAIR.refuse(values, ["a", "b"], 7200.0)


def test_a_refusal_counts_what_else_is_wrong_and_names_nothing_that_is_at_its_limit():
    values = np.array([[1500.0, 0.0, 1500.1], [60.0, -90.0, np.nan], [0.0, 1500.0, 70.0]])
    inputs = ForcingInputs([P, T, variable("Q", "mm h-1", "mm", "sum", 0.0, 3000.0)], 2 * HOUR)
    message = r"^P of catchment 'c' .* is 1500.1 \(2 values in all\), outside 0 to 1500"
    assert inputs.legal(values[:, :2])
    with pytest.raises(ForcingError, match=message):
        raise inputs.refuse(values, ["a", "b", "c"], 0.0)
