"""A river network as a component: names, sources, volume, states, and networks that are refused."""

import sqlite3
from contextlib import closing
from importlib import resources

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import Bundle, DeltaModel, DeltaModelBmi, RoutingBmi, routing_model
from dmg_bmi.cli import main
from dmg_bmi.conformance import Conformance
from dmg_bmi.errors import (
    ConfigError,
    ForcingError,
    HydrofabricError,
    StateError,
    ValueShapeError,
    VariableError,
)
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.synthetic import river_basin

FLOW = "land_surface_water_source__volume_flow_rate"
IDS = "land_surface_water_source__id"
COUNTS = (f"{FLOW}__count", f"{IDS}__count")
DISCHARGE = "channel_exit_water_x-section__volume_flow_rate"
BASIN = river_basin.generate(12, area=250.0, seed=7)


@pytest.fixture(scope="module")
def fabric(tmp_path_factory):
    path = tmp_path_factory.mktemp("basin") / "basin.gpkg"
    BASIN.write(path)
    return path


@pytest.fixture
def configure(fabric, tmp_path):
    """Make ``configure(sources=..., ...) -> path``; `fabric` names another GeoPackage."""

    def write(bundle="muskingum_cunge", fabric=fabric, minimum_slope=None, name="river.yaml", **keys):
        catchments = {"hydrofabric": str(fabric)}
        if minimum_slope is not None:
            catchments["minimum_slope"] = minimum_slope
        path = tmp_path / name
        path.write_text(yaml.safe_dump({"bundle": bundle, "catchments": catchments, **keys}))
        return str(path)

    return write


def start(path):
    bmi = RoutingBmi()
    bmi.initialize(path)
    return bmi


def set_as_ngen(bmi, name, values):
    """A new array of the size and type that the metadata say, as ngen's adapter makes it of a pointer."""
    itemsize, kind, nbytes = bmi.get_var_itemsize(name), bmi.get_var_type(name), bmi.get_var_nbytes(name)
    assert (kind, itemsize) in {("int32", 4), ("int64", 8), ("float64", 8)}
    assert nbytes // itemsize == len(values)
    bmi.set_value(name, np.array(values, dtype=kind))


def hand_over(bmi, flows):
    """As `ngen` does: counts, then ids, then flows by id."""
    for name in COUNTS:
        set_as_ngen(bmi, name, [len(flows)])
    set_as_ngen(bmi, IDS, [*flows])
    set_as_ngen(bmi, FLOW, [*flows.values()])


# -- as a component ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("bundle", "sources"),
    [
        ("muskingum_cunge", "reach"),
        ("muskingum_cunge", "divide"),
        ("muskingum_cunge", "nexus"),
        ("muskingum_cunge_nwm", "reach"),
    ],
)
def test_it_keeps_every_promise_of_the_interface(configure, bundle, sources):
    config = configure(bundle, sources=sources)
    results = Conformance(RoutingBmi, config, {FLOW: 2.0}, time_steps=20).check()
    assert {r.outcome for r in results} == {"passed"}, [str(r) for r in results]


def test_the_shipped_configuration_runs_and_its_bundles_are_what_the_code_makes():
    with resources.as_file(resources.files("dmg_bmi.bmi_configs")) as folder:
        bmi = start(str(folder / "river.yaml"))
        bmi.set_value(FLOW, np.full(12, 1.0))
        bmi.update()
        assert (bmi.get_value_ptr(DISCHARGE) > 0).all()
        network = hydrofabric.read(folder / "river.gpkg").network
    assert network.downstream.tolist() == [12 if b < 0 else b for b in BASIN.below]
    for name, kernel in (("muskingum_cunge", "conservative"), ("muskingum_cunge_nwm", "nwm")):
        assert Bundle.load(name).model.describe() == routing_model(kernel=kernel).describe()


