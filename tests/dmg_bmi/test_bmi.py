"""The BMI of a DeltaModel: names, arrays, life, and what it refuses."""

import copy
import gc
import inspect
import pickle
import subprocess
import sys
import textwrap
import weakref

import numpy as np
import pytest
from bmipy import Bmi

from dmg_bmi.bmi import DeltaModelBmi, bundle_component
from dmg_bmi.errors import (
    AttributeTableError,
    BundleError,
    ConfigError,
    DmgBmiError,
    GridError,
    NotInitializedError,
    StateError,
    TimeError,
    TimeStepError,
    ValueShapeError,
    VariableError,
)
from dmg_bmi.model.bundle import Bundle

P = "atmosphere_water__liquid_equivalent_precipitation_rate"
RUNOFF = "land_surface_water__runoff_depth"
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


# -- time ----------------------------------------------------------------------------


def test_time_starts_at_zero_and_ends_far_away_unless_the_configuration_says(configure, bmi_run):
    bmi = bmi_run.start(configure())
    assert (bmi.get_start_time(), bmi.get_current_time(), bmi.get_end_time()) == (0.0, 0.0, 1e15)
    bmi = bmi_run.start(configure(start_time="2000-01-01", end_time="2000-03-01"))
    assert bmi.get_end_time() == 60 * 86400.0


def fed(bmi_run, config):
    bmi = bmi_run.start(config)
    for name, value in (("P", 4.0), ("T", 5.0), ("PET", 1.0)):
        bmi.set_value(name, np.full(bmi.get_grid_size(0), value))
    return bmi


@pytest.mark.parametrize("date", ["2000-01-01 07:30", "2000-01-01 23:59:59.5"])
def test_a_run_by_whole_model_steps_starts_at_any_time(configure, bmi_run, date):
    bmi = fed(bmi_run, configure(start_time=date))
    bmi.update()
    assert bmi.get_current_time() == 86400.0
    with pytest.raises(ConfigError, match="is not a whole number of steps of 3600 s after day_start_hour 0"):
        bmi_run.start(configure(start_time=date, time_step=3600.0))
    with pytest.raises(ConfigError, match="is not a whole number of steps of 43200 s"):
        bmi_run.start(configure(start_time=date, time_step=43200.0))


@pytest.mark.parametrize("name", ["{time}/day.state", "day-{time}.state"])
def test_the_time_in_the_path_of_a_state_is_that_at_which_it_is_valid(configure, bmi_run, tmp_path, name):
    restart = {"write": name, "every": 86400.0}
    bmi = fed(bmi_run, configure(start_time="2000-01-01", restart=restart))
    for _ in range(2):
        bmi.update()
    bmi.finalize()
    files = [tmp_path / name.format(time=f"2000-01-0{day}T0000") for day in (2, 3)]
    assert sorted(tmp_path.rglob("*.state")) == sorted(files)
    with pytest.raises(ConfigError, match=r"restart: \{time\} in a path requires start_time"):
        bmi_run.start(configure(restart={"read": name}))
    with pytest.raises(ConfigError, match=r"restart: \{id\} in a path is for members of a shared"):
        bmi_run.start(configure(restart={"read": "{id}.state"}))
    for every in (3600.0, 100000.0):
        with pytest.raises(
            ConfigError, match=rf"every: {every:g} s is not a whole number of steps of 86400 s"
        ):
            bmi_run.start(configure(restart={"write": "x", "every": every}))
    bmi_run.start(configure(restart={"write": "x", "every": 2 * 86400.01}))  # a rounded sum


def test_update_until_takes_multiples_only(configure, bmi_run):
    bmi = fed(bmi_run, configure())
    with pytest.raises(TimeStepError, match="86400") as caught:
        bmi.update_until(100.0)
    assert isinstance(caught.value, NotImplementedError)  # which pymt takes for "step and interpolate"
    bmi.update_until(3 * 86400.0)
    assert bmi.get_current_time() == 3 * 86400.0


