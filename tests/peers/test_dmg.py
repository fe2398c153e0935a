"""Models of dmg, imported, beside dmg itself (PyPI, an environment of its own): the same flow.

Random weights, so nothing here is about skill. dmg reads static parameters on the last day of
its window and starts from 0.001 mm in every store; the comparison does the same by ``freeze``
and by the initial state.
"""

import json
from types import SimpleNamespace

import pytest
import torch
import yaml

from dmg_bmi import Bundle
from dmg_bmi.interop.dmg import warmed_up
from dmg_bmi.interop.import_dmg import import_dmg

pytest.importorskip("dmg", reason="dmg is not installed here; its tests have an environment of their own")

from dmg.core.data.loaders.hydro_loader import HydroLoader
from dmg.models.delta_models.dpl_model import DplModel

TIME, ROWS, WARMUP = 400, 6, 150
FORCINGS = ["prcp", "tmean", "pet", "srad"]
ATTRIBUTES = ["slope", "clay", "meanelevation"]
STATISTICS = {
    "prcp": [0.0, 8.0, -0.3, 0.35],
    "tmean": [-5.0, 20.0, 6.0, 9.0],
    "pet": [0.2, 5.0, 2.2, 1.8],
    "srad": [80.0, 350.0, 210.0, 95.0],
    "slope": [2.0, 60.0, 25.0, 20.0],
    "clay": [5.0, 40.0, 20.0, 10.0],
    "meanelevation": [50.0, 2900.0, 900.0, 800.0],
}
HBV_NAMES = ("BETA", "FC", "K0", "K1", "K2", "LP", "PERC", "UZL", "TT", "CFMAX", "CFR", "CWH")
LATER = {"Hbv": ("BETAET",), "Hbv_1_1p": ("BETAET", "C"), "Hbv_2": ("BETAET", "C", "RT", "AC")}
SETS = {
    "none": lambda names: (),
    "some": lambda names: ("K0", "BETAET", "BETA"),
    "all": lambda names: names,
}


def configuration(phy, dynamic, nmul, routing, warmup, warmup_states):
    names = SETS[dynamic](HBV_NAMES + LATER[phy])
    pair = phy == "Hbv_2"
    network = (
        {
            "name": "LstmMlpModel",
            "lstm_hidden_size": 12,
            "mlp_hidden_size": 10,
            "lstm_dropout": 0.5,
            "mlp_dropout": 0.5,
        }
        if pair
        else {"name": "LstmModel", "hidden_size": 12, "dropout": 0.5}
    )
    return {
        "mode": "sim",
        "multimodel_type": "none",
        "model": {
            "rho": 365,
            "warmup": warmup,
            "use_log_norm": ["prcp"],
            "phy": {
                "name": [phy],
                "nmul": nmul,
                "warmup": warmup,
                "warmup_states": warmup_states,
                "dynamic_params": {phy: [f"par{name}" for name in names]},
                "routing": routing,
                "nearzero": 0.00001,
                "forcings": ["prcp", "tmean", "pet"],
            },
            "nn": {**network, "forcings": FORCINGS, "attributes": ATTRIBUTES, "cache_states": False},
        },
    }


def weather():
    g = torch.Generator().manual_seed(7)

    def rand(*shape):
        return torch.rand(*shape, generator=g)

    season = torch.sin(2 * torch.pi * (torch.arange(TIME)[:, None] / 365 - rand(ROWS)))
    forcing = {
        "prcp": torch.where(rand(TIME, ROWS) < 0.4, -9.0 * rand(TIME, ROWS).log(), 0.0),
        "tmean": 4.0 + 12.0 * season + 8.0 * (rand(TIME, ROWS) - 0.5),
        "pet": torch.relu(2.0 + 2.5 * season + rand(TIME, ROWS) - 0.5),
        "srad": 200.0 + 120.0 * season + 30.0 * rand(TIME, ROWS),
    }
    attributes = {
        "slope": 60.0 * rand(ROWS),
        "clay": 45.0 * rand(ROWS),
        # Below and above HBV 2.0's snow threshold; upstream areas on both sides of its switch.
        "meanelevation": torch.tensor([100.0, 1999.0, 2001.0, 2800.0, 900.0, 2400.0]),
        "upstream_area": torch.tensor([5.0, 1200.0, 2499.0, 2600.0, 40000.0, 300.0]),
    }
    attributes["elevation"] = attributes["meanelevation"]
    return forcing, attributes


@pytest.fixture
def trained(tmp_path):
    """A model directory as dmg's training leaves it, and dmg's own model."""

    def make(config):
        torch.manual_seed(11)
        phy = config["model"]["phy"]["name"][0]
        model = DplModel(config=config["model"], device="cpu").eval()
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(2.0)
        torch.save(model.state_dict(), tmp_path / f"{phy.lower()}_ep20.pt")
        (tmp_path / "normalization_statistics.json").write_text(json.dumps(STATISTICS))
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
        return tmp_path, model

    return make


def given_to_dmg(config, forcing, attributes):
    """What dmg's loader gives its models, normalised by dmg itself."""
    loader = SimpleNamespace(norm_stats=STATISTICS, log_norm_vars=config["model"]["use_log_norm"])

    def normalised(values, names):
        stacked = torch.stack([values[name] for name in names], -1).numpy()
        return torch.from_numpy(HydroLoader.to_norm(loader, stacked, names))

    c = normalised(attributes, ATTRIBUTES)
    x = normalised(forcing, FORCINGS)
    return {
        "xc_nn_norm": torch.cat([x, c.expand(TIME, -1, -1)], -1),
        "c_nn_norm": c,
        "x_phy": torch.stack([forcing[name] for name in ("prcp", "tmean", "pet")], -1),
        "ac_all": attributes["upstream_area"],
        "elev_all": attributes["elevation"],
    }


