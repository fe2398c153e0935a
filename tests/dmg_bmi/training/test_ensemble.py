"""Ensembles in one bundle: members learn as if alone, and the model is their mean."""

import csv
from dataclasses import replace
from datetime import datetime

import pytest
import torch

from dmg_bmi import Bundle, DeltaModel, FeatureStatistics
from dmg_bmi.errors import ConfigError
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import train
from dmg_bmi.training.config import Model, Periods, Training, TrainingConfig
from dmg_bmi.training.data import Tensors
from dmg_bmi.training.ensemble import equalize, members, replicate, split_members
from dmg_bmi.training.experiment import Experiment, _training_tensors
from dmg_bmi.training.readers.synthetic import SyntheticData
from dmg_bmi.training.trainer import fit

SPEC = Model(
    nn={"static": {"name": "mlp", "hidden_sizes": [4]}, "dynamic": {"name": "lstm", "hidden_size": 4}},
    phy_model={"name": "hbv", "nmul": 2, "routing": 5},
    roles=[
        {"network": "static", "attributes": ["aridity"]},
        {"network": "dynamic", "inputs": ["P", "T"], "dynamic": ["BETA"]},
    ],
)
OPTIONS = Training(max_steps=6, batch_size=4, learning_rate=0.05, ema=0.1, clip_gradient_norm=1e9)
CONFIG = """
name: small
data: {reader: synthetic, basins: 6, years: 3, seed: 3, attributes: [elev_mean, aridity]}
periods:
  train: [2000-10-01, 2002-09-30]
  test: [2002-10-01, 2003-09-30]
  spin_up: 100
model:
  nn: {name: mlp, hidden_sizes: [8]}
  phy_model: {name: hbv, routing: 5}
training: {max_steps: 3, batch_size: 6, seq_length: 200, ensemble: 2}
"""


def make(spec: Model) -> DeltaModel:
    return DeltaModel.build(nn=spec.nn, phy_model=spec.phy_model, roles=spec.roles)


@pytest.fixture
def data() -> Tensors:
    g = torch.Generator().manual_seed(0)
    rain = 10 * torch.rand(80, 3, generator=g) * (torch.rand(80, 3, generator=g) < 0.4)
    forcing = {"P": rain, "T": 10 + torch.randn(80, 3, generator=g), "PET": torch.full((80, 3), 2.0)}
    return Tensors(forcing, {"aridity": torch.tensor([0.5, 1.0, 2.0])}, {"Q": 0.3 * rain})


def test_members_learn_what_each_learns_alone(data):
    torch.manual_seed(0)
    alone = make(SPEC)
    together = make(replicate(SPEC, 2, ["aridity"]))
    equalize(together)
    for name in ("static", "dynamic"):
        for number in (1, 2):
            weights = alone.networks[name].state_dict()
            together.networks[f"{name}_{number}"].load_state_dict(weights)
    before = alone.networks["static"].layers[0].weight.clone()
    losses = fit(alone, data, OPTIONS, window=30, spin_up=10).loss
    # The loss is the members' mean: doubled, each has the gradient that it has alone.
    twice = replace(OPTIONS, ensemble=2, loss={"nse": 2.0})
    doubled = fit(together, data, twice, window=30, spin_up=10).loss
    assert not torch.equal(alone.networks["static"].layers[0].weight, before)
    torch.testing.assert_close(torch.tensor(doubled), 2 * torch.tensor(losses))
    for name in ("static", "dynamic"):
        for number in (1, 2):
            weights = together.networks[f"{name}_{number}"].state_dict()
            for key, expected in alone.networks[name].state_dict().items():
                torch.testing.assert_close(weights[key], expected, rtol=1e-3, atol=1e-5)


def test_flow_is_the_mean_of_members_that_differ(data):
    torch.manual_seed(0)
    model = make(replicate(SPEC, 3, ["aridity"]))
    equalize(model)
    fit(model, data, replace(OPTIONS, ensemble=3, weight_decay=1.0), window=30, spin_up=10)
    with torch.no_grad():
        fluxes, _ = model(data.forcing, data.attributes)
    flows = torch.stack([member["Q"] for member in split_members(model, fluxes)])
    assert len(flows) == 3
    assert (flows - flows[0]).abs()[1:].amax((1, 2)).min() > 1e-3
    torch.testing.assert_close(fluxes["Q"], flows.mean(0))


