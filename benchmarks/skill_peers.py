"""Skill of neuralhydrology and dmg, trained by their own trainers in as many CPU minutes as ours takes.

    python benchmarks/skill_peers.py neuralhydrology --data DIR --output runs/peers [--minutes 20] [--seed 0]
    python benchmarks/skill_peers.py dmg --data DIR --output runs/peers [--next-day]

Run it in an environment of the peer's own that also has this package. DIR is CAMELS-US with Daymet; basins
and years are the protocol's, or those of another file of `--protocol`. Loaders, networks, loss, optimiser,
loop and evaluation are the peer's; the time of the updates so far tells how many more fit. Settings are those
that each project publishes for these years, but for those marked *, which the budget forbids: these were set
by the time of an update and by judgement, without a look at scores. One thread; the CPU time of the training
alone counts.
"""

from __future__ import annotations

import argparse
import pickle
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from dmg_bmi.io.csv_table import write_csv
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.training.benchmark.protocol import Protocol
from dmg_bmi.training.metrics import per_basin
from dmg_bmi.training.readers.camels import ATTRIBUTES, camels, read_camels

#: Of a training, before its speed is known.
FIRST_UPDATES = 5
NEXT = "prcp_next_day"
METRICS = ("NSE", "KGE", "FHV", "FLV")
FLOW = "QObs(mm/d)"
#: neuralhydrology's 531_basins.yml; *: chosen for the budget.
LSTM = {
    "dataset": "camels_us",
    "forcings": ["daymet"],
    "model": "cudalstm",
    "head": "regression",
    "hidden_size": 64,  # *: 128 published
    "initial_forget_bias": 3,
    "output_dropout": 0.4,
    "output_activation": "linear",
    "optimizer": "Adam",
    "loss": "NSE",
    "learning_rate": {0: 3e-3, 11: 1e-3, 21: 2e-4},  # *: 1e-3, 5e-4, 1e-4 in Kratzert et al. (2019)
    "epochs": 30,  # *: of Kratzert et al. (2019), each cut to its share of the budget
    "batch_size": 64,  # *: 256 published
    "clip_gradient_norm": 1,
    "seq_length": 365,
    "predict_last_n": 30,  # *: 1 published, by which each day is seen about once
}
INPUTS = ["prcp(mm/day)", "srad(W/m2)", "tmax(C)", "tmin(C)", "vp(Pa)"]
#: The 26 of 531_basins.yml; `p_seasonality` makes the 27 of Kratzert et al. (2019).
STATIC = [
    name
    for name in ATTRIBUTES
    if name not in ("dom_land_cover_frac", "glim_1st_class_frac", "glim_2nd_class_frac")
]
#: Of dmg's config_dhbv_1_1p.yaml, in its order, but for `geol_2nd_class`, which a third of the 76 lack.
DMG_ATTRIBUTES = [
    *list(ATTRIBUTES)[:18],
    "dom_land_cover",
    "root_depth_50",
    *list(ATTRIBUTES)[18:26],
    "geol_1st_class",
    "glim_1st_class_frac",
    "glim_2nd_class_frac",
    "carbonate_rocks_frac",
    "geol_porostiy",
    "geol_permeability",
]


class Budget:
    """CPU time of a training, and how many updates fit in what is left of it."""

    def __init__(self, minutes: float):
        self.seconds, self.used, self.updates = 60 * minutes, 0.0, 0

    def fitting(self, share: float = 1.0) -> int:
        """Return the updates that a share of the remaining time is enough for."""
        if not self.updates:
            return FIRST_UPDATES
        return int(share * (self.seconds - self.used) / (self.used / self.updates))

    @contextmanager
    def spent(self, updates: int) -> Iterator[None]:
        """Count the time of some updates."""
        begun = time.process_time()
        yield
        self.used += time.process_time() - begun
        self.updates += updates
        print(f"{self.updates} updates, {self.used / 60:.1f} CPU minutes", flush=True)


