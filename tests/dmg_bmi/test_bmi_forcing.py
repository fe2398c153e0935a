"""Forcing that cannot be is refused, named, and leaves everything as it was."""

import logging

import numpy as np
import pytest

from dmg_bmi.errors import AttributeTableError, ForcingError, StateError
from dmg_bmi.model.delta_model import DAY

HOUR = 3600.0
P = "atmosphere_water__liquid_equivalent_precipitation_rate"
T = "land_surface_air__temperature"
PET = "land_surface_water__potential_evaporation_volume_flux"

BAD = [
    pytest.param("P", np.nan, f"{P} of catchment 'cat-8' at .* is NaN", id="P NaN"),
    pytest.param("T", np.nan, f"{T} of catchment 'cat-8' at .* is NaN", id="T NaN"),
    pytest.param("P", -0.1, f"{P} of catchment 'cat-8' at .* is -0.1, outside 0 to", id="P negative"),
    pytest.param("PET", -1e-9, f"{PET} of catchment 'cat-8' at .* outside 0 to", id="PET negative"),
    pytest.param("P", 1e6, f"{P} of catchment 'cat-8' at .* is 1e\\+06, outside .* mm d-1", id="P absurd"),
    pytest.param("T", 285.0, f"{T} of catchment 'cat-8' .* outside -95 to 65 degC: is the unit", id="kelvin"),
    pytest.param("T", -273.0, f"{T} of catchment 'cat-8' .* outside -95 to 65", id="T too cold"),
    pytest.param("P", np.inf, f"{P} of catchment 'cat-8' at .* is inf", id="P inf"),
    pytest.param("T", -np.inf, f"{T} of catchment 'cat-8' at .* is -inf", id="T -inf"),
]


@pytest.mark.parametrize(("symbol", "value", "reason"), BAD)
@pytest.mark.parametrize("keys", [{}, {"time_step": HOUR}], ids=["daily", "hourly"])
def test_bad_forcing_is_named_and_changes_nothing(configure, weather, bmi_run, keys, symbol, value, reason):
    step = keys.get("time_step", DAY)
    forcing = weather(60, 3, seed=1, step=step)
    bmi, twin = (bmi_run.start(configure(n=3, **keys)) for _ in range(2))
    for k in range(60):
        bmi_run.push(twin, forcing, k)
        twin.update()
        bmi_run.push(bmi, forcing, k)
        if k in (0, 10, 23, 24, 47):
            good, before = bmi_run.read(bmi, symbol), bmi.component.save()
            bmi.set_value_at_indices(symbol, np.array([1]), np.array([value]))
            with pytest.raises(ForcingError, match=reason):
                bmi.update()
            assert bmi.get_current_time() == k * step
            bmi.set_value(symbol, good)
            assert bmi.component.save() == before
        bmi.update()
        np.testing.assert_array_equal(bmi.get_value_ptr("Q"), twin.get_value_ptr("Q"))
    assert bmi.component.save() == twin.component.save()


def test_inputs_that_were_never_set_are_missing(configure, bmi_run):
    bmi = bmi_run.start(configure(n=2))
    bmi.set_value("P", np.zeros(2))
    with pytest.raises(ForcingError, match=r"is NaN \(4 values in all\): missing, or never set.*hold"):
        bmi.update()
    assert bmi.get_current_time() == 0.0


def test_every_value_at_fault_is_counted_and_the_first_is_named(configure, weather, bmi_run):
    bmi = bmi_run.start(configure(n=4))
    bmi_run.push(bmi, weather(1, 4), 0)
    bmi.set_value("P", np.array([1.0, 2.0, -1.0, -2.0]))
    with pytest.raises(ForcingError, match=r"catchment 'cat-9' at 0 s is -1 \(2 values in all\)"):
        bmi.update()


def test_update_until_stops_at_bad_forcing(configure, weather, bmi_run):
    bmi = bmi_run.start(configure())
    bmi_run.push(bmi, weather(1, 1), 0)
    bmi.update()
    bmi.set_value("T", np.array([300.0]))
    with pytest.raises(ForcingError):
        bmi.update_until(5 * DAY)
    assert bmi.get_current_time() == DAY


# -- gaps that the configuration lets be filled ---------------------------------------


def with_gaps(forcing, gaps):
    """The series with NaN, and what holding the last value makes of it."""
    holed = {name: values.copy() for name, values in forcing.items()}
    filled = {name: values.copy() for name, values in forcing.items()}
    for name, k, row in gaps:
        holed[name][k, row] = np.nan
        filled[name][k, row] = filled[name][k - 1, row]
    return holed, filled


GAPS = [("P", 5, 0), ("P", 6, 0), ("T", 6, 0), ("T", 20, 1), ("PET", 30, 0), ("PET", 30, 1)]


