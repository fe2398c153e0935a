"""What the drafts of newer versions of the interface ask for, answered from the variable table."""

from pathlib import Path

import numpy as np
import pytest

from dmg_bmi import DeltaModelBmi
from dmg_bmi.errors import VariableError

CONFIG = Path(__file__).parents[3] / "bmi_configs" / "daily.yaml"


@pytest.fixture
def bmi():
    component = DeltaModelBmi()
    component.initialize(str(CONFIG))
    yield component
    component.finalize()


def test_the_version_is_the_one_that_asks_for_it():
    assert DeltaModelBmi().get_bmi_version() == "2.1"


def test_sets_hold_what_the_interface_reaches_and_no_variable_is_in_two(bmi):
    sets = bmi.get_extension("bmi:introspection")
    assert sets.get_set_var_names("input") == bmi.get_input_var_names()
    assert sets.get_set_var_names("output") == bmi.get_output_var_names()
    assert {"parameter", "state", "diagnostic"} <= {*sets.get_set_names()}
    names = [name for one in sets.get_set_names() for name in sets.get_set_var_names(one)]
    assert len(names) == len({*names})
    for name in names:
        assert bmi.get_var_nbytes(name) == bmi.get_value_ptr(name).nbytes
        assert sets.get_var_meaning(name)
    assert "multiplier__FC" in sets.get_set_var_names("parameter")
    assert "phy.SM" in sets.get_set_var_names("state")


def test_values_stay_within_what_is_told(bmi):
    sets = bmi.get_extension("bmi:introspection")
    low, high = sets.get_var_range("elev_mean")
    assert low <= bmi.get_value("elev_mean", np.zeros(1))[0] <= high
    assert sets.get_var_model_units("phy.SM") == "mm"


def test_others_are_not_there_and_wrong_names_are_told(bmi):
    assert bmi.get_extension("bmi:geo") is None
    sets = bmi.get_extension("bmi:introspection")
    with pytest.raises(VariableError, match=r"no set .states..*state"):
        sets.get_set_var_names("states")
    with pytest.raises(VariableError, match="unknown variable 'rain'"):
        sets.get_var_meaning("rain")
