"""NOAA's LSTM (NOAA-OWP/lstm): its BMI configuration files, and the model that they name.

A file per catchment names one or several runs of neuralhydrology, of whose flows the mean is taken, and
holds the catchment's area and attributes.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property, lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from ..arrays import HOUR
from ..errors import ConfigError
from ..io.files import read_yaml
from ..model.bundle import Bundle, BundleInfo
from ..model.variables import FLOW, Variable
from .import_neuralhydrology.assembly import Member, assemble, build_member
from .import_neuralhydrology.run_config import MOST_ALIASES

KEYS = "train_cfg_file", "area_sqkm"
#: What their component calls attributes, beside the names of the training.
ATTRIBUTES = {"elev_mean": "basin__mean_of_elevation", "slope_mean": "basin__mean_of_slope"}
NOAA_FLOW = "land_surface_water__runoff_volume_flux"
#: Their inputs, all of which they declare and of which a model uses some; a symbol here and their units.
INPUTS = {
    "land_surface_radiation~incoming~longwave__energy_flux": "W m-2",
    "land_surface_air__pressure": "Pa",
    "atmosphere_air_water~vapor__relative_saturation": "kg kg-1",
    "atmosphere_water__liquid_equivalent_precipitation_rate": "mm h-1",
    "land_surface_radiation~incoming~shortwave__energy_flux": "W m-2",
    "land_surface_air__temperature": "degK",
    "land_surface_wind__x_component_of_velocity": "m s-1",
    "land_surface_wind__y_component_of_velocity": "m s-1",
}


@dataclass(frozen=True)
class NoaaFile:
    """A configuration file of one catchment.

    Parameters
    ----------
    path : Path
    runs : tuple of Path
        Run folders of neuralhydrology, each with the file that `path` names.
    values : mapping of str to str
        All keys, as text.
    forcing : Path, optional
        A key of ours: stored weather, see :mod:`dmg_bmi.runtime.forcing.stored`.
    start_time : datetime, optional
        A key of ours: UTC date and time of BMI time 0.
    """

    path: Path
    runs: tuple[Path, ...]
    values: Mapping[str, Any]
    forcing: Path | None = None
    start_time: datetime | None = None

    @classmethod
    def read(cls, path: Path) -> NoaaFile:
        """Read a file; ConfigError, naming file and key, if it is none of NOAA's."""
        content = read_yaml(path, ConfigError, as_text=True)
        if any(key not in content for key in KEYS):
            raise ConfigError(
                f"{path}: is not a configuration of NOAA's LSTM: it requires {' and '.join(KEYS)}"
            )
        named = content["train_cfg_file"]
        names = [named] if isinstance(named, str) else named
        if not isinstance(names, list) or not names or not all(isinstance(n, str) and n for n in names):
            raise ConfigError(f"{path}: train_cfg_file must name a config.yml, or several")
        state = content.get("initial_state", "zero")
        if state != "zero":
            raise ConfigError(f"{path}: initial_state must be zero, not {state!r}; it knows no other")
        runs = tuple(_run_folder(path, name) for name in names)
        forcing, start = content.get("forcing"), content.get("start_time")
        try:
            time = None if start is None else datetime.fromisoformat(start)
            store = None if forcing is None else path.parent / forcing
        except (TypeError, ValueError) as problem:
            raise ConfigError(
                f"{path}: forcing must be a path and start_time a date such as 2015-12-01: {problem}"
            ) from problem
        return cls(path, runs, content, store, time)

    @property
    def model(self) -> tuple[object, ...]:
        """What catchments have in common that step as one group."""
        return self.runs, self.forcing, self.start_time

    def number(self, *keys: str) -> float:
        """Return the number under one of several keys."""
        key = next((key for key in keys if key in self.values), None)
        if key is None:
            raise ConfigError(f"{self.path}: missing key {keys[0]!r}; the model needs it")
        try:
            value = float(self.values[key])
        except (TypeError, ValueError):
            value = float("nan")
        if not isfinite(value):
            raise ConfigError(f"{self.path}: {key} must be a number, not {self.values[key]!r}")
        return value


def _run_folder(path: Path, name: str) -> Path:
    """Return the folder of a training configuration, named from where the process runs or from its file."""
    for base in (Path(), path.parent):
        if os.path.isfile(base / name):
            return (base / name).parent
    raise ConfigError(f"{path}: train_cfg_file: {name}: no such file, from here or from {path.parent}")


