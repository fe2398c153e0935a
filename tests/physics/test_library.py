"""What every registered process model declares, and that its description builds it again."""

from math import isfinite

import pytest
from dmg_bmi.physics import ProcessModel
from gimli.units import units

from dmg_bmi.model.registry import PROCESS_MODELS, build_process_model

#: The order in which networks of the dmg package hold the parameters of HBV.
HBV_ORDER = "BETA FC K0 K1 K2 LP PERC UZL TT CFMAX CFR CWH BETAET C RT AC".split()  # noqa: SIM905


@pytest.fixture(params=sorted(PROCESS_MODELS))
def model(request) -> ProcessModel:
    return build_process_model({"name": request.param})


def quantities(model):
    d = model.declaration
    return (*d.forcings, *d.attributes, *d.fluxes)


def test_its_description_builds_it_again(model):
    again = build_process_model(model.describe())
    assert type(again) is type(model)
    assert again.declaration == model.declaration
    assert again.describe() == model.describe()


@pytest.mark.parametrize(
    "description",
    [
        {"name": "hbv", "betaet": True},
        {"name": "gr4j", "queue": 7},
        {"name": "hbv_2", "nmul": 3, "routing": 15},
    ],
)
def test_options_come_back(description):
    model = build_process_model(description)
    assert description.items() <= model.describe().items()
    assert build_process_model(model.describe()).declaration == model.declaration


def test_units_are_those_of_udunits(model):
    d = model.declaration
    for item in (*quantities(model), *d.parameters, *d.states, *d.balances):
        units.Unit(item.units)


def test_names_are_told_apart_and_point_at_what_is_declared(model):
    d = model.declaration
    for group in (d.forcings + d.attributes + d.fluxes, d.parameters, d.states):
        names = [item.name for item in group]
        assert len(names) == len(set(names))
    made = {name for names in d.derived.values() for name in names}
    assert made <= {p.name for p in d.parameters}
    for b in d.balances:
        assert {*b.into} <= {f.name for f in d.forcings}
        assert {*b.out, *b.exchange} <= {f.name for f in d.fluxes}
        assert {*b.stored} <= {s.name for s in d.states}


def test_bounds_and_limits_are_in_order(model):
    d = model.declaration
    for item in (*d.parameters, *quantities(model)):
        assert item.lower < item.upper, item.name
    assert all(isfinite(p.lower) and isfinite(p.upper) for p in d.parameters)


def test_all_is_explained_and_its_source_named(model):
    d = model.declaration
    assert d.source
    assert type(model).__doc__
    assert all(p.source for p in d.parameters)
    assert all(item.meaning for item in (*quantities(model), *d.parameters, *d.states))


def test_standard_names_follow_the_rules_of_csdms(model):
    standard_names = pytest.importorskip("standard_names", reason="it checks CSDMS names")
    for q in quantities(model):
        if q.standard_name:
            standard_names.StandardName(q.standard_name)


@pytest.mark.parametrize("name", ["hbv", "hbv_1_1p", "hbv_2", "hbv_2_hourly", "hbv_2_1_hourly"])
def test_parameters_of_hbv_stand_in_the_order_of_dmg(name):
    options = {"betaet": True} if name == "hbv" else {}
    declared = [p.name for p in build_process_model({"name": name, **options}).declaration.parameters]
    assert declared[: len(HBV_ORDER)] == HBV_ORDER[: len(declared)]
