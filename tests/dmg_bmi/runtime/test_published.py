"""Published outputs: shares of amounts, levels whole, flows over areas, and what a failed call undoes."""

import numpy as np

from dmg_bmi.model.variables import Variable
from dmg_bmi.runtime.published import PublishedOutputs

AMOUNT = Variable("runoff", "Q", "output", "m", "mm", "runoff", "sum")
LEVEL = Variable("temperature", "T", "output", "K", "degC", "temperature", "mean")
FLOW = Variable("flow", "flow", "output", "m3 s-1", "m3 s-1", "flow", of="Q")
FLUXES = np.array([[6.0, 12.0], [1.0, -1.0]])


def outputs():
    return PublishedOutputs((AMOUNT, LEVEL), (FLOW,), np.zeros((2, 2)), np.array([3.6, 7.2]), 3600.0)


def test_amounts_are_shared_out_and_levels_are_not():
    published = outputs()
    for shares in (24, 1, 6):
        published.publish(FLUXES, shares)
        np.testing.assert_allclose(published.arrays["runoff"], [6e-3 / shares, 12e-3 / shares], rtol=1e-15)
        np.testing.assert_allclose(published.arrays["temperature"], [274.15, 272.15], rtol=1e-15)


def test_a_flow_is_the_depth_over_the_area_in_a_framework_step():
    published = outputs()
    published.publish(FLUXES, 1)  # m over km2 in an hour: 6e-3 * 3.6e6 / 3600
    np.testing.assert_allclose(published.arrays["flow"], [6.0, 24.0], rtol=1e-15)


def test_arrays_stay_the_same_objects():
    published = outputs()
    held = dict(published.arrays)
    published.publish(FLUXES, 1)
    assert all(published.arrays[name] is array for name, array in held.items())
    assert held["runoff"].any()
    assert held["flow"].any()


def test_a_call_that_published_is_undone_and_one_that_did_not_changes_nothing():
    published = outputs()
    published.publish(FLUXES, 1)
    before = {name: array.copy() for name, array in published.arrays.items()}
    for now in (False, True):
        published.mark(now)
        published.publish(2 * FLUXES, 1)
        published.publish(3 * FLUXES, 1)
        published.revert()
        for name, array in published.arrays.items():
            np.testing.assert_array_equal(array, before[name])
        published.mark(now)
        published.revert()
        for name, array in published.arrays.items():
            np.testing.assert_array_equal(array, before[name])
