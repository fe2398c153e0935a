"""A trained model over all of its data, and its scores by basin and split."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..dataset import Dataset
from ..delta_model import DeltaModel
from .data import tensors
from .metrics import METRICS, per_basin


@dataclass(frozen=True)
class Scores:
    """Metrics of one split, ``values[metric][basin]``."""

    split: str
    ids: tuple[str, ...]
    values: Mapping[str, NDArray[np.floating]]

    def median(self, metric: str) -> float:
        """Over the basins that have it; NaN if none does."""
        values = self.values[metric]
        values = values[np.isfinite(values)]
        return float(np.median(values)) if len(values) else float("nan")


def predict(model: DeltaModel, dataset: Dataset, target: str = "Q") -> NDArray[np.float32]:
    """The model's flux over a whole dataset, ``[time, basins]``, from its initial state."""
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    data = tensors(dataset, model.forcing_names, model.attribute_names, target, device=device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        fluxes, _ = model(data.forcing, data.attributes, outputs=(target,))
    model.train(was_training)
    result: NDArray[np.float32] = fluxes[target].cpu().numpy()
    return result


def score(split: str, simulated: NDArray[np.floating], dataset: Dataset, target: str = "Q") -> Scores:
    """Metrics of a simulation of the steps and basins of `dataset`."""
    return Scores(split, dataset.ids, per_basin(simulated, dataset.target[target]))


def write_scores(path: Path, splits: list[Scores]) -> None:
    """A CSV file: one line per split and basin, and the medians."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["split", "basin", *METRICS])
        for scores in splits:
            for column, name in enumerate(scores.ids):
                values = (scores.values[m][column] for m in METRICS)
                writer.writerow([scores.split, name, *(f"{v:.4f}" for v in values)])
            writer.writerow([scores.split, "median", *(f"{scores.median(m):.4f}" for m in METRICS)])


def table(scores: Scores) -> str:
    """NSE, KGE and bias of each basin and their medians, as text."""
    shown = ("NSE", "KGE", "bias")
    width = max(len(name) for name in (*scores.ids, "median"))
    lines = [f"{scores.split + ':':{width}}  " + "".join(f"{m:>9}" for m in shown)]
    for column, name in enumerate(scores.ids):
        lines.append(f"{name:{width}}  " + "".join(f"{scores.values[m][column]:9.3f}" for m in shown))
    lines.append(f"{'median':{width}}  " + "".join(f"{scores.median(m):9.3f}" for m in shown))
    return "\n".join(lines)
