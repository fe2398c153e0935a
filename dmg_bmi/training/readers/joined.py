"""Data with what stands in files of its own: parameters, and observations such as evaporation and snow."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import ConfigError, ForcingError, alternatives
from ...io.timeseries import BasinDataset
from .attributes import with_table
from .base import DataConfig
from .cf import cf
from .loading import load

log = logging.getLogger(__name__)


def read_data(config: DataConfig) -> BasinDataset:
    """Read the data of a configuration, with the parameters of the basins and further observations."""
    dataset = config.read()
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
    if observed.step != dataset.step:
        raise ForcingError(f"{path}: steps by {observed.step:g} s, the data by {dataset.step:g} s")
    known = {*observed.ids}
    columns = np.flatnonzero([basin in known for basin in dataset.ids])
    ids = [dataset.ids[column] for column in columns.tolist()]
    if not ids:
        raise ForcingError(f"{path}: has none of the basins; {alternatives(dataset.ids[0], observed.ids)}")
    _, here, there = np.intersect1d(dataset.times, observed.times, return_indices=True)
    if not len(here):
        raise ForcingError(
            f"{path}: has observations from {observed.times[0]} to {observed.times[-1]}, the data are from "
            f"{dataset.times[0]} to {dataset.times[-1]}"
        )
    part = observed.basins(ids)
    targets = {}
    for name, values in part.target.items():
        targets[name] = np.full((len(dataset.times), len(dataset.ids)), np.nan)
        targets[name][np.ix_(here, columns)] = values[there]
        count = int(np.isfinite(targets[name]).any(axis=0).sum())
        log.info("observed %s in %d of %d basins, from %s", name, count, len(dataset.ids), path)
    units = {**dataset.units, **{name: part.units[name] for name in targets}}
    return replace(dataset, target={**dataset.target, **targets}, units=units)
