"""Runs trained by neuralhydrology give here, in exact mode, what its own evaluation gives."""

import numpy as np
import pytest
import torch

pytest.importorskip("neuralhydrology", reason="runs in an environment of its own: .ci/environments.py")

import pandas as pd
import xarray
from neuralhydrology.datasetzoo import get_dataset
from neuralhydrology.datautils.utils import load_scaler
from neuralhydrology.evaluation import get_tester
from neuralhydrology.modelzoo import get_model
from neuralhydrology.utils import samplingutils
from neuralhydrology.utils.config import Config
from nh_training import ATTRIBUTES, BASINS, FORCINGS, PERIODS, SEQ_LENGTH, TARGET
from torch.utils.data import DataLoader

from dmg_bmi.interop.import_neuralhydrology import import_neuralhydrology

SYMBOLS = dict(zip(FORCINGS, ("P", FORCINGS[1], "T"), strict=True))
EMBEDDING = {"type": "fc", "hiddens": [5, 4], "activation": "tanh", "dropout": 0.1}
PLAIN = {
    "cudalstm": {},
    "several attributes in another order": {
        "static_attributes": ["slope_mean", "frac_forest", "area_gages2"]
    },
    "no attributes": {"static_attributes": []},
    "ealstm": {"model": "ealstm"},
    "customlstm": {"model": "customlstm"},
    "softplus": {"output_activation": "softplus"},
    "relu": {"output_activation": "relu"},
    "embedded attributes": {"statics_embedding": EMBEDDING},
    "both embedded": {
        "statics_embedding": EMBEDDING,
        "dynamics_embedding": EMBEDDING,
    },
    "ealstm, both embedded": {
        "model": "ealstm",
        "statics_embedding": {**EMBEDDING, "activation": "sigmoid"},
        "dynamics_embedding": EMBEDDING,
    },
    "basins by number": {"use_basin_id_encoding": True},
    "ealstm, basins by number alone": {
        "model": "ealstm",
        "use_basin_id_encoding": True,
        "static_attributes": [],
    },
    "normalised in its own way": {
        "custom_normalization": {
            FORCINGS[0]: {"centering": "None", "scaling": "minmax"},
            FORCINGS[2]: {"centering": "median", "scaling": "None"},
            TARGET: {"centering": "min", "scaling": "minmax"},
        }
    },
    "not clipped": {"clip_targets_to_zero": []},
}


def weather(basins, frequency="1D"):
    """Forcing ``[time, basins]`` from a window before the test period on, and attributes."""
    begin, last = (pd.to_datetime(day, format="%d/%m/%Y") for day in PERIODS["test"])
    end = last + pd.Timedelta("1D") - pd.Timedelta(frequency)
    days = pd.date_range(begin - pd.Timedelta(days=SEQ_LENGTH - 1), end, freq=frequency)
    series = [xarray.open_dataset(basins / "time_series" / f"{b}.nc").sel(date=days).load() for b in BASINS]
    forcing = {
        SYMBOLS[name]: torch.from_numpy(np.stack([s[name].values for s in series], -1)).double()
        for name in FORCINGS
    }
    table = pd.read_csv(basins / "attributes" / "attributes.csv", dtype={"gauge_id": str}).set_index(
        "gauge_id"
    )
    attributes = {n: torch.from_numpy(table.loc[[*BASINS], n].to_numpy().copy()) for n in ATTRIBUTES}
    return forcing, attributes


def ours(run, basins, stepping="window"):
    """What the bundle of a run gives in the test period: by name ``[time, basins]``."""
    bundle = import_neuralhydrology(run, stepping=stepping, step=86400.0)
    forcing, attributes = weather(basins)
    numbers = bundle.provenance.get("basin_numbers")
    if numbers:
        attributes["basin_number"] = torch.tensor([float(numbers[b]) for b in BASINS]).double()
    with torch.no_grad():
        fluxes, _ = bundle.model(forcing, attributes)
    return {name: series[SEQ_LENGTH - 1 :].numpy() for name, series in fluxes.items()}


def test_each_plain_model_gives_what_neuralhydrologys_evaluation_gives(train, basins):
    furthest = {}
    for k, (name, keys) in enumerate(PLAIN.items()):
        run = train(basins, **keys, experiment_name=f"plain{k}")
        cfg = Config(run / "config.yml")
        results = get_tester(cfg=cfg, run_dir=run, period="test", init_model=True).evaluate(
            save_results=False
        )
        theirs = np.stack(
            [results[b]["1D"]["xr"][f"{TARGET}_sim"].isel(time_step=-1).values for b in BASINS], -1
        )
        if TARGET in cfg.clip_targets_to_zero:
            theirs = np.maximum(theirs, 0.0)
        flow = ours(run, basins)[TARGET]
        assert flow.shape == theirs.shape == (61, 3)
        observed = np.stack(
            [results[b]["1D"]["xr"][f"{TARGET}_obs"].isel(time_step=-1).values for b in BASINS]
        )
        furthest[name] = float(np.abs(flow - theirs).max() / observed.std())
        assert theirs.std() > 0.001 * observed.std()  # there is something to compare
    print({name: f"{value:.1e}" for name, value in furthest.items()})
    assert max(furthest.values()) < 1e-5, furthest


