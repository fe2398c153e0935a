"""What each role does, against what it should come to."""

import pytest
import torch
from dmg_bmi.physics import HBV, Catchment
from role_cases import ALONE, CASES, LSTM, MLP, PARAMETERS, STATISTICS, build, catchment

from dmg_bmi import DeltaModel, ParameterRole
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.registry import build_network, build_process_model
from dmg_bmi.model.roles import (
    CorrectInputRole,
    CorrectOutputRole,
    MixInputRole,
    MixOutputRole,
    OutputRole,
    ProcessRole,
    WeightRole,
)
from dmg_bmi.model.roles.base import ForwardContext
from dmg_bmi.model.variables import variable_table


@torch.no_grad()
def test_a_process_network_sees_what_the_model_shows_and_its_state_lies_per_component(data):
    role = {"role": "process", "process": "ET", "network": "inside", "inputs": ["T", "SM"]}
    model = build([PARAMETERS, role], {"phy": catchment("hbv", 3)}, {"inside": LSTM})
    assert model.networks["inside"].n_inputs == 2
    assert model.init_state(4)["phy.ET.h"].shape == (4, 3, 5)
    forcing, attributes = data(model)
    _, end = model(forcing, attributes)
    assert not torch.equal(end["phy.ET.h"][:, 0], end["phy.ET.h"][:, 1])


