"""Model directories of dmg, written by hand, become bundles: whole, with the right numbers, or not at all.

What dmg itself computes stands beside it in tests/peers/test_dmg.py.
"""

import json

import pytest
import torch
import yaml
from dmg_by_hand import Trap, by_hand, normalised, some_input
from dmg_models import ATTRIBUTES, BOUNDS, FORCINGS, NAMES, NMUL, STATISTICS, parts, write

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import ImportDmgError
from dmg_bmi.interop.import_dmg import import_dmg
from dmg_bmi.model.roles.base import ForwardContext


def in_bounds(share, name):
    low, high = BOUNDS[name]
    return low + share * (high - low)


def parameters_of(model, forcing, attributes):
    """What the imported model gives its equations: by name ``[time, rows, components]``."""
    rows = len(attributes["slope"])
    constants = model.precompute(attributes, rows, torch.float32)
    state = model.init_state(rows, dtype=torch.float32)
    context = ForwardContext.start(model.process_models, forcing, constants, state)
    for binding in model._bindings:
        binding.before_physics(model.networks[binding.key], context)
    constant = {
        name.removeprefix("phy."): value for name, value in constants.items() if name.startswith("phy.")
    }
    return {name: value.expand(12, *value.shape) for name, value in constant.items()} | context.dynamic["phy"]


@torch.no_grad()
@pytest.mark.parametrize("phy", ["Hbv", "Hbv_1_1p"])
@pytest.mark.parametrize("dynamic", [(), ("K0", "BETA"), ("BETAET", "CWH", "BETA")])
def test_an_lstm_gives_each_parameter_what_it_gave_in_dmg(tmp_path, phy, dynamic):
    config, weights, statistics = parts(phy, dynamic)
    bundle = import_dmg(write(tmp_path, config, weights, statistics))
    forcing, attributes = some_input()
    raw = by_hand(weights, "nn_model.", forcing, attributes)
    actual = parameters_of(bundle.model, forcing, attributes)
    names = NAMES[:12] + {"Hbv": ["BETAET"] if "BETAET" in dynamic else [], "Hbv_1_1p": ["BETAET", "C"]}[phy]
    for k, name in enumerate(names):
        expected = in_bounds(raw[..., k * NMUL : (k + 1) * NMUL].sigmoid(), name)
        torch.testing.assert_close(actual[name], expected, rtol=2e-5, atol=1e-5)
    for k, name in ((-2, "route_a"), (-1, "route_b")):
        torch.testing.assert_close(actual[name], in_bounds(raw[..., k].sigmoid(), name), rtol=2e-5, atol=1e-5)
    assert {role.dynamic for role in bundle.model.roles} == {tuple(n for n in names if n in dynamic)}


@torch.no_grad()
@pytest.mark.parametrize("dynamic", [(), ("K0", "BETA"), tuple(NAMES)])
@pytest.mark.parametrize("routing", [True, False])
def test_an_lstm_and_an_mlp_share_the_parameters_as_in_dmg(tmp_path, dynamic, routing):
    if len(dynamic) == len(NAMES) and not routing:
        return  # nothing is left for the MLP
    config, weights, statistics = parts("Hbv_2", dynamic, routing)
    bundle = import_dmg(write(tmp_path, config, weights, statistics))
    forcing, attributes = some_input()
    actual = parameters_of(bundle.model, forcing, attributes)
    raw = by_hand(weights, "nn_model.lstminv.", forcing, attributes)
    moving = [name for name in NAMES if name in dynamic]
    for k, name in enumerate(moving):
        expected = in_bounds(raw[..., k * NMUL : (k + 1) * NMUL].sigmoid(), name)
        torch.testing.assert_close(actual[name], expected, rtol=2e-5, atol=1e-5)
    x = torch.stack([normalised(attributes[name], name) for name in ATTRIBUTES], -1)
    for layer in ("i2h", *(f"h2h{i}" for i in range(1, 7))):
        w = f"nn_model.ann.{layer}"
        x = torch.relu(x @ weights[f"{w}.weight"].T + weights[f"{w}.bias"])
    x = (x @ weights["nn_model.ann.h2o.weight"].T + weights["nn_model.ann.h2o.bias"]).sigmoid()
    static = [name for name in NAMES if name not in dynamic]
    for k, name in enumerate(static):
        expected = in_bounds(x[:, k * NMUL : (k + 1) * NMUL], name).expand(12, -1, -1)
        torch.testing.assert_close(actual[name], expected, rtol=2e-5, atol=1e-5)
    if routing:
        torch.testing.assert_close(actual["route_b"][0], in_bounds(x[:, -1], "route_b"), rtol=2e-5, atol=1e-5)
    assert ("phy.queue" in bundle.model.init_state(1)) == routing