def test_members_of_several_process_models_have_each_its_own_networks_and_one_mean(data):
    several = replace(
        SPEC,
        nn=SPEC.nn | {"other": {"name": "mlp", "hidden_sizes": [4]}},
        phy_model={"wet": SPEC.phy_model, "dry": {"name": "gr4j"}},
        roles=[
            *({**role, "model": "wet"} for role in SPEC.roles),
            {"network": "other", "model": "dry", "attributes": ["aridity"]},
        ],
    )
    torch.manual_seed(0)
    model = make(replicate(several, 2, ["aridity"]))
    equalize(model)
    assert [*model.process_models] == ["wet_1", "dry_1", "wet_2", "dry_2"]
    before = {name: values.clone() for name, values in model.state_dict().items()}
    fit(model, data, replace(OPTIONS, ensemble=2), window=30, spin_up=10)
    still = [name for name, values in model.state_dict().items() if torch.equal(values, before[name])]
    assert all(name.startswith("nn.mean.") for name in still)
    with torch.no_grad():
        fluxes, _ = model(data.forcing, data.attributes)
    flows = torch.stack([member["Q"] for member in split_members(model, fluxes)])
    assert len(flows) == 4
    torch.testing.assert_close(fluxes["Q"], flows.mean(0))


def test_a_network_whose_flow_is_mixed_in_learns_what_it_learns_alone(data):
    """And the process models what they learn without it; copies share its weight."""
    network = {"name": "lstm", "hidden_size": 4}
    statistics = {"Q": FeatureStatistics(1.0, 2.0)}
    role = {"network": "own", "inputs": ["P", "T"], "outputs": ["Q"]}
    mixed = {**role, "role": "mix_output", "share": 0.4}
    described = replace(SPEC, nn=SPEC.nn | {"own": network}, roles=[*SPEC.roles, mixed])
    spec = replicate(described, 2, ["aridity"])
    torch.manual_seed(0)
    alone = DeltaModel.build(nn={"own": network}, roles=[{**role, "role": "output"}], statistics=statistics)
    model = DeltaModel.build(nn=spec.nn, phy_model=spec.phy_model, roles=spec.roles, statistics=statistics)
    equalize(model)
    assert members(model) == ["phy_1", "phy_2", "own_1", "own_2"]
    model.networks["own_2"].load_state_dict(alone.networks["own"].state_dict())
    fit(alone, data, OPTIONS, window=30, spin_up=10)
    # The loss is the mean of four.
    fit(model, data, replace(OPTIONS, ensemble=2, loss={"nse": 4.0}), window=30, spin_up=10)
    for key, expected in alone.networks["own"].state_dict().items():
        torch.testing.assert_close(model.networks["own_2"].state_dict()[key], expected, rtol=1e-3, atol=1e-5)
    with torch.no_grad():
        fluxes, _ = model(data.forcing, data.attributes)
    first, second, *networks = (member["Q"] for member in split_members(model, fluxes))
    torch.testing.assert_close(fluxes["Q"], 0.3 * (first + second) + 0.2 * sum(networks))


