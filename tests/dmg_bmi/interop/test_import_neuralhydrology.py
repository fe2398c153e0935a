"""Run folders of neuralhydrology become bundles: whole, with the right numbers, or not at all.

What neuralhydrology itself computes stands beside it in tests/neuralhydrology_runs.
"""

import csv
import json
import os
import re

import numpy as np
import pytest
import torch
import yaml
from nh_runs import CENTRES, DYNAMIC, MEANS, SCALES, STATIC, STDS, TARGET, parts, write

from dmg_bmi import Bundle
from dmg_bmi.errors import ConfigError, DmgBmiError, ImportModelError
from dmg_bmi.interop.import_neuralhydrology import import_neuralhydrology, recognises

SYMBOLS = {"prcp(mm/day)": "P", "srad(W/m2)": "srad(W/m2)", "tmean(C)": "T"}


def weather(steps=20, rows=3):
    g = torch.Generator().manual_seed(5)
    centres = {SYMBOLS[name]: (CENTRES[name], SCALES[name]) for name in DYNAMIC}
    forcing = {
        name: centre + scale * torch.rand(steps, rows, generator=g)
        for name, (centre, scale) in centres.items()
    }
    attributes = {name: MEANS[name] + STDS[name] * torch.rand(rows, generator=g) for name in STATIC}
    return {k: v.double() for k, v in forcing.items()}, {k: v.double() for k, v in attributes.items()}


def hidden_by_torch(weights, forcing, attributes):
    """Hidden states ``[time, rows, H]`` of their LSTM, from a zero state; attributes by alphabet."""
    x = [(forcing[SYMBOLS[n]] - CENTRES[n]) / SCALES[n] for n in DYNAMIC]
    x += [((attributes[n] - MEANS[n]) / STDS[n]).expand_as(x[0]) for n in sorted(STATIC)]
    lstm = torch.nn.LSTM(len(x), weights["lstm.weight_hh_l0"].shape[1])
    lstm.load_state_dict({k.removeprefix("lstm."): v for k, v in weights.items() if k.startswith("lstm.")})
    return lstm(torch.stack(x, -1).float())[0]


@torch.no_grad()
@pytest.mark.parametrize("activation", ["linear", "relu", "softplus", "gelu"])
def test_a_run_gives_what_its_weights_and_scaler_say(tmp_path, activation):
    config, weights, scaler = parts(output_activation=activation)
    model = import_neuralhydrology(write(tmp_path, config, weights, scaler)).model
    forcing, attributes = weather()
    y = hidden_by_torch(weights, forcing, attributes) @ weights["head.net.0.weight"].T
    y = (y + weights["head.net.0.bias"])[..., 0]
    # neuralhydrology takes an activation that it does not know for none.
    y = {"relu": torch.relu, "softplus": torch.nn.functional.softplus}.get(activation, lambda v: v)(y)
    expected = (y.double() * SCALES[TARGET] + CENTRES[TARGET]).clamp(min=0)
    fluxes, _ = model(forcing, attributes)
    assert fluxes.keys() == {"Q"}
    torch.testing.assert_close(fluxes["Q"], expected, rtol=1e-6, atol=1e-6)
    assert model.step == 86400.0


