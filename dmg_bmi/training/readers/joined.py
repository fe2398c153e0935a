"""Data with what others hold of the same basins: weather, parameters, and further observations."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...arrays import IntArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io.timeseries import BasinDataset
from .attributes import with_table
from .base import DataConfig
from .cf import cf
from .loading import load

log = logging.getLogger(__name__)


def read_data(config: DataConfig) -> BasinDataset:
    """Read the data of a configuration, with further weather, parameters of the basins and observations."""
    dataset = with_forcing(config.read(), {k: read_data(v) for k, v in config.additional_forcing.items()})
    if config.next_step:
        dataset = with_next_step(dataset, config.next_step)
    if config.parameters is not None:
        dataset = with_table(dataset, config.parameters)
    return dataset if config.observations is None else with_observations(dataset, config.observations)


def with_observations(dataset: BasinDataset, path: Path) -> BasinDataset:
    """Return the dataset with the observations of a file as further targets.

    Parameters
    ----------
    dataset : BasinDataset
    path : Path
        A file of the layout of :mod:`dmg_bmi.io.netcdf`; of it the series that it marks as observations
        count, for the basins and steps that the dataset has. What was not observed is missing.

    Raises
    ------
    ConfigError, ForcingError
        If the file has other steps, none of the basins or days, no observations, or some that the
        dataset has already.
    """
    observed = load(cf(path))
    if not observed.target:
        raise ForcingError(
            f'{path}: marks no series as observations; give them the attribute role = "target"'
        )
    both = [name for name in observed.target if name in dataset.target]
    if both:
        raise ConfigError(
            f"{path}: has observed {both[0]}, which the data have too; remove it from one of them"
        )
    ids, columns, here, there = _shared(dataset, observed, str(path))
    part = observed.basins(ids)
    targets = {}
    for name, values in part.target.items():
        targets[name] = np.full((len(dataset.times), len(dataset.ids)), np.nan)
        targets[name][np.ix_(here, columns)] = values[there]
        count = int(np.isfinite(targets[name]).any(axis=0).sum())
        log.info("observed %s in %d of %d basins, from %s", name, count, len(dataset.ids), path)
    units = {**dataset.units, **{name: part.units[name] for name in targets}}
    return replace(dataset, target={**dataset.target, **targets}, units=units)


def with_forcing(dataset: BasinDataset, others: Mapping[str, BasinDataset]) -> BasinDataset:
    """Return the dataset with the weather of others beside its own.

    Parameters
    ----------
    dataset : BasinDataset
    others : mapping of str to BasinDataset
        The forcings that both have join as ``P_<name>``, ``T_<name>``, ... For basins and steps that
        another lacks, the dataset's own stand in, so that all basins have all inputs.

    Raises
    ------
    ForcingError
        If another has other steps, or none of the basins, days or forcings.
    """
    forcing, units = {**dataset.forcing}, {**dataset.units}
    for key, other in others.items():
        where = f"data.additional_forcing.{key}"
        ids, columns, here, there = _shared(dataset, other, where)
        both = [name for name in dataset.forcing if name in other.forcing]
        if not both:
            raise ForcingError(f"{where}: has none of the forcings {', '.join(dataset.forcing)}")
        part = other.basins(ids)
        for name in both:
            own = dataset.forcing[name]
            joined = np.array(own)
            values = part.forcing[name][there]
            place = np.ix_(here, columns)
            joined[place] = np.where(np.isfinite(values), values, own[place])
            forcing[f"{name}_{key}"], units[f"{name}_{key}"] = joined, dataset.units[name]
        log.info("%s: %s of %d of %d basins", where, ", ".join(both), len(ids), len(dataset.ids))
    return replace(dataset, forcing=forcing, units=units)


def with_next_step(dataset: BasinDataset, names: Sequence[str]) -> BasinDataset:
    """Return the dataset with forcings of the step after, as ``P_next``; it ends a step earlier.

    Gauges that are read in the morning date the rain of a day to the next, when it has flowed off already. A
    model with such an input can say of a day only what it knows when that day is over.

    Raises
    ------
    ConfigError
        If the dataset lacks a forcing, or has another of the new name.
    """
    later = {}
    for name in names:
        if name not in dataset.forcing:
            raise ConfigError(f"data.next_step: no forcing {name!r}; {alternatives(name, dataset.forcing)}")
        if f"{name}_next" in dataset.forcing:
            raise ConfigError(f"data.next_step: the data have a forcing {name}_next already; rename it")
        later[f"{name}_next"] = dataset.forcing[name][1:]
    return replace(
        dataset,
        times=dataset.times[:-1],
        forcing={name: values[:-1] for name, values in dataset.forcing.items()} | later,
        target={name: values[:-1] for name, values in dataset.target.items()},
        units={**dataset.units, **{f"{name}_next": dataset.units[name] for name in names}},
    )


def _shared(
    dataset: BasinDataset, other: BasinDataset, where: str
) -> tuple[list[str], IntArray, IntArray, IntArray]:
    """Return the basins that both have and their columns in the first, and the shared steps in each.

    Raises
    ------
    ForcingError
        If the steps differ in length, or no basin or step is in both.
    """
    if other.step != dataset.step:
        raise ForcingError(f"{where}: steps by {other.step:g} s, the data by {dataset.step:g} s")
    known = {*other.ids}
    columns = np.flatnonzero([basin in known for basin in dataset.ids])
    ids = [dataset.ids[column] for column in columns.tolist()]
    if not ids:
        raise ForcingError(f"{where}: has none of the basins; {alternatives(dataset.ids[0], other.ids)}")
    _, here, there = np.intersect1d(dataset.times, other.times, return_indices=True)
    if not len(here):
        raise ForcingError(
            f"{where}: has data from {other.times[0]} to {other.times[-1]}, the data are from "
            f"{dataset.times[0]} to {dataset.times[-1]}"
        )
    return ids, columns, here, there
