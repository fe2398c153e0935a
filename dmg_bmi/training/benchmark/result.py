"""The scores of all models of a benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...arrays import FloatingArray
from ...io.csv_table import write_csv
from ...io.timeseries import BasinDataset
from ..metrics import METRICS
from .protocol import Protocol

#: Metric to value by basin.
Values = Mapping[str, FloatingArray]
MEAN_FLOW = "mean flow"


@dataclass(frozen=True)
class Model:
    """The scores of a model in a protocol.

    Parameters
    ----------
    seeds : mapping of seed to Values
    mean_flow : Values, optional
        Of the mean flow of several seeds.
    minutes : float
        CPU minutes of a seed, on average.
    """

    seeds: Mapping[int, Values]
    mean_flow: Values | None
    minutes: float

    def mean(self, metric: str) -> FloatingArray:
        """Return the mean of the seeds' scores by basin."""
        return np.mean([values[metric] for values in self.seeds.values()], axis=0)


@dataclass(frozen=True)
class Result:
    """All scores of a benchmark.

    Parameters
    ----------
    folder : Path
    protocol : Protocol
    dataset : BasinDataset
        The basins of the protocol, for their attributes.
    models : mapping of name to Model
        The first is the one that is compared.
    published : mapping of label to ndarray ``[basins]``
        NSE; NaN where nothing was published of a basin.
    """

    folder: Path
    protocol: Protocol
    dataset: BasinDataset
    models: Mapping[str, Model]
    published: Mapping[str, FloatingArray]

    @property
    def table(self) -> Path:
        """Return the path of the table of all scores."""
        return self.folder / "benchmark.csv"

    @property
    def page(self) -> Path:
        """Return the path of the page."""
        return self.folder / "benchmark.html"

    def write_table(self) -> None:
        """Write one line for each model, seed and basin, and for each published figure."""
        rows: list[list[object]] = []
        for name, model in self.models.items():
            seeds = [(str(seed), values) for seed, values in model.seeds.items()]
            if model.mean_flow is not None:
                seeds.append((MEAN_FLOW, model.mean_flow))
            for seed, values in seeds:
                for k, basin in enumerate(self.dataset.ids):
                    rows.append([name, seed, basin, *(f"{values[metric][k]:.4f}" for metric in METRICS)])
        for label, nse in self.published.items():
            for basin, value in zip(self.dataset.ids, nse, strict=True):
                if np.isfinite(value):
                    rows.append([label, "published", basin, f"{value:.4f}", *[""] * (len(METRICS) - 1)])
        write_csv(self.table, ["model", "seed", "basin", *METRICS], rows)