@pytest.mark.parametrize("time", [86400.0, 0.0, -86400.0, float("inf"), float("nan"), 1e300])
def test_update_until_refuses_what_has_passed_or_never_comes(configure, bmi_run, time):
    bmi = fed(bmi_run, configure())
    bmi.update_until(2 * 86400.0)
    before = bmi_run.read(bmi, "phy.SM")
    with pytest.raises(TimeError):
        bmi.update_until(time)
    assert bmi.get_current_time() == 2 * 86400.0
    np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), before)


def test_no_step_goes_beyond_the_end(configure, bmi_run):
    bmi = fed(bmi_run, configure(end_time=3 * 86400.0))
    with pytest.raises(TimeError, match="ends"):
        bmi.update_until(4 * 86400.0)
    assert bmi.get_current_time() == 0.0
    bmi.update_until(3 * 86400.0)
    before = bmi_run.read(bmi, "phy.SM")
    with pytest.raises(TimeError, match="ends"):
        bmi.update()
    assert bmi.get_current_time() == 3 * 86400.0
    np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), before)


# -- arrays --------------------------------------------------------------------------


def test_pointers_are_one_object_through_ten_thousand_updates(configure, bundles, bmi_run):
    n = 3
    bmi = bmi_run.start(configure(bundles("column"), n))
    names = [*bmi.get_input_var_names(), *bmi.get_output_var_names(), "Q0", "phy.SM", "catchment__area"]
    held = {name: bmi.get_value_ptr(name) for name in names}
    for array in held.values():
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        assert array.shape == (n,)
    values = {"P": np.full(n, 3.0), "T": np.full(n, 8.0), "PET": np.full(n, 1.0)}
    for k in range(10_000):
        for symbol, value in values.items():
            bmi.set_value(symbol, value)
        bmi.update()
        if k % 500 == 0 or k == 9_999:
            for name, array in held.items():
                assert bmi.get_value_ptr(name) is array
                np.testing.assert_array_equal(bmi_run.read(bmi, name), array)
    assert (held[RUNOFF] > 0).all()


def test_states_are_watched_through_their_pointers_and_set_by_name(configure, bmi_run):
    bmi = fed(bmi_run, configure(n=2))
    soil = bmi.get_value_ptr("phy.SM")
    bmi.update()
    np.testing.assert_array_equal(soil, bmi_run.read(bmi, "phy.SM"))
    wet = np.array([100.0, 110.0, 120.0, 130.0])  # two catchments of two components
    bmi.set_value("phy.SM", wet)
    np.testing.assert_array_equal(soil, wet)
    bmi.update()
    assert bmi.get_value_ptr("phy.SM") is soil
    assert (np.abs(soil - wet) < 30).all()
    assert (soil != wet).all()


def test_attributes_act_when_they_are_set(configure, bmi_run, bundles):
    one, other = (fed(bmi_run, configure(bundles("lstm_mlp"), 2)) for _ in range(2))
    other.set_value("slope", np.array([3.0, 30.0]))
    for _ in range(5):
        one.update()
        other.update()
    assert (bmi_run.read(one, "groundwater") != bmi_run.read(other, "groundwater")).all()


@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp"])
def test_setting_an_attribute_is_having_it_from_the_start(configure, bmi_run, bundles, kind):
    one = fed(bmi_run, configure(bundles(kind), 2))
    one.set_value("slope", np.array([3.0, 30.0]))
    keys = {"ids": ["a", "b"], "attributes": {"slope": [3.0, 30.0], "aridity": [0.6, 0.6 * 1.1]}}
    other = fed(bmi_run, configure(bundles(kind), 2, catchments=keys))
    for _ in range(5):
        one.update()
        other.update()
        np.testing.assert_array_equal(bmi_run.read(one, "Q"), bmi_run.read(other, "Q"))


