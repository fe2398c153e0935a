"""Calibration by gradients beside SciPy's differential evolution, on some basins of a finished calibration.

    dmg-bmi calibrate CONFIG --output RUN
    python benchmarks/calibrate.py RUN [--basins 20] [--seconds 40]

Differential evolution searches the same parameters within the same bounds for the loss of the same
training period, a basin at a time and all of its population as rows of one compiled run, for the given CPU
seconds of each basin; a basin that was searched is read back. The sample is drawn by --seed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import differential_evolution

from dmg_bmi.io.csv_table import write_csv
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.model.delta_model import DeltaModel
from dmg_bmi.training.calibration import columns, free_parameters
from dmg_bmi.training.config import bounds
from dmg_bmi.training.experiment import Experiment
from dmg_bmi.training.run_folder import BUNDLE, RunFolder


def searched(
    model: DeltaModel, dataset: BasinDataset, spin_up: int, seconds: float, seed: int
) -> dict[str, float]:
    """Parameters of the only basin of a dataset by differential evolution, with 1 - NSE as the loss."""
    parameters = free_parameters(model)
    names = [name for p in parameters for name in columns(p)]
    limits = [(p.lower, p.upper) for p in parameters for _ in columns(p)]
    observed = torch.from_numpy(dataset.target["Q"][spin_up:])
    present = ~observed.isnan()
    variance = (observed[present] - observed[present].mean()).square().sum()
    forcing = {n: torch.from_numpy(dataset.forcing[n]).float() for n in model.forcing_names}

    def loss(values: np.ndarray) -> np.ndarray:
        values = values.reshape(len(names), -1)
        rows = values.shape[1]
        attributes = {n: torch.from_numpy(v.copy()).float() for n, v in zip(names, values, strict=True)}
        weather = {n: series.expand(-1, rows).contiguous() for n, series in forcing.items()}
        with torch.no_grad():
            flow = model(weather, attributes, outputs=("Q",))[0]["Q"][spin_up:]
        error = torch.where(present, flow - torch.where(present, observed, 0.0), 0.0)
        return (error.square().sum(0) / variance).numpy()

    begun = time.process_time()
    found = differential_evolution(
        loss,
        limits,
        maxiter=100_000,
        tol=0.0,
        atol=1e-5,
        seed=seed,
        polish=False,
        vectorized=True,
        updating="deferred",
        callback=lambda *_: time.process_time() - begun > seconds,
    )
    return dict(zip(names, found.x.tolist(), strict=True))


def main(arguments: Sequence[str] | None = None) -> None:
    """Search the sample and print how it compares."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder of dmg-bmi calibrate")
    parser.add_argument("--basins", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=40.0, help="CPU seconds of each basin")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    files = RunFolder(given.run)
    experiment = Experiment.load(files.read_config())
    model = Bundle.load(files / BUNDLE).model
    model.compiled = True
    split = experiment.splits["train"]
    count = min(given.basins, len(split.columns))
    sample = sorted(np.random.default_rng(given.seed).permutation(split.columns)[:count].tolist())
    training = experiment.observed.period(experiment.observed.times[0], bounds(split.period)[1])
    found = []
    for column in sample:
        one = training.columns([column])
        file = given.run / f"evolution-{one.ids[0]}-{given.seconds:g}.json"
        if not file.exists():
            values = searched(model, one, experiment.spin_up, given.seconds, given.seed)
            file.write_text(json.dumps(values), encoding="utf-8")
        found.append(json.loads(file.read_text(encoding="utf-8")))
    both = {"gradients": experiment.observed.columns(sample)}
    values = {name: np.array([of[name] for of in found]) for name in found[0]}
    searched_too = {**both["gradients"].attributes, **values}
    both["evolution"] = BasinDataset(**{**vars(both["gradients"]), "attributes": searched_too})
    rows = []
    for name, dataset in both.items():
        scores = Experiment.load(experiment.config, dataset).score(model, _splits(experiment, dataset))
        for of in scores:
            rows += [
                [name, of.split, basin, f"{nse:.4f}"]
                for basin, nse in zip(of.ids, of.values["NSE"], strict=True)
            ]
            print(f"{name:10} {of.split:6} median NSE {of.median('NSE'):.4f}")
    write_csv(given.run / "evolution.csv", ["search", "split", "basin", "NSE"], rows)


def _splits(experiment: Experiment, dataset: BasinDataset) -> list:
    return [*Experiment.load(experiment.config, dataset).splits.values()]


if __name__ == "__main__":
    main()
