"""The BMI of a DeltaModel: names, arrays, life, and what it refuses."""

import copy
import inspect
import pickle

import numpy as np
import pytest
from bmipy import Bmi
from fed_bmi import RUNOFF

from dmg_bmi.bmi import DeltaModelBmi, bundle_component
from dmg_bmi.errors import (
    BundleError,
    GridError,
    NotInitializedError,
    StateError,
    TimeError,
    VariableError,
)
from dmg_bmi.model.bundle import Bundle

P = "atmosphere_water__liquid_equivalent_precipitation_rate"
NAMES = ["get_input_var_names", "get_output_var_names", "get_input_item_count", "get_output_item_count"]


# -- before initialize, after finalize ----------------------------------------------


def call(bmi, method):
    """Call a BMI method with arguments of the right kind."""
    one = np.zeros(1)
    arguments = {"name": P, "grid": 0, "dest": one, "src": one, "inds": np.zeros(1, int), "time": 0.0}
    wanted = list(inspect.signature(getattr(Bmi, method)).parameters)[1:]
    return getattr(bmi, method)(*[arguments.get(name, one) for name in wanted])


USABLE_ONLY_INITIALIZED = sorted(Bmi.__abstractmethods__ - {*NAMES, "initialize", "finalize"})


@pytest.mark.parametrize("method", USABLE_ONLY_INITIALIZED)
def test_all_but_names_raise_one_error_before_initialize(method):
    with pytest.raises(NotInitializedError, match="initialize"):
        call(DeltaModelBmi(), method)


@pytest.mark.parametrize("method", ["get_var_units", "get_var_type", "get_var_nbytes", "get_value_ptr"])
@pytest.mark.parametrize("name", ["catchment__id", "catchment__area", "nonsense"])
def test_no_name_is_special_before_initialize(method, name):
    with pytest.raises(NotInitializedError):
        getattr(DeltaModelBmi(), method)(name)


@pytest.mark.parametrize("method", USABLE_ONLY_INITIALIZED)
def test_all_but_names_raise_one_error_after_finalize(configure, bmi_run, method):
    bmi = bmi_run.start(configure())
    bmi.finalize()
    with pytest.raises(NotInitializedError):
        call(bmi, method)


def test_there_are_no_names_before_initialize():
    bmi = DeltaModelBmi()
    assert [getattr(bmi, method)() for method in NAMES] == [(), (), 0, 0]


def test_an_initialize_that_fails_leaves_the_run_as_it_was(configure, weather, bmi_run, tmp_path):
    bmi, alone = bmi_run.start(configure()), bmi_run.start(configure())
    series = weather(6, 1)
    for one in (bmi, alone):
        bmi_run.drive(one, series, range(3))
    pointer = bmi.get_value_ptr("Q")
    with pytest.raises(ValueError, match="cannot be read"):
        bmi.initialize(str(tmp_path / "none.yaml"))
    broken = configure()
    broken.write_text(broken.read_text().replace("bundle:", "restart: {read: none.state}\nbundle:"))
    with pytest.raises(ValueError, match=r"none\.state: cannot be read"):
        bmi.initialize(str(broken))
    assert bmi.get_value_ptr("Q") is pointer
    for one in (bmi, alone):
        bmi_run.drive(one, series, range(3, 6))
    assert bmi.component.save() == alone.component.save()


def test_an_initialize_on_a_running_component_writes_its_state_first(configure, weather, bmi_run, tmp_path):
    config = configure(restart={"write": "end.state"})
    bmi = bmi_run.start(config)
    bmi_run.drive(bmi, weather(3, 1), range(3))
    expected = bmi.component.save()
    bmi.initialize(str(config))
    assert bmi.get_current_time() == 0.0
    assert (config.parent / "end.state").read_bytes() == expected


def test_an_initialize_that_cannot_write_the_old_state_keeps_the_run(configure, weather, bmi_run, tmp_path):
    bmi = bmi_run.start(configure(restart={"write": "gone/end.state"}))
    bmi_run.drive(bmi, weather(3, 1), range(3))
    expected = bmi.component.save()
    with pytest.raises(StateError, match="cannot be written"):
        bmi.initialize(str(configure()))
    with pytest.raises(StateError, match="cannot be written"):
        bmi.finalize()
    assert bmi.component.save() == expected
    (bmi.component.config.restart.write.parent).mkdir()
    bmi.finalize()
    assert (tmp_path / "gone" / "end.state").read_bytes() == expected or list(tmp_path.rglob("end.state"))


def test_a_running_component_is_neither_copied_nor_pickled(configure, bmi_run):
    bmi = bmi_run.start(configure())
    for made in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(StateError, match="cannot be copied or pickled; save its state"):
            made(bmi)
    bmi.finalize()
    assert isinstance(copy.deepcopy(bmi), DeltaModelBmi)
    assert isinstance(pickle.loads(pickle.dumps(bmi)), DeltaModelBmi)


def test_what_is_no_forcing_is_not_written_to_through_its_pointer(configure, bmi_run):
    bmi = bmi_run.start(configure())
    others = [v for v in bmi.component.info.variables if v.kind != "input"]
    assert {v.kind for v in others} >= {"output", "attribute", "state"}
    for name in [v.name for v in others] + ["catchment__area", "catchment__id"]:
        pointer = bmi.get_value_ptr(name)
        assert bmi.get_value_ptr(name) is pointer
        with pytest.raises(ValueError, match="read-only"):
            pointer[...] = 1
    for name in bmi.get_input_var_names():
        bmi.get_value_ptr(name)[...] = 1.5
        assert bmi.get_value(name, np.zeros(1)) == 1.5


