"""What the component refuses to get, set and find, and what it takes."""

import gc
import weakref

import numpy as np
import pytest
from fed_bmi import RUNOFF, fed

from dmg_bmi.bmi import DeltaModelBmi, bundle_component
from dmg_bmi.errors import (
    AttributeTableError,
    ConfigError,
    DmgBmiError,
    NotInitializedError,
    ValueShapeError,
    VariableError,
)
from dmg_bmi.model.bundle import Bundle


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