def test_writing_into_the_pointer_of_an_input_is_setting_it(configure, bmi_run, weather):
    forcing = weather(20, 3)
    one, other = bmi_run.start(configure(n=3)), bmi_run.start(configure(n=3))
    pointers = {symbol: other.get_value_ptr(symbol) for symbol in forcing}
    for k in range(20):
        bmi_run.push(one, forcing, k)
        for symbol, array in pointers.items():
            array[:] = forcing[symbol][k]
            np.testing.assert_array_equal(bmi_run.read(other, symbol), bmi_run.read(one, symbol))
        one.update()
        other.update()
        np.testing.assert_array_equal(one.get_value_ptr("Q"), other.get_value_ptr("Q"))


MEMORY = """
    import gc
    import sys
    from pathlib import Path

    import numpy as np
    import psutil
    import torch
    from dmg_bmi import Bundle, DeltaModel, DeltaModelBmi
    from dmg_bmi.model import registry
    from dmg_bmi.physics import Declaration, Flux, Parameter, ProcessModel, StateVariable
    from dmg_bmi.physics.forcings import P

    class Tank(ProcessModel):
        declaration = Declaration(
            "tank",
            forcings=(P,),
            parameters=(Parameter("k", 0.0, 1.0, "d-1", "recession coefficient"),),
            states=(StateVariable("S", "mm", "water"),),
            fluxes=(Flux("Q", "mm", "runoff", "land_surface_water__runoff_depth", "sum"),),
        )

        def step(self, forcing, state, parameters, static, dt, processes=()):
            filled = state["S"] + forcing["P"]
            outflow = parameters["k"] * filled
            return {"S": filled - outflow}, {"Q": outflow}

    torch.set_num_threads(1)
    registry.PROCESS_MODELS["tank"] = "__main__:Tank"
    folder = Path(sys.argv[1])
    Bundle(DeltaModel(phy_model=Tank(), fixed={"k": 0.1}), "tank").save(folder / "bundle")
    (folder / "run.yaml").write_text("bundle: bundle")

    bmi, process, rain = DeltaModelBmi(), psutil.Process(), np.full(1, 3.0)
    bmi.initialize(str(folder / "run.yaml"))
    bmi.get_value_ptr("phy.S")

    def update(times):
        for _ in range(times):
            bmi.set_value("P", rain)
            bmi.update()
        gc.collect()
        return process.memory_info().rss

    warm = update(1_000)
    print(update(99_000) - warm)
"""


@pytest.mark.slow
def test_a_hundred_thousand_updates_take_less_than_a_megabyte(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000, f"memory grew by {int(done.stdout) / 1e6:.2f} MB"


# -- what get and set refuse ----------------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    "src",
    [
        pytest.param(lambda n: np.zeros(2 * n + 1), id="too long"),
        pytest.param(lambda n: np.zeros(0), id="empty"),
        pytest.param(lambda n: np.array(["1"] * n), id="text"),
        pytest.param(lambda n: np.zeros(n, complex), id="complex"),
        pytest.param(lambda n: np.zeros(n, bool), id="bool"),
        pytest.param(lambda n: [object()] * n, id="objects"),
        pytest.param(lambda n: None, id="None"),
        pytest.param(lambda n: [[1.0], [1.0, 2.0]], id="ragged"),
    ],
)
@pytest.mark.parametrize("name", ["P", "slope", "phy.SUZ"])
def test_set_value_refuses_what_does_not_fit(configure, bundles, bmi_run, n, src, name):
    bmi = fed(bmi_run, configure(bundles("lstm"), n))
    before = bmi_run.read(bmi, name)
    with pytest.raises(ValueShapeError, match=name):
        bmi.set_value(name, src(n))
    np.testing.assert_array_equal(bmi_run.read(bmi, name), before)


@pytest.mark.parametrize("src", [np.array([[4.0, 5.0, 6.0]]), [4, 5, 6], np.array([4, 5, 6], np.float32)])
def test_set_value_takes_numbers_of_any_kind_and_shape(configure, bmi_run, src):
    bmi = bmi_run.start(configure(n=3))
    bmi.set_value("P", src)
    np.testing.assert_array_equal(bmi.get_value_ptr("P"), [4.0, 5.0, 6.0])
    bmi.set_value_at_indices("P", np.array([2, 0]), np.array([9, 8]))
    np.testing.assert_array_equal(bmi.get_value_ptr("P"), [8.0, 5.0, 9.0])


