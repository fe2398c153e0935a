"""The water budget, of numbers alone."""

import numpy as np
import pytest
from dmg_bmi.physics import Balance

from dmg_bmi.runtime.mass_balance import WaterBudget

BALANCE = Balance("water", "mm", into=("P",), out=("Q", "ET"), stored=("S",), exchange=("X",))
OUTPUTS = ("ET", "other", "X", "Q")


def fluxes(evaporation, exchange, runoff):
    return np.array([[evaporation], [99.0], [exchange], [runoff]])


def totals(budget):
    return [float(a[0]) for a in (budget.mass_in, budget.mass_out, budget.stored, budget.mass_leaked)]


def opened(**keys):
    budget = WaterBudget(BALANCE, OUTPUTS, 1)
    arguments = {
        "store": np.array([10.0]),
        "waiting": np.zeros(1),
        "fluxes": fluxes(0, 0, 0),
        "unreleased": 0.0,
    }
    budget.open(**{**arguments, **keys})
    return budget


def test_what_is_stored_at_the_opening_has_gone_in():
    assert totals(opened(waiting=np.array([2.0]))) == [12, 0, 12, 0]


def test_fluxes_are_stored_until_they_are_released():
    budget = opened()
    # 8 come in, 3 leave and 1 is gained from outside: 10 + 8 - 3 + 1 = 16 remain.
    budget.release(fluxes(1, 1, 2), np.array([8.0]), np.array([16.0]))
    budget.close(0.75)
    assert totals(budget) == [18, 0.75, 17.5, -0.25]
    budget.close(0.0)
    assert totals(budget) == [18, 3, 16, -1]


def test_forcing_that_waits_is_stored_until_its_model_step_takes_it():
    budget = opened()
    budget.receive(np.array([4.0]))
    budget.close(0.0)
    assert totals(budget) == [14, 0, 14, 0]
    budget.release(fluxes(0, 0, 0), np.array([4.0]), np.array([14.0]))
    budget.close(0.0)
    assert totals(budget) == [14, 0, 14, 0]


def test_a_model_step_that_ran_to_tell_the_store_is_booked_once():
    budget = opened(fluxes=fluxes(1, 0, 3), ran_early=True)
    assert totals(budget) == [14, 0, 14, 0]
    budget.release(fluxes(1, 0, 3), np.array([8.0]), np.array([99.0]))
    budget.close(0.5)
    assert totals(budget) == [14, 2, 12, 0]


@pytest.mark.parametrize("water", [5.0, -5.0])
def test_water_that_setting_a_state_adds_has_gone_in(water):
    budget = opened()
    budget.add(np.array([water]))
    budget.close(0.0)
    assert totals(budget) == [10 + water, 0, 10 + water, 0]


def test_a_mark_brings_back_everything_but_the_totals_which_follow():
    budget = opened()
    before, mark = totals(budget), budget.mark()
    budget.receive(np.array([4.0]))
    budget.release(fluxes(1, 1, 2), np.array([8.0]), np.array([16.0]))
    budget.add(np.array([3.0]))
    budget.close(0.5)
    budget.revert(mark)
    budget.close(0.0)
    assert totals(budget) == before