def neuralhydrology(given: argparse.Namespace, data: BasinDataset, periods: dict, budget: Budget):
    """Train CudaLSTM and return its flow of the test years, and that observed, ``[time, basins]``."""
    import pandas as pd
    from neuralhydrology.evaluation import get_tester
    from neuralhydrology.training.basetrainer import BaseTrainer
    from neuralhydrology.utils.config import Config

    basins = given.output / "basins.txt"
    basins.write_text("\n".join(data.ids), encoding="utf-8")
    keys = {**LSTM, "experiment_name": given.peer, "run_dir": given.output, "data_dir": given.data}
    keys |= {"seed": given.seed, "device": "cpu", "num_workers": 0, "verbose": 0, "metrics": ["NSE"]}
    keys |= {"dynamic_inputs": [*INPUTS], "static_attributes": STATIC, "target_variables": [FLOW]}
    keys |= {"log_interval": 5, "log_tensorboard": False, "save_weights_every": 100, "validate_every": None}
    for period in ("train", "validation", "test"):
        begin, end = (pd.Timestamp(day) for day in periods["train" if period == "train" else "test"])
        keys |= {f"{period}_start_date": f"{begin:%d/%m/%Y}", f"{period}_end_date": f"{end:%d/%m/%Y}"}
        keys[f"{period}_basin_file"] = basins
    if given.next_day:
        days, rain = pd.DatetimeIndex(data.times, name="date"), next_day(data)
        series = {basin: pd.DataFrame({NEXT: rain[:, k]}, days) for k, basin in enumerate(data.ids)}
        (given.output / "next_day.p").write_bytes(pickle.dumps(series))
        keys["additional_feature_files"] = [given.output / "next_day.p"]
        keys["dynamic_inputs"].append(NEXT)

    class Trainer(BaseTrainer):
        def _train_epoch(self, epoch: int) -> None:
            self._max_updates_per_epoch = budget.fitting(1 / (self.cfg.epochs - epoch + 1))
            with budget.spent(self._max_updates_per_epoch):
                super()._train_epoch(epoch)

    trainer = Trainer(Config({**keys}, dev_mode=True))
    trainer.initialize_training()
    trainer.train_and_validate()
    print(f"an epoch has {len(trainer.loader)} updates")
    last = Config({**keys, "predict_last_n": 1}, dev_mode=True)
    tester = get_tester(cfg=last, run_dir=trainer.cfg.run_dir, period="test", init_model=False)
    results = tester.evaluate(save_results=False, model=trainer.model)
    series = [results[basin]["1D"]["xr"].isel(time_step=-1) for basin in data.ids]
    flow, observed = (np.stack([s[f"{FLOW}_{of}"].values for s in series], 1) for of in ("sim", "obs"))
    return np.maximum(flow, 0), observed


