"""The folder of a training: the names of its files, and what they say of its progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ..errors import ConfigError, TrainingError
from ..io import netcdf
from ..io.atomic import write_atomic
from ..io.timeseries import BasinDataset
from ..io.typed_yaml import read_yaml
from ..model.bundle_files import OF_RUN
from ..runtime import config as run_config
from . import checkpoint
from .config import Overrides, TrainingConfig, settings
from .readers.base import FileData

log = logging.getLogger("dmg_bmi")
BUNDLE, CONFIG, LOG = OF_RUN, "config.yaml", "train.log"
CHECKPOINT, TENSORBOARD = "checkpoint.safetensors", "tensorboard"
#: Data that were given to a training as an object.
DATA = "data.nc"
METRICS, HISTORY = "metrics.csv", "history.csv"
#: What a calibration found: of each basin, and of each of its starts.
PARAMETERS, STARTS = "parameters.csv", "starts.csv"
#: What it found of some basins, by the first, until it ends.
GROUPS = "starts-{}.safetensors"
#: What steps the bundle through its BMI.
BMI, FORCING = run_config.OF_RUN, "forcing.nc"
CURVE, REPORT = "training_curve.png", "report.html"
#: Basins whose hydrographs are drawn, by their NSE.
RANKS = ("best", "median", "worst")
#: Journal of a search, beside the run folders of its trials.
STUDY = "study.log"


@dataclass(frozen=True)
class RunFolder:
    """The files of one training.

    Parameters
    ----------
    path : Path
    """

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def hydrograph(self, rank: str) -> Path:
        """Return the picture of one of :data:`RANKS`."""
        return self.path / f"hydrograph_{rank}.png"

    @property
    def is_run(self) -> bool:
        """Return whether the folder holds a configuration and a bundle."""
        return os.path.exists(self / CONFIG) and os.path.isdir(self / BUNDLE)

    @property
    def is_finished(self) -> bool:
        """Return whether the run in the folder has ended."""
        going = os.path.exists(self / CHECKPOINT) or any(self.path.glob(GROUPS.format("*")))
        return os.path.exists(self / METRICS) and not going

    def settings(self, overrides: Overrides, data: object) -> dict[str, Any]:
        """Return ``section.key`` to value; given data, if there are any, are read where they are kept."""
        kept = {"reader": "netcdf", "path": str(self / DATA)}
        return ({} if data is None else {"data": kept}) | settings(overrides)

    def keep_data(self, data: BasinDataset) -> None:
        """Write data that were given as an object.

        Raises
        ------
        TrainingError
            If an unfinished run in the folder has others.
        """
        file = self / DATA
        if os.path.exists(self / CONFIG) and os.path.exists(file):
            if not _is_same(netcdf.read(file), data):
                raise TrainingError(
                    f"{self.path}: holds an unfinished run on other data; choose another folder or remove it"
                )
            return
        with checkpoint.writing(file):
            netcdf.write(file, data, title="data of a training")

    def read_config(self, overrides: Overrides = ()) -> TrainingConfig:
        """Read the configuration, whatever version of the package wrote it."""
        file = self / CONFIG
        return TrainingConfig.from_stored(read_yaml(file), str(file), overrides)

    def write_config(self, config: TrainingConfig) -> None:
        """Write the configuration with all defaults."""
        text = yaml.safe_dump(config.plain(), sort_keys=False)
        with checkpoint.writing(self.path):
            write_atomic(self / CONFIG, text.encode("utf-8"))

    def require_finished(self) -> None:
        """Check that the folder holds a finished run.

        Raises
        ------
        ConfigError
            Naming the missing file.
        """
        for name in (CONFIG, METRICS, HISTORY, FORCING):
            if not os.path.exists(self / name):
                raise ConfigError(f"{self.path}: holds no finished run (no {name}); see dmg-bmi train")

    def require_unfinished(self, config: TrainingConfig) -> None:
        """Check that the folder is new, or holds an unfinished run of this very configuration.

        Raises
        ------
        TrainingError
            If it holds a finished run, or another one.
        """
        if not os.path.exists(self / CONFIG):
            return
        if self.is_finished:
            raise TrainingError(f"{self.path}: holds a finished run; choose another folder or remove it")
        differences = self.compare(config)
        if differences:
            raise TrainingError(
                f"{self.path}: holds an unfinished run with {differences}; choose another folder, remove it, "
                "or resume that run by giving its configuration"
            )

    def holds(self, config: TrainingConfig) -> bool:
        """Return whether the folder holds the finished run of a configuration.

        Raises
        ------
        TrainingError
            If it holds that of another.
        """
        if not self.is_finished:
            return False
        differences = self.compare(config)
        if differences:
            raise TrainingError(
                f"{self.path}: holds a finished run with {differences}; choose another folder or remove it"
            )
        return True

    def compare(self, requested: TrainingConfig) -> str:
        """Tell the first keys in which the run's configuration differs from another; empty if it does not.

        A calibration adds its own table to its configuration, and a cache may have moved: no differences.
        """
        present = self.read_config()
        if isinstance(present.data, FileData) and isinstance(requested.data, FileData):
            present = replace(present, data=replace(present.data, cache=requested.data.cache))
        if present.data.parameters == self / PARAMETERS:
            data = replace(present.data, parameters=requested.data.parameters)
            present = replace(present, basins=requested.basins, data=data)
        return compare(present, requested)

    @contextmanager
    def logged(self) -> Iterator[None]:
        """Copy the log into a file, whatever the console shows of it."""
        with checkpoint.writing(self / LOG):
            handler = _LogFile(self / LOG, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        level = log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        try:
            yield
        except BaseException as error:
            # Into the file alone: on the console the command line reports it.
            text = str(error) or type(error).__name__
            handler.handle(logging.LogRecord(log.name, logging.ERROR, __file__, 0, text, None, None))
            raise
        finally:
            log.setLevel(level)
            log.removeHandler(handler)
            with suppress(OSError):
                handler.close()


class _LogFile(logging.FileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """Ignore a full disk here: it is reported by the files that a run cannot do without."""


def _is_same(kept: BasinDataset, data: BasinDataset) -> bool:
    """Tell whether two datasets have the same basins, steps, values, and units of series."""
    names = [(*d.forcing, "|", *d.target, "|", *d.attributes) for d in (kept, data)]
    if kept.ids != data.ids or names[0] != names[1] or not np.array_equal(kept.times, data.times):
        return False
    series = [{**d.forcing, **d.target} for d in (kept, data)]
    return (
        all(kept.units.get(name, "1") == data.units.get(name, "1") for name in series[0])
        and all(np.array_equal(series[0][name], series[1][name], equal_nan=True) for name in series[0])
        and all(np.array_equal(v, data.attributes[n], equal_nan=True) for n, v in kept.attributes.items())
    )


def compare(present: TrainingConfig, requested: TrainingConfig) -> str:
    """Tell the first keys in which two configurations differ; empty if they are the same."""
    one, other = _flat(present.plain()), _flat(requested.plain())
    keys = sorted(key for key in one.keys() | other.keys() if one.get(key) != other.get(key))
    return ", ".join(f"{key} {one.get(key)!r} and not {other.get(key)!r}" for key in keys[:3])


def _flat(content: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return ``section.key`` to value."""
    result: dict[str, Any] = {}
    for key, value in content.items():
        name = f"{prefix}{key}"
        result |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return result
