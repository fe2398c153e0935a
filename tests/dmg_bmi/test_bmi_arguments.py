"""Whatever a BMI function is called with, only the error family leaves it."""

from contextlib import suppress

import numpy as np
import pytest

from dmg_bmi import DeltaModelBmi, RoutingBmi
from dmg_bmi.errors import DmgBmiError

RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
RUNOFF = "land_surface_water__runoff_depth"
ATTRIBUTE, STATE = "slope", "phy.SM"

NAMES = [[], {}, set(), bytearray(b"Q"), np.zeros(2), ([],), slice(3), None, 5, 1.5, b"Q", "", "none", ("Q",),
         object(), float("nan"), "\ud800", "x" * 10**6]  # fmt: skip


def locked():
    array = np.zeros(1)
    array.flags.writeable = False
    return array


ARRAYS = [None, 5, "text", b"text", [], [[1.0], [2.0, 3.0]], {}, object(), np.zeros(0), np.zeros((3, 3)),
          np.zeros(1, "S4"), np.zeros(1, object), np.zeros(1, bool), np.zeros(1, "M8[s]"),
          np.zeros(1, [("a", "f8")]), np.ma.masked_all(1), locked()]  # fmt: skip
INDICES = [None, "0", 0.5, [0.5], [-1], [7], [2**63], [10**30], [[0], [0, 1]], {}, [None], [True], object(),
           slice(1), np.array([0], "M8[s]"), np.array([0], complex), np.zeros(1, "S1")]  # fmt: skip
TIMES = [None, "x", "", "1.5", "-3", b"1.5", [], [1.0], {}, object(), 1j, float("nan"), float("-inf"),
         10**400, -1.0, 0.3, np.zeros(2), np.zeros(1, "M8[s]")]  # fmt: skip
GRIDS = [None, "0", b"0", [], {}, 1, -1, 0.5, 10**30, float("nan"), object(), np.zeros(2), np.zeros(0)]
PATHS = [None, 5, [], {}, b"none", "", "\0", "none.yaml", object(), "x" * 5000, "\ud800", 0.5, np.zeros(2)]

OF_A_NAME = [*(n for n in dir(DeltaModelBmi) if n.startswith("get_var_")), "get_value_ptr", "item_ids"]
OF_A_GRID = [n for n in dir(DeltaModelBmi) if n.startswith("get_grid_")]


@pytest.fixture
def model(configure):
    model = DeltaModelBmi()
    model.initialize(str(configure(n=1)))
    for name, value in {"P": 4.0, "T": 9.0, "PET": 1.0}.items():
        model.set_value(name, np.array([value]))
    model.update()
    return model


def refused(function, *arguments):
    with pytest.raises(DmgBmiError):
        function(*arguments)


@pytest.mark.parametrize("function", OF_A_NAME)
def test_a_name_that_is_none(model, function):
    for name in NAMES:
        refused(getattr(model, function), name)
        refused(getattr(DeltaModelBmi(), function), name)


def test_values_of_a_name_that_is_none(model):
    for name in NAMES:
        refused(model.get_value, name, np.zeros(1))
        refused(model.get_value_at_indices, name, np.zeros(1), np.zeros(1, int))
        refused(model.set_value, name, np.zeros(1))
        refused(model.set_value_at_indices, name, np.zeros(1, int), np.zeros(1))


@pytest.mark.parametrize("name", [RAIN, RUNOFF, ATTRIBUTE, STATE, "catchment__id"])
def test_what_a_value_cannot_go_into(model, name):
    for dest in ARRAYS:
        if not isinstance(dest, np.ma.MaskedArray):
            refused(model.get_value, name, dest)
            refused(model.get_value_at_indices, name, dest, np.zeros(1, int))


@pytest.mark.parametrize("name", [RAIN, RUNOFF, ATTRIBUTE, STATE, "catchment__id", "catchment__area"])
def test_what_a_value_cannot_be(model, name):
    for src in ARRAYS:
        with suppress(DmgBmiError):
            model.set_value(name, src)
        with suppress(DmgBmiError):
            model.set_value_at_indices(name, [0], src)


@pytest.mark.parametrize("name", [RAIN, RUNOFF, ATTRIBUTE, STATE])
def test_indices_that_are_none(model, name):
    for inds in INDICES:
        refused(model.get_value_at_indices, name, np.zeros(1), inds)
        refused(model.set_value_at_indices, name, inds, np.zeros(1))


def test_times_that_cannot_be(model):
    for time in TIMES:
        with suppress(DmgBmiError):
            model.update_until(time)


@pytest.mark.parametrize("function", OF_A_GRID)
def test_grids_that_are_none(model, function):
    for grid in GRIDS:
        refused(getattr(model, function), grid)


@pytest.mark.parametrize("kind", [DeltaModelBmi, RoutingBmi])
def test_configurations_that_are_none(model, kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in PATHS:
        refused(kind().initialize, path)
        refused(model.initialize, path)