def test_get_value_fills_any_array_that_can_hold_it(configure, bmi_run):
    bmi = bmi_run.start(configure(n=4))
    bmi.set_value("P", np.arange(4.0))
    strided = np.full((4, 4), -1.0)
    for dest in (np.empty((2, 2)), np.empty(4, np.float32), strided[::2, ::2], strided[:, 1]):
        bmi.get_value("P", dest)
        np.testing.assert_array_equal(dest.ravel(), np.arange(4.0))


@pytest.mark.parametrize(
    "dest", [np.zeros(2), np.zeros(4), np.zeros(3, int), np.zeros(3, bool), [0.0] * 3, None]
)
def test_get_value_refuses_an_array_that_cannot_hold_it(configure, bmi_run, dest):
    bmi = fed(bmi_run, configure(n=3))
    with pytest.raises(ValueShapeError, match="P"):
        bmi.get_value("P", dest)
    with pytest.raises(ValueShapeError, match="P"):
        bmi.get_value_at_indices("P", dest, np.arange(3))


def test_one_number_is_not_all_of_many_catchments(configure, bmi_run):
    bmi = fed(bmi_run, configure(n=3))
    before = bmi_run.read(bmi, "P")
    with pytest.raises(ValueShapeError, match="has 3 values, not 1"):
        bmi.set_value("P", np.ones(1))
    np.testing.assert_array_equal(bmi_run.read(bmi, "P"), before)


def test_items_of_one_catchment_are_read_by_every_kind_of_index(configure, bmi_run):
    """As ngen reads them at every step: float64 by int32; and as nothing else may be read."""
    bmi = fed(bmi_run, configure())
    bmi.update()
    (runoff,) = bmi_run.read(bmi, RUNOFF)
    for kind in (np.int32, np.int64, np.uint8):
        for shape in ((1,), (), (1, 1)):
            dest = np.full(shape, -7.0)
            assert bmi.get_value_at_indices(RUNOFF, dest, np.zeros(1, kind)) is dest
            assert dest == runoff
            dest.flags.writeable = False
            with pytest.raises(ValueShapeError, match="cannot go into dest"):
                bmi.get_value_at_indices(RUNOFF, dest, np.zeros(1, kind))
        for wrong in (np.array([1], kind), np.array([200], kind)):
            with pytest.raises(ValueShapeError, match="from 0 to 0"):
                bmi.get_value_at_indices(RUNOFF, np.zeros(1), wrong)
    with pytest.raises(ValueShapeError, match="from 0 to 0"):
        bmi.get_value_at_indices(RUNOFF, np.zeros(1), np.array([-1], np.int32))
    twice = np.full(2, -7.0)
    bmi.get_value_at_indices(RUNOFF, twice, np.zeros(2, np.int32))
    np.testing.assert_array_equal(twice, [runoff, runoff])
    with pytest.raises(ValueShapeError, match="array of 1 items, not 2 items"):
        bmi.get_value_at_indices(RUNOFF, np.zeros(2), np.zeros(1, np.int32))
    with pytest.raises(ValueShapeError, match="array of 2 items, not 1 items"):
        bmi.get_value_at_indices(RUNOFF, np.zeros(1), np.zeros(2, np.int32))
    single = np.zeros(1, np.float32)
    assert bmi.get_value_at_indices(RUNOFF, single, np.zeros(1, np.int32)) == np.float32(runoff)
    assert bmi.get_value_at_indices(RUNOFF, np.zeros(1), [0]) == runoff
    for inds in (np.array([False]), np.array([0.0]), np.array([0.0], np.float32)):
        with pytest.raises(ValueShapeError, match="from 0 to 0"):
            bmi.get_value_at_indices(RUNOFF, np.zeros(1), inds)
    with pytest.raises(ValueShapeError, match="cannot go into dest"):
        bmi.get_value_at_indices(RUNOFF, np.zeros(1, int), np.zeros(1, np.int32))