@torch.no_grad()
def theirs(model, config, forcing, attributes):
    outputs = model(given_to_dmg(config, forcing, attributes))
    return {name: series.squeeze(-1) for name, series in outputs.items() if series is not None}


@torch.no_grad()
def ours(model, config, forcing, attributes):
    """In dmg's order: frozen on the last day of each of its windows, from 0.001 mm, no routing in warm-up."""
    phy = config["model"]["phy"]
    forcing = {{"prcp": "P", "tmean": "T", "pet": "PET"}.get(n, n): v for n, v in forcing.items()}
    begin = 0
    if phy["warmup_states"] and phy["name"] != ["Hbv_2"]:
        begin = phy["warmup"]
        state = warmed_up(model, forcing, attributes, begin)
    else:
        state = {
            name: torch.full_like(v, 0.001) if name.startswith("phy.") and not name.endswith("queue") else v
            for name, v in model.freeze(forcing, attributes).items()
        }
    fluxes, _ = model({name: series[begin:] for name, series in forcing.items()}, attributes, state)
    drop = phy["warmup"] - begin
    return {name: series[drop:] for name, series in fluxes.items()}


CASES = [
    (phy, dynamic, nmul, routing, warmup_states)
    for phy in ("Hbv", "Hbv_1_1p", "Hbv_2")
    for dynamic, nmul in (("none", 1), ("some", 4), ("all", 3))
    for routing, warmup_states in ((True, True), (True, False), (False, False))
    if routing or phy == "Hbv_2"  # Hbv and Hbv_1_1p raise without routing
]


@pytest.mark.parametrize(("phy", "dynamic", "nmul", "routing", "warmup_states"), CASES)
def test_an_imported_model_reproduces_dmg(trained, tmp_path, phy, dynamic, nmul, routing, warmup_states):
    config = configuration(phy, dynamic, nmul, routing, WARMUP, warmup_states)
    folder, model = trained(config)
    forcing, attributes = weather()
    expected = theirs(model, config, forcing, attributes)
    import_dmg(folder).save(tmp_path / "bundle")
    imported = Bundle.load(tmp_path / "bundle").model
    actual = ours(imported, config, forcing, attributes)
    pairs = {"Q": "streamflow", "ET": "AET_hydro"}
    if routing:
        pairs["Q_generated"] = "streamflow_no_rout"
    for mine, their in pairs.items():
        reference = expected[their]
        assert actual[mine].shape == reference.shape
        excess = (actual[mine] - reference).abs() - (1e-5 * reference.abs() + 1e-4)
        assert excess.max() <= 0, f"{mine} differs by {excess.max():.2e} mm/d more than allowed"
    assert expected["streamflow"].std() > 0.1


def test_where_dmg_differs_its_softmax_of_an_ensemble_runs_over_the_basins():
    """So the weights of a basin depend on which others are in its batch; such an ensemble is refused."""
    from dmg.models.multimodels.ensemble_generator import EnsembleGenerator

    weighs = SimpleNamespace(config={"scaling_function": "softmax"}, _raw_weights=torch.randn(7, 5, 2))
    EnsembleGenerator._scale_weights(weighs)
    torch.testing.assert_close(weighs.weights_scaled.sum(1), torch.ones(7, 2))
    assert (weighs.weights_scaled.sum(2) - 1.0).abs().max() > 0.1


@torch.no_grad()
def test_an_imported_ensemble_reproduces_dmg(tmp_path, record_property):
    """Two models from empty stores without warm-up states, and the LSTM that weighs them in each step."""
    from dmg.models.model_handler import ModelHandler

    names = ["Hbv", "Hbv_1_1p"]
    config = configuration("Hbv_1_1p", "some", 3, True, WARMUP, False)
    phy = config["model"]["phy"]
    phy |= {"name": names, "dynamic_params": {n: ["parK0", "parBETA"] for n in names}}
    network = config["model"]["nn"]
    multimodel = {
        "nn": network,  # dmg 1.5 asks here whether the LSTM keeps its states
        **network,
        "hidden_size": 9,
        "model": "LstmModel",
        "mosaic": False,
        "scaling_function": "sigmoid",
    }
    config |= {"mode": "train", "multimodel_type": "nn_parallel", "multimodel": multimodel}
    config = json.loads(json.dumps(config))  # no list twice
    theirs_config = json.loads(json.dumps(config)) | {
        "model_dir": f"{tmp_path}/", "device": "cpu",
        "train": {"start_epoch": 0, "target": ["streamflow"]}, "test": {"test_epoch": 1},
    }  # fmt: skip
    torch.manual_seed(4)
    handler = ModelHandler(theirs_config, device="cpu")
    for weight in handler.parameters():
        weight.mul_(2.0)
    handler.save_model(20)
    (tmp_path / "normalization_statistics.json").write_text(json.dumps(STATISTICS))
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config))
    forcing, attributes = weather()
    handler(given_to_dmg(config, forcing, attributes), eval=True)
    expected = handler.ensemble_output_dict["streamflow"].squeeze(-1)
    actual = ours(import_dmg(tmp_path).model, config, forcing, attributes)["Q"]
    record_property("Q", (actual - expected).abs().max().item())
    assert ((actual - expected).abs() - (1e-5 * expected.abs() + 1e-4)).max() <= 0
    assert expected.std() > 0.1