def test_names_types_and_sizes_are_those_that_nextgen_expects(configure):
    bmi = start(configure(sources="nexus"))
    assert bmi.get_input_var_names() == (FLOW,)
    assert set(bmi.get_output_var_names()) == {
        DISCHARGE,
        "channel_water_flow__speed",
        "channel_water__mean_depth",
        "channel_water__volume",
    }
    nexuses = len(set(BASIN.below.tolist()))
    expected = {
        FLOW: ("float64", 8 * nexuses, "m3 s-1"),
        IDS: ("int32", 4 * nexuses, "1"),
        COUNTS[0]: ("int64", 8, "1"),
        COUNTS[1]: ("int64", 8, "1"),
        "channel_water__id": ("int64", 8 * 12, "1"),
        DISCHARGE: ("float64", 8 * 12, "m3 s-1"),
    }
    for name, (dtype, nbytes, units) in expected.items():
        assert bmi.get_var_type(name) == dtype == str(bmi.get_value_ptr(name).dtype)
        assert bmi.get_var_nbytes(name) == nbytes == bmi.get_value_ptr(name).nbytes
        assert bmi.get_var_itemsize(name) == np.dtype(dtype).itemsize
        assert bmi.get_var_units(name) == units
    assert bmi.get_value_ptr("channel_water__id").tolist() == [*range(1, 13)]
    bmi.set_value(COUNTS[1], np.array([3], dtype=np.int64))
    assert bmi.get_var_nbytes(IDS) == 12
    assert bmi.item_ids(DISCHARGE)[0] == "wb-1"
    assert bmi.item_ids(FLOW)[0].startswith("nex-")


def test_it_gives_what_the_model_gives_in_one_run(configure, fabric, splitting):
    g = torch.Generator().manual_seed(2)
    lateral = 5 * torch.rand(20, 12, generator=g, dtype=torch.float64)
    network = hydrofabric.read(fabric).routable()
    fluxes, _ = routing_model()({"lateral_inflow": lateral}, network.attributes())
    bmi = start(configure())
    found = {symbol: [] for symbol in fluxes}
    for values in lateral.numpy():
        bmi.set_value(FLOW, values)
        bmi.update()
        for symbol, series in found.items():
            series.append(torch.tensor(bmi.get_value_ptr(symbol)))
    splitting.assert_agree({k: torch.stack(v) for k, v in found.items()}, fluxes, torch.float64)


# -- sources ----------------------------------------------------------------------


def entered(bmi):
    return bmi.get_value_ptr("lateral") / 3600.0


def test_divides_give_to_their_reaches(configure):
    bmi = start(configure(sources="divide"))
    hand_over(bmi, {3: 4.0, 11: 1.5})
    bmi.update()
    expected = np.zeros(12)
    expected[[2, 10]] = 4.0, 1.5
    np.testing.assert_allclose(entered(bmi), expected, rtol=1e-12)
    assert bmi.item_ids(FLOW) == ("cat-3", "cat-11")


def test_a_nexus_gives_to_the_reaches_that_drain_to_it_by_area(configure):
    bmi = start(configure(sources="nexus"))
    confluence = int(np.bincount(BASIN.below[1:]).argmax())
    above = np.flatnonzero(BASIN.below == confluence)
    assert len(above) > 1
    hand_over(bmi, {confluence + 1: 6.0})
    bmi.update()
    expected = np.zeros(12)
    expected[above] = 6.0 * BASIN.area[above] / BASIN.area[above].sum()
    np.testing.assert_allclose(entered(bmi), expected, rtol=1e-12)


def test_ngen_may_hand_over_all_nexuses_of_the_juniata_in_any_order(configure, shared_data):
    path = shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg"
    bmi = start(configure(fabric=path, minimum_slope=1e-5, sources="nexus"))
    rng = np.random.default_rng(1)
    names = rng.permutation(bmi.item_ids(FLOW))
    flows = {int(name[4:]): q for name, q in zip(names, rng.random(len(names)), strict=True)}
    hand_over(bmi, flows)
    bmi.update()
    assert entered(bmi).sum() == pytest.approx(sum(flows.values()), rel=1e-12)
    table = hydrofabric.read(path).network
    by_nexus = dict.fromkeys(flows, 0.0)
    for toid, q in zip(table.toid, entered(bmi), strict=True):
        by_nexus[int(toid[4:])] += q
    assert by_nexus == pytest.approx(flows)


