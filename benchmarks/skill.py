"""Skill on CAMELS basins: the shipped hybrid beside an LSTM alone and an HBV calibrated per basin.

    python benchmarks/skill.py CAMELS_FOLDER [--output runs/skill] [--seeds 0 1 2] [--basins ID ...]

Trained on 1993-10 to 2003-09, scored on 2003-10 to 2013-09, by which nothing is chosen. Each model
also predicts basins that it was not trained on: the basins, sorted by id, are dealt into three folds.
A run folder per model, fold and seed lies below --output; a finished one is read back, and one that
was stopped goes on. Prints tables in Markdown; skill.csv has every seed and basin.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from dmg_bmi.physics import ProcessModel, run
from numpy.typing import NDArray
from torch import Tensor

from dmg_bmi.io.timeseries import COORDINATES, BasinDataset
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.model.compiled_blocks import CompiledBlocks
from dmg_bmi.model.registry import build_process_model
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.config import bounds
from dmg_bmi.training.data import Windows, statistics, tensors
from dmg_bmi.training.evaluate import predict
from dmg_bmi.training.metrics import per_basin
from dmg_bmi.training.trainer import learning_rate

Flow = NDArray[np.floating]
FOLDS = 3
LSTM = (
    "model.nn={name: lstm, hidden_size: 64, dropout: 0.4}",
    "model.phy_model={}",
    "model.roles=[{role: output, inputs: [P, T, PET, SRAD, VP, daylength], outputs: [Q]}]",
    "training.ensemble=1",
    "training.batch_size=208",
    "training.seq_length=545",
)
#: Shipped configuration and what differs from it, for basins of the training and for others.
MODELS: Mapping[str, Sequence[str]] = {"hybrid": ("camels",), "LSTM alone": ("camels", *LSTM)}
LEFT_OUT: Mapping[str, Sequence[str]] = {
    "hybrid": ("camels_ungauged",),
    "LSTM alone": ("camels", *LSTM, "training.batch_size=104"),
}
#: Without networks: equations and days of a window; the hybrid has the last of these.
CALIBRATED = {
    "HBV, one component": ({"name": "hbv", "betaet": True, "nmul": 1}, 545),
    "HBV, four components": ({"name": "hbv", "betaet": True, "nmul": 4}, 545),
    "HBV, four components, long windows": ({"name": "hbv", "betaet": True, "nmul": 4}, 910),
    "HBV 1.1p, four components, long windows": ({"name": "hbv_1_1p", "nmul": 4}, 910),
}
#: Its calibration: random starts of each basin, updates, learning rate.
STARTS, UPDATES, RATE = 8, 300, 0.1
#: Their own trainers, same basins, forcing, PET and periods, one seed, 7 to 10 CPU minutes (November 2026).
PEERS = {
    "dmg 1.5.0, LSTM 64 + HBV 1.0, nmul 16": 0.416,
    "dmg 1.5.0, LSTM 64 + HBV 1.1p, nmul 16": 0.411,
    "neuralhydrology, CudaLSTM 64": 0.448,
}


# -- networks, with or without equations: the shipped trainer ---------------------------------------


def configured(path: Path, spec: Sequence[str], seed: int, basins: Sequence[str]) -> TrainingConfig:
    """A shipped configuration with differences, on some basins."""
    name, *overrides = spec
    config = TrainingConfig.read(name, [*overrides, f"data.path={path}", f"training.seed={seed}"])
    return replace(config, data=replace(config.data, basins=tuple(basins)))


def trained(config: TrainingConfig, folder: Path) -> Bundle:
    """Train, or go on, or read back what is finished."""
    if not (folder / "cpu_minutes").exists():
        begun = time.process_time()
        train(config, folder)
        minutes = (time.process_time() - begun) / 60.0
        (folder / "cpu_minutes").write_text(f"{minutes:.1f}\n", encoding="utf-8")
        print(f"{folder}: {minutes:.1f} CPU minutes", flush=True)
    return Bundle.load(folder / "bundle")


def tested(dataset: BasinDataset, config: TrainingConfig) -> tuple[BasinDataset, BasinDataset]:
    """What is simulated, from the spin-up of the first period to the end of the test, and what counts."""
    (start, end), (trained_from, _) = bounds(config.periods.test), bounds(config.periods.train)
    spin_up = np.timedelta64(config.periods.spin_up, "D")
    whole = dataset.period(min(start, trained_from) - spin_up, end)
    return whole, whole.period(max(start, whole.times[0] + spin_up), end)


def flow(bundle: Bundle, dataset: BasinDataset, config: TrainingConfig) -> Flow:
    """Simulated in the test period, ``[time, basins]``."""
    whole, part = tested(dataset, config)
    return predict(bundle.model, whole)["Q"][-len(part.times) :]


# -- equations alone, basin by basin -----------------------------------------------------------------


def simulate(
    hbv: ProcessModel,
    raw: Tensor,
    forcing: Mapping[str, Tensor],
    spin_up: int,
    block: CompiledBlocks | None = None,
) -> Tensor:
    """Flow after the spin-up ``[time, rows]`` of parameters before their sigmoid ``[rows, parameters]``."""
    declared = hbv.declaration.parameters
    shares = torch.sigmoid(raw).split([p.size for p in declared], dim=1)
    values = {
        p.name: p.lower + (p.upper - p.lower) * share.reshape(-1, *p.shape)
        for p, share in zip(declared, shares, strict=True)
    }
    state = hbv.init_state(len(raw), dtype=raw.dtype)
    if spin_up:
        before = {name: series[:spin_up] for name, series in forcing.items()}
        with torch.no_grad():
            _, state = run(hbv, before, state, values, {}, 1.0, outputs=(), block=block)
    after = {name: series[spin_up:] for name, series in forcing.items()}
    return run(hbv, after, state, values, {}, 1.0, outputs=("Q",), block=block)[0]["Q"]


def calibrated(hbv: ProcessModel, dataset: BasinDataset, config: TrainingConfig, file: Path) -> Tensor:
    """Parameters of each basin ``[basins, parameters]``, each found by Adam for itself.

    Loss, windows, spin-up, schedule and running average are those of the configuration. Of a basin's
    random starts the one with the best NSE over the training period is taken.
    """
    if file.exists():
        return torch.from_numpy(np.load(file))
    n, options = len(dataset.ids), config.training
    block = CompiledBlocks() if options.engine == "compiled" else None
    split = dataset.period(*bounds(config.periods.train))
    data = tensors(split, ("P", "T", "PET"), (), ("Q",))
    spread = torch.from_numpy(np.nanstd(split.target["Q"], 0)).float().repeat(STARTS) + 0.1
    generator = torch.Generator().manual_seed(options.seed)
    count = sum(p.size for p in hbv.declaration.parameters)
    raw = torch.logit(0.05 + 0.9 * torch.rand(STARTS * n, count, generator=generator)).requires_grad_()
    mean = raw.detach().clone()
    optimiser = torch.optim.Adam([raw])
    spin_up = config.periods.spin_up
    windows = Windows(data, options.seq_length, spin_up, n, generator)
    if len(windows.basins) < n:
        raise SystemExit("a basin without observed flow in the training period cannot be calibrated")
    batches = iter(windows)
    schedule = replace(options, max_steps=UPDATES, learning_rate=RATE)
    for step in range(UPDATES):
        batch = next(batches)
        order = batch.basins.argsort().repeat(STARTS)
        observed = batch.target["Q"][spin_up:, order]
        simulated = simulate(hbv, raw, {k: v[:, order] for k, v in batch.forcing.items()}, spin_up, block)
        error = torch.where(observed.isnan(), 0.0, simulated - observed) / spread
        (raw.grad,) = torch.autograd.grad((error.square().sum(0) / (~observed.isnan()).sum(0)).sum(), [raw])
        raw.grad *= (options.clip_gradient_norm / raw.grad.norm(dim=1, keepdim=True)).clamp(max=1.0)
        optimiser.param_groups[0]["lr"] = learning_rate(schedule, step)
        optimiser.step()
        mean.lerp_(raw.detach(), max(options.ema, 1.0 / (step + 1)))
    with torch.no_grad():
        forcing = {name: series.repeat(1, STARTS) for name, series in data.forcing.items()}
        whole = simulate(hbv, mean, forcing, spin_up).numpy()
    reached = per_basin(whole, np.tile(split.target["Q"][spin_up:], STARTS))["NSE"].reshape(STARTS, n)
    best = mean.reshape(STARTS, n, -1)[torch.from_numpy(np.nanargmax(reached, 0)), torch.arange(n)]
    file.parent.mkdir(parents=True, exist_ok=True)
    np.save(file, best.numpy())
    return best


def most_similar(
    dataset: BasinDataset, names: Sequence[str], known: Sequence[int], unknown: Sequence[int]
) -> list[int]:
    """Of the known basins the nearest to each unknown one in the named attributes, normalised."""
    stats = statistics(dataset.columns(list(known)), list(names))
    place = np.stack([(dataset.attributes[a] - s.mean) / s.std for a, s in stats.items()])
    distance = np.linalg.norm(place[:, unknown, None] - place[:, None, known], axis=0)
    return [known[nearest] for nearest in distance.argmin(1)]


# -- all of it ---------------------------------------------------------------------------------------


def gauged_and_left_out(
    path: Path, output: Path, seed: int, basins: Sequence[str], overrides: Sequence[str]
) -> tuple[dict[str, Flow], dict[str, Flow], BasinDataset]:
    """Flow of the test period by model: trained on all basins, and on the folds without the basin."""
    gauged: dict[str, Flow] = {}
    left_out: dict[str, Flow] = {}
    places = list(range(len(basins)))
    dataset = configured(path, MODELS["hybrid"], seed, basins).data.read()
    for name, spec in MODELS.items():
        label = name.replace(" ", "_")
        config = configured(path, [*spec, *overrides], seed, basins)
        gauged[name] = flow(trained(config, output / f"{label}-{seed}"), dataset, config)
        left_out[name] = np.empty_like(gauged[name])
        for fold in range(FOLDS):
            others = [basin for i, basin in enumerate(basins) if i % FOLDS != fold]
            without = configured(path, [*LEFT_OUT[name], *overrides], seed, others)
            bundle = trained(without, output / f"{label}-{seed}-without_{fold}")
            left_out[name][:, fold::FOLDS] = flow(bundle, dataset.columns(slice(fold, None, FOLDS)), without)
    whole, part = tested(dataset, config)
    forcing = tensors(whole, ("P", "T", "PET"), (), ()).forcing
    shown = [name for name in dataset.attributes if name not in COORDINATES]
    kinds = {"of the most similar basin": shown, "of the most similar and near basin": [*dataset.attributes]}
    donors = {by: list(places) for by in kinds}
    for fold in range(FOLDS):
        known = [i for i in places if i % FOLDS != fold]
        for by, names in kinds.items():
            donors[by][fold::FOLDS] = most_similar(dataset, names, known, places[fold::FOLDS])
    for name, (equations, window) in CALIBRATED.items():
        windows = (*MODELS["hybrid"], f"training.seq_length={window}", *overrides)
        hbv = build_process_model({**equations, "routing": 15})
        file = output / f"{equations['name']}_{equations['nmul']}_{window}-{seed}" / "parameters.npy"
        parameters = calibrated(hbv, dataset, configured(path, windows, seed, basins), file)
        for flows, by, rows in (
            (gauged, "per basin", places),
            *((left_out, by, rows) for by, rows in donors.items()),
        ):
            with torch.no_grad():
                simulated = simulate(hbv, parameters[rows], forcing, 0)[-len(part.times) :]
            flows[f"{name}, {by}"] = simulated.numpy()
    return gauged, left_out, part


def scored(flows: Sequence[Mapping[str, Flow]], part: BasinDataset) -> dict[str, list[dict[str, Flow]]]:
    """Scores by model of each seed, and last of the mean of their flows."""
    observed = part.target["Q"]
    return {
        name: [
            per_basin(series, observed)
            for series in [*(of[name] for of in flows), np.mean([of[name] for of in flows], axis=0)]
        ]
        for name in flows[0]
    }


def medians(scores: Mapping[str, list[dict[str, Flow]]], seeds: Sequence[int]) -> str:
    """Medians over basins: of each seed, their mean, and of the mean flow of the seeds.

    At last, of the mean of the seeds, the basins above zero and the mean in which none counts below -1.
    """
    heads = [*(f"seed {seed}" for seed in seeds), "mean", "mean flow", "KGE", "KGE, mean flow"]
    heads = ["median NSE", *heads, "basins above 0", "mean NSE, none below -1"]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, of in scores.items():
        nse, kge = ([float(np.nanmedian(s[m])) for s in of] for m in ("NSE", "KGE"))
        nse_by_basin = np.mean([s["NSE"] for s in of[:-1]], axis=0)
        numbers = [*nse[:-1], np.mean(nse[:-1]), nse[-1], np.mean(kge[:-1]), kge[-1]]
        cells = [name, *(f"{v:.3f}" for v in numbers), str((nse_by_basin > 0).sum())]
        lines.append(f"| {' | '.join(cells)} | {np.nanmean(nse_by_basin.clip(min=-1.0)):.3f} |")
    return "\n".join(lines)


def by_basin(ids: Sequence[str], *tables: Mapping[str, list[dict[str, Flow]]]) -> str:
    """NSE of each basin, mean of the seeds, the best of each table in bold."""
    names = [name for table in tables for name in table]
    lines = ["| basin | " + " | ".join(names) + " |", "|---" * (len(names) + 1) + "|"]
    for column_, basin in enumerate(ids):
        cells = []
        for table in tables:
            values = [np.mean([s["NSE"][column_] for s in of[:-1]]) for of in table.values()]
            cells += [f"**{v:.3f}**" if v == max(values) else f"{v:.3f}" for v in values]
        lines.append(f"| {basin} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("camels", type=Path, help="folder in the layout of CAMELS-US")
    parser.add_argument("--output", type=Path, default=Path("runs/skill"), help="where the run folders lie")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--basins", nargs="+", help="gauge ids; all that have every attribute by default")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", dest="overrides")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    everything = TrainingConfig.read("camels", [f"data.path={given.camels}"])
    basins = given.basins or everything.data.read().ids
    results = [
        gauged_and_left_out(given.camels, given.output, seed, basins, given.overrides) for seed in given.seeds
    ]
    part = results[0][2]
    gauged = scored([of[0] for of in results], part)
    left_out = scored([of[1] for of in results], part)
    print("\n## Basins of the training\n", medians(gauged, given.seeds), sep="\n")
    print("\n".join(f"| {name}, measured earlier | {v:.3f} |" for name, v in PEERS.items()))
    print("\n## Basins left out of training\n", medians(left_out, given.seeds), sep="\n")
    print("\n## NSE by basin, mean of the seeds\n", by_basin(part.ids, gauged, left_out), sep="\n")
    with open(given.output / "skill.csv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["basins", "model", "seed", "basin", "NSE", "KGE"])
        for kind, scores in (("gauged", gauged), ("left out", left_out)):
            for name, of in scores.items():
                for seed, one in enumerate(of):
                    label = [*given.seeds, "mean flow"][seed]
                    for basin, nse, kge in zip(part.ids, one["NSE"], one["KGE"], strict=True):
                        writer.writerow([kind, name, label, basin, f"{nse:.4f}", f"{kge:.4f}"])


if __name__ == "__main__":
    main()
