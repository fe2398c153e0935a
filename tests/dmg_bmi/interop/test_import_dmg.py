"""Model directories of dmg, written by hand, become bundles: whole, with the right numbers, or not at all.

What dmg itself computes stands beside it in tests/peers/test_dmg.py.
"""

import json
import zipfile

import pytest
import torch
import yaml
from dmg_models import ATTRIBUTES, BOUNDS, FORCINGS, NAMES, NMUL, STATISTICS, H, lstm_weights, parts, write

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import ImportDmgError
from dmg_bmi.interop.import_dmg import import_dmg, recognises
from dmg_bmi.model.roles.base import ForwardContext


def some_input(time=12, rows=3):
    g = torch.Generator().manual_seed(1)
    forcing = {name: 5.0 * torch.rand(time, rows, generator=g) for name in ("P", "T", "PET", "srad")}
    attributes = {name: 30.0 * torch.rand(rows, generator=g) for name in ATTRIBUTES}
    return forcing, {
        **attributes,
        "elevation": torch.full((rows,), 300.0),
        "upstream_area": torch.full((rows,), 80.0),
    }


def normalised(values, name):
    mean, std = STATISTICS[name][2:]
    return ((torch.log10(values.sqrt() + 0.1) if name == "prcp" else values) - mean) / std


def by_hand(weights, prefix, forcing, attributes):
    """The LSTM's raw outputs ``[time, rows, n]``, from their weights through torch's own LSTM."""
    theirs = {"P": "prcp", "T": "tmean", "PET": "pet", "srad": "srad"}
    x = [normalised(forcing[ours], name) for ours, name in theirs.items()]
    x += [normalised(attributes[name], name).expand_as(x[0]) for name in ATTRIBUTES]
    w = {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}
    lstm = torch.nn.LSTM(H, H)
    lstm.load_state_dict({
        "weight_ih_l0": w["lstm.w_ih"], "weight_hh_l0": w["lstm.w_hh"],
        "bias_ih_l0": w["lstm.b_ih"], "bias_hh_l0": w["lstm.b_hh"],
    })  # fmt: skip
    hidden = torch.relu(torch.stack(x, -1) @ w["linear_in.weight"].T + w["linear_in.bias"])
    return lstm(hidden)[0] @ w["linear_out.weight"].T + w["linear_out.bias"]


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


class Trap:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("executed",))


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


# -- dialects and types -------------------------------------------------------------------


def at(config, path, value):
    *above, key = path.split(".")
    section = config
    for name in above:
        section = section[name]
    section[key] = value
    return config


def frozen_after(folder):
    return import_dmg(folder).model.roles[0].freeze_after


