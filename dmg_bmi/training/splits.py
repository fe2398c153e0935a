"""Which basins and steps train a model, choose its weights, and judge it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConfigError, alternatives
from ..io.files import read_text
from ..io.timeseries import BasinDataset
from .config import Basins, Period, TrainingConfig, bounds

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
        The basins' places in the dataset.
    """

    name: str
    period: Period
    columns: list[int]


def splits(config: TrainingConfig, dataset: BasinDataset) -> dict[str, Split]:
    """The splits of a dataset by name.

    Returns
    -------
    dict of str to Split
        ``train``, ``validation`` and ``test`` as far as there are periods of these names: of the
        training basins, and the validation of basins of its own if it has any. ``ungauged`` are
        the basins held out, in the test period, or the latest that there is.

    Raises
    ------
    ConfigError
        Naming basins that are not there or stand in two splits.
    """
    groups = _groups(config.basins, _complete(config, dataset))
    place = {name: column for column, name in enumerate(dataset.ids)}
    columns = {name: [place[basin] for basin in ids] for name, ids in groups.items()}
    result = {}
    for name, period in config.periods.named().items():
        own = columns["validation"] if name == "validation" else []
        result[name] = Split(name, period, own or columns["train"])
    if columns["test"]:
        result[UNGAUGED] = Split(UNGAUGED, period, columns["test"])
    return result


def between(dataset: BasinDataset, config: TrainingConfig) -> BasinDataset:
    """From the spin-up of the first period to the end of the last, as far as there is data."""
    ranges = [bounds(period) for period in config.periods.named().values()]
    spin_up = np.timedelta64(config.periods.spin_up, "D")
    return dataset.period(min(start for start, _ in ranges) - spin_up, max(end for _, end in ranges))


def _complete(config: TrainingConfig, dataset: BasinDataset) -> tuple[str, ...]:
    """The basins, without those that lack forcing if the configuration leaves these out."""
    if getattr(config.data, "missing_forcing", "error") != "leave_out":
        return dataset.ids
    part = between(dataset, config)
    lacking: dict[str, str] = {}
    for column, basin in enumerate(part.ids):
        for name, values in part.forcing.items():
            gaps = np.flatnonzero(~np.isfinite(values[:, column]))
            if len(gaps):
                lacking[basin] = f"{name} on {part.times[gaps[0]]} and on {len(gaps) - 1} other steps"
                break
    for basin, what in lacking.items():
        log.warning("basin %s is left out: no %s", basin, what)
    return tuple(basin for basin in dataset.ids if basin not in lacking)


def _groups(basins: Basins, there: Sequence[str]) -> dict[str, list[str]]:
    if basins.folds:
        held_out = {*folds(there, basins.folds, basins.seed)[basins.fold]}
        groups = {"train": [b for b in there if b not in held_out], "validation": []}
        return groups | {"test": [b for b in there if b in held_out]}
    groups = {name: _listed(name, getattr(basins, name), there) for name in ("train", "validation", "test")}
    held_out = {*groups["validation"], *groups["test"]}
    if basins.train is None:
        groups["train"] = [b for b in there if b not in held_out]
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        both = [b for b in groups[one] if b in {*groups[other]}]
        if both:
            raise ConfigError(f"basins.{one} and basins.{other} both have {', '.join(both[:5])}")
    if not groups["train"]:
        raise ConfigError("no basin is left to train on; see basins.train, basins.validation, basins.test")
    return groups


def _listed(name: str, given: Iterable[str] | Path | None, there: Sequence[str]) -> list[str]:
    ids = listed(given, f"basins.{name}") or []
    unknown = [b for b in ids if b not in {*there}]
    if unknown:
        what = alternatives(unknown[0], there)
        raise ConfigError(f"basins.{name}: the data has no basin {', '.join(unknown[:5])}; {what}")
    return ids


def listed(given: Iterable[str] | Path | None, key: str) -> list[str] | None:
    """Ids that a configuration lists, or the file that it names; there, ``#`` begins a comment."""
    if not isinstance(given, Path):
        return None if given is None else _once(list(given), key)
    try:
        text = read_text(given, ConfigError)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}; give a list of ids, or a text file of one id a line") from error
    ids = [line.split("#")[0].strip() for line in text.splitlines()]
    ids = [name for name in ids if name]
    if not ids:
        raise ConfigError(f"{key}: {given} has no ids; write one a line")
    return _once(ids, f"{key}: {given}")


def _once(ids: list[str], where: str) -> list[str]:
    twice = [name for name in dict.fromkeys(ids) if ids.count(name) > 1]
    if twice:
        raise ConfigError(f"{where} lists {', '.join(twice[:5])} more than once; keep one")
    return ids


def folds(ids: Sequence[str], count: int, seed: int = 0) -> list[list[str]]:
    """Parts of nearly equal size, each basin in exactly one.

    The draw depends on the ids and the seed alone, not on their order.
    """
    if not 2 <= count <= len(ids):
        raise ConfigError(f"basins.folds is {count}; it must be from 2 to the number of basins, {len(ids)}")
    order = np.random.default_rng(seed).permutation(sorted(ids))
    return [[str(basin) for basin in order[k::count]] for k in range(count)]