def test_sources_that_do_not_exist_or_were_never_named_are_refused(configure):
    bmi = start(configure(sources="divide"))
    for name in COUNTS:
        bmi.set_value(name, np.array([2], dtype=np.int64))
    with pytest.raises(ForcingError, match=r"no divide 99; `sources` in the configuration"):
        bmi.set_value(IDS, np.array([1, 99], dtype=np.int32))
    with pytest.raises(ForcingError, match="an id appears twice"):
        bmi.set_value(IDS, np.array([1, 1], dtype=np.int32))
    bmi.set_value(FLOW, np.ones(2))
    with pytest.raises(ForcingError, match="set the ids of the 2 sources"):
        bmi.update()
    with pytest.raises(ValueShapeError, match="2 values, not 3; a count is set before"):
        bmi.set_value(FLOW, np.ones(3))
    for count in (0, 13, np.nan):
        with pytest.raises(ValueShapeError, match="one number from 1 to 12"):
            bmi.set_value(COUNTS[0], np.array([count]))
    with pytest.raises(ForcingError, match="no divide nan"):
        bmi.set_value(IDS, np.array([1.0, np.nan]))
    with pytest.raises(VariableError, match="cannot be set"):
        bmi.set_value("channel_water__id", np.arange(12))
    assert bmi.get_current_time() == 0.0


def test_water_of_a_divide_without_reach_is_refused_not_lost(configure, fabric, tmp_path):
    coast = changed(
        fabric, tmp_path, "INSERT INTO divides VALUES (NULL, 'cat-50', 'cnx-50', NULL, 'coastal', 3.0, NULL)"
    )
    bmi = start(configure(fabric=coast, sources="divide"))
    hand_over(bmi, {1: 1.0, 50: 0.0})
    bmi.update()
    bmi.set_value(FLOW, np.array([1.0, 0.2]))
    with pytest.raises(ForcingError, match="divide cat-50 gives water but drains to no reach"):
        bmi.update()


@pytest.mark.parametrize(("value", "message"), [(np.nan, "'wb-1' at 0 s is NaN"), (-1.0, "is -1")])
def test_inflow_that_is_missing_or_negative_is_refused_by_reach(configure, value, message):
    bmi = start(configure())
    bmi.set_value(FLOW, np.full(12, value))
    with pytest.raises(ForcingError, match=message):
        bmi.update()


def test_ngens_whole_call_sequence_routes_all_water_of_its_nexuses(configure, shared_data):
    """NgenSimulation::run_routing of NOAA-OWP/ngen: ids once, flows and Update by step, Finalize twice."""
    path = shared_data / "nextgen_01073000" / "gauge_01073000.gpkg"
    bmi = RoutingBmi()
    bmi.initialize(configure(fabric=path, sources="nexus"))
    ids = [11225, 11224, 11223]
    steps = np.random.default_rng(5).gamma(0.4, 3.0, (48, len(ids)))
    hand_over(bmi, dict(zip(ids, steps[0], strict=True)))
    out = 0.0
    outlet = bmi.component.ids.index("wb-11224")
    for flows in steps:
        set_as_ngen(bmi, FLOW, flows)
        bmi.update()
        out += bmi.get_value_ptr("outflow")[outlet]
    assert out + bmi.get_value_ptr("channel_water__volume").sum() == pytest.approx(
        steps.sum() * 3600, rel=1e-9
    )
    bmi.finalize()
    bmi.finalize()


# -- water and states -------------------------------------------------------------


