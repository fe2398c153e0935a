"""The multi-timescale model of dhbv2, written by hand, becomes one bundle: whole or not at all.

What dmg itself computes stands beside it in tests/peers/test_dhbv2_mts.py.
"""

import json

import pytest
import torch
import yaml
from dmg_models import pair_config, pair_statistics, pair_weights, write_pair

from dmg_bmi import Bundle
from dmg_bmi.errors import DmgBmiError, ImportDmgError
from dmg_bmi.interop.export import export_networks
from dmg_bmi.interop.import_dmg import import_dmg, recognises
from dmg_bmi.interop.importers import import_model
from dmg_bmi.model.spin_up import SpinUpModel
from dmg_bmi.runtime.engines.aot import build, find


def test_it_is_recognised_and_becomes_one_model_that_spins_itself_up(tmp_path):
    folder = write_pair(tmp_path / "m")
    assert recognises(folder)
    importer, bundle = import_model(folder, "mine")
    assert (importer.package, bundle.name) == ("dmg or dhbv2", "mine")
    model = bundle.model
    assert isinstance(model, SpinUpModel)
    assert (model.step, model.slow.step, model.steps) == (3600.0, 86400.0, 5)
    # Unrouted, as the component of dhbv2: what only its hydrographs see is not asked for.
    assert {*model.attribute_names} == {"a", "b", "elevation", "upstream_area"}
    assert "phy.queue" not in model.init_state(1)
    assert "hif_model.routing: true" in bundle.provenance["routing"]
    bundle.save(tmp_path / "bundle")
    assert Bundle.load(tmp_path / "bundle").model.describe() == model.describe()


@torch.no_grad()
@pytest.mark.parametrize("hourly", ["Hbv_2_hourly", "Hbv_2_1_hourly"])
def test_each_network_gives_the_parameters_that_it_gave_there(tmp_path, hourly):
    """The static ones: shared with the daily model, the hourly model's own, and those of the hydrograph."""
    weights = pair_weights(hourly)
    folder = write_pair(tmp_path / "m", pair_config(hourly, routing=True), weights)
    model = import_dmg(folder).model
    assert {*model.attribute_names} == {"a", "b", "c", "length", "elevation", "upstream_area"}
    attributes = {n: torch.tensor([0.4, 1.7]) for n in ("a", "b", "c", "length")}
    attributes |= {"elevation": torch.tensor([100.0, 90.0]), "upstream_area": torch.tensor([5.0, 6.0])}
    constants = model.precompute(attributes, 2, torch.float32)
    statistics = pair_statistics()

    def by_hand(network, names, key):
        x = torch.stack([attributes[n] for n in names], -1)
        x = (x - torch.tensor(statistics["mean"][key])) / (torch.tensor(statistics["std"][key]) + 1e-6)
        for k in (0, 3, 6, 9):
            x = x @ weights[f"nn_model.{network}.{k}.weight"].T + weights[f"nn_model.{network}.{k}.bias"]
            x = x.relu() if k < 9 else x.sigmoid()
        return x

    declared = {p.name: p for p in model.process_models["phy"].declaration.parameters}

    def check(name, share):
        expected = declared[name].lower + (declared[name].upper - declared[name].lower) * share
        torch.testing.assert_close(constants[f"phy.{name}"], expected, rtol=2e-5, atol=2e-5)

    shared = [n for n in [*declared][:16] if n not in ("BETA", "K0")]
    of_both = by_hand("lstm_mlp.ann", ("a", "b"), "static_input").unflatten(-1, (14, 2))
    of_hours = by_hand("lstm_mlp2.ann1", ("a", "b"), "static_input").unflatten(-1, (17, 2))
    for k, name in enumerate(shared):
        check(name, of_both[:, k])
        torch.testing.assert_close(constants[f"spin_up.phy.{name}"], constants[f"phy.{name}"])
    for k, name in enumerate([*declared][16:19]):
        check(name, of_hours[:, 14 + k])
    of_routing = by_hand("lstm_mlp2.ann2", ("a", "c", "length"), "rout_static_input")
    for k, name in enumerate(("route_a", "route_b", "route_tau")):
        check(name, of_routing[:, k])