@torch.no_grad()
def test_a_process_network_is_the_process(data):
    """Evaporation from a network of constant output, limited by what the soil holds."""
    role = ProcessRole(process="ET", inputs=("PET",), network="inside")
    known = {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    inside = build_network({"name": "mlp", "hidden_sizes": []}, 1, 1).double()
    for weight in inside.parameters():
        weight.zero_()
    model = DeltaModel({"inside": inside}, HBV(), role, known)
    forcing, _ = data(model)
    fluxes, _ = model(forcing)
    dry = fluxes["soil_moisture"] <= 1e-12
    demand = torch.full_like(fluxes["ET"], 2.0).log()
    torch.testing.assert_close(fluxes["ET"][~dry], demand[~dry], rtol=1e-6, atol=0)
    assert (fluxes["ET"] <= demand + 1e-12).all()


@torch.no_grad()
def test_a_neutral_correction_changes_nothing_and_a_correction_is_what_it_adds(data):
    corrects = {"P": (0.5, 1.5), "PET": (0.5, 1.5)}
    phy, known = HBV(), {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    plain = DeltaModel(None, phy, (), known)
    forcing, _ = data(plain)
    expected, _ = plain(forcing)
    for role, size in (
        (CorrectInputRole(("T",), network="c", corrects=corrects), 2),
        (CorrectOutputRole(("T",), network="c", corrects={"Q": (0.5, 1.5)}), 1),
    ):
        network = build_network({"name": "mlp", "hidden_sizes": []}, 1, size).double()
        for weight in network.parameters():
            weight.zero_()
        fluxes, _ = DeltaModel({"c": network}, phy, role, known)(forcing)
        for name, series in expected.items():
            torch.testing.assert_close(fluxes[name], series, rtol=1e-12, atol=1e-12)
        # A sigmoid of ln 3 is 0.75, so the factor is 1.25.
        list(network.parameters())[-1].fill_(torch.tensor(3.0).double().log())
        fluxes, _ = DeltaModel({"c": network}, phy, role, known)(forcing)
        if role.kind == "correct_input":
            wetter, _ = plain({**forcing, "P": 1.25 * forcing["P"], "PET": 1.25 * forcing["PET"]})
            torch.testing.assert_close(fluxes["P_correction"], 0.25 * forcing["P"])
            torch.testing.assert_close(fluxes["Q"], wetter["Q"])
        else:
            torch.testing.assert_close(fluxes["Q_correction"], 0.25 * expected["Q"])
            torch.testing.assert_close(fluxes["Q"], 1.25 * expected["Q"])


@torch.no_grad()
def test_mixing_is_the_weighted_mean_of_the_sources(data):
    phy, known = HBV(), {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    plain = DeltaModel(None, phy, (), known)
    role = MixInputRole(("T",), network="m", mixes={"P": ("P_next", "P_radar")})
    network = build_network({"name": "mlp", "hidden_sizes": []}, 1, 3).double()
    for weight in network.parameters():
        weight.zero_()
    # A softmax of 0, ln 2 and ln 5 is 1/8, 2/8 and 5/8.
    list(network.parameters())[-1].copy_(torch.tensor([1.0, 2.0, 5.0]).double().log())
    model = DeltaModel({"m": network}, phy, role, known)
    forcing, _ = data(model)
    forcing = {name: v.abs() if name.startswith("P_") else v for name, v in forcing.items()}
    fluxes, _ = model(forcing)
    rain = (forcing["P"] + 2 * forcing["P_next"] + 5 * forcing["P_radar"]) / 8
    expected, _ = plain({**{name: forcing[name] for name in ("T", "PET")}, "P": rain})
    torch.testing.assert_close(fluxes["Q"], expected["Q"])
    torch.testing.assert_close(fluxes["P_mixing"], rain - forcing["P"])
    declared = {f.name: f for f in model.declaration.forcings}
    assert declared["P_radar"].units == "mm"
    assert declared["P_radar"].lower == 0.0
    assert declared["P_radar"].aggregation == "sum"


@torch.no_grad()
@pytest.mark.parametrize("names", [("hbv",), ("hbv", "gr4j")])
def test_a_mixed_output_is_the_weighted_mean_of_equations_and_networks(data, names):
    models = {name: build_process_model(catchment(name)) for name in names}
    parameters = [p for m in models.values() for p in m.declaration.parameters]
    known = {p.name: (p.lower + p.upper) / 2 for p in parameters}
    weigh = [WeightRole((), ("slope",), network="w")] if len(names) > 1 else []
    networks = {
        "w": build_network({"name": "mlp", "hidden_sizes": []}, 1, len(names)),
        "a": build_network(LSTM, 2, 1),
        "b": build_network(MLP, 2, 1),
    }
    networks = {key: n.double() for key, n in networks.items() if key != "w" or weigh}
    share = {"a": 0.2, "b": 0.3}
    mixed = [MixOutputRole(("P", "T"), outputs=("Q",), network=key, share=s) for key, s in share.items()]
    alone = [OutputRole(("P", "T"), outputs=("Q",), network=key) for key in share]
    equations = {key: networks[key] for key in networks if key not in share}
    model = DeltaModel(networks, models, (*weigh, *mixed), known, STATISTICS)
    forcing, attributes = data(model)
    fluxes, _ = model(forcing, attributes)
    own, _ = DeltaModel(equations, models, weigh, known, STATISTICS)(forcing, attributes)
    given = {
        role.network: DeltaModel({role.network: networks[role.network]}, None, role, statistics=STATISTICS)
        for role in alone
    }
    given = {key: one(forcing, attributes)[0]["Q"] for key, one in given.items()}
    torch.testing.assert_close(fluxes["Q"], 0.5 * own["Q"] + 0.2 * given["a"] + 0.3 * given["b"])
    torch.testing.assert_close(fluxes["Q_mixing"], fluxes["Q"] - own["Q"])
    assert fluxes["Q_mixing"].abs().max() > 0.01
    for key, series in given.items():
        torch.testing.assert_close(fluxes[f"{key}.Q"], series)


@torch.no_grad()
def test_a_network_is_mixed_in_where_flow_is_high_if_so_said(data):
    known = {p.name: (p.lower + p.upper) / 2 for p in HBV().declaration.parameters}
    network = build_network(LSTM, 2, 1).double()
    flow = {}
    for half_at in (0.0, 0.7):
        role = MixOutputRole(("P", "T"), outputs=("Q",), network="a", share=0.4, half_at=half_at)
        model = DeltaModel({"a": network}, HBV(), role, known, STATISTICS)
        fluxes, _ = model(*data(model, time=200))
        flow[half_at] = fluxes
    own = flow[0.0]["Q"] - flow[0.0]["Q_mixing"]
    torch.testing.assert_close(flow[0.7]["Q"] - flow[0.7]["Q_mixing"], own)
    assert (own < 0.1).any()
    assert (own > 3.0).any()
    share = own / (own + 0.7)
    torch.testing.assert_close(flow[0.7]["Q_mixing"], share * flow[0.0]["Q_mixing"])
    (said,) = model._bindings[0].explain_outputs()
    assert said.endswith("with the weight 0.4 * q / (q + 0.7) with q of the equations")


@pytest.mark.parametrize("mixes", [{}, {"P": []}, {"P": "P_next"}, {"P": 3}, ["P"], {"rain": ["P_next"]}])
def test_a_mixture_without_sources_is_refused(mixes):
    role = {"role": "mix_input", "mixes": mixes, "inputs": ["P"], "network": "m"}
    with pytest.raises(ConfigError, match=r"mixes|has no forcing 'rain'"):
        build([PARAMETERS, role], {"phy": catchment("hbv")})


@torch.no_grad()
def test_an_added_correction_never_makes_a_forcing_illegal(data):
    role = {
        "role": "correct_input",
        "how": "add",
        "corrects": {"P": [-50, -40]},
        "network": "c",
        "inputs": ["T"],
    }
    model = build([PARAMETERS, role], {"phy": catchment("hbv")})
    forcing, attributes = data(model)
    fluxes, _ = model(forcing, attributes)
    assert torch.equal(
        fluxes["P_correction"], -forcing["P"].clamp(max=40.0).where(forcing["P"] < 40, forcing["P"])
    )


@torch.no_grad()
def test_the_mean_of_an_ensemble_is_weighted(data):
    for label in ("ensemble-static", "ensemble-dynamic"):
        model = build(*CASES[label])
        forcing, attributes = data(model)
        fluxes, _ = model(forcing, attributes)
        members = [*model.process_models]
        network = model.networks["w"]
        clay = attributes["clay"].unsqueeze(-1)
        if label == "ensemble-static":
            weights = network(clay, {})[0].softmax(-1).expand(60, -1, -1)
        else:
            seen = [(torch.log10(forcing["P"].sqrt() + 0.1) + 0.3) / 0.3, (forcing["T"] - 4.0) / 9.0]
            x = torch.cat([torch.stack(seen, -1), clay.expand(60, -1, -1)], -1)
            weights = network(x, network.init_state(3))[0].softmax(-1)
        for name in ("Q", "ET"):
            expected = sum(weights[..., k] * fluxes[f"{key}.{name}"] for k, key in enumerate(members))
            torch.testing.assert_close(fluxes[name], expected, rtol=1e-10, atol=1e-12)


def test_an_ensemble_publishes_its_mean_and_its_exchange(data):
    model = build(*CASES["ensemble-static"])
    table = {v.symbol: v for v in variable_table(model)}
    assert table["Q"].published
    assert not table["hbv.Q"].published
    assert "exchange" in table
    assert not any(v.published and "." in v.symbol for v in table.values())


def test_models_side_by_side_publish_what_is_theirs_alone_under_its_name():
    model = build(*CASES["models-side-by-side"])
    table = {v.symbol: v.name for v in variable_table(model)}
    assert table["hbv.Q"] == "hbv.land_surface_water__runoff_depth"
    both = DeltaModel.build(
        nn={"a": MLP, "b": MLP},
        phy_model={"water": {"name": "hbv"}, "leaf": {"name": "photosynthesis"}},
        roles=[
            {"network": "a", "attributes": ["slope"], "model": "water"},
            {"network": "b", "attributes": ["slope"], "model": "leaf"},
        ],
    )
    assert {v.symbol: v.name for v in variable_table(both)}["water.Q"] == "land_surface_water__runoff_depth"


@torch.no_grad()
def test_a_network_alone_answers_in_the_units_of_its_target(data):
    model = build([ALONE], None, {"nn": LSTM})
    forcing, attributes = data(model)
    fluxes, _ = model(forcing, attributes)
    assert (fluxes["Q"] >= 0).all()
    seen = [(torch.log10(forcing["P"].sqrt() + 0.1) + 0.3) / 0.3, (forcing["T"] - 4.0) / 9.0]
    x = torch.stack([*seen, attributes["slope"].expand(60, -1)], -1)
    raw, _ = model.networks["nn"](x, model.networks["nn"].init_state(3))
    logs = (0.2 + 0.4 * raw[..., 0]).clamp(min=-1.0)
    torch.testing.assert_close(torch.log10(fluxes["Q"].sqrt() + 0.1), logs)
    assert torch.equal(fluxes["NEE"], raw[..., 1].clamp(min=0.0))
    assert {f.name: f.units for f in model.declaration.fluxes} == {"Q": "mm", "NEE": "1"}
    assert model.declaration.balances == ()


def test_dynamic_parameters_drop_out_to_static_in_training_only(hybrids):
    names = ("BETA", "K0")
    chances = {}
    for dropout in (0.0, 0.5, 1.0):
        role = ParameterRole(("P", "T"), (), names, static=None, dropout=dropout)
        model = hybrids.hybrid(Catchment(HBV(), 2), {"nn": LSTM}, role, seed=3)
        forcing, attributes = hybrids.everything(model, 30, 200, 1)
        context = ForwardContext.start(
            model.process_models, forcing, model.precompute(attributes, 200), model.init_state(200)
        )
        binding = model._bindings[0]
        for training in (False, True):
            model.train(training)
            binding.before_physics(model.networks["nn"], context)
            constant = {n: (context.dynamic["phy"][n] == context.dynamic["phy"][n][-1]).all(0) for n in names}
            chances[dropout, training] = torch.stack([c.double().mean() for c in constant.values()])
            for c in constant.values():
                assert torch.equal(c[:, 0], c[:, 1]), "components of a row drop together"
            if training and dropout == 0.5:
                assert not torch.equal(constant["BETA"], constant["K0"])
    assert all((chance == 0).all() for (_, training), chance in chances.items() if not training)
    assert (chances[0.0, True] == 0).all()
    assert (chances[1.0, True] == 1).all()
    assert ((chances[0.5, True] - 0.5).abs() < 0.15).all()