HOURLY = {
    "model": "mtslstm",
    "use_frequencies": ["1h", "1D"],
    "seq_length": {"1D": SEQ_LENGTH, "1h": 72},
    "predict_last_n": {"1D": 1, "1h": 24},
    "hidden_size": {"1D": 5, "1h": 7},
    "test_end_date": "20/05/2001",
}
TWO_STEPS = {
    "mtslstm": {},
    "by identity": {"hidden_size": 6, "transfer_mtslstm_states": {"h": "identity", "c": "identity"}},
    "cell state alone": {"hidden_size": 6, "transfer_mtslstm_states": {"h": None, "c": "linear"}},
    "shared": {"hidden_size": 6, "shared_mtslstm": True},
    "inputs of their own": {"dynamic_inputs": {"1D": [*FORCINGS[1:]], "1h": [FORCINGS[0], FORCINGS[2]]}},
    "basins by number": {"use_basin_id_encoding": True, "static_attributes": []},
}


def test_each_model_of_two_time_steps_gives_its_hours_as_neuralhydrologys_evaluation_does(
    train, hourly_basins
):
    furthest = {}
    for k, (name, keys) in enumerate(TWO_STEPS.items()):
        run = train(hourly_basins, **{**HOURLY, **keys}, experiment_name=f"two{k}")
        cfg = Config(run / "config.yml")
        results = get_tester(cfg=cfg, run_dir=run, period="test", init_model=True).evaluate(
            save_results=False
        )
        theirs, observed = (
            np.stack([results[b]["1h"]["xr"][f"{TARGET}_{kind}"].values.ravel() for b in BASINS], -1)
            for kind in ("sim", "obs")
        )
        bundle = import_neuralhydrology(run, stepping="window")
        forcing, attributes = weather(hourly_basins, "1h")
        forcing["P"] = forcing["P"] / 24  # the column's name says that its values are those of a day
        forcing = {
            n: forcing[{FORCINGS[0]: "P", FORCINGS[2]: "T"}.get(n, n)] for n in bundle.model.forcing_names
        }
        numbers = bundle.provenance.get("basin_numbers", dict.fromkeys(BASINS, 0))
        attributes["basin_number"] = torch.tensor([float(numbers[b]) for b in BASINS]).double()
        with torch.no_grad():
            fluxes, _ = bundle.model(forcing, attributes)
        hours = fluxes[TARGET][24 * (SEQ_LENGTH - 1) :].numpy()[: len(theirs)]
        assert theirs.shape == (20 * 24, 3)
        furthest[name] = float(np.abs(hours - np.maximum(theirs, 0.0)).max() / observed.std())
        assert theirs.std() > 0.001 * observed.std()  # there is something to compare
    print({name: f"{value:.1e}" for name, value in furthest.items()})
    assert max(furthest.values()) < 1e-5, furthest


HEADS = {
    "gmm": ({"head": "gmm", "n_distributions": 3, "loss": "GMMLoss"}, ("mu", "sigma", "pi")),
    "cmal": ({"head": "cmal", "n_distributions": 2, "loss": "CMALLoss"}, ("mu", "b", "tau", "pi")),
    "umal": (
        {"head": "umal", "n_taus": 4, "tau_down": 0.1, "tau_up": 0.9, "loss": "UMALLoss"},
        ("mu", "b"),
    ),
}


@pytest.mark.parametrize("model", ["cudalstm", "ealstm"])
@pytest.mark.parametrize("head", sorted(HEADS))
def test_the_parameters_of_each_distribution_are_those_of_neuralhydrology(
    train, basins, monkeypatch, head, model
):
    keys, parameters = HEADS[head]
    run = train(
        basins, **keys, model=model, n_samples=3000, negative_sample_handling="none", mc_dropout=False
    )
    actual = ours(run, basins)

    cfg = Config(run / "config.yml")
    network = get_model(cfg)
    network.load_state_dict(torch.load(run / "model_epoch001.pt", weights_only=True))
    network.eval()
    scaler = load_scaler(run)
    scale, centre = (float(scaler[f"xarray_feature_{k}"][TARGET]) for k in ("scale", "center"))
    n_taus = keys.get("n_taus", 1)

    def even(*shape):
        """Values at the middle of parts of equal width, where neuralhydrology draws them at random."""
        middles = (torch.arange(n_taus) + 0.5) / n_taus
        return middles.repeat_interleave(shape[0] // n_taus).reshape(shape)

    for k, basin in enumerate(BASINS):
        dataset = get_dataset(
            cfg=cfg, is_train=False, period="test", basin=basin, scaler=scaler, id_to_int={}
        )
        data = next(iter(DataLoader(dataset, batch_size=len(dataset), collate_fn=dataset.collate_fn)))
        with monkeypatch.context() as patched, torch.no_grad():
            if head == "umal":
                patched.setattr(samplingutils.torch, "rand", even)
            samples = network.sample(dict(data, x_d=dict(data["x_d"])), 3000)["y_hat"]
            theirs = network(network.pre_model_hook(dict(data, x_d=dict(data["x_d"])), is_train=False))
        for name in parameters:
            values = theirs[name][:, -1].numpy()
            if head == "umal":
                values = values.reshape(n_taus, -1).T
            if name in ("mu", "b", "sigma"):
                values = values * scale + (centre if name == "mu" else 0.0)
            for c in range(values.shape[1]):
                np.testing.assert_allclose(
                    actual[f"{TARGET}_{name}_{c + 1}"][:, k], values[:, c], rtol=1e-5, atol=1e-5 * scale
                )
        # The mean that is taken for the flow is that of their samples.
        drawn = samples.numpy().reshape(len(values), -1) * scale + centre
        error = drawn.std(1) / np.sqrt(drawn.shape[1])
        mean = np.maximum(drawn.mean(1), 0.0)
        assert np.all(np.abs(actual[TARGET][:, k] - mean) < 5 * error)