def load(runs: Sequence[Path]) -> BundleInfo:
    """Make, once per process, the model of some runs, with the names of their component.

    Raises
    ------
    ImportModelError, ConfigError
        See :func:`import_noaa`.
    """
    stamps = []
    for folder in runs:
        files = sorted((*folder.glob("*.yml"), *folder.glob("*.pt"), *folder.glob("train_data/*.yml")))
        stamps.append((folder.absolute(), tuple((f.name, f.stat().st_mtime_ns) for f in files)))
    return _load(tuple(stamps))


@lru_cache(maxsize=8)
def _load(stamps: tuple[tuple[Path, tuple[tuple[str, int], ...]], ...]) -> BundleInfo:
    info = _bundle([folder for folder, _ in stamps]).in_memory()
    return replace(info, variables=tuple(_renamed(v) for v in info.variables))


def recognises(path: str | Path) -> bool:
    """Tell whether a path is a configuration file of NOAA's LSTM."""
    if not os.path.isfile(path):
        return False
    try:
        NoaaFile.read(Path(path))
    except ConfigError:
        return False
    return True


def import_noaa(path: str | Path, name: str = "LSTM") -> Bundle:
    """Make a bundle of the model that a configuration file of NOAA's LSTM names.

    Raises
    ------
    ImportModelError, ConfigError
        Naming file and key; nothing is imported in part.
    """
    return _bundle(NoaaFile.read(Path(path)).runs, name)


def _bundle(runs: Sequence[Path], name: str = "LSTM") -> Bundle:
    members = [_member(folder) for folder in runs]
    provenance = members[0].provenance if len(members) == 1 else {"members": [m.provenance for m in members]}
    return Bundle(assemble(members).eval(), name, "NOAA's LSTM, as its own component runs it", provenance)


def _member(folder: Path) -> Member:
    """Read a run by the epoch that its configuration names, as their component does."""
    path = folder / "config.yml"
    epochs = read_yaml(path, ConfigError, aliases=MOST_ALIASES).get("epochs")
    if isinstance(epochs, bool) or not isinstance(epochs, int):
        raise ConfigError(f"{path}: epochs must be the number of the checkpoint, not {epochs!r}")
    member = build_member(folder, epochs, step=HOUR)
    if member.run.symbols[member.run.targets[0]] != "Q" or len(member.run.targets) != 1:
        raise ConfigError(
            f"{path}: target_variables must be runoff as a depth, such as QObs(mm/h), not "
            f"{', '.join(member.run.targets)}"
        )
    return replace(member, role=replace(member.role, nonnegative=True))


def _renamed(variable: Variable) -> Variable:
    """Give a variable the name and the units that it has in their component."""
    if variable.kind == "input" and variable.name in INPUTS:
        return replace(variable, units=INPUTS[variable.name])
    return replace(variable, name=NOAA_FLOW) if variable.name == FLOW else variable


@dataclass(frozen=True)
class Family:
    """Catchments of one folder that run the same model.

    Parameters
    ----------
    ids : tuple of str
        Names of their files, without the ending.
    attributes : mapping of name to list
    areas : list of float
        km2.
    """

    ids: tuple[str, ...]
    attributes: dict[str, list[float]]
    areas: list[float]

    def row(self, name: str) -> list[float]:
        """Return area and attributes of a catchment; nothing where it is not one of them."""
        if name not in self._row_of:
            return []
        k = self._row_of[name]
        return [self.areas[k], *(values[k] for values in self.attributes.values())]

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {name: k for k, name in enumerate(self.ids)}


def family(file: NoaaFile, names: Sequence[str]) -> Family:
    """Return the catchments whose files stand beside `file` and name the same runs.

    Files that are none of NOAA's, or lack something, are left to whoever initializes them.
    """
    folder = file.path.parent
    return _family(folder, folder.stat().st_mtime_ns, file.path.suffix, file.model, tuple(names))


@lru_cache(maxsize=8)
def _family(
    folder: Path, mtime_ns: int, suffix: str, model: tuple[object, ...], names: tuple[str, ...]
) -> Family:
    found: dict[str, list[float]] = {}
    for path in sorted(folder.glob(f"*{suffix}")):
        try:
            file = NoaaFile.read(path)
            if file.model == model:
                found[path.stem] = catchment(file, names)
        except ConfigError:
            continue
    columns = [*zip(*found.values(), strict=True)] or [()] * (1 + len(names))
    areas, *attributes = ([*column] for column in columns)
    return Family((*found,), dict(zip(names, attributes, strict=True)), areas)


def catchment(file: NoaaFile, names: Sequence[str]) -> list[float]:
    """Return the area of a catchment, km2, and its attributes."""
    area = file.number("area_sqkm")
    if not area > 0:
        raise ConfigError(f"{file.path}: area_sqkm must be positive, not {area:g}")
    return [area, *(file.number(*filter(None, (name, ATTRIBUTES.get(name)))) for name in names)]