def dmg(given: argparse.Namespace, data: BasinDataset, periods: dict, budget: Budget):
    """Train LSTM and HBV 1.1p and return the flow of test years, and that observed, ``[time, basins]``."""
    from dmg.core.data.loaders import HydroLoader
    from dmg.core.utils.utils import initialize_config, set_randomseed
    from dmg.trainers import Trainer as DmgTrainer
    from omegaconf import OmegaConf

    class Trainer(DmgTrainer):
        def train_one_epoch(self, epoch: int, n_samples: int, n_minibatch: int, n_timesteps: int) -> None:
            updates = min(n_minibatch, budget.fitting())
            with budget.spent(updates):
                super().train_one_epoch(epoch, n_samples, updates, n_timesteps)

    names = ["prcp", "tmean", "pet"]
    series = [data.forcing[n] for n in ("P", "T", "PET")] + [next_day(data)] * given.next_day
    static = np.stack([data.attributes[n] for n in DMG_ATTRIBUTES], 1)
    arrays = (np.stack(series, -1).swapaxes(0, 1), data.target["Q"].T[..., None], static)
    file = given.output / "basins.p"
    file.write_bytes(pickle.dumps([a.astype("float32") for a in arrays]))
    inputs = names + [NEXT] * given.next_day

    def years(begin, end) -> dict[str, str]:
        days = (np.datetime64(day, "D") for day in (begin, end))
        return dict(zip(("start_time", "end_time"), (f"{d}".replace("-", "/") for d in days), strict=True))

    def with_spin_up(begin, end) -> dict[str, str]:
        return years(np.datetime64(begin, "D") - 365, end)

    test = {**with_spin_up(*periods["test"]), "batch_size": 25, "test_epoch": 0}
    config = {
        "mode": "train",
        "seed": given.seed,
        "device": "cpu",
        "output_dir": str(given.output),
        "data_loader": "HydroLoader",
        "data_sampler": "HydroSampler",
        "trainer": "Trainer",
        "train": {
            **with_spin_up(*periods["train"]),
            "target": ["streamflow"],
            "optimizer": {"name": "Adadelta"},
            "lr": 1.0,
            "loss_function": {"name": "NseBatchLoss"},
            "batch_size": 100,
            "epochs": 1,  # at a time
        },
        "test": test,
        "sim": test,
        "model": {
            "rho": 365,
            "warmup": 365,
            "phy": {
                "name": ["Hbv_1_1p"],
                "nmul": 16,
                "warmup_states": True,  # *: False published; half the time
                "dy_drop": 0.0,
                "dynamic_params": {"Hbv_1_1p": ["parBETA", "parK0", "parBETAET"]},
                "routing": True,
                "forcings": names,
            },
            "nn": {
                "name": "LstmModel",
                "dropout": 0.5,
                "hidden_size": 64,  # *: 256 published
                "forcings": inputs,
                "attributes": DMG_ATTRIBUTES,
            },
        },
        "observations": {
            "name": "camels_531",
            "data_path": str(file),
            **years(data.times[0], data.times[-1]),
            "all_forcings": inputs,
            "all_attributes": DMG_ATTRIBUTES,
            "area_name": "area_gages2",
            "target_unit": "mm/d",
        },
    }
    config = initialize_config(OmegaConf.create(config))
    set_randomseed(given.seed)
    loader = HydroLoader(config, test_split=True, overwrite=True)
    loader.train_dataset["target"][:365] = torch.nan  # the spin-up lies before the years of training
    trainer = Trainer(config, None, loader.train_dataset, loader.eval_dataset, write_out=False)
    while budget.fitting() > 0:
        trainer.train()
    trainer.evaluate()
    return trainer.predictions["streamflow"][..., 0], loader.eval_dataset["target"][365:, :, 0].numpy()


def next_day(data: BasinDataset) -> np.ndarray:
    """Return the rain that is dated to the day after each, ``[time, basins]``."""
    return np.vstack([data.forcing["P"][1:], data.forcing["P"][-1:]])


def main(arguments: Sequence[str] | None = None) -> None:
    """Train a peer, write the scores of each basin, print their medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("peer", choices=("neuralhydrology", "dmg"))
    parser.add_argument("--data", type=Path, required=True, help="folder of CAMELS-US with Daymet")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=20.0, help="CPU minutes of the training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--next-day", action="store_true", help="show it the rain of the next day, too")
    parser.add_argument("--protocol", default="kratzert", help="name, or file with other years or basins")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    given.output.mkdir(parents=True, exist_ok=True)
    protocol = Protocol.read(given.protocol)
    periods = {"train": protocol.periods.train, "test": protocol.periods.test}
    options = {"forcing": "daymet", "pet": "hargreaves"}
    ids = protocol.select(camels(given.data, **options).ids)
    attributes = {name: name for name in (*ATTRIBUTES, *DMG_ATTRIBUTES)}
    data = read_camels(given.data, ids, attributes, **options)
    budget = Budget(given.minutes)
    flow, observed = {"neuralhydrology": neuralhydrology, "dmg": dmg}[given.peer](
        given, data, periods, budget
    )
    scores = per_basin(flow, observed, names=METRICS)
    name = given.peer + "-next_day" * given.next_day
    rows = [[b, *(f"{scores[m][k]:.4f}" for m in METRICS)] for k, b in enumerate(data.ids)]
    write_csv(given.output / f"{name}-{given.seed}.csv", ["basin", *METRICS], rows)
    medians = ", ".join(f"{m} {np.nanmedian(scores[m]):.3f}" for m in METRICS)
    print(f"{name}, {len(data.ids)} basins, medians: {medians}; {budget.updates} updates")


if __name__ == "__main__":
    main()