@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("name", ["P", "slope", "phy.SUZ", "catchment__id"])
def test_one_catchment_takes_no_other_number_of_values(configure, bundles, bmi_run, name, size):
    bmi = fed(bmi_run, configure(bundles("column")))
    with pytest.raises((ValueShapeError, VariableError), match=name):
        bmi.set_value(name, np.ones(size))


def test_ids_of_items_are_those_of_the_catchments(configure, bmi_run):
    bmi = bmi_run.start(configure(n=2))
    assert bmi.item_ids("P") == bmi.item_ids(RUNOFF) == ("cat-7", "cat-8")
    with pytest.raises(VariableError, match="unknown variable 'nonsense'"):
        bmi.item_ids("nonsense")


@pytest.mark.parametrize("grid", [1, -1, None, "0"])
def test_there_is_one_grid(configure, bmi_run, grid):
    bmi = bmi_run.start(configure())
    for method in ("get_grid_type", "get_grid_rank", "get_grid_size", "get_grid_edge_count"):
        with pytest.raises(VariableError, match=f"no grid {grid}; the one grid is 0"):
            getattr(bmi, method)(grid)


@pytest.mark.parametrize("name", ["get_var_location", "get_var_grid", "get_var_units", "get_var_type"])
def test_a_name_that_does_not_exist_is_named(configure, bmi_run, name):
    with pytest.raises(VariableError, match="unknown variable 'nonsense'; `dmg-bmi inspect` lists"):
        getattr(bmi_run.start(configure()), name)("nonsense")


def test_a_component_of_a_bundle_knows_its_table_and_takes_no_other(bundles, configure, bmi_run):
    component = bundle_component("Lstm", bundles("lstm").path)
    assert component().get_component_name() == "lstm"
    assert component.__doc__ == "lstm for tests"
    with pytest.raises(VariableError, match="unknown variable 'nonsense'"):
        component().get_var_units("nonsense")
    with pytest.raises(NotInitializedError):
        component().get_value_ptr("P")
    bmi = component()
    with pytest.raises(ConfigError, match="bundle 'fixed' has other variables than 'lstm', of which Lstm is"):
        bmi.initialize(str(configure(bundles("fixed"))))
    bmi.initialize(str(configure(bundles("lstm"))))
    assert bmi.get_component_name() == "lstm"


