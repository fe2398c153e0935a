"""The normalisation of a neuralhydrology run."""

from __future__ import annotations

import os
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from ...errors import ImportModelError
from ...io.typed_yaml import read_yaml
from ...model.normalisation import FeatureStatistics
from . import variables
from .run_config import NhRun

FILE, PICKLED = "train_data/train_data_scaler.yml", "train_data/train_data_scaler.p"
BASINS = "train_data/id_to_int.yml"
_ATTRIBUTES = ("attribute_means", "attribute_stds"), ("camels_attr_means", "camels_attr_stds")


class Scaler:
    """Centre and scale of each feature.

    Parameters
    ----------
    folder : Path
        Of the run.

    Raises
    ------
    ImportModelError, ConfigError
        Naming file and key.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if not os.path.isfile(self.path) and os.path.isfile(folder / PICKLED):
            raise ImportModelError(
                f"{folder / PICKLED}: is a pickle, which could run code when it is read; write the same "
                f"numbers as {FILE}, as newer versions of neuralhydrology do"
            )
        self._content = read_yaml(self.path)

    def dynamic(self, name: str) -> tuple[float, float]:
        """Return centre and scale of a dynamic input or target."""
        centre, scale = (
            self._number(self._array(key, name), f"{key}.data_vars.{name}.data")
            for key in ("xarray_feature_center", "xarray_feature_scale")
        )
        return self._usable(centre, scale, name)

    def static(self, name: str) -> tuple[float, float]:
        """Return mean and standard deviation of an attribute."""
        keys = next((pair for pair in _ATTRIBUTES if pair[0] in self._content), _ATTRIBUTES[0])
        mean, std = (
            self._number(self._mapping(self._content.get(key), key).get(name), f"{key}.{name}")
            for key in keys
        )
        return self._usable(mean, std, name)

    def _array(self, key: str, name: str) -> object:
        dataset = self._mapping(self._content.get(key), key)
        arrays = self._mapping(dataset.get("data_vars"), f"{key}.data_vars")
        return self._mapping(arrays.get(name), f"{key}.data_vars.{name}").get("data")

    def _mapping(self, value: object, key: str) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ImportModelError(f"{self.path}: has no {key}: it is not that of this run")
        return value

    def _number(self, value: object, key: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            raise ImportModelError(f"{self.path}: {key} must be a finite number, not {value!r}")
        return float(value)

    def _usable(self, centre: float, scale: float, name: str) -> tuple[float, float]:
        if not scale > 0:
            raise ImportModelError(f"{self.path}: the scale of {name} is {scale:g}; it must be positive")
        return centre, scale


def read_statistics(scaler: Scaler, run: NhRun) -> dict[str, FeatureStatistics]:
    """Read the statistics of inputs, attributes and targets, under the names that they have here."""
    named = run.symbols
    statistics = {}
    for name in (*run.inputs, *run.targets):
        centre, scale = scaler.dynamic(name)
        target = name in run.targets
        column = variables.target(name, run.dataset) if target else variables.forcing(name)
        units = variables.units(name)
        if column is not None and named[name] == column.symbol:
            amount = 1.0 if column.period is None else column.period / run.step
            centre, scale = (centre + column.offset) / amount, scale / amount
            units = "" if column.period is None else "mm"
        statistics[named[name]] = FeatureStatistics(centre, scale, units=units)
    for name in run.static:
        statistics[name] = FeatureStatistics(*scaler.static(name))
    return statistics


def read_basin_numbers(folder: Path, run: NhRun) -> dict[str, int]:
    """Read by which number the network knows each basin."""
    path = folder / BASINS
    content = read_yaml(path)
    numbers = {str(basin): number for basin, number in content.items()}
    if sorted(map(str, numbers.values())) != sorted(map(str, range(run.n_basins))):
        raise ImportModelError(
            f"{path}: must number {run.n_basins} basins from 0 to {run.n_basins - 1}, as {run.path} says"
        )
    return numbers