@pytest.mark.parametrize("section", ["model", "model.phy"])
@pytest.mark.parametrize("key", ["warmup", "warm_up"])
def test_days_of_warm_up_are_read_under_the_keys_of_every_version(tmp_path, section, key):
    """1.4 and dhbv2 write warm_up, 1.5 warmup: static parameters are held after as many days as they saw."""
    config, weights, statistics = parts()
    del config["model"]["warmup"]
    at(config, f"{section}.{key}", 70)
    assert frozen_after(write(tmp_path / "m", config, weights, statistics)) == 370


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("model.warmup", "a year", "model.warmup must be a whole number of at least 0, not 'a year'"),
        ("model.warmup", "${train.warmup}", "not '.*'; Hydra has not resolved it"),
        ("model.warmup", True, "model.warmup must be a whole number"),
        ("model.warmup", -1, "model.warmup must be a whole number"),
        ("model.warmup", 1.5, "model.warmup must be a whole number"),
        ("model.rho", [365], "model.rho must be a whole number"),
        ("model.warm_up", 10, "model.warmup must be the same as model.warm_up"),
        ("model.phy.routing", "False", "model.phy.routing must be true or false, not 'False'"),
        ("model.phy.routing", 0, "model.phy.routing must be true or false"),
        ("model.phy.comprout", "no", "model.phy.comprout must be true or false"),
        ("model.phy.nmul", "2", "model.phy.nmul must be a whole number"),
        ("model.phy.forcings", {"prcp": 1}, "model.phy.forcings must be a list of names"),
        ("model.phy.dynamic_params", ["parK0"], "model.phy.dynamic_params must be a section"),
        ("model.nn", "CudnnLstmModel", "model.nn must be a section, not 'CudnnLstmModel'"),
        ("model.phy.use_log_norm", True, "model.phy.use_log_norm must be a list of names, not True"),
        ("model.phy.use_log_norm", ["pet"], "model.phy.use_log_norm must be the same as model.use_log_norm"),
        ("model.spin_up", 3, "model.spin_up is not a key of dmg .*did you mean warmup"),
        ("model.use_log_norm", True, "model.use_log_norm must be a list of names, not True"),
        ("model.nn.forcings", [1, 2], "model.nn.forcings must be a list of names"),
        ("model.nn.attributes", "${observations.attributes}", "Hydra has not resolved it"),
        ("model.nn.hidden_size", "7", "model.nn.hidden_size must be a whole number"),
        ("model.warmUp", 3, "model.warmUp is not a key of dmg .*did you mean warmup"),
        ("model.warmup_days", 3, "model.warmup_days is not a key of dmg .*did you mean warmup"),
        ("model.days_of_warm_up", 3, "model.days_of_warm_up is not a key of dmg .*did you mean warmup"),
        ("model.phy.n_mul", 3, "model.phy.n_mul is not a key of dmg .*did you mean nmul"),
        ("delta_model", {}, "delta_model and model are one key in two dialects"),
        ("dpl_model", {}, "section dpl_model is how dmg 1.0 wrote it"),
        ("model.phy_model", {}, "model.phy_model and phy are one key in two dialects"),
        ("model.phy.model", "Hbv", "model.phy.model and name are one key in two dialects"),
        ("model.nn.attributes", "${model.nn}", "Hydra has not resolved it"),
        ("model.nn.attributes", "${model.nn.attributes}", "Hydra has not resolved it"),
        (
            "multimodel_type",
            "avg",
            "'avg' with Hbv_1_1p cannot be imported; .*computes no ensemble of type avg",
        ),
    ],
)
def test_a_value_of_another_type_or_version_is_refused_with_its_key(tmp_path, path, value, said):
    config, weights, statistics = parts()
    folder = write(tmp_path / "m", at(config, path, value), weights, statistics)
    with pytest.raises(ImportDmgError, match=f"config.yaml: .*{said}|config.yaml: {said}"):
        import_dmg(folder)


@pytest.mark.parametrize("place", ["warm_up", "train.warmup", "simulation.spin_up", "a.b.warm-up"])
def test_a_warm_up_where_dmg_does_not_read_it_never_passes_silently(tmp_path, place):
    config, weights, statistics = parts()
    del config["model"]["warmup"]
    outer, _, key = place.rpartition(".")
    section = config
    for name in filter(None, outer.split(".")):
        section = section.setdefault(name, {})
    section[key] = 70
    folder = write(tmp_path / "m", config, weights, statistics)
    with pytest.raises(ImportDmgError, match=f"{place} is not where dmg reads it; write model.warmup"):
        import_dmg(folder)


@pytest.mark.parametrize(
    "prefix",
    [
        "module.",
        "_orig_mod.",
        "module._orig_mod.",
        "_orig_mod.module.",
        "_fsdp_wrapped_module.",
        "_checkpoint_wrapped_module.",
        "_forward_module.module.",
    ],
)
def test_the_names_that_wrappers_put_before_weights_are_taken_off(tmp_path, prefix):
    config, weights, statistics = parts()
    plain = import_dmg(write(tmp_path / "plain", config, weights, statistics)).model.state_dict()
    wrapped = {prefix + name: weight for name, weight in weights.items()}
    inner = {name.replace("nn_model.", f"nn_model.{prefix}"): weight for name, weight in weights.items()}
    for k, found in enumerate((wrapped, inner)):
        other = import_dmg(write(tmp_path / f"{k}", config, found, statistics)).model.state_dict()
        assert all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize(
    ("renamed", "said"),
    [
        (lambda name: f"model.{name}", "'model.' is before each of its names; take it off"),
        (lambda name: f"a.b.{name}", "'a.b.' is before each of its names; take it off"),
        (lambda name: name.removeprefix("nn_model."), "'nn_model.' is missing before each of its names"),
    ],
)
def test_another_prefix_of_all_weights_is_named(tmp_path, renamed, said):
    config, weights, statistics = parts()
    weights = {renamed(name): weight for name, weight in weights.items()}
    with pytest.raises(ImportDmgError, match=said):
        import_dmg(write(tmp_path / "m", config, weights, statistics))


