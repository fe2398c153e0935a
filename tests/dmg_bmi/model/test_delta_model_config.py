"""A model as plain data: it comes back the same, and what is wrong in it is named."""

import json

import pytest
import torch
import yaml
from dmg_bmi.nn_models import LSTM, MLP
from dmg_bmi.physics import HBV, Catchment

from dmg_bmi import DeltaModel, FeatureStatistics, ParameterRole
from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError

NAMES = tuple(p.name for p in HBV().declaration.parameters)
ATTRIBUTES = ("slope", "clay")
SEEN = ("P", "T", "PET")
STATISTICS = {
    "P": FeatureStatistics(-0.2, 0.4, "log_sqrt", "mm"),
    "clay": FeatureStatistics(20.0, 5.0, units="1"),
}


def plain(**changed):
    """A description that is right, changed."""
    right = {
        "nn": {"name": "mlp"},
        "phy_model": {"name": "hbv"},
        "roles": [{"attributes": list(ATTRIBUTES)}],
    }
    return DeltaModel.build(**{**right, **changed})


def two(*roles):
    return plain(nn={"one": {"name": "mlp"}, "two": {"name": "mlp"}}, roles=list(roles))


ONE = {"network": "one", "attributes": ["slope"]}
TWO = {"network": "two", "attributes": ["slope"]}
WRONG = {
    "inputs as one string": (lambda: ParameterRole(inputs="P", network="a"), "'a'.*inputs.*list"),
    "attributes as one string": (lambda: ParameterRole(attributes="slope"), "'nn'.*attributes.*list"),
    "dynamic as one string": (lambda: ParameterRole(SEEN, dynamic="BETA"), "'nn'.*dynamic.*list"),
    "static as one string": (lambda: ParameterRole(SEEN, static="BETA"), "'nn'.*static.*list"),
    "dynamic without inputs": (
        lambda: ParameterRole((), ATTRIBUTES, dynamic=("BETA",), network="a"),
        "'a'.*dynamic.*inputs",
    ),
    "freeze_after of nothing": (
        lambda: ParameterRole(SEEN, freeze_after=0, network="a"),
        "'a'.*freeze_after",
    ),
    "nothing to see": (lambda: plain(roles=[{"dynamic": []}]), "'nn'.*inputs or attributes"),
    "unknown key of a role": (lambda: plain(roles=[{"atributes": ["slope"]}]), "roles.*atributes"),
    "role of an unknown network": (
        lambda: plain(roles=[{"network": "lstm", "attributes": ["slope"]}]),
        "network 'lstm', which does not exist; available: nn",
    ),
    "role of an unknown process model": (
        lambda: plain(roles=[{"model": "sacsma", "attributes": ["slope"]}]),
        "process model 'sacsma', which does not exist; available: phy",
    ),
    "role without any process model": (
        lambda: DeltaModel(MLP(2, 12), None, ParameterRole((), ATTRIBUTES)),
        "process model 'phy', which does not exist; available: none",
    ),
    "role without any network": (
        lambda: DeltaModel(None, HBV(), ParameterRole((), ATTRIBUTES)),
        "network 'nn', which does not exist; available: none",
    ),
    "network without a role": (lambda: two(ONE), "'two' has 0 roles"),
    "network with two roles": (lambda: two(ONE, {**ONE, "static": []}, TWO), "'one' has 2 roles"),
    "unknown dynamic parameter": (
        lambda: plain(nn={"name": "lstm"}, roles=[{"inputs": SEEN, "dynamic": ["BETTA"]}]),
        "hbv has no parameter BETTA; it has BETA",
    ),
    "unknown static parameter": (
        lambda: plain(roles=[{"attributes": ["slope"], "static": [*NAMES, "FCC"]}]),
        "hbv has no parameter FCC",
    ),
    "unknown fixed parameter": (lambda: plain(fixed={"TTT": 0.0}), "fixed.*TTT"),
    "parameters that nothing supplies": (
        lambda: plain(roles=[{"attributes": ["slope"], "static": NAMES[2:]}]),
        "hbv: nothing supplies BETA, FC;.*fixed",
    ),
    "no network and nothing fixed": (lambda: DeltaModel(None, HBV()), "nothing supplies BETA"),
    "supplied by two networks": (
        lambda: two({**ONE, "static": ["BETA", "FC"]}, {**TWO, "static": NAMES[1:]}),
        "hbv: FC supplied more than once",
    ),
    "supplied and fixed": (
        lambda: plain(roles=[{"attributes": ["slope"], "static": NAMES}], fixed={"TT": 0.0}),
        "hbv: TT supplied more than once",
    ),
    "dynamic and static": (
        lambda: plain(nn={"name": "lstm"}, roles=[{"inputs": SEEN, "dynamic": ["K0"], "static": NAMES}]),
        "hbv: K0 supplied more than once",
    ),
    "a network of too few inputs": (
        lambda: DeltaModel(MLP(1, 12), HBV(), ParameterRole((), ATTRIBUTES)),
        "'nn' has 1 inputs and 12 outputs; its role requires 2 and 12",
    ),
    "a network of too few outputs": (
        lambda: DeltaModel(
            {"a": MLP(2, 12)}, Catchment(HBV(), 2), ParameterRole((), ATTRIBUTES, network="a")
        ),
        "'a' has 2 inputs and 12 outputs; its role requires 2 and 24",
    ),
    "a recurrent network without inputs": (
        lambda: DeltaModel(LSTM(2, 12, 4), HBV(), ParameterRole((), ATTRIBUTES)),
        "'nn' is recurrent.*inputs",
    ),
    "unknown network": (lambda: plain(nn={"name": "gru"}), "no network named 'gru'.*lstm"),
    "unknown process model": (lambda: plain(phy_model={"name": "hbw"}), "no process model named 'hbw'.*hbv"),
    "unknown option of a network": (
        lambda: plain(nn={"name": "mlp", "size": 3}),
        "mlp: no option 'size'; .*hidden_sizes",
    ),
    "unknown option of a process model": (
        lambda: plain(phy_model={"name": "hbv", "nmull": 3}),
        "hbv: no option 'nmull'; did you mean nmul",
    ),
    "unknown key of a statistic": (
        lambda: plain(statistics={"clay": {"mean": 1.0, "sdt": 2.0}}),
        r"statistics\.clay.*sdt",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_named(case):
    build, culprit = WRONG[case]
    with pytest.raises(ConfigError, match=culprit):
        build()


MODELS = {
    "one network": dict(
        nn={"name": "lstm", "hidden_size": 5, "dropout": 0.1},
        phy_model={"name": "hbv", "nmul": 2, "routing": 7},
        roles=[ParameterRole(SEEN, ("slope",), dynamic=("BETA", "route_b"), freeze_after=9)],
        statistics=STATISTICS,
    ),
    "two networks, an hourly step": dict(
        nn={"fast": {"name": "lstm", "hidden_size": 5}, "slow": {"name": "mlp", "hidden_sizes": [4, 3]}},
        phy_model={"phy": {"name": "hbv", "betaet": True, "nmul": 1}},
        roles=[
            {"inputs": ["P", "wind"], "dynamic": ["FC"], "static": [], "network": "fast"},
            {"attributes": ATTRIBUTES, "network": "slow"},
        ],
        fixed={"TT": 0.5},
        statistics=STATISTICS,
        step=3600.0,
    ),
    "no network": dict(
        phy_model={"name": "hbv"}, fixed={p.name: p.upper for p in HBV().declaration.parameters}
    ),
}


@pytest.mark.parametrize("through", [json, yaml], ids=["json", "yaml"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_comes_back_from_its_description_and_weights(hybrids, kind, through):
    model = DeltaModel.build(**MODELS[kind])
    text = json.dumps(model.describe()) if through is json else yaml.safe_dump(model.describe())
    described = json.loads(text) if through is json else yaml.safe_load(text)
    again = DeltaModel.build(**described)
    assert again.describe() == model.describe()
    again.load_state_dict(model.state_dict())

    forcing, attributes = hybrids.everything(model, 20, 3, seed=1)
    with torch.no_grad():
        expected, end = model.eval()(forcing, attributes)
        actual, last = again.eval()(forcing, attributes)
    assert expected.keys() == actual.keys()
    assert end.keys() == last.keys()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
    assert all(torch.equal(last[name], value) for name, value in end.items())


def test_one_role_takes_what_is_left_over():
    model = plain(fixed={"TT": 0.0})
    (role,) = model.roles
    assert role.static == tuple(name for name in NAMES if name != "TT")
    first, second = two({**ONE, "static": ["FC"]}, TWO).roles
    assert first.static == ("FC",)
    assert second.static == tuple(name for name in NAMES if name != "FC")


def test_it_says_what_it_needs():
    model = DeltaModel.build(
        nn={"name": "lstm"},
        phy_model={"name": "hbv"},
        roles=[{"inputs": ["radiation", "T"], "attributes": ["slope"]}],
    )
    assert model.forcing_names == ("P", "T", "PET", "radiation")
    assert model.attribute_names == ("slope",)
    assert model.dt == 1.0
    day = torch.ones(1, 2)
    with pytest.raises(ForcingError, match=r"missing forcing: P, PET$"):
        model({"T": day, "radiation": day}, {"slope": torch.ones(2)})
    with pytest.raises(AttributeTableError, match=r"missing attributes: slope$"):
        model(dict.fromkeys(model.forcing_names, day), {})


@pytest.mark.parametrize("key", ["parameters", "a.b", ""])
def test_a_key_that_torch_cannot_take_is_named(key):
    with pytest.raises(ConfigError, match="a key of networks or process models cannot be used"):
        DeltaModel.build(nn=None, phy_model={key: {"name": "hbv"}}, fixed=dict.fromkeys(NAMES, 0.5))
