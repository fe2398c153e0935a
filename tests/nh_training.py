"""Tiny runs that neuralhydrology itself trains on made-up basins."""

from pathlib import Path

import numpy as np
import pytest

BASINS = ("01022500", "01333000", "02046000")
FORCINGS = ("total_precipitation_sum", "surface_net_solar_radiation_mean", "temperature_2m_mean")
ATTRIBUTES = ("slope_mean", "area_gages2", "frac_forest")
TARGET = "streamflow"
SEQ_LENGTH = 12
PERIODS = {
    "train": ("01/10/2000", "30/04/2001"),
    "validation": ("01/05/2001", "30/06/2001"),
    "test": ("01/05/2001", "30/06/2001"),
}


@pytest.fixture(scope="session")
def basins(tmp_path_factory) -> Path:
    """Days of three basins."""
    return write_basins(tmp_path_factory.mktemp("basins"), "1D")


@pytest.fixture(scope="session")
def hourly_basins(tmp_path_factory) -> Path:
    """Hours of three basins."""
    return write_basins(tmp_path_factory.mktemp("hourly_basins"), "1h")


def write_basins(folder: Path, frequency: str) -> Path:
    """Write data of the layout ``generic``: weather and flow of three basins, and their attributes."""
    import pandas as pd
    import xarray

    (folder / "time_series").mkdir()
    (folder / "attributes").mkdir()
    dates = pd.date_range("2000-09-01", "2001-07-31 23:00", freq=frequency)
    rng = np.random.default_rng(7)
    day = (dates - dates[0]) / pd.Timedelta("1D")
    for k, basin in enumerate(BASINS):
        rain = rng.gamma(0.4, 9.0, len(dates))
        sun = 200 + 80 * np.sin(day / 58) + 20 * rng.standard_normal(len(dates))
        warmth = 8 + 9 * np.sin(day / 58) + 2 * rng.standard_normal(len(dates))
        flow = np.convolve(rain, 0.5 * 0.7 ** np.arange(30))[: len(dates)] * (0.4 + 0.2 * k)
        values = dict(zip((*FORCINGS, TARGET), (rain, sun, warmth, flow), strict=True))
        series = xarray.Dataset(
            {n: ("date", v.astype("float32")) for n, v in values.items()}, {"date": dates}
        )
        series.to_netcdf(folder / "time_series" / f"{basin}.nc")
    table = {"gauge_id": BASINS, **{n: rng.uniform(1, 90, len(BASINS)) for n in ATTRIBUTES}}
    pd.DataFrame(table).to_csv(folder / "attributes" / "attributes.csv", index=False)
    (folder / "basins.txt").write_text("\n".join(BASINS), encoding="utf-8")
    return folder


@pytest.fixture
def train(tmp_path):
    """Train a model of some keys on `basins` for one epoch and return its run folder."""
    from neuralhydrology.training.train import start_training
    from neuralhydrology.utils.config import Config

    def trained(basins: Path, **keys) -> Path:
        config = {
            "experiment_name": "tiny",
            "run_dir": tmp_path / "runs",
            "device": "cpu",
            "seed": 3,
            "verbose": 0,
            "data_dir": basins,
            "dataset": "generic",
            "model": "cudalstm",
            "head": "regression",
            "hidden_size": 9,
            "initial_forget_bias": 3,
            "output_activation": "linear",
            "output_dropout": 0.2,
            "optimizer": "Adam",
            "learning_rate": {0: 0.02},
            "loss": "MSE",
            "epochs": 1,
            "batch_size": 32,
            "seq_length": SEQ_LENGTH,
            "predict_last_n": 1,
            "num_workers": 0,
            "log_interval": 5,
            "log_tensorboard": False,
            "save_weights_every": 1,
            "validate_every": 0,
            "metrics": ["NSE"],
            "clip_gradient_norm": 1,
            "dynamic_inputs": [*FORCINGS],
            "static_attributes": [*ATTRIBUTES],
            "target_variables": [TARGET],
            "clip_targets_to_zero": [TARGET],
        }
        for period, (begin, end) in PERIODS.items():
            config |= {
                f"{period}_basin_file": basins / "basins.txt",
                f"{period}_start_date": begin,
                f"{period}_end_date": end,
            }
        cfg = Config({**config, **keys}, dev_mode=True)
        start_training(cfg)
        return cfg.run_dir

    return trained