@pytest.mark.parametrize("device", ["cuda:0", "cuda:7", "mps"])
def test_weights_that_were_saved_on_a_gpu_are_read_without_one(tmp_path, device):
    config, weights, statistics = parts()
    expected = import_dmg(write(tmp_path / "cpu", config, weights, statistics)).model.state_dict()
    folder = write(tmp_path / "gpu", config, weights, statistics)
    checkpoint = folder / "hbv_1_1p_ep5.pt"
    with zipfile.ZipFile(checkpoint) as old:
        content = {name: old.read(name) for name in old.namelist()}

    def pickled(text):
        return b"X" + len(text).to_bytes(4, "little") + text.encode()

    (index,) = (name for name in content if name.endswith("data.pkl"))
    assert pickled("cpu") in content[index]
    content[index] = content[index].replace(pickled("cpu"), pickled(device))
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_STORED) as new:
        for name, part in content.items():
            new.writestr(name, part)
    actual = import_dmg(folder).model.state_dict()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_weights_of_another_precision_are_read(tmp_path, dtype):
    config, weights, statistics = parts()
    cast = {name: weight.to(dtype) for name, weight in weights.items()}
    model = import_dmg(write(tmp_path / "m", config, cast, statistics)).model
    torch.testing.assert_close(model.nn["lstm"].linear_in.weight, cast["nn_model.linear_in.weight"].float())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_named(tmp_path, value):
    config, weights, statistics = parts()
    weights["nn_model.lstm.w_hh"][2, 3] = value
    with pytest.raises(ImportDmgError, match=r"nn_model\.lstm\.w_hh holds numbers that are not finite"):
        import_dmg(write(tmp_path / "m", config, weights, statistics))


@pytest.mark.parametrize(
    "content", ["[]", "3", '{"prcp": "x"}', '{"prcp": [0, 1, NaN, 1]}', '{"prcp": [0, 1, 1, -1]}', "[" * 9000]
)
def test_statistics_of_another_kind_are_refused(tmp_path, content):
    folder = write(tmp_path / "m", *parts())
    (folder / "normalization_statistics.json").write_text(content)
    with pytest.raises(ImportDmgError, match=r"normalization_statistics\.json: "):
        import_dmg(folder)


@pytest.mark.parametrize("weights", [[], {}, {"a": [1]}, {1: torch.zeros(1)}, torch.zeros(2), None])
def test_a_checkpoint_of_another_kind_is_refused(tmp_path, weights):
    config, _, statistics = parts()
    with pytest.raises(ImportDmgError, match=r"\.pt: "):
        import_dmg(write(tmp_path / "m", config, weights, statistics))