def test_a_mixed_in_network_without_a_target_is_refused(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    mixed = "{role: mix_output, network: own, outputs: [ET], share: 0.2}"
    networks = "{nn: {name: mlp, hidden_sizes: [8]}, own: {name: mlp, hidden_sizes: [4]}}"
    settings = [f"model.roles=[{{}}, {mixed}]", f"model.nn={networks}"]
    with pytest.raises(ConfigError, match=r"'own_1': it gives ET, of which training\.loss has none"):
        train(tmp_path / "small.yaml", tmp_path / "run", settings)


@pytest.mark.slow
def test_models_of_which_no_role_makes_one_flow_are_members_that_learn_what_each_learns_alone(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    described = {
        "wet": ({"name": "mlp", "hidden_sizes": [8]}, {"name": "hbv", "routing": 5}, {"model": "wet"}),
        "dry": (
            {"name": "lstm", "hidden_size": 4},
            {"name": "gr4j"},
            {"model": "dry", "inputs": "all", "attributes": [], "dynamic": ["X1"]},
        ),
    }
    networks = ", ".join(f"{key}: {network}" for key, (network, _, _) in described.items())
    models = ", ".join(f"{key}: {model}" for key, (_, model, _) in described.items())
    roles = [{"network": key, **role} for key, (_, _, role) in described.items()]
    overrides = [f"model.nn={{{networks}}}", f"model.phy_model={{{models}}}", f"model.roles={roles}"]
    overrides = [text.replace("'", "") for text in overrides]
    config = TrainingConfig.read(
        tmp_path / "small.yaml", [*overrides, "training.ensemble=1", "training.clip_gradient_norm=1e9"]
    )
    together = train(config, tmp_path / "run")
    model = Bundle.load(together.bundle).model
    assert [*model.process_models] == ["wet", "dry"]
    experiment = Experiment.load(config)
    data = experiment.observed
    assert model.roles[1].inputs == (*data.forcing,)
    forcing = {name: torch.tensor(values, dtype=torch.float32) for name, values in data.forcing.items()}
    attributes = {n: torch.tensor(v, dtype=torch.float32) for n, v in data.attributes.items()}
    with torch.no_grad():
        fluxes, _ = model(forcing, attributes)
    torch.testing.assert_close(fluxes["Q"], (fluxes["wet.Q"] + fluxes["dry.Q"]) / 2)
    untrained = experiment.build_model()
    for key in ("wet", "dry"):
        alone = DeltaModel(
            {key: untrained.networks[key]},
            {key: untrained.process_models[key]},
            [role for role in untrained.roles if role.network == key],
            statistics=untrained.statistics,
        )
        tensors_of = _training_tensors(experiment, alone)
        # Half of each member's loss is the loss of both; AdamW is indifferent to the factor.
        fit(alone, tensors_of, config.training, window=experiment.window, spin_up=experiment.spin_up)
        for name, weights in alone.networks[key].state_dict().items():
            torch.testing.assert_close(model.networks[key].state_dict()[name], weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("forcing", [("P", "T", "PET"), ("P", "T", "PET", "SRAD", "VP")])
def test_the_shipped_ensemble_takes_whatever_forcing_the_data_have(forcing):
    data = generate(3, 3, seed=1)
    more = {name: data.forcing[name if name in data.forcing else "T"] for name in forcing}
    data = replace(data, forcing=more, units={**data.units, **dict.fromkeys(forcing, "mm")})
    config = replace(
        TrainingConfig.read("camels_ensemble"),
        data=SyntheticData(reader="synthetic", basins=3, years=3),
        periods=Periods((datetime(2000, 10, 1), datetime(2002, 9, 30)), spin_up=365),
    )
    model = Experiment.load(config, data).build_model()
    assert model.forcing_names == forcing
    assert members(model) == ["cold", "flow", "plain", "basin", "alone"]
    rows = {name: torch.tensor(v[:60], dtype=torch.float32) for name, v in data.forcing.items()}
    attributes = {name: torch.tensor(v, dtype=torch.float32) for name, v in data.attributes.items()}
    with torch.no_grad():
        fluxes, _ = model.eval()(rows, attributes)
    *hybrids, alone = (member["Q"] for member in split_members(model, fluxes))
    mean = torch.stack(hybrids).mean(0)
    role = model.roles[-1]
    share = role.share * mean / (mean + role.half_at)
    assert (share * (alone - mean)).abs().max() > 1e-2
    torch.testing.assert_close(fluxes["Q"], mean + share * (alone - mean))


def test_members_run_side_by_side_as_each_runs_alone(data):
    torch.manual_seed(0)
    model = make(replicate(SPEC, 3, ["aridity"])).eval()
    equalize(model)
    with torch.no_grad():
        fluxes, state = model(data.forcing, data.attributes)
        for number, member in enumerate(split_members(model, fluxes), start=1):
            alone = make(SPEC).eval()
            for name, network in alone.networks.items():
                network.load_state_dict(model.networks[f"{name}_{number}"].state_dict())
            expected, after = alone(data.forcing, data.attributes)
            for name, series in expected.items():
                torch.testing.assert_close(member[name], series)
            torch.testing.assert_close(state[f"phy_{number}.SM"], after["phy.SM"])


def test_an_ensemble_is_one_bundle_with_one_flow_to_score(tmp_path):
    (tmp_path / "small.yaml").write_text(CONFIG)
    run = train(tmp_path / "small.yaml", tmp_path / "run")
    model = Bundle.load(run.bundle).model
    assert [*model.process_models] == ["phy_1", "phy_2"]
    assert run.scores["test"].target == "Q"
    with open(run.folder / "metrics.csv", newline="") as file:
        assert {row["target"] for row in csv.DictReader(file)} == {"Q"}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            ["model.phy_model={a: {name: hbv}, b: {name: gr4j}}"],
            "does not name the model.*; available: a, b",
        ),
        (
            [
                "model.nn={x: {name: mlp}, y: {name: mlp}, z: {name: mlp}}",
                "model.phy_model={a: {name: hbv}, b: {name: gr4j}}",
                "model.roles=[{network: x, model: a}, {network: y, model: b}, {network: z, role: weights}]",
            ],
            "this model has a, b and roles parameters, weights",
        ),
        (
            ["model.phy_model={}", "model.roles=[{role: output, inputs: [P], outputs: [Q]}]"],
            "no process model and roles output",
        ),
        (["training.ensemble=0"], "ensemble must be above zero"),
    ],
)
def test_what_cannot_be_copied_is_named(tmp_path, changes, said):
    (tmp_path / "small.yaml").write_text(CONFIG)
    with pytest.raises(ConfigError, match=said):
        train(tmp_path / "small.yaml", tmp_path / "run", changes)
    assert not (tmp_path / "run" / "bundle").exists()