def older(config):
    """The same configuration in the dialect of dmg 1.3."""
    phy, nn = config["model"].pop("phy"), config["model"].pop("nn")
    for section in (phy, nn):
        for new, old in (("hif_model", "high_freq_model"), ("lof_model", "low_freq_model")):
            part = section.pop(new)
            section[old] = {**part, "model": part["name"]}
            del section[old]["name"]
    return {"delta_model": {**config["model"], "phy_model": phy, "nn_model": nn}}


def test_the_dialect_of_dmg_1_3_is_read_too(tmp_path):
    expected = import_dmg(write_pair(tmp_path / "new")).model
    actual = import_dmg(write_pair(tmp_path / "old", older(pair_config()))).model
    assert actual.describe() == expected.describe()


def at(config, path, value):
    *above, key = path.split(".")
    for name in above:
        config = config[name]
    if value is None:
        del config[key]
    else:
        config[key] = value


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("model.phy.hif_model", None, r"has no section model\.phy\.hif_model"),
        ("model.nn.lof_model", None, r"has no section model\.nn\.lof_model"),
        ("model.phy.hif_model.name", ["Hbv_3"], r"model\.phy\.hif_model\.name must be one of Hbv_2_hourly"),
        ("model.phy.lof_model.name", ["Hbv"], r"model\.phy\.lof_model\.name must be one of Hbv_2"),
        ("model.nn.hif_model.name", "KAN_2", r"model\.nn\.hif_model\.name must be LstmMlp2Model"),
        ("model.phy.hif_model.routing", "no", r"hif_model\.routing must be true or false"),
        ("model.phy.lof_model.routing", True, r"lof_model\.routing must be false"),
        ("model.phy.hif_model.nmul", 3, r"hif_model\.nmul must be that of lof_model, 2"),
        ("model.phy.hif_model.agg_timescale_dim", [0], r"agg_timescale_dim must be \[0, 2\]"),
        (
            "model.phy.lof_model.window_size",
            0,
            r"lof_model\.window_size must be a whole number of at least 1",
        ),
        ("model.phy.hif_model.dynamic_params", {"Hbv_2_1_hourly": ["parFC"]}, "both share the other"),
        ("model.phy.hif_model.dynamic_params", {"Hbv_2_1_hourly": ["parX"]}, "no dynamic parameter X"),
        ("model.phy.lof_model.dynamic_params", None, "needs dynamic parameters"),
        ("model.nn.hif_model.attributes", ["b", "a"], "those of lof_model, in the same order"),
        ("model.nn.hif_model.forcings", ["P", "T"], r"forcings must be those of the equations, P, T, PET"),
        (
            "model.nn.hif_model.lstm_hidden_size",
            9,
            r"in_proj\.weight is \[7, 5\], the configuration says \[9, 5\]",
        ),
        ("model.nn.hif_model.mlp2_hidden_size", 10**9, "too small for 1000000000 hidden units"),
        ("model.use_log_norm", ["P"], r"model\.use_log_norm must be empty"),
        ("model.phy.hif_model.n_mul", 3, "did you mean nmul"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_with_file_and_key(tmp_path, path, value, said):
    config = pair_config()
    at(config, path, value)
    with pytest.raises(ImportDmgError, match=rf"(config\.yaml|_ep30\.pt): .*{said}"):
        import_dmg(write_pair(tmp_path / "m", config))


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("mean", None, "must hold the sections mean and std"),
        ("mean", [1.0], "must hold the sections mean and std"),
        ("std.dyn_input", None, r"std\.dyn_input must be a list of 3 numbers"),
        ("mean.dyn_input_daily", [1.0, 2.0], r"mean\.dyn_input_daily must be a list of 3 numbers"),
        ("mean.static_input", [1.0, "x"], "finite numbers, those of b are not"),
        ("std.rout_static_input", [1.0, -1.0, 1.0], "finite numbers, those of c are not"),
        ("std.rout_static_input", [1.0, float("nan"), 1.0], "finite numbers, those of c are not"),
        ("norm_dyn_indexes", [0], "norm_dyn_indexes"),
    ],
)
def test_statistics_that_do_not_fit_are_refused_with_file_and_key(tmp_path, path, value, said):
    statistics = pair_statistics()
    at(statistics, path, value)
    with pytest.raises(ImportDmgError, match=rf"normalization_statistics\.json: .*{said}"):
        import_dmg(write_pair(tmp_path / "m", statistics=statistics))


