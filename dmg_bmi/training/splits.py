"""Splits: basins and periods that train a model, choose its weights, and judge it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, alternatives
from ..io.timeseries import BasinDataset
from .config import Basins, Period, TrainingConfig, bounds
from .readers.base import FileData
from .readers.basin_ids import read_ids

log = logging.getLogger(__name__)
UNGAUGED = "ungauged"


@dataclass(frozen=True)
class Split:
    """Some basins in some period.

    Parameters
    ----------
    name : str
    period : two dates
        First and last day.
    columns : list of int
        Indices of the basins in the dataset.
    withheld : two dates, optional
        Part of the period whose observations do not belong to it.
    """

    name: str
    period: Period
    columns: list[int]
    withheld: Period | None = None

    def seen(self, dataset: BasinDataset) -> BasinDataset:
        """Return data without the observations that are withheld."""
        return dataset if self.withheld is None else dataset.unobserved(*bounds(self.withheld))


def splits(config: TrainingConfig, dataset: BasinDataset) -> dict[str, Split]:
    """Split a dataset.

    Returns
    -------
    dict of str to Split
        ``train``, ``withheld``, ``validation`` and ``test`` as far as there are periods of these names: of
        the training basins; the validation of its own basins if it has any. ``ungauged`` are
        the basins held out, in the test period or else the latest one.

    Raises
    ------
    ConfigError
        Naming basins that the data do not have or that are in two splits.
    """
    groups = _groups(config.basins, _complete(config, dataset))
    place = {name: column for column, name in enumerate(dataset.ids)}
    columns = {name: [place[basin] for basin in ids] for name, ids in groups.items()}
    result = {}
    periods = config.periods.named()
    for name, period in periods.items():
        validation = columns["validation"] if name == "validation" else []
        withheld = config.periods.withheld if name == "train" else None
        result[name] = Split(name, period, validation or columns["train"], withheld)
    if columns["test"]:
        result[UNGAUGED] = Split(UNGAUGED, [*periods.values()][-1], columns["test"])
    return result


def between(dataset: BasinDataset, config: TrainingConfig) -> BasinDataset:
    """Cut a dataset to the steps from the spin-up of the first period to the end of the last."""
    ranges = [bounds(period) for period in config.periods.named().values()]
    spin_up = np.timedelta64(config.periods.spin_up, "D")
    return dataset.period(min(start for start, _ in ranges) - spin_up, max(end for _, end in ranges))


def _complete(config: TrainingConfig, dataset: BasinDataset) -> tuple[str, ...]:
    """Return the basins, without those that lack forcing if the configuration drops them."""
    if not isinstance(config.data, FileData) or config.data.missing_forcing != "drop":
        return dataset.ids
    part = between(dataset, config)
    dropped: dict[str, str] = {}
    for column, basin in enumerate(part.ids):
        for name, values in part.forcing.items():
            gaps = np.flatnonzero(~np.isfinite(values[:, column]))
            if len(gaps):
                dropped[basin] = f"{name} on {part.times[gaps[0]]} and on {len(gaps) - 1} other steps"
                break
    for basin, what in dropped.items():
        log.warning("basin %s is left out: no %s", basin, what)
    return tuple(basin for basin in dataset.ids if basin not in dropped)


def _groups(basins: Basins, ids: Sequence[str]) -> dict[str, list[str]]:
    if basins.folds:
        held_out = {*folds(ids, basins.folds, basins.seed)[basins.fold]}
        groups = {"train": [b for b in ids if b not in held_out], "validation": []}
        return groups | {"test": [b for b in ids if b in held_out]}
    groups = {name: _listed(name, getattr(basins, name), ids) for name in ("train", "validation", "test")}
    held_out = {*groups["validation"], *groups["test"]}
    if basins.train is None:
        groups["train"] = [b for b in ids if b not in held_out]
    for first, second in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = [b for b in groups[first] if b in {*groups[second]}]
        if both:
            raise ConfigError(f"basins.{first} and basins.{second} both have {', '.join(both[:5])}")
    if not groups["train"]:
        raise ConfigError("no basin is left to train on; see basins.train, basins.validation, basins.test")
    return groups


def _listed(name: str, basins: Iterable[str] | Path | None, ids: Sequence[str]) -> list[str]:
    listed = read_ids(basins, f"basins.{name}") or []
    unknown = [b for b in listed if b not in {*ids}]
    if unknown:
        what = alternatives(unknown[0], ids)
        raise ConfigError(f"basins.{name}: the data has no basin {', '.join(unknown[:5])}; {what}")
    return listed


def folds(ids: Sequence[str], count: int, seed: int = 0) -> list[list[str]]:
    """Divide basins into parts of nearly equal size, each basin in exactly one.

    The draw depends on the ids and the seed alone, not on their order.
    """
    if not 2 <= count <= len(ids):
        raise ConfigError(f"basins.folds is {count}; it must be from 2 to the number of basins, {len(ids)}")
    order = np.random.default_rng(seed).permutation(sorted(ids))
    return [[str(basin) for basin in order[k::count]] for k in range(count)]
