"""Dialects and types of dmg's files: read where they are known, refused where not."""

import zipfile

import pytest
import torch
import yaml
from dmg_by_hand import same_model
from dmg_models import FORCINGS, NMUL, parts, write

from dmg_bmi.errors import ImportDmgError
from dmg_bmi.interop.import_dmg import import_dmg, recognises


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
        ("model.use_log_norm", ["prcpp"], "use_log_norm names prcpp, which is no input .*did you mean prcp"),
        ("model.phy.nearzero", 0.1, "model.phy.nearzero must be a number from 0 to 0.0001 mm: .*, not 0.1"),
        ("model.phy.nearzero", "small", "model.phy.nearzero must be a number"),
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


@pytest.mark.parametrize("place", ["use_log_norm", "observations.use_log_norm", "model.nn.use_log_norm"])
def test_logarithms_that_dmg_would_not_read_where_they_are_named_are_not_lost(tmp_path, place):
    config, weights, statistics = parts()
    config["model"].pop("use_log_norm", None)
    config["model"]["phy"].pop("use_log_norm", None)
    config["observations"] = {}
    folder = write(tmp_path / "m", at(config, place, ["prcp"]), weights, statistics)
    with pytest.raises(ImportDmgError, match=f"{place} is not where dmg reads it; write model.use_log_norm"):
        import_dmg(folder)


def test_a_floor_that_yaml_reads_as_text_and_logarithms_of_flow_are_read(tmp_path, caplog):
    config, weights, statistics = parts()
    config = at(at(config, "model.phy.nearzero", "1e-5"), "model.use_log_norm", ["prcp", "streamflow"])
    import_dmg(write(tmp_path / "m", config, weights, statistics))
    assert "use_log_norm names streamflow, which is no input of the network" in caplog.text


def test_statistics_are_numbers(tmp_path):
    config, weights, statistics = parts()
    with pytest.raises(ImportDmgError, match=r"prcp must be .*mean, std"):
        import_dmg(write(tmp_path / "m", config, weights, {**statistics, "prcp": [True] * 4}))