def test_the_command_writes_a_bundle_and_says_how_parameters_are_frozen(tmp_path, capsys):
    write(tmp_path / "model", *parts(), epoch=7)
    write(tmp_path / "model", *parts(), epoch=30)
    (tmp_path / "model" / "config.yaml").rename(tmp_path / "run.yaml")
    arguments = ["import", str(tmp_path / "model"), "--config", str(tmp_path / "run.yaml")]
    assert main([*arguments, "--output", str(tmp_path / "my_bundle")]) == 0
    said = capsys.readouterr().out
    assert "held" in said
    assert "400 days" in said
    bundle = Bundle.load(tmp_path / "my_bundle")
    assert bundle.name == "my_bundle"
    assert bundle.provenance["checkpoint"] == "hbv_1_1p_ep30.pt"
    assert bundle.model.roles[0].freeze_after == 400
    assert bundle.model.statistics["P"].transform == "log_sqrt"
    assert bundle.model.forcing_names == ("P", "T", "PET", "srad")
    assert main([*arguments, "--epoch", "8", "--output", str(tmp_path / "other")]) == 2
    assert "hbv_1_1p_ep8.pt" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_forcings_in_another_order_keep_their_meaning(tmp_path):
    config, weights, statistics = parts()
    config["model"]["phy"] |= {"forcings": ["pet", "rain", "tmean"], "variables": ["pet", "prcp", "tmean"]}
    config["model"]["nn"]["forcings"] = ["rain", "tmean", "pet", "srad"]
    statistics["rain"] = statistics.pop("prcp")
    model = import_dmg(write(tmp_path, config, weights, statistics)).model
    assert model.roles[0].inputs == ("P", "T", "PET", "srad")


def change(config, path, value):
    *sections, last = path.split(".")
    for name in sections:
        config = config[name]
    if value is None:
        del config[last]
    else:
        config[last] = value


WRONG_CONFIG = {
    "model": (None, "no section model"),
    "model.nn": (None, r"no section model\.nn"),
    "model.nn.name": (
        "GruModel",
        "GruModel with Hbv_1_1p cannot be imported; supported: LstmModel with Hbv",
    ),
    "model.phy.name": (["Hbv_2_hourly"], "Hbv_2_hourly cannot be imported"),
    "multimodel_type": ("nn_parallel", "'nn_parallel' with Hbv_1_1p cannot be imported; it must be"),
    "model.phy.dynamic_params": ({"Hbv_1_1p": ["parRT"]}, "no dynamic parameter RT"),
    "model.phy.comprout": (True, "comprout.*no counterpart"),
    "model.phy.forcings": (["prcp"], "must name precipitation"),
    "model.nn.hidden_size": (None, "hidden_size must be a whole number"),
    "model.phy.nmul": (4, r"linear_out\.weight is \[30, 7\], the configuration says \[58, 7\]"),
    "model.nn.attributes": (["slope"], r"linear_in\.weight is \[7, 6\], the configuration says \[7, 5\]"),
    "model.nn.forcings": ([*FORCINGS, "wind"], "has no statistics of wind"),
}


@pytest.mark.parametrize("path", WRONG_CONFIG)
def test_a_configuration_that_does_not_fit_is_refused_with_the_reason(tmp_path, path):
    value, message = WRONG_CONFIG[path]
    config, weights, statistics = parts()
    folder = write(tmp_path / "model", config, weights, statistics)
    change(config, path, value)
    if path == "model.phy.name":
        torch.save(weights, folder / "hbv_2_hourly_ep1.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(ImportDmgError, match=message):
        import_dmg(folder)


def without(mapping, name):
    return {key: value for key, value in mapping.items() if key != name}


def test_a_checkpoint_that_does_not_fit_is_refused_with_the_reason(tmp_path):
    config, weights, statistics = parts()
    for wrong, message in (
        (without(weights, "nn_model.lstm.w_hh"), r"has no nn_model\.lstm\.w_hh"),
        ({**weights, "nn_model.extra": torch.ones(1)}, r"holds nn_model\.extra"),
        ({**weights, "nn_model.lstm.b_ih": torch.ones(3)}, r"b_ih is \[3\], the configuration says \[28\]"),
        ({"model": weights}, "not a state dict"),
        ([*weights.values()], "not a state dict"),
        ({**weights, "trap": Trap()}, "more than weights"),
    ):
        with pytest.raises(ImportDmgError, match=message):
            import_dmg(write(tmp_path, config, wrong, statistics))
    (tmp_path / "hbv_1_1p_ep5.pt").write_bytes(b"torn")
    with pytest.raises(ImportDmgError, match="corrupt"):
        import_dmg(tmp_path)


def test_a_checkpoint_cannot_run_code(tmp_path, capsys):
    config, weights, statistics = parts()
    with pytest.raises(ImportDmgError):
        import_dmg(write(tmp_path, config, {**weights, "trap": Trap()}, statistics))
    assert "executed" not in capsys.readouterr().out


def test_missing_files_and_wrong_statistics_are_named(tmp_path):
    folder = write(tmp_path / "model", *parts())
    with pytest.raises(ImportDmgError, match="no such folder"):
        import_dmg(tmp_path / "nowhere")
    (folder / "normalization_statistics.json").write_text(json.dumps({**STATISTICS, "clay": [1.0, 2.0]}))
    with pytest.raises(ImportDmgError, match="clay must be"):
        import_dmg(folder)
    (folder / "normalization_statistics.json").write_text("{")
    with pytest.raises(ImportDmgError, match="not valid JSON"):
        import_dmg(folder)
    (folder / "normalization_statistics.json").unlink()
    with pytest.raises(ImportDmgError, match=r"normalization_statistics\.json: cannot be read"):
        import_dmg(folder)
    (folder / "hbv_1_1p_ep5.pt").rename(folder / "other.pt")
    with pytest.raises(ImportDmgError, match=r"hbv_1_1p_ep<epoch>\.pt; available: other\.pt"):
        import_dmg(folder)
    (folder / "config.yaml").unlink()
    with pytest.raises(ImportDmgError, match=r"none of config\.yaml"):
        import_dmg(folder)