class Trap:
    """A pickle that would run code."""

    def __reduce__(self):
        return (print, ("executed",))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda w: w.pop("nn_model.c_transfer.bias"), r"has no nn_model\.c_transfer\.bias"),
        (
            lambda w: w.pop("nn_model.lstm_mlp2.in_proj.weight"),
            r"has no nn_model\.lstm_mlp2\.in_proj\.weight",
        ),
        (lambda w: w.update({"nn_model.extra": torch.ones(1)}), r"holds nn_model\.extra"),
        (
            lambda w: w["nn_model.lstm_mlp.ann.0.bias"].fill_(torch.nan),
            r"ann\.0\.bias holds numbers that are not",
        ),
        (lambda w: w.update({"nn_model.lstm_mlp.ann.0.bias": Trap()}), "holds more than weights"),
        (
            lambda w: w.update({"nn_model.lstm_mlp.ann.0.bias": torch.zeros(1).expand(2**60)}),
            r"ann\.0\.bias is \[1152921504606846976\]",
        ),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_runs_no_code(tmp_path, capsys, change, said):
    weights = pair_weights()
    change(weights)
    with pytest.raises(ImportDmgError, match=rf"hbv_2_mts_ep30\.pt: .*{said}"):
        import_dmg(write_pair(tmp_path / "m", weights=weights))
    assert "executed" not in capsys.readouterr().out


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "module._orig_mod."])
def test_names_that_wrappers_add_are_taken_off(tmp_path, prefix):
    weights = pair_weights()
    expected = import_dmg(write_pair(tmp_path / "plain", weights=weights)).model.state_dict()
    wrapped = {prefix + name: weight for name, weight in weights.items()}
    actual = import_dmg(write_pair(tmp_path / "wrapped", weights=wrapped)).model.state_dict()
    assert all(torch.equal(actual[name], value) for name, value in expected.items())


def test_files_that_are_missing_are_named(tmp_path):
    folder = write_pair(tmp_path / "m")
    (folder / "normalization_statistics.json").unlink()
    with pytest.raises(ImportDmgError, match=r"normalization_statistics\.json: cannot be read"):
        import_dmg(folder)
    (folder / "normalization_statistics.json").write_text(json.dumps(pair_statistics()))
    with pytest.raises(ImportDmgError, match=r"has no hbv_2_mts_ep7\.pt; available: hbv_2_mts_ep30\.pt"):
        import_dmg(folder, epoch=7)
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {}}))
    with pytest.raises(ImportDmgError, match=r"has no section model\.phy"):
        import_dmg(folder)


def test_an_export_holds_the_networks_of_both_models_and_what_connects_them(tmp_path):
    bundle = import_dmg(write_pair(tmp_path / "m", pair_config(routing=True)))
    export_networks(bundle, tmp_path / "out")
    names = {file.stem for file in (tmp_path / "out").glob("*.pt")}
    assert names == {"lstm", "static", "routing", "hourly", "slow_lstm", "transfer"}
    weights = torch.load(tmp_path / "out" / "transfer.pt", weights_only=True)
    assert torch.equal(weights["lstm-h.bias"], pair_weights()["nn_model.h_transfer.bias"])
    page = (tmp_path / "out" / "README.md").read_text()
    assert "## slow_lstm.pt: parameters" in page
    assert "spins it up by 5 steps" in page


def test_it_is_not_compiled_and_says_why(tmp_path):
    info = import_dmg(write_pair(tmp_path / "m")).save(tmp_path / "bundle")
    with pytest.raises(DmgBmiError, match="spins itself up, in steps that differ; it runs eagerly"):
        build(info, tmp_path / "compiled")
    assert find(info) is None