@pytest.mark.parametrize("keys", [{}, {"time_step": HOUR}], ids=["daily", "hourly"])
def test_gaps_are_filled_counted_and_reported(configure, weather, bmi_run, caplog, keys):
    forcing = weather(60, 2, seed=2, step=keys.get("time_step", DAY))
    holed, filled = with_gaps(forcing, GAPS)
    bmi = bmi_run.start(configure(n=2, missing_forcing="hold", **keys))
    expected = bmi_run.drive(bmi_run.start(configure(n=2, **keys)), filled, range(60))
    actual = bmi_run.drive(bmi, holed, range(60))
    for name in expected:
        np.testing.assert_array_equal(actual[name], expected[name])
    with caplog.at_level(logging.WARNING, "dmg_bmi"):
        bmi.finalize()
    (record,) = caplog.records
    assert "missing forcing was replaced by the last value" in record.message
    assert f"'{P}': 2" in record.message
    assert f"'{T}': 2" in record.message
    assert f"'{PET}': 2" in record.message


def test_no_gaps_no_report(configure, weather, bmi_run, caplog):
    bmi = bmi_run.start(configure(n=2, missing_forcing="hold"))
    bmi_run.drive(bmi, weather(5, 2), range(5))
    with caplog.at_level(logging.WARNING, "dmg_bmi"):
        bmi.finalize()
    assert not caplog.records


def test_a_gap_before_any_value_cannot_be_filled(configure, weather, bmi_run):
    forcing = weather(3, 2)
    bmi = bmi_run.start(configure(n=2, missing_forcing="hold"))
    bmi_run.push(bmi, forcing, 0)
    bmi.set_value_at_indices("T", np.array([1]), np.array([np.nan]))
    with pytest.raises(ForcingError, match=f"{T} of catchment 'cat-8' at 0 s is NaN"):
        bmi.update()
    bmi_run.push(bmi, forcing, 0)
    bmi.update()


@pytest.mark.parametrize("value", [-1.0, np.inf, 1e9])
def test_only_gaps_are_filled_not_wrong_values(configure, weather, bmi_run, value):
    bmi = bmi_run.start(configure(n=2, missing_forcing="hold"))
    bmi_run.drive(bmi, weather(5, 2), range(5))
    bmi.set_value("P", np.array([value, 1.0]))
    with pytest.raises(ForcingError, match="cat-7"):
        bmi.update()


def test_gaps_are_filled_across_a_restart(configure, weather, bmi_run):
    """The last value is part of the state."""
    holed, filled = with_gaps(weather(40, 2, seed=3), [("P", 20, 0), ("T", 20, 1)])
    expected = bmi_run.drive(bmi_run.start(configure(n=2)), filled, range(40))["Q"]
    first = bmi_run.start(configure(n=2, missing_forcing="hold", restart={"write": "state.bin"}))
    bmi_run.drive(first, holed, range(20))
    first.finalize()
    second = bmi_run.start(configure(n=2, missing_forcing="hold", restart={"read": "state.bin"}))
    np.testing.assert_array_equal(bmi_run.drive(second, holed, range(20, 40))["Q"], expected[20:])


@pytest.mark.parametrize("symbol", ["P", "T", "PET"])
def test_bad_stored_forcing_is_named_and_leaves_the_state(configure, weather, store, bmi_run, symbol):
    series = weather(10, 2)
    series[symbol][5, 1] = np.nan
    folder = store(series, 2, "2000-01-01", DAY)
    bmi = bmi_run.start(configure(n=2, start_time="2000-01-01", forcing=str(folder)))
    bmi.update_until(5 * DAY)
    soil = bmi_run.read(bmi, "phy.SM")
    for _ in range(2):
        with pytest.raises(ForcingError, match="of catchment 'cat-8' at 432000 s is NaN"):
            bmi.update()
        assert bmi.get_current_time() == 5 * DAY
        np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), soil)


def test_gaps_in_stored_forcing_are_filled(configure, weather, store, bmi_run):
    holed, filled = with_gaps(weather(40, 2, seed=2), GAPS)
    keys = {"n": 2, "start_time": "2000-01-01"}
    expected = bmi_run.drive(bmi_run.start(configure(**keys)), filled, range(40))
    folder = store(holed, 2, "2000-01-01", DAY)
    bmi = bmi_run.start(configure(**keys, forcing=str(folder), missing_forcing="hold"))
    actual = bmi_run.drive(bmi, None, range(40))
    for name in expected:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-5, atol=1e-9)
    assert dict(zip(bmi.component.group.inputs.names, bmi.component.group.filled, strict=True)) == {
        P: 2,
        T: 2,
        PET: 2,
    }


def test_a_state_set_to_what_is_not_finite_is_refused(configure, bmi_run):
    bmi = bmi_run.start(configure(n=2))
    before = bmi_run.read(bmi, "phy.SM")
    with pytest.raises(StateError, match=r"phy\.SM.*catchment 'cat-8'"):
        bmi.set_value("phy.SM", np.array([1.0, 2.0, 3.0, np.nan]))
    np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), before)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300, 6.9e-310])
def test_an_attribute_that_is_no_number_is_refused(configure, weather, bmi_run, value):
    bmi, twin = bmi_run.start(configure(n=2)), bmi_run.start(configure(n=2))
    with pytest.raises(AttributeTableError, match="'slope' of catchment 'cat-8'"):
        bmi.set_value("slope", np.array([1.0, value]))
    np.testing.assert_array_equal(bmi_run.read(bmi, "slope"), bmi_run.read(twin, "slope"))
    forcing = weather(5, 2)
    np.testing.assert_array_equal(
        bmi_run.drive(bmi, forcing, range(5))["Q"], bmi_run.drive(twin, forcing, range(5))["Q"]
    )
