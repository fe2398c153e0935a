"""The one table of variables, from which frameworks learn all they know."""

import pytest

from dmg_bmi.io.units import conversion
from dmg_bmi.model.delta_model import DAY, DeltaModel
from dmg_bmi.model.normalisation import FeatureStatistics
from dmg_bmi.model.registry import PROCESS_MODELS, build_process_model
from dmg_bmi.model.variables import Variable, from_plain, to_plain, variable_table

HOUR = 3600.0


def rows(model, kind):
    return {v.symbol: v for v in variable_table(model) if v.kind == kind}


@pytest.fixture
def model(bundles):
    return bundles("lstm").load_model()


def test_a_table_survives_being_plain_data(model):
    table = variable_table(model)
    assert from_plain(to_plain(table)) == table


def test_the_table_of_a_bundle_is_that_of_its_model(bundles):
    for kind in ("lstm", "lstm_mlp", "fixed"):
        assert bundles(kind).variables == variable_table(bundles(kind).load_model())


def test_symbols_are_unique_and_published_names_too(model):
    table = variable_table(model)
    assert len({v.symbol for v in table}) == len(table)
    published = [v.name for v in table if v.published]
    assert len(set(published)) == len(published)


def test_what_has_a_standard_name_is_published(model):
    for v in variable_table(model):
        if v.kind in ("input", "output"):
            assert v.published == ("__" in v.name), v.name
        else:
            assert not v.published, v.name


def test_states_tell_their_size(model):
    states = rows(model, "state")
    assert states["phy.SM"].size == 2
    assert states["phy.queue"].size == 15


def test_depths_leave_in_metres_and_rates_come_by_day_or_hour(bundles):
    for step, unit in ((DAY, "mm d-1"), (HOUR, "mm h-1")):
        hybrid = bundles("lstm", step).load_model()
        inputs = rows(hybrid, "input")
        assert (inputs["P"].units, inputs["PET"].units, inputs["T"].units) == (unit, unit, "degC")
        for v in rows(hybrid, "output").values():
            if v.model_units == "mm":
                assert v.units == "m"
                assert v.from_model() == (pytest.approx(1e-3), 0.0)


@pytest.mark.parametrize(
    ("units", "step", "scale"),
    [
        (None, DAY, 1.0),
        (None, HOUR, 1 / 24),
        ("mm s-1", HOUR, 3600.0),
        ("m", DAY, 1000.0),
        ("kg m-2 s-1", DAY, 86400.0),
    ],
)
def test_a_rate_becomes_the_amount_of_a_step(model, units, step, scale):
    assert rows(model, "input")["P"].to_model(step, units) == (pytest.approx(scale, rel=1e-14), 0.0)


def test_a_level_has_an_offset(model):
    assert rows(model, "input")["T"].to_model(DAY, "K") == (1.0, -273.15)


def test_limits_of_the_equations_are_in_the_table(model):
    inputs = rows(model, "input")
    assert inputs["P"].lower == 0.0
    assert inputs["T"].lower < -50 < 50 < inputs["T"].upper < 100


def test_inputs_that_only_a_network_sees_take_their_unit_from_their_statistic():
    hybrid = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 2},
        phy_model={"name": "hbv"},
        roles=[{"inputs": ["P", "leaf_area"], "attributes": ["forest"]}],
        statistics={"leaf_area": FeatureStatistics(units="m2 m-2"), "forest": FeatureStatistics(units="%")},
    )
    assert rows(hybrid, "input")["leaf_area"].units == "m2 m-2"
    assert rows(hybrid, "attribute")["forest"].units == "%"


@pytest.mark.parametrize("name", PROCESS_MODELS)
@pytest.mark.parametrize("step", [DAY, HOUR])
def test_every_process_model_has_a_table_with_units_that_convert(name, step):
    declared = build_process_model({"name": name}).declaration
    fixed = {p.name: p.lower for p in declared.parameters}
    for v in variable_table(DeltaModel.build(phy_model={"name": name}, fixed=fixed, step=step)):
        v.to_model(step) if v.kind == "input" else v.from_model()
        conversion(v.units, v.units)
        assert v.meaning


@pytest.mark.parametrize("name", PROCESS_MODELS)
def test_units_are_valid_for_udunits(name):
    units = pytest.importorskip("gimli.units", reason="gimli.units<0.4 is not installed").units
    declared = build_process_model({"name": name}).declaration
    fixed = {p.name: p.lower for p in declared.parameters}
    for v in variable_table(DeltaModel.build(phy_model={"name": name}, fixed=fixed)):
        units.Unit(v.units)
        units.Unit(v.model_units)


@pytest.mark.parametrize("name", PROCESS_MODELS)
def test_standard_names_are_standard(name):
    standard = pytest.importorskip("standard_names.standardname")
    declared = build_process_model({"name": name}).declaration
    fixed = {p.name: p.lower for p in declared.parameters}
    table = variable_table(DeltaModel.build(phy_model={"name": name}, fixed=fixed))
    odd = [v.name for v in table if v.published and not standard.is_valid_name(v.name)]
    assert odd == []


def test_plain_rows_leave_out_what_is_default():
    (row,) = to_plain([Variable("a", "a", "state", "mm", "mm", "water")])
    assert row == {
        "name": "a",
        "symbol": "a",
        "kind": "state",
        "units": "mm",
        "model_units": "mm",
        "meaning": "water",
    }
