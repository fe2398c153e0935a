"""Roles describe themselves, networks alone give outputs, constants of any number of rows."""

import pytest
import torch
from role_cases import MLP, STATISTICS

from dmg_bmi import DeltaModel, FeatureStatistics
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.registry import build_network
from dmg_bmi.model.roles import (
    KINDS,
    CorrectInputRole,
    CorrectOutputRole,
    OutputRole,
    ProcessRole,
    WeightRole,
)
from dmg_bmi.model.variables import variable_table


def test_weights_and_outputs_describe_themselves():
    for role in (
        WeightRole(("P",), ("clay",)),
        OutputRole(("P",), outputs=("Q",)),
        ProcessRole(process="ET"),
        CorrectInputRole(("P",), corrects={"P": (0.5, 2)}),
        CorrectOutputRole(("P",), corrects={"Q": (0.5, 2)}),
    ):
        plain = role.describe()
        assert KINDS[plain.pop("role")](**plain) == role


def of_networks(*roles, statistics=STATISTICS):
    """A model of networks alone, a role each."""
    networks = {role.network: build_network(MLP, len(role.inputs), len(role.outputs)) for role in roles}
    for seed, network in enumerate(networks.values()):
        torch.manual_seed(seed)
        for weight in network.parameters():
            torch.nn.init.normal_(weight, std=0.7)
    return DeltaModel(networks, None, roles, statistics=statistics).double().eval()


@torch.no_grad()
def test_what_several_networks_give_under_one_name_is_their_mean():
    roles = [OutputRole(("P", "T"), outputs=("Q",), network=key, nonnegative=key == "b") for key in "abc"]
    forcing = {"P": 8 * torch.rand(30, 4).double(), "T": 20 * torch.rand(30, 4).double()}
    model = of_networks(*roles)
    together, _ = model(forcing)
    one_by_one = [DeltaModel({r.network: model.nn[r.network]}, None, r, statistics=STATISTICS) for r in roles]
    expected = torch.stack([one(forcing)[0]["Q"] for one in one_by_one]).mean(0)
    torch.testing.assert_close(together["Q"], expected, rtol=1e-12, atol=1e-12)
    assert [v.symbol for v in variable_table(model) if v.kind == "output"] == ["Q", "Q_flow"]


@torch.no_grad()
def test_statistics_of_a_role_take_precedence_for_its_network_alone():
    own = {"T": FeatureStatistics(100.0, 3.0), "Q": FeatureStatistics(7.0, 2.0)}
    roles = [OutputRole(("T",), outputs=("Q",), network="a", statistics=own, nonnegative=False)]
    roles.append(OutputRole(("T",), outputs=("y",), network="b", nonnegative=False))
    model = of_networks(*roles, statistics={"T": FeatureStatistics(1.0, 4.0)})
    x = torch.linspace(90, 110, 12).double().reshape(6, 2)
    fluxes, _ = model({"T": x})
    raw, _ = model.nn["a"](((x - 100) / 3).unsqueeze(-1), {})
    torch.testing.assert_close(fluxes["Q"], raw[..., 0] * 2 + 7)
    raw, _ = model.nn["b"](((x - 1) / 4).unsqueeze(-1), {})
    torch.testing.assert_close(fluxes["y"], raw[..., 0])
    again = DeltaModel.build(**model.describe()).double()
    again.load_state_dict(model.state_dict())
    torch.testing.assert_close(again({"T": x})[0], fluxes)
    assert "statistics" not in roles[1].describe()


@torch.no_grad()
def test_only_the_outputs_that_are_named_are_raised_to_zero():
    role = OutputRole(("T",), outputs=("a", "b"), network="n", nonnegative=("b",))
    fluxes, _ = of_networks(role)({"T": 30 * torch.randn(200, 3).double()})
    assert (fluxes["a"] < 0).any()
    assert (fluxes["b"] >= 0).all()
    assert (fluxes["b"] == 0).any()
    with pytest.raises(ConfigError, match="nonnegative names c, which is none of its outputs"):
        OutputRole(("T",), outputs=("a", "b"), nonnegative=("c",))


@torch.no_grad()
def test_constants_can_be_traced_for_any_number_of_rows():
    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [8]}, phy_model={"name": "hbv"}, roles=[{"attributes": ["soil"]}]
    )

    class Constants(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, soil):
            return self.model.precompute({"soil": soil}, soil.shape[0])

    rows = torch.export.Dim("rows", min=1)
    program = torch.export.export(
        Constants(), (torch.ones(3),), dynamic_shapes={"soil": {0: rows}}, strict=False
    )
    for number in (1, 5, 10_000):
        soil = torch.rand(number)
        torch.testing.assert_close(
            program.module()(soil), model.precompute({"soil": soil}, number), rtol=1e-6, atol=0
        )


def test_constants_of_many_rows_are_those_of_any_part_of_them(monkeypatch):
    from dmg_bmi.model.roles import base

    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [8]}, phy_model={"name": "hbv"}, roles=[{"attributes": ["soil"]}]
    )
    attributes = {"soil": torch.rand(10)}
    whole = model.precompute(attributes, 10)
    monkeypatch.setattr(base, "ROWS_AT_ONCE", 4)
    with torch.no_grad():
        parts = model.precompute(attributes, 10)
    assert parts.keys() == whole.keys()
    for name, values in whole.items():
        torch.testing.assert_close(parts[name], values, rtol=1e-6, atol=0)