def test_what_enters_leaves_or_is_stored(configure):
    """Flow at the outlet as a framework reads it: volume out and volume stored."""
    bmi = start(configure(sources="nexus"))
    rng = np.random.default_rng(0)
    into = out = 0.0
    for _ in range(48):
        flow = rng.gamma(0.3, 20.0, bmi.get_value_ptr(FLOW).size)
        bmi.set_value(FLOW, flow)
        bmi.update()
        into += flow.sum() * 3600.0
        out += bmi.get_value_ptr("outflow")[0]
    stored = bmi.get_value_ptr("channel_water__volume").sum()
    assert out + stored == pytest.approx(into, rel=1e-9)
    assert 0.01 * into < stored < 0.9 * into


def test_a_saved_state_goes_on_bitwise(configure, tmp_path):
    flows = np.random.default_rng(3).gamma(0.5, 4.0, (30, 12))

    def run(bmi, steps):
        series = []
        for k in steps:
            bmi.set_value(FLOW, flows[k])
            bmi.update()
            series.append(np.concatenate([bmi.get_value_ptr(n) for n in bmi.get_output_var_names()]))
        return np.array(series)

    whole = run(start(configure()), range(30))
    state = tmp_path / "river.state"
    first = start(configure(restart={"write": str(state)}))
    run(first, range(11))
    first.finalize()
    second = start(configure(restart={"read": str(state)}))
    np.testing.assert_array_equal(run(second, range(11, 30)), whole[11:])
    with pytest.raises(StateError, match="another bundle"):
        start(configure("muskingum_cunge_nwm", restart={"read": str(state)}))


# -- what is refused --------------------------------------------------------------


def changed(fabric, folder, *statements):
    path = folder / "changed.gpkg"
    path.write_bytes(fabric.read_bytes())
    with closing(sqlite3.connect(path)) as db:
        for statement in statements:
            db.execute(statement)
        db.commit()
    return path


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("UPDATE nexus SET toid = 'wb-12' WHERE id = 'nex-1'", r"loop: .* \[wb-2, "),
        (
            "UPDATE flowpaths SET toid = 'nex-99' WHERE id = 'wb-5'",
            r"orphan: flow to an id .* \[wb-5.*nex-99",
        ),
        (
            "UPDATE divides SET id = NULL; UPDATE flowpaths SET divide_id = NULL WHERE id = 'wb-5'",
            r"orphan: drain to no flowpath \[cat-5\]",
        ),
        ("UPDATE 'flowpath-attributes' SET Length_m = 0 WHERE id = 'wb-5'", r"zero length: .* \[wb-5\]"),
        ("UPDATE 'flowpath-attributes' SET So = 0 WHERE id = 'wb-5'", r"zero slope: .* \[wb-5\]"),
        (
            "UPDATE 'flowpath-attributes' SET n = NULL WHERE id = 'wb-5'",
            r"missing attributes: no n in .* \[wb-5\]",
        ),
        ("DELETE FROM 'flowpath-attributes' WHERE id = 'wb-5'", r"missing attributes: not in .* \[wb-5\]"),
    ],
)
def test_a_bad_network_is_named_by_initialize(configure, fabric, tmp_path, statement, message):
    bad = changed(fabric, tmp_path, *statement.split("; "))
    with pytest.raises(HydrofabricError, match=rf"(?s)river\.yaml: .*changed\.gpkg: .*{message}"):
        start(configure(fabric=bad))


def test_a_flat_reach_may_be_given_a_slope(configure, fabric, tmp_path):
    flat = changed(fabric, tmp_path, "UPDATE 'flowpath-attributes' SET So = 0 WHERE id = 'wb-5'")
    bmi = start(configure(fabric=flat, minimum_slope=1e-5))
    assert bmi.get_value_ptr("So")[4] == 1e-5