@torch.no_grad()
@pytest.mark.parametrize("head", ["regression", "gmm"])
def test_in_exact_mode_each_step_is_the_end_of_a_window_from_a_zero_state(tmp_path, head):
    config, weights, scaler = parts(head=head, n_distributions=2)
    folder = write(tmp_path, config, weights, scaler)
    exact = import_neuralhydrology(folder, stepping="window").model
    continuous = import_neuralhydrology(folder).model
    forcing, attributes = weather()
    whole, end = exact(forcing, attributes)
    for t in range(20):
        first = max(0, t + 1 - config["seq_length"])
        window = {name: values[first : t + 1] for name, values in forcing.items()}
        expected, _ = continuous(window, attributes)
        for name, series in whole.items():
            torch.testing.assert_close(series[t], expected[name][-1], rtol=1e-6, atol=1e-6)
    other, _ = continuous(forcing, attributes)
    assert (whole["Q"] - other["Q"])[:7].abs().max() < 1e-6 < (whole["Q"] - other["Q"])[7:].abs().max()

    constants, state = exact.precompute(attributes, 3), exact.init_state(3)
    for t in range(20):
        now = {name: values[t : t + 1] for name, values in forcing.items()}
        stepped, state = exact.run(now, constants, state)
        torch.testing.assert_close(stepped["Q"][0], whole["Q"][t], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(state, end)


@torch.no_grad()
def test_custom_lstm_and_the_older_names_are_the_same_model(tmp_path):
    config, weights, scaler = parts()
    forcing, attributes = weather()
    expected = import_neuralhydrology(write(tmp_path / "a", config, weights, scaler)).model(
        forcing, attributes
    )
    cell = {"weight_ih_l0": "w_ih", "weight_hh_l0": "w_hh", "bias_ih_l0": "b_ih", "bias_hh_l0": "b_hh"}
    renamed = {f"cell.{cell[k[5:]]}" if k.startswith("lstm.") else k: v for k, v in weights.items()}
    twice = weights | {f"cudalstm.{k}": v for k, v in weights.items()}
    older = {k: v for k, v in config.items() if k != "static_attributes"} | {"camels_attributes": STATIC}
    cases = [("customlstm", renamed), ("lstm", renamed), ("CustomLSTM", renamed), ("embcudalstm", twice)]
    for k, (model, found) in enumerate(cases):
        folder = write(tmp_path / str(k), {**older, "model": model}, found, scaler)
        torch.testing.assert_close(import_neuralhydrology(folder).model(forcing, attributes), expected)


def test_an_embedding_has_the_same_weights_by_the_names_of_any_version(tmp_path):
    embedding = {"type": "fc", "hiddens": [4, 3], "activation": "tanh", "dropout": 0.1}
    config, weights, scaler = parts(dynamics_embedding=embedding)
    g = torch.Generator().manual_seed(2)
    layers = {"0.weight": (4, 3), "0.bias": (4,), "3.weight": (3, 4), "3.bias": (3,)}
    drawn = {name: torch.randn(shape, generator=g) for name, shape in layers.items()}
    forcing, attributes = weather()
    flows = []
    for version in ("dynamics_embedding", "dynamics_embeddings.0"):
        embedded = {f"embedding_net.{version}.net.{name}": value for name, value in drawn.items()}
        model = import_neuralhydrology(write(tmp_path / version, config, weights | embedded, scaler)).model
        flows.append(model(forcing, attributes)[0]["Q"])
    assert torch.equal(*flows)
    older = {k: v for k, v in config.items() if k != "dynamics_embedding"}
    older |= {"dynamics_embedding": True, "embedding_hiddens": [4, 3], "embedding_dropout": 0.1}
    folder = write(tmp_path / "older", older, weights | embedded, scaler)
    assert torch.equal(import_neuralhydrology(folder).model(forcing, attributes)[0]["Q"], flows[0])


def test_a_bundle_of_a_run_is_saved_and_found_as_it_was(tmp_path):
    config, weights, scaler = parts(head="cmal", n_distributions=2)
    bundle = import_neuralhydrology(write(tmp_path / "run", config, weights, scaler), name="mine")
    info = bundle.save(tmp_path / "bundle")
    forcing, attributes = weather()
    expected, _ = bundle.model(forcing, attributes)
    actual, _ = Bundle.load(tmp_path / "bundle").model(forcing, attributes)
    torch.testing.assert_close(actual, expected, rtol=0, atol=0)
    published = {v.name for v in info.variables if v.published}
    assert {"land_surface_water__runoff_depth", "land_surface_air__temperature"} <= published
    assert {"Q_mu_1", "Q_b_2", "Q_tau_1", "Q_pi_2"} <= {v.symbol for v in info.variables}
    assert info.provenance["trained_on_windows_of"] == 7


@torch.no_grad()
def test_noaas_hourly_lstm_gives_what_noaas_own_bmi_gave(shared_data):
    folder = shared_data / "noaa_lstm"
    if not folder.is_dir():
        pytest.skip(f"no {folder}")
    model = import_neuralhydrology(folder / "model").model
    for catchment in ("cat-11223", "cat-11509"):
        with (folder / f"{catchment}_noaa_lstm.csv").open() as file:
            rows = [*csv.DictReader(file)]
        columns = {name: np.array([float(row[name]) for row in rows]) for name in rows[0] if name != "time"}
        config = yaml.safe_load((folder / f"{catchment}.yml").read_text())
        forcing = {
            "P": torch.from_numpy(columns["precipitation_mm_h-1"])[:, None],
            "T": torch.from_numpy(columns["temperature_K"])[:, None] - 273.15,
        }
        attributes = {n: torch.tensor([config[n]], dtype=torch.float64) for n in ("elev_mean", "slope_mean")}
        fluxes, _ = model(forcing, attributes)
        np.testing.assert_allclose(fluxes["Q"][:, 0] / 1000, columns["runoff_depth_m"], rtol=1e-6, atol=0)


# -- what is refused ------------------------------------------------------------------


class Trap:
    """What a pickle would run."""

    def __reduce__(self):
        return os.mkdir, ("trapped",)


TWO = {
    "model": "mtslstm",
    "use_frequencies": ["1h", "1D"],
    "seq_length": {"1D": 9, "1h": 72},
    "hidden_size": {"1D": 4, "1h": 6},
}
CONFIGURATIONS = {
    "another model": ({"model": "mclstm"}, "model 'mclstm' cannot be imported"),
    "no model": ({"model": None}, "model None cannot be imported"),
    "another head": ({"head": "quantile"}, "head 'quantile' cannot be imported"),
    "no head": ({"head": None}, "key 'head' must be"),
    "a misspelt key": ({"hiden_size": 3}, "hiden_size is not a key of neuralhydrology.*hidden_size"),
    "hidden size of nothing": ({"hidden_size": 0}, "hidden_size must be a whole number from 1"),
    "hidden size in words": ({"hidden_size": "many"}, "hidden_size"),
    "hidden size that is large": ({"hidden_size": 2**20}, "does not fit the configuration"),
    "hidden size that is huge": ({"hidden_size": 2**40}, "hidden_size must be a whole number from 1 to 1048"),
    "hidden sizes of two": ({"hidden_size": {"1D": 3, "1h": 4}}, "hidden_size must be a whole number"),
    "a window of nothing": ({"seq_length": 0}, "seq_length must be a whole number"),
    "a window without end": ({"seq_length": 10**9}, "seq_length must be a whole number"),
    "no inputs": ({"dynamic_inputs": []}, "dynamic_inputs must name each input once"),
    "an input twice": ({"dynamic_inputs": ["tmean(C)", "tmean(C)"]}, "dynamic_inputs must name each"),
    "inputs that are numbers": ({"dynamic_inputs": [3]}, "dynamic_inputs"),
    "two frequencies": (
        {"dynamic_inputs": {"1D": [*DYNAMIC], "1h": [*DYNAMIC]}},
        "dynamic_inputs has 2 freq",
    ),
    "two frequencies in use": ({"use_frequencies": ["1D", "1h"]}, "use_frequencies has 2"),
    "a frequency of its own": ({"use_frequencies": ["weekly"]}, "use_frequencies must be as 1D"),
    "a frequency of nothing": ({"use_frequencies": ["0h"]}, "use_frequencies must be as 1D"),
    "two time steps of one": ({"model": "mtslstm", "use_frequencies": ["1D"]}, "of mtslstm two are imported"),
    "two time steps of none": ({"model": "mtslstm"}, "has 0 frequencies; of mtslstm two are imported"),
    "two time steps of three": (
        {"model": "mtslstm", "use_frequencies": ["1D", "6h", "1h"]},
        "has 3 frequencies; of mtslstm two",
    ),
    "two time steps, embedded": (TWO | {"statics_embedding": {"hiddens": [3]}}, "of mtslstm has no counterp"),
    "two time steps of a window": (TWO | {"seq_length": 9}, "must be whole steps of 1D"),
    "two time steps of no whole days": (
        TWO | {"seq_length": {"1D": 9, "1h": 50}},
        "must be whole steps of 1D",
    ),
    "two time steps of more than the past": (TWO | {"seq_length": {"1D": 3, "1h": 72}}, "fewer than its own"),
    "two time steps without one": (TWO | {"seq_length": {"1D": 9}}, "seq_length must be a whole number"),
    "two time steps, handed over": (
        TWO | {"transfer_mtslstm_states": {"h": "cubic", "c": None}},
        "transfer_mtslstm_states must say linear",
    ),
    "two time steps without weights": (
        TWO,
        r"lstm\.weight_ih_l0 is \[20, 5\], the configuration says \[24, 5\]",
    ),
    "its own flow as input": ({"autoregressive_inputs": ["QObs(mm/d)_shift1"]}, "autoregressive_inputs: "),
    "lagged inputs": ({"lagged_features": {"prcp(mm/day)": 1}}, "lagged_features: inputs of earlier"),
    "attributes in time": ({"evolving_attributes": ["forest"]}, "evolving_attributes: "),
    "forecast inputs": ({"forecast_inputs": ["prcp"]}, "forecast_inputs: "),
    "missing inputs": ({"nan_handling_method": "masked_mean"}, "nan_handling_method: "),
    "random answers": ({"mc_dropout": True}, "mc_dropout: "),
    "a counter": ({"timestep_counter": True}, "timestep_counter: "),
    "an embedding of its own": ({"statics_embedding": {"type": "kan", "hiddens": [3]}}, "must be of type fc"),
    "an empty embedding": ({"statics_embedding": {"type": "fc", "hiddens": []}}, "statics_embedding must be"),
    "an embedding key": ({"dynamics_embedding": {"hiddens": [3], "width": 2}}, "dynamics_embedding"),
    "an activation": (
        {"statics_embedding": {"hiddens": [3], "activation": "gelu"}},
        "activation 'gelu' is none of",
    ),
    "a dropout": ({"statics_embedding": {"hiddens": [3], "dropout": 7.0}}, "dropout must be a probability"),
    "an embedding without weights": ({"statics_embedding": {"hiddens": [3]}}, r"has no embedding_net"),
    "a mixture of nothing": ({"head": "gmm", "n_distributions": 0}, "n_distributions must be"),
    "a mixture of too much": ({"head": "gmm", "n_distributions": 10**8}, "n_distributions must be"),
    "a mixture without a number": ({"head": "cmal"}, "n_distributions must be"),
    "asymmetry outside": ({"head": "umal", "n_taus": 3, "tau_down": 0.1, "tau_up": 1.2}, "tau_down and"),
    "asymmetry downwards": ({"head": "umal", "n_taus": 3, "tau_down": 0.9, "tau_up": 0.2}, "tau_down and"),
    "a target without statistics": ({"target_variables": ["swe"]}, "data_vars.swe"),
    "an input without statistics": ({"dynamic_inputs": [*DYNAMIC[:2], "vp(Pa)"]}, r"data_vars\.vp\(Pa\)"),
    "an attribute without statistics": ({"static_attributes": ["slope", "lai"]}, r"attribute_means\.lai"),
    "basins without a number": ({"use_basin_id_encoding": True}, "number_of_basins must be"),
    "basins without a list": ({"use_basin_id_encoding": True, "number_of_basins": 2}, "id_to_int.yml"),
    "another network": ({"model": "ealstm"}, "has no input_gate"),
    "another size": ({"hidden_size": 6}, r"is \[20, 5\], the configuration says \[24, 5\]"),
    "fewer inputs": ({"dynamic_inputs": DYNAMIC[:2]}, r"is \[20, 5\], the configuration says \[20, 4\]"),
    "two targets": ({"target_variables": [TARGET, "tmean(C)"]}, "head.net.0.weight is"),
}


@pytest.mark.parametrize("case", sorted(CONFIGURATIONS))
def test_a_configuration_that_is_not_understood_is_refused_with_file_and_key(tmp_path, case):
    keys, said = CONFIGURATIONS[case]
    config, weights, scaler = parts()
    folder = write(tmp_path, config | keys, weights, scaler)
    with pytest.raises((ImportModelError, ConfigError), match=said) as caught:
        import_neuralhydrology(folder)
    assert str(folder) in str(caught.value)


def test_a_list_that_the_configuration_uses_twice_is_read_and_a_bomb_of_aliases_is_not(tmp_path):
    embedding = {"type": "fc", "hiddens": [4]}
    config, weights, scaler = parts(statics_embedding=embedding, dynamics_embedding=embedding)
    folder = write(tmp_path, config, weights, scaler)
    text = (folder / "config.yml").read_text(encoding="utf-8")
    assert "*id001" in text
    with pytest.raises(ImportModelError, match=r"has no embedding_net\.dynamics_embedding\.net"):
        import_neuralhydrology(folder)
    bomb = "".join(f"x{k}: &b{k + 1} [{', '.join([f'*b{k}'] * 9)}]\n" for k in range(1, 9))
    (folder / "config.yml").write_text(f"x0: &b1 [1]\n{bomb}{text}", encoding="utf-8")
    with pytest.raises(ConfigError, match="aliases"):
        import_neuralhydrology(folder)


@torch.no_grad()
@pytest.mark.parametrize("shared", [False, True])
def test_of_two_time_steps_the_fast_network_goes_on_alone_where_the_state_goes_on(tmp_path, shared):
    config, weights, scaler = parts(use_frequencies=["1h"])
    expected = import_neuralhydrology(write(tmp_path / "one", config, weights, scaler)).model
    two = {f"lstms.1h.{k.removeprefix('lstm.')}": v for k, v in weights.items() if k.startswith("lstm.")}
    two |= {k.replace("head.", "heads.1h."): v for k, v in weights.items() if k.startswith("head.")}
    if shared:  # two more inputs tell the steps apart, of which the bias takes the second
        flag = torch.linspace(-1, 1, 20)
        two["lstms.1h.weight_ih_l0"] = torch.cat(
            [two["lstms.1h.weight_ih_l0"], torch.ones(20, 1), flag[:, None]], 1
        )
        two["lstms.1h.bias_ih_l0"] = two["lstms.1h.bias_ih_l0"] - flag
    two |= {k.replace("1h", "1D"): v + 1 for k, v in two.items()}
    for state in "hc":
        two |= {
            f"transfer_fcs.{state}_1D.weight": torch.ones(5, 5),
            f"transfer_fcs.{state}_1D.bias": torch.ones(5),
        }
    keys = {**TWO, "hidden_size": 5, "shared_mtslstm": shared}
    folder = write(tmp_path / "two", config | keys, two, scaler)
    forcing, attributes = weather()
    actual = import_neuralhydrology(folder).model(forcing, attributes)[0]["Q"]
    torch.testing.assert_close(actual, expected(forcing, attributes)[0]["Q"], rtol=1e-6, atol=1e-6)
    # A first day, which has no past, starts from what is handed over of nothing.
    exact = import_neuralhydrology(folder, stepping="window").model
    assert exact.networks["lstm"].shared == shared
    assert not torch.isclose(exact(forcing, attributes)[0]["Q"], actual).all()


STEPS = [
    ({"use_frequencies": ["1h"]}, {}, 3600.0),
    ({"use_frequencies": ["3h"]}, {}, 10800.0),
    ({"use_frequencies": "1D"}, {}, 86400.0),
    ({"dataset": "hourly_camels_us"}, {}, 3600.0),
    ({"dataset": "generic"}, {}, 86400.0),
    ({"dataset": "generic"}, {"step": 21600.0}, 21600.0),
]


@pytest.mark.parametrize(("keys", "given", "step"), STEPS)
def test_the_time_step_is_that_of_the_run(tmp_path, caplog, keys, given, step):
    config, weights, scaler = parts()
    model = import_neuralhydrology(write(tmp_path, config | keys, weights, scaler), **given).model
    assert model.step == step
    # An amount of a day is shared out over the steps of the model.
    assert model.statistics["P"].std == pytest.approx(SCALES["prcp(mm/day)"] * step / 86400)
    assert not caplog.records


def test_a_time_step_that_nothing_tells_is_a_day_and_a_line_says_so(tmp_path, caplog):
    config, weights, scaler = parts(dataset="generic", target_variables=["q"], dynamic_inputs=["a", "b", "c"])
    for kind in ("center", "scale"):
        arrays = scaler[f"xarray_feature_{kind}"]["data_vars"]
        arrays |= dict(zip(("q", "a", "b", "c"), [*arrays.values()], strict=True))
    folder = write(
        tmp_path, yaml.safe_load(yaml.safe_dump(config)), weights, yaml.safe_load(json.dumps(scaler))
    )
    assert import_neuralhydrology(folder).model.step == 86400.0
    assert "a day is taken; give `step`" in caplog.text


def changed(scaler, key, value):
    """The same scaler with another entry at a dotted key."""
    scaler = yaml.safe_load(yaml.safe_dump(scaler))
    *above, last = key.split("/")
    inner = scaler
    for name in above:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return scaler


CENTRE = "xarray_feature_center/data_vars"
SCALERS = {
    "no attributes": ("attribute_means", None, "has no attribute_means"),
    "no deviations": ("attribute_stds", None, "has no attribute_stds"),
    "no centres": ("xarray_feature_center", None, "has no xarray_feature_center"),
    "centres in a list": ("xarray_feature_center", [1, 2], "has no xarray_feature_center"),
    "no arrays": (CENTRE, None, "has no xarray_feature_center.data_vars"),
    "a text": (f"{CENTRE}/tmean(C)", {"data": "warm"}, "must be a finite number, not 'warm'"),
    "a truth": (f"{CENTRE}/tmean(C)", {"data": True}, "must be a finite number, not True"),
    "a list": (f"{CENTRE}/tmean(C)", {"data": [1.0]}, "must be a finite number"),
    "not a number": (f"{CENTRE}/tmean(C)", {"data": float("nan")}, "must be a finite number, not nan"),
    "infinite": (f"{CENTRE}/tmean(C)", {"data": float("inf")}, "must be a finite number, not inf"),
    "a scale of nothing": ("xarray_feature_scale/data_vars/tmean(C)", {"data": 0.0}, "must be positive"),
    "a negative scale": ("attribute_stds/slope", -1.0, "the scale of slope is -1; it must be positive"),
}


@pytest.mark.parametrize("case", sorted(SCALERS))
def test_a_scaler_that_is_not_that_of_the_run_is_refused_with_file_and_key(tmp_path, case):
    key, value, said = SCALERS[case]
    config, weights, scaler = parts()
    folder = write(tmp_path, config, weights, changed(scaler, key, value))
    with pytest.raises(ImportModelError, match=said) as caught:
        import_neuralhydrology(folder)
    assert "train_data_scaler.yml" in str(caught.value)


def test_what_is_missing_from_a_run_folder_is_named(tmp_path):
    config, weights, scaler = parts()
    with pytest.raises(ImportModelError, match="no such folder"):
        import_neuralhydrology(tmp_path / "nowhere")
    folder = write(tmp_path / "run", config, weights, scaler)
    with pytest.raises(ImportModelError, match=r"has no model_epoch009\.pt; available: model_epoch003\.pt"):
        import_neuralhydrology(folder, epoch=9)
    (folder / "train_data" / "train_data_scaler.yml").rename(folder / "scaler.yml")
    with pytest.raises(DmgBmiError, match=r"train_data_scaler\.yml: cannot be read"):
        import_neuralhydrology(folder)
    (folder / "train_data" / "train_data_scaler.p").write_bytes(b"cos\nsystem\n(S'mkdir trapped'\ntR.")
    with pytest.raises(ImportModelError, match=r"train_data_scaler\.p: is a pickle, which could run code"):
        import_neuralhydrology(folder)
    (folder / "scaler.yml").rename(folder / "train_data" / "train_data_scaler.yml")
    (folder / "model_epoch003.pt").unlink()
    with pytest.raises(ImportModelError, match=r"has no model_epoch<number>\.pt; available: no checkpoint"):
        import_neuralhydrology(folder)
    (folder / "config.yml").unlink()
    with pytest.raises(DmgBmiError, match=r"config\.yml: cannot be read"):
        import_neuralhydrology(folder)


def without(weights, name):
    return {k: v for k, v in weights.items() if k != name}


CHECKPOINTS = {
    "lacks a weight": (lambda w: without(w, "head.net.0.bias"), r"has no head\.net\.0\.bias"),
    "holds another": (lambda w: w | {"second.weight": torch.ones(2)}, r"holds second\.weight, for which"),
    "of another shape": (
        lambda w: w | {"lstm.bias_ih_l0": torch.ones(3)},
        r"lstm\.bias_ih_l0 is \[3\], the configuration says \[20\]",
    ),
    "whole numbers": (lambda w: w | {"lstm.bias_ih_l0": torch.ones(20, dtype=int)}, "plain numbers"),
    "sparse": (lambda w: w | {"head.net.0.weight": torch.ones(1, 5).to_sparse()}, "plain numbers"),
    "on no device": (
        lambda w: w | {"head.net.0.bias": torch.ones(1, device="meta")},
        "plain numbers|corrupt",
    ),
    "no tensor": (lambda w: w | {"epoch": 3}, "epoch is not a tensor of plain numbers"),
    "nested": (lambda w: {"model": w}, "model is not a tensor of plain numbers; save what is in it alone"),
    "no mapping": (lambda w: [*w.values()], "is not a state dict of weights"),
    "numbered": (lambda w: dict(enumerate(w.values())), "is not a state dict of weights"),
    "not a number": (lambda w: w | {"head.net.0.bias": torch.tensor([float("nan")])}, "not finite"),
    "a trap": (lambda w: w | {"trap": Trap()}, "holds more than weights"),
    "a trap alone": (lambda w: Trap(), "holds more than weights"),
    "a module": (lambda w: torch.nn.LSTM(2, 2), "holds more than weights.*it names torch.*LSTM; save the st"),
    "of a wrapper's field": (
        lambda w: {f"net.{name}": weight for name, weight in w.items()},
        r"'net\.' is before each of its names; take it off",
    ),
}


@pytest.mark.parametrize("case", sorted(CHECKPOINTS))
def test_a_checkpoint_that_does_not_fit_or_runs_code_is_refused(tmp_path, monkeypatch, case):
    monkeypatch.chdir(tmp_path)
    change, said = CHECKPOINTS[case]
    config, weights, scaler = parts()
    folder = write(tmp_path / "run", config, change(weights), scaler)
    with pytest.raises(ImportModelError, match=said) as caught:
        import_neuralhydrology(folder)
    assert "model_epoch003.pt" in str(caught.value)
    assert not (tmp_path / "trapped").exists()


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_forward_module."])
def test_the_names_that_wrappers_put_before_weights_are_taken_off(tmp_path, prefix):
    config, weights, scaler = parts()
    plain = import_neuralhydrology(write(tmp_path / "plain", config, weights, scaler)).model.state_dict()
    wrapped = {prefix + name: weight for name, weight in weights.items()}
    other = import_neuralhydrology(write(tmp_path / "wrapped", config, wrapped, scaler)).model.state_dict()
    assert all(torch.equal(plain[name], other[name]) for name in plain)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_torn_checkpoint_is_refused(tmp_path, share):
    folder = write(tmp_path, *parts())
    file = folder / "model_epoch003.pt"
    content = file.read_bytes()
    file.write_bytes(content[: int(share * len(content))])
    with pytest.raises(ImportModelError, match=re.escape(str(file))):
        import_neuralhydrology(folder)


def test_basins_are_told_apart_by_their_number_and_a_list_that_does_not_fit_is_refused(tmp_path):
    config, weights, scaler = parts(use_basin_id_encoding=True, number_of_basins=3)
    folder = write(tmp_path, config, weights, scaler)
    path = folder / "train_data" / "id_to_int.yml"
    path.write_text("'01022500': 2\n'01333000': 0\n'00000003': 1\n", encoding="utf-8")
    bundle = import_neuralhydrology(folder)
    assert bundle.provenance["basin_numbers"] == {"01022500": 2, "01333000": 0, "00000003": 1}
    forcing, attributes = weather()
    with torch.no_grad():
        apart, _ = bundle.model(
            forcing, attributes | {"basin_number": torch.tensor([0.0, 1.0, 2.0]).double()}
        )
        alike, _ = bundle.model(
            forcing, attributes | {"basin_number": torch.tensor([2.0, 2.0, 2.0]).double()}
        )
    assert torch.equal(apart["Q"][:, 2], alike["Q"][:, 2])
    assert not torch.isclose(apart["Q"][:, :2], alike["Q"][:, :2]).all(0).any()
    for wrong in ("'a': 0\n'b': 1\n", "'a': 0\n'b': 1\n'c': 1\n", "'a': 0\n'b': 1\n'c': 3\n", "'a': x\n"):
        path.write_text(wrong, encoding="utf-8")
        with pytest.raises(ImportModelError, match="must number 3 basins from 0 to 2"):
            import_neuralhydrology(folder)


def test_a_run_folder_is_recognised_by_its_configuration_alone(tmp_path):
    folder = write(tmp_path / "run", *parts())
    assert recognises(folder)
    assert recognises(str(folder))
    assert not recognises(tmp_path)
    assert not recognises(tmp_path / "nowhere")
    (tmp_path / "config.yml").write_text("model: {phy: {name: Hbv}}\n", encoding="utf-8")
    assert not recognises(tmp_path)
    (tmp_path / "config.yml").write_bytes(b"\x00\xff")
    assert not recognises(tmp_path)
