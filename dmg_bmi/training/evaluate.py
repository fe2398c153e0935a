"""Simulation of a dataset by a trained model, and scores by basin and split."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..arrays import FloatingArray
from ..io.csv_table import write_csv
from ..io.timeseries import BasinDataset
from ..model.delta_model import DeltaModel
from .config import bounds
from .data import tensors
from .history import numbers, read_written
from .losses import FLOW
from .metrics import METRICS, per_basin
from .splits import Split


@dataclass(frozen=True)
class Scores:
    """Metrics of one target in one split, ``values[metric][basin]``."""

    split: str
    target: str
    ids: tuple[str, ...]
    values: Mapping[str, FloatingArray]

    def median(self, metric: str) -> float:
        """Return the median over the basins that have the metric; NaN if none does."""
        values = self.values[metric]
        values = values[np.isfinite(values)]
        return float(np.median(values)) if len(values) else float("nan")


def predict(
    model: DeltaModel,
    dataset: BasinDataset,
    outputs: Sequence[str] = (FLOW,),
    dtype: torch.dtype = torch.float32,
) -> dict[str, FloatingArray]:
    """Return the model's fluxes over a whole dataset, ``[time, basins]``, from its initial state."""
    blocks = _blocks(range(len(dataset.ids)), dataset)
    parts = [_simulate(model, dataset.columns(some), outputs, dtype) for some in blocks]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in outputs}


def evaluate(
    model: DeltaModel, dataset: BasinDataset, chosen: Iterable[Split], targets: Sequence[str], spin_up: int
) -> list[Scores]:
    """Score each split and target in one continuous simulation.

    Parameters
    ----------
    model : DeltaModel
    dataset : BasinDataset
    chosen : iterable of Split
    targets : sequence of str
    spin_up : int
        Days from the dataset's start that are not scored.
    """
    chosen = list(chosen)
    ends = [bounds(split.period)[1] for split in chosen]
    dataset = dataset.period(dataset.times[0], max(ends))
    first = dataset.times[0] + np.timedelta64(spin_up, "D")
    parts: dict[tuple[str, str], list[dict[str, FloatingArray]]] = {}
    ids: dict[str, tuple[str, ...]] = {}
    # Split by split of basins, and of them a block at a time: simulations may be larger than memory.
    for columns in {tuple(split.columns) for split in chosen}:
        for some in _blocks(columns, dataset):
            part = dataset.columns(some)
            simulated = _simulate(model, part, targets)
            for split in chosen:
                if tuple(split.columns) != columns:
                    continue
                start, end = bounds(split.period)
                steps = part.steps(max(start, first), end)
                ids[split.name] = ids.get(split.name, ()) + part.ids
                seen = split.seen(part).target
                for target in targets:
                    observed = seen[target][steps]
                    scores = per_basin(simulated[target][steps], observed, dataset.step)
                    parts.setdefault((split.name, target), []).append(scores)
    return [
        Scores(
            split.name,
            target,
            ids[split.name],
            {metric: np.concatenate([s[metric] for s in parts[split.name, target]]) for metric in METRICS},
        )
        for split in chosen
        for target in targets
    ]


def _blocks(columns: Sequence[int], dataset: BasinDataset) -> Iterator[list[int]]:
    """Yield as many basins at a time as a model's networks and fluxes have room for."""
    count = max(1, 2**20 // len(dataset.times))
    for first in range(0, len(columns), count):
        yield list(columns[first : first + count])


def _simulate(
    model: DeltaModel, dataset: BasinDataset, outputs: Sequence[str], dtype: torch.dtype = torch.float32
) -> dict[str, FloatingArray]:
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    data = tensors(dataset, model.forcing_names, model.attribute_names, (), dtype, device)
    forcing = {name: values.contiguous() for name, values in data.forcing.items()}
    was_training = model.training
    model.eval()
    with torch.no_grad():
        fluxes, _ = model(forcing, data.attributes, outputs=outputs)
    model.train(was_training)
    return {name: fluxes[name].cpu().numpy() for name in outputs}


def write_scores(path: Path, splits: list[Scores]) -> None:
    """Write a CSV file: one line per split, target and basin, and the medians."""
    rows: list[list[str]] = []
    for scores in splits:
        for column, name in enumerate(scores.ids):
            values = (scores.values[m][column] for m in METRICS)
            rows.append([scores.split, scores.target, name, *(f"{v:.4f}" for v in values)])
        medians = (f"{scores.median(m):.4f}" for m in METRICS)
        rows.append([scores.split, scores.target, "median", *medians])
    write_csv(path, ["split", "target", "basin", *METRICS], rows)


def read_scores(path: Path, target: str) -> dict[str, Scores]:
    """Read the scores of one target by split, as :func:`write_scores` writes them.

    Raises
    ------
    ConfigError
        If the file is not what it should be.
    """
    keys = ("split", "target", "basin")
    file = read_written(path, keys)
    rows: dict[str, list[int]] = {}
    for row, (split, of, basin) in enumerate(zip(*(file.columns[key] for key in keys), strict=True)):
        if of == target and basin != "median":
            rows.setdefault(split, []).append(row)
    metrics = [name for name in file.columns if name not in keys]
    return {
        split: Scores(
            split,
            target,
            tuple(file.columns["basin"][row] for row in some),
            {metric: numbers(file, metric, some) for metric in metrics},
        )
        for split, some in rows.items()
    }


def table(scores: Scores) -> str:
    """Return NSE, KGE and bias of each basin and their medians, as text."""
    shown = ("NSE", "KGE", "bias")
    title = f"{scores.split} {scores.target}:"
    width = max(len(name) for name in (*scores.ids, title))
    lines = [f"{title:{width}}  " + "".join(f"{m:>9}" for m in shown)]
    for column, name in enumerate(scores.ids):
        lines.append(f"{name:{width}}  " + "".join(f"{scores.values[m][column]:9.3f}" for m in shown))
    lines.append(f"{'median':{width}}  " + "".join(f"{scores.median(m):9.3f}" for m in shown))
    return "\n".join(lines)