def test_a_network_needs_a_bundle_that_routes_and_the_other_way_round(configure, fabric, tmp_path):
    with pytest.raises(ConfigError, match="demo_daily is not a model of a river network"):
        start(configure("demo_daily"))
    plain = tmp_path / "plain.yaml"
    channel = {name: values.tolist() for name, values in BASIN.channel.items()}
    plain.write_text(yaml.safe_dump({"bundle": "muskingum_cunge", "catchments": {"attributes": channel}}))
    for cls in (RoutingBmi, DeltaModelBmi):
        with pytest.raises(ConfigError, match=r"name its GeoPackage under catchments\.hydrofabric"):
            cls().initialize(str(plain))
    two = {"bundle": "muskingum_cunge", "catchments": {"attributes": {k: v[:2] for k, v in channel.items()}}}
    plain.write_text(yaml.safe_dump(two))
    with pytest.raises(ConfigError, match=r"name its GeoPackage under catchments\.hydrofabric"):
        DeltaModelBmi().initialize(str(plain))
    one = {name: values[0] for name, values in channel.items()}
    plain.write_text(yaml.safe_dump({"bundle": "muskingum_cunge", "catchments": {"attributes": one}}))
    DeltaModelBmi().initialize(str(plain))
    with pytest.raises(ConfigError, match=r"a routing component requires catchments\.hydrofabric"):
        start(str(plain))
    shared = configure(name="shared.yaml")
    plain.write_text(yaml.safe_dump({"shared": shared, "catchment": "wb-3"}))
    with pytest.raises(ConfigError, match="the reaches of a network step together"):
        start(str(plain))
    with pytest.raises(ConfigError, match="unknown key 'sources'"):
        DeltaModelBmi().initialize(configure(sources="reach"))


# -- parameters by row ------------------------------------------------------------


def test_a_parameter_may_come_from_an_attribute_of_each_row(legal):
    """Of any process model; here a soil depth known for each catchment."""
    described = {"phy_model": {"name": "hbv", "nmul": 2}}
    declared = DeltaModel.build(**described, fixed=dict.fromkeys(names("hbv"), 0.5)).process_models["phy"]
    fixed = {p.name: (p.lower + p.upper) / 2 for p in declared.declaration.parameters}
    model = DeltaModel.build(**described, fixed={**fixed, "FC": "soil"})
    assert "soil" in model.attribute_names
    forcing = legal.weather(declared, 40, 2, 0)
    both, _ = model(forcing, {"soil": torch.tensor([120.0, 480.0], dtype=torch.float64)})
    for row, value in enumerate((120.0, 480.0)):
        alone, _ = DeltaModel.build(**described, fixed={**fixed, "FC": value})(
            {k: v[:, row : row + 1] for k, v in forcing.items()}
        )
        torch.testing.assert_close(both["Q"][:, row : row + 1], alone["Q"], rtol=1e-12, atol=0)
    assert not torch.allclose(both["Q"][:, 0], both["Q"][:, 1])


def names(model):
    from dmg_bmi.model.registry import build_process_model

    return [p.name for p in build_process_model({"name": model}).declaration.parameters]


def test_a_learned_roughness_is_a_bundle_like_any_other(configure, tmp_path):
    torch.manual_seed(0)
    model = routing_model(
        nn={"name": "mlp", "hidden_sizes": [8]},
        roles=[{"attributes": ["upstream_area", "So"], "static": ["n", "BtmWdth"]}],
        statistics={"upstream_area": {"mean": 100.0, "std": 90.0}, "So": {"mean": 0.01, "std": 0.01}},
    )
    info = Bundle(model, "learned").save(tmp_path / "learned")
    assert {"upstream_area", "nCC"} <= {v.name for v in BundleInfo.read(info.path).variables}
    bmi = start(configure(str(info.path), sources="divide"))
    bmi.set_value(FLOW, np.ones(12))
    bmi.set_value("multiplier__n", np.full(12, 2.0))
    bmi.update()
    slow = bmi.get_value_ptr("channel_water_flow__speed").copy()
    fast = start(configure(str(info.path), sources="divide"))
    fast.set_value(FLOW, np.ones(12))
    fast.update()
    assert (fast.get_value_ptr("channel_water_flow__speed") > slow).all()


def test_its_configuration_is_shown_by_inspect(configure, capsys):
    assert main(["inspect", configure(sources="nexus")]) == 0
    said = capsys.readouterr().out
    assert "12: wb-1, wb-2" in said
    assert DISCHARGE in said