@pytest.mark.parametrize(
    "other",
    [
        lambda w: w.to("meta"),
        lambda w: w.to(torch.complex64),
        lambda w: w.to(torch.int64),
        lambda w: w.to_sparse(),
        lambda w: torch.nested.nested_tensor([w, w]),
        lambda w: torch.quantize_per_tensor(w, 0.1, 0, torch.qint8),
        lambda w: w.to(torch.float8_e5m2),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_a_tensor_that_holds_no_plain_numbers_is_refused_by_name(tmp_path, other):
    config, weights, statistics = parts()
    weights["nn_model.lstm.w_hh"] = other(weights["nn_model.lstm.w_hh"])
    with pytest.raises(
        ImportDmgError, match=r"\.pt: .*(w_hh is not a tensor of plain numbers|holds more than)"
    ):
        import_dmg(write(tmp_path / "m", config, weights, statistics))


@pytest.mark.parametrize("key", ["model.nn.hidden_size", "model.phy.nmul"])
@pytest.mark.parametrize("size", [200_000, 10**18, 2**62])
def test_a_size_that_the_checkpoint_cannot_fill_takes_no_memory(tmp_path, key, size):
    config, weights, statistics = parts()
    with pytest.raises(ImportDmgError, match=r"_ep5\.pt: does not fit the configuration: .*" + str(size)):
        import_dmg(write(tmp_path / "m", at(config, key, size), weights, statistics))


def test_double_precision_that_overflows_single_is_refused_by_name(tmp_path):
    config, weights, statistics = parts()
    weights["nn_model.linear_in.bias"] = weights["nn_model.linear_in.bias"].double().fill_(1e300)
    with pytest.raises(ImportDmgError, match=r"nn_model\.linear_in\.bias holds numbers that are not finite"):
        import_dmg(write(tmp_path / "m", config, weights, statistics))


def test_a_tensor_that_is_huge_by_its_shape_alone_takes_no_memory(tmp_path):
    """One number, repeated by its strides to 4 EiB."""
    config, weights, statistics = parts()
    weights["nn_model.linear_in.bias"] = torch.zeros(1).expand(2**60)
    with pytest.raises(
        ImportDmgError, match=r"linear_in\.bias is \[1152921504606846976\], the configuration"
    ):
        import_dmg(write(tmp_path / "m", config, weights, statistics))


def test_a_checkpoint_that_would_grow_in_memory_is_refused(tmp_path):
    folder = write(tmp_path / "m", *parts())
    checkpoint = folder / "hbv_1_1p_ep5.pt"
    with zipfile.ZipFile(checkpoint) as old:
        parts_of = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(checkpoint, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in {**parts_of, "archive/bomb": bytes(10**7)}.items():
            new.writestr(name, content)
    with pytest.raises(ImportDmgError, match="its parts are larger than the file"):
        import_dmg(folder)


def test_a_key_that_nobody_knows_is_told(tmp_path, caplog):
    config, weights, statistics = parts()
    with caplog.at_level("WARNING"):
        import_dmg(write(tmp_path / "m", at(config, "model.phy.snow_scheme", "x"), weights, statistics))
    assert "model.phy.snow_scheme is unknown and not read" in caplog.text


def older(config):
    """The same configuration as dmg 1.1 to 1.3 wrote it."""
    model = config.pop("model")
    phy, nn = dict(model.pop("phy")), dict(model.pop("nn"))
    phy["model"], nn["model"] = phy.pop("name"), nn.pop("name")
    phy["warm_up"], phy["use_log_norm"] = model.pop("warmup"), model.pop("use_log_norm")
    return {**config, "delta_model": {**model, "phy_model": phy, "nn_model": {**nn, "learning_rate": 1.0}}}


def same_model(one, other):
    assert one.describe() == other.describe()
    weights = other.state_dict()
    return all(torch.equal(value, weights[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("phy", ["Hbv", "Hbv_1_1p", "Hbv_2"])
def test_a_model_folder_of_dmg_1_3_becomes_what_the_same_one_of_1_5_becomes(tmp_path, phy):
    config, weights, statistics = parts(phy)
    expected = import_dmg(write(tmp_path / "new", config, weights, statistics)).model
    folder = write(tmp_path / "old", config, weights, statistics)
    (folder / f"{phy.lower()}_ep5.pt").rename(folder / f"d{phy}_Ep5.pt")
    (folder / "config.yaml").write_text(yaml.safe_dump(older(config)))
    assert recognises(folder)
    assert same_model(import_dmg(folder).model, expected)


def test_the_file_that_hydra_saved_is_found_and_its_references_are_followed(tmp_path):
    config, weights, statistics = parts()
    expected = import_dmg(write(tmp_path / "plain", config, weights, statistics)).model
    folder = write(tmp_path / "run", config, weights, statistics)
    config["model"]["nn"]["forcings"] = "${observations.all_forcings}"
    config["model"]["phy"]["nmul"] = "${model.components}"
    config["model"]["components"] = NMUL
    config |= {"observations": {"all_forcings": FORCINGS}, "name": "${model.nn.name}-${model.phy.name}"}
    (folder / ".hydra").mkdir()
    (folder / "config.yaml").unlink()
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump(config))
    assert same_model(import_dmg(folder).model, expected)


# -- ensembles ---------------------------------------------------------------------------------

ENSEMBLE = ("Hbv", "Hbv_1_1p")


def ensemble(folder, **multimodel):
    """A folder of an ensemble: two models and what weighs them."""
    for phy in ENSEMBLE:
        config, weights, statistics = parts(phy, ("BETA",))
        write(folder, config, weights, statistics)
    torch.save(lstm_weights("nn_model.", len(ENSEMBLE)), folder / "wnn_ep5.pt")
    config["multimodel_type"] = "nn_parallel"
    config["model"]["phy"] |= {
        "name": [*ENSEMBLE],
        "dynamic_params": {phy: ["parBETA"] for phy in ENSEMBLE},
    }
    config["multimodel"] = {
        "model": "LstmModel", "hidden_size": H, "mosaic": False, "scaling_function": "sigmoid", **multimodel,
    }  # fmt: skip
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


@torch.no_grad()
def test_an_ensemble_gives_the_weighted_sum_of_its_models(tmp_path):
    bundle = import_dmg(ensemble(tmp_path / "both"))
    forcing, attributes = some_input()
    attributes |= {name: value.clone() for name, value in attributes.items()}
    fluxes, _ = bundle.model(forcing, attributes)
    members = []
    for phy in ENSEMBLE:
        single, _ = import_dmg(write(tmp_path / phy, *parts(phy, ("BETA",)))).model(forcing, attributes)
        members.append(single["Q"])
        torch.testing.assert_close(fluxes[f"{phy.lower()}.Q"], single["Q"])
    weights = torch.load(tmp_path / "both" / "wnn_ep5.pt", weights_only=True)
    raw = by_hand(weights, "nn_model.", forcing, attributes)
    expected = (raw.sigmoid() * torch.stack(members, -1)).sum(-1)
    torch.testing.assert_close(fluxes["Q"], expected, rtol=1e-5, atol=1e-6)
    assert {b.out for b in bundle.model.declaration.balances} == {
        (f"{phy.lower()}.Q", f"{phy.lower()}.ET") for phy in ENSEMBLE
    }
    bundle.save(tmp_path / "bundle")
    assert same_model(Bundle.load(tmp_path / "bundle").model, bundle.model)


@pytest.mark.parametrize(
    ("change_of", "said"),
    [
        ({"mosaic": True}, "multimodel.mosaic must be false"),
        ({"model": "AnnModel"}, "multimodel.model must be one of LstmModel"),
        ({"scaling_function": "softmax"}, "scaling_function must be sigmoid: .*over the basins of a batch"),
        ({"forcings": ["prcp"]}, "multimodel.forcings must be the same as model.nn.forcings"),
        (
            {"hidden_size": 9},
            r"wnn_ep5\.pt: .*linear_in\.weight is \[7, 6\], the configuration says \[9, 6\]",
        ),
        ({"hiddensize": 9}, "did you mean hidden_size"),
    ],
)
def test_an_ensemble_that_does_not_fit_is_refused_with_file_and_key(tmp_path, change_of, said):
    with pytest.raises(ImportDmgError, match=said):
        import_dmg(ensemble(tmp_path / "m", **change_of))


@pytest.mark.parametrize("missing", ["hbv_ep5.pt", "hbv_1_1p_ep5.pt", "wnn_ep5.pt"])
def test_an_ensemble_without_one_of_its_checkpoints_is_refused(tmp_path, missing):
    folder = ensemble(tmp_path / "m")
    (folder / missing).rename(folder / missing.replace("_ep5", "_ep4"))
    with pytest.raises(ImportDmgError, match=r"has no \w+_ep\S+\.pt; available"):
        import_dmg(folder)


@pytest.mark.parametrize("file", ["hbv_ep5.pt", "hbv_1_1p_ep5.pt", "wnn_ep5.pt"])
def test_no_checkpoint_of_an_ensemble_can_run_code(tmp_path, capsys, file):
    folder = ensemble(tmp_path / "m")
    torch.save({"nn_model.linear_in.bias": Trap()}, folder / file)
    with pytest.raises(ImportDmgError, match=f"{file}: holds more than weights"):
        import_dmg(folder)
    assert "executed" not in capsys.readouterr().out
