"""Adapters of other frameworks: the three methods that they override."""

import numpy as np
import pytest

from dmg_bmi import DeltaModelBmi, RoutingBmi
from dmg_bmi.errors import ConfigError, ForcingError, VariableError
from dmg_bmi.runtime.metadata import Reserved


class Extra:
    """One variable beyond the table."""

    def __init__(self):
        self.table = {"extra__number": Reserved("1", "int32")}
        self.values = np.array([3, 4], dtype=np.int32)

    def find(self, name):
        return self.table[name]

    def array(self, name):
        return self.values

    def set(self, name, values):
        self.values[...] = values


class Adapter(DeltaModelBmi):
    """Writes down in which order its methods are called."""

    refused = False

    def __init__(self):
        super().__init__()
        self.calls = []

    def _extra_variables(self, component):
        self.calls.append(("extra", component.size))
        if self.refused:
            raise ConfigError("not this one")
        return Extra()

    def _after_initialize(self, config_file):
        self.calls.append(("initialized", self.get_var_units("extra__number"), config_file))

    def _before_update(self):
        self.calls.append(("update", self.get_current_time()))


def start(configure, bmi_run, weather):
    bmi = Adapter()
    path = str(configure())
    bmi.initialize(path)
    series = weather(9, 1)
    for k in range(2):
        bmi_run.push(bmi, series, k)
        bmi.update()
    bmi.update_until(4 * 86400.0)
    return bmi, path


def test_each_method_is_called_once_where_it_says(configure, bmi_run, weather):
    bmi, path = start(configure, bmi_run, weather)
    assert bmi.calls == [
        ("extra", 1),
        ("initialized", "1", path),
        ("update", 0.0),
        ("update", 86400.0),
        ("update", 2 * 86400.0),
    ]


def test_extra_variables_answer_as_those_of_the_table_do(configure, bmi_run, weather):
    bmi, _ = start(configure, bmi_run, weather)
    assert bmi.get_var_type("extra__number") == "int32"
    assert (bmi.get_var_itemsize("extra__number"), bmi.get_var_nbytes("extra__number")) == (4, 8)
    bmi.set_value("extra__number", np.array([5, 6]))
    np.testing.assert_array_equal(bmi.get_value_ptr("extra__number"), [5, 6])
    assert "extra__number" not in bmi.get_input_var_names() + bmi.get_output_var_names()
    plain = DeltaModelBmi()
    plain.initialize(str(configure()))
    with pytest.raises(VariableError):
        plain.get_var_units("extra__number")


def test_a_component_that_is_refused_leaves_the_running_one_as_it_was(configure, bmi_run, weather):
    bmi, path = start(configure, bmi_run, weather)
    before = bmi.get_value_ptr("Q")
    bmi.refused = True
    with pytest.raises(ConfigError, match=r"run-\d+\.yaml: not this one"):
        bmi.initialize(path)
    assert bmi.get_current_time() == 4 * 86400.0
    assert bmi.get_value_ptr("Q") is before
    bmi.update()


def test_a_river_goes_on_when_a_configuration_without_one_is_refused(configure, tmp_path):
    from dmg_bmi import bmi_configs

    river = RoutingBmi()
    river.initialize(f"{bmi_configs.__path__[0]}/river.yaml")
    with pytest.raises(ConfigError, match=r"requires catchments\.hydrofabric"):
        river.initialize(str(configure()))
    assert river.get_current_time() == 0.0
    assert river.get_var_itemsize("land_surface_water_source__id") == 4


def test_an_error_before_an_update_changes_nothing(configure, bmi_run, weather):
    class Failing(Adapter):
        def _before_update(self):
            raise ForcingError("not now")

    bmi = Failing()
    bmi.initialize(str(configure()))
    for call in (bmi.update, lambda: bmi.update_until(86400.0)):
        with pytest.raises(ForcingError, match="not now"):
            call()
        assert bmi.get_current_time() == 0.0