def test_what_is_set_is_seen_through_the_pointer_that_was_taken_before(configure, bmi_run):
    bmi = bmi_run.start(configure())
    for name in ("slope", "phy.SM"):
        pointer = bmi.get_value_ptr(name)
        bmi.set_value(name, np.full(pointer.size, 77.0))
        np.testing.assert_array_equal(pointer, 77.0)


@pytest.mark.parametrize("time", ["x", None, [], 10**400, float("nan"), "1e400"])
def test_a_time_that_is_no_number_is_refused(configure, bmi_run, time):
    bmi = bmi_run.start(configure())
    with pytest.raises(TimeError, match="update_until"):
        bmi.update_until(time)
    assert bmi.get_current_time() == 0.0


# -- a component class per bundle ---------------------------------------------------


def test_the_table_of_a_bundle_component_is_readable_before_initialize_and_without_weights(
    bundles, configure, bmi_run, tmp_path
):
    folder = tmp_path / "light"
    info = Bundle(bundles().load_model(), "light").save(folder)
    (folder / info.weights_file).unlink()
    component = bundle_component("LightModel", folder)
    assert component.__name__ == "LightModel"

    before, after = component(), bmi_run.start(configure())
    for method in NAMES:
        assert getattr(before, method)() == getattr(after, method)()
    for name in before.get_output_var_names():
        for method in ("get_var_units", "get_var_type", "get_var_itemsize"):
            assert getattr(before, method)(name) == getattr(after, method)(name)
    assert before.get_component_name() == "light"
    with pytest.raises(NotInitializedError):
        before.get_value_ptr(RUNOFF)
    with pytest.raises(VariableError):
        before.get_var_units("nonsense")
    with pytest.raises(BundleError, match="weights"):
        before.initialize(str(configure(info)))


def test_a_bundle_component_needs_no_bundle_in_its_configuration(bundles, configure, bmi_run):
    component = bundle_component("Fixed", bundles("fixed").path)()
    config = configure()
    text = config.read_text().splitlines()
    config.write_text("\n".join(line for line in text if not line.startswith("bundle:")))
    component.initialize(str(config))
    assert component.get_component_name() == "fixed"


# -- names, units, grids ------------------------------------------------------------


def test_published_are_forcing_and_outputs_under_standard_names(configure, bmi_run):
    bmi = bmi_run.start(configure())
    assert bmi.get_input_var_names() == (
        P,
        "land_surface_air__temperature",
        "land_surface_water__potential_evaporation_volume_flux",
    )
    assert RUNOFF in bmi.get_output_var_names()
    assert not {"Q0", "aridity", "phy.SM", "catchment__id"} & {*bmi.get_output_var_names()}
    assert [bmi.get_var_units(name) for name in bmi.get_input_var_names()] == ["mm d-1", "degC", "mm d-1"]
    assert bmi.get_var_units(RUNOFF) == "m"
    assert (bmi.get_component_name(), bmi.get_time_units(), bmi.get_time_step()) == ("lstm", "s", 86400.0)


def test_an_hourly_model_asks_for_hourly_rates(configure, bundles, bmi_run):
    bmi = bmi_run.start(configure(bundles("fixed", 3600.0)))
    assert (bmi.get_time_step(), bmi.get_var_units(P)) == (3600.0, "mm h-1")


@pytest.mark.parametrize("n", [1, 3])
def test_unpublished_variables_are_reachable_by_name(configure, bmi_run, n):
    bmi = bmi_run.start(configure(n=n))
    np.testing.assert_array_equal(bmi.get_value_ptr("catchment__id"), [7, 8, 9][:n])
    assert bmi.get_value_ptr("catchment__id").dtype == bmi.get_var_type("catchment__id") == "int64"
    np.testing.assert_array_equal(bmi_run.read(bmi, "catchment__area"), [10.0, 11.0, 12.0][:n])
    assert bmi.get_var_units("catchment__area") == "km2"
    np.testing.assert_allclose(bmi_run.read(bmi, "aridity"), [0.6, 0.66, 0.72][:n])
    assert bmi.get_var_nbytes("phy.SM") == 8 * 2 * n
    assert bmi.get_var_nbytes("phy.queue") == 8 * 15 * n
    assert bmi.get_value_ptr("Q") is bmi.get_value_ptr(RUNOFF)


def test_one_catchment_is_a_scalar_and_many_are_nowhere(configure, bmi_run):
    one, many = bmi_run.start(configure()), bmi_run.start(configure(n=3))
    for bmi, kind, location, size in ((one, "scalar", "node", 1), (many, "none", "none", 3)):
        assert bmi.get_grid_type(0) == kind
        assert bmi.get_var_location(P) == location
        assert (bmi.get_grid_rank(0), bmi.get_grid_size(0), bmi.get_grid_node_count(0)) == (0, size, size)


@pytest.mark.parametrize("method", sorted(m for m in Bmi.__abstractmethods__ if m.startswith("get_grid_")))
def test_grid_functions_either_answer_or_say_that_there_is_no_geometry(configure, bmi_run, method):
    bmi = bmi_run.start(configure())
    if method in ("get_grid_type", "get_grid_rank", "get_grid_size", "get_grid_node_count"):
        call(bmi, method)
    else:
        with pytest.raises(GridError) as caught:
            call(bmi, method)
        assert isinstance(caught.value, NotImplementedError)
    arguments = [1] * (len(inspect.signature(getattr(Bmi, method)).parameters) - 1)
    with pytest.raises(VariableError, match="no grid 1"):
        getattr(bmi, method)(*arguments)
