"""Roles that do not fit are refused with the reason; their order does not matter."""

import pytest
import torch
from role_cases import LSTM, MLP, build, catchment

from dmg_bmi import DeltaModel
from dmg_bmi.errors import ConfigError

HBV_ROLE = {"network": "given", "attributes": ["slope"]}
MIXED = {"role": "mix_output", "outputs": ["Q"], "inputs": ["P"], "network": "x"}
WRONG = {
    "unknown role 'proces'; available: parameters, process": [{"role": "proces", "network": "x"}],
    "no replaceable process 'melting'; it has 'ET'|no replaceable process 'melting'; it has ET": [
        HBV_ROLE,
        {"role": "process", "process": "melting", "network": "x"},
    ],
    "no ET input 'SLZ'; it has SM, PET, T": [
        HBV_ROLE,
        {"role": "process", "process": "ET", "inputs": ["SLZ"], "network": "x"},
    ],
    "no forcing 'wind'; it has P, T, PET": [
        HBV_ROLE,
        {"role": "correct_input", "corrects": {"wind": [0.5, 2]}, "inputs": ["P"], "network": "x"},
    ],
    "no correctable flux 'P'": [
        HBV_ROLE,
        {"role": "correct_output", "corrects": {"P": [0.5, 2]}, "inputs": ["P"], "network": "x"},
    ],
    "bounds of P are out of order": [
        HBV_ROLE,
        {"role": "correct_input", "corrects": {"P": [2, 0.5]}, "inputs": ["P"], "network": "x"},
    ],
    "bounds of Q are out of order or negative": [
        HBV_ROLE,
        {"role": "correct_output", "corrects": {"Q": [-1, 0.5]}, "inputs": ["P"], "network": "x"},
    ],
    "two bounds": [HBV_ROLE, {"role": "correct_input", "corrects": ["P"], "inputs": ["P"], "network": "x"}],
    "at least two process models": [HBV_ROLE, {"role": "weights", "attributes": ["a"], "network": "x"}],
    "'x'.*requires inputs and outputs": [HBV_ROLE, {"role": "output", "outputs": ["Q"], "network": "x"}],
    "outputs Q appear twice": [
        HBV_ROLE,
        {"role": "output", "inputs": ["P"], "outputs": ["Q"], "network": "x"},
    ],
    "share is 1.0; it must be a number between 0 and 1": [HBV_ROLE, {**MIXED, "share": 1.0}],
    "share is 'half'; it must be a number": [HBV_ROLE, {**MIXED, "share": "half"}],
    "share is 0; the network would take no part": [HBV_ROLE, {**MIXED, "share": 0}],
    "half_at is -1; it must be a number from 0": [HBV_ROLE, {**MIXED, "half_at": -1}],
    "the shares of x, y leave nothing to the process models": [HBV_ROLE, MIXED, {**MIXED, "network": "y"}],
    "hbv has no flux 'NEE'": [HBV_ROLE, {**MIXED, "outputs": ["Q", "NEE"]}],
    "requires inputs or attributes": [{"network": "x"}],
    "parameters has no key 'atributes'; did you mean attributes. available: inputs": [
        {"network": "x", "atributes": ["slope"]}
    ],
    "attributes must be a list": [{"network": "x", "attributes": "slope"}],
    "dropout must be a probability": [{"network": "x", "attributes": ["slope"], "dropout": 2}],
    "attribute 'parameters' already exists": [{"network": "parameters", "attributes": ["slope"]}],
    "names the process model 'water', which does not exist; available: phy": [
        HBV_ROLE,
        {"role": "process", "process": "ET", "network": "x", "model": "water"},
    ],
}


@pytest.mark.parametrize("message", WRONG)
def test_a_role_that_does_not_fit_is_refused_with_the_reason(message):
    roles = WRONG[message]
    with pytest.raises(ConfigError, match=message):
        DeltaModel.build(nn={role["network"]: MLP for role in roles}, phy_model={"name": "hbv"}, roles=roles)


def test_outputs_are_mixed_with_the_mean_of_an_ensemble_that_exists():
    models = {"wet": {"name": "hbv"}, "dry": {"name": "hbv"}}
    roles = [{**HBV_ROLE, "model": "wet"}, {**HBV_ROLE, "model": "dry", "network": "second"}]
    weights = {"role": "weights", "attributes": ["slope"], "network": "w"}
    networks = dict.fromkeys(("given", "second", "x", "w"), MLP)
    with pytest.raises(ConfigError, match="a role weights must stand before it"):
        DeltaModel.build(nn=networks, phy_model=models, roles=[*roles, MIXED, weights])
    with pytest.raises(ConfigError, match="output takes its place"):
        DeltaModel.build(nn=MLP, roles=[{**MIXED, "network": "nn"}])


def test_a_recurrent_network_needs_inputs():
    with pytest.raises(ConfigError, match=r"recurrent.*no inputs"):
        DeltaModel.build(nn=LSTM, phy_model={"name": "hbv"}, roles=[{"attributes": ["slope"]}])


def test_roles_come_in_any_order_and_meet_the_given_forcing(data):
    """A network that supplies parameters sees the forcing as given, whoever corrects it."""
    correct = {"role": "correct_input", "corrects": {"P": [0.5, 1.5]}, "inputs": ["P", "T"], "network": "c"}
    moving = {"network": "given", "inputs": ["P", "T"], "dynamic": ["BETA"], "freeze_after": 20}
    one = build([correct, moving], {"phy": catchment("hbv")}, {"c": LSTM, "given": LSTM})
    other = DeltaModel(
        dict(reversed(one.nn.items())), one.phy_model, one.roles[::-1], statistics=one.statistics
    )
    forcing, attributes = data(one)
    with torch.no_grad():
        a, _ = one(forcing, attributes)
        b, _ = other.eval()(forcing, attributes)
    assert all(torch.equal(a[name], b[name]) for name in a)