def test_a_configuration_without_a_bundle_says_so(configure, tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("catchments: {ids: [a]}\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"missing key 'bundle'; give a folder"):
        DeltaModelBmi().initialize(str(path))


def test_finalize_twice_writes_the_state_once(configure, bmi_run, tmp_path):
    bmi = fed(bmi_run, configure(restart={"write": "end.state"}))
    bmi.update()
    bmi.finalize()
    (tmp_path / "end.state").unlink()
    bmi.finalize()
    assert not (tmp_path / "end.state").exists()


@pytest.mark.parametrize("inds", [[3], [-1], [0.0], [True], ["0"], [2**40]])
def test_indices_are_whole_numbers_within_the_array(configure, bmi_run, inds):
    bmi = fed(bmi_run, configure(n=3))
    before = bmi_run.read(bmi, "P")
    with pytest.raises(ValueShapeError, match="from 0 to 2"):
        bmi.get_value_at_indices("P", np.zeros(1), np.array(inds))
    with pytest.raises(ValueShapeError, match="from 0 to 2"):
        bmi.set_value_at_indices("P", np.array(inds), np.ones(1))
    with pytest.raises(ValueShapeError, match="2 values for 1"):
        bmi.set_value_at_indices("P", np.array([0]), np.ones(2))
    np.testing.assert_array_equal(bmi_run.read(bmi, "P"), before)


@pytest.mark.parametrize("name", [RUNOFF, "Q0", "catchment__id", "catchment__area"])
def test_what_the_component_gives_cannot_be_set(configure, bmi_run, name):
    bmi = fed(bmi_run, configure(n=2))
    with pytest.raises(VariableError, match=name):
        bmi.set_value(name, np.ones(2))
    with pytest.raises(VariableError, match=name):
        bmi.set_value_at_indices(name, np.array([0]), np.ones(1))


def test_stored_forcing_is_no_input_and_says_so(configure, bundles, bmi_run, weather, store):
    folder = store(weather(5, 1), 1, "2000-01-01", 86400.0)
    bmi = bmi_run.start(configure(bundles("fixed"), forcing=str(folder), start_time="2000-01-01"))
    assert (bmi.get_input_var_names(), bmi.get_input_item_count()) == ((), 0)
    for ask in (
        lambda: bmi.get_value_ptr("P"),
        lambda: bmi.get_value("P", np.zeros(1)),
        lambda: bmi.set_value("P", np.zeros(1)),
        lambda: bmi.get_value_at_indices("P", np.zeros(1), np.array([0])),
    ):
        with pytest.raises(VariableError, match="stored forcing"):
            ask()


def test_instances_are_freed(configure, bundles, bmi_run):
    bmi = fed(bmi_run, configure(bundles("lstm")))
    bmi.update()
    component = weakref.ref(bmi.component)
    bmi.finalize()
    gc.collect()
    assert component() is None


def test_the_hidden_value_of_a_masked_array_is_not_taken(configure):
    bmi = DeltaModelBmi()
    bmi.initialize(str(configure(n=2)))
    name = bmi.get_input_var_names()[0]
    before = bmi.get_value_ptr(name).copy()
    given = np.ma.masked_equal([1.0, -9999.0], -9999.0)
    with pytest.raises(ValueShapeError, match="1 values are masked"):
        bmi.set_value(name, given)
    with pytest.raises(ValueShapeError, match="1 values are masked"):
        bmi.set_value_at_indices(name, np.array([0, 1]), given)
    np.testing.assert_array_equal(bmi.get_value_ptr(name), before)


def test_an_attribute_is_not_set_to_a_mark_of_what_is_missing(configure):
    bmi = DeltaModelBmi()
    bmi.initialize(str(configure(n=2)))
    name = next(v.name for v in bmi.component.info.variables if v.kind == "attribute")
    before = bmi.get_value_ptr(name).copy()
    with pytest.raises(AttributeTableError, match="-9999"):
        bmi.set_value(name, np.array([before[0], -9999.0]))
    np.testing.assert_array_equal(bmi.get_value_ptr(name), before)


@pytest.mark.parametrize("given", [None, 3, b"x", [], object()])
def test_what_is_no_path_is_refused_in_words(given):
    with pytest.raises(DmgBmiError, match="is not a path; give text"):
        DeltaModelBmi().initialize(given)
    with pytest.raises(DmgBmiError, match="is not a path; give text"):
        Bundle.load(given)


@pytest.mark.parametrize("grid", [None, "x", 1, -1, np.zeros(0), [0], 0.5, 10**400])
def test_what_is_no_grid_is_refused(configure, grid):
    bmi = DeltaModelBmi()
    bmi.initialize(str(configure()))
    for getter in (bmi.get_grid_size, bmi.get_grid_rank, bmi.get_grid_type):
        with pytest.raises(VariableError, match="there is no grid"):
            getter(grid)
    assert bmi.get_grid_size(np.int32(0)) == 1


@pytest.mark.parametrize("indices", [[[0], [0, 1]], ["x"], None, [2**70], [0.0], [-1]])
def test_what_is_no_index_is_refused(configure, indices):
    bmi = DeltaModelBmi()
    bmi.initialize(str(configure()))
    with pytest.raises(ValueShapeError, match="indices must be"):
        bmi.get_value_at_indices("Q", np.zeros(1), indices)
