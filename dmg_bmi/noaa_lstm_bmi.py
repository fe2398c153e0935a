"""NOAA's LSTM as a BMI component that reads NOAA's own configuration files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import NDArray

from .bmi import DeltaModelBmi
from .errors import ConfigError, ValueShapeError
from .interop import noaa_lstm
from .io.files import as_path
from .model.bundle import BundleInfo
from .runtime.catchments import Catchments
from .runtime.component import Component
from .runtime.config import RunConfig
from .runtime.group import is_owned
from .runtime.metadata import Reserved


@dataclass(frozen=True)
class NoaaConfig(RunConfig):
    """The configuration of a catchment as NOAA's component reads it.

    Parameters
    ----------
    runs : tuple of Path
        Run folders of neuralhydrology.
    """

    runs: tuple[Path, ...] = ()

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """Read NOAA's file of one catchment; those beside it that run the same model share a group.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        file = noaa_lstm.NoaaFile.read(as_path(path, ConfigError).absolute())
        info = noaa_lstm.load(file.runs)
        names = [v.name for v in info.variables if v.kind == "attribute"]
        area, *values = noaa_lstm.catchment(file, names)
        name = file.path.stem
        own = dict(zip(names, values, strict=True))
        table = Catchments(ids=(name,), attributes={**own}, area=area)
        alone = cls(catchments=table, runs=file.runs, forcing=file.forcing, start_time=file.start_time)
        beside = noaa_lstm.family(file, names)
        if beside.row(name) != [area, *values]:  # written again since the others were read
            return alone
        table = Catchments(ids=beside.ids, attributes={**beside.attributes}, area=beside.areas)
        shared = replace(alone, shared=file.path.parent, catchment=name, catchments=table)
        # Their component may be initialized twice from one file.
        return alone if is_owned(info, shared) else shared


class UnusedInputs:
    """Inputs that NOAA's component declares and this model does not use: they may be set and read."""

    def __init__(self, table: Mapping[str, Reserved], size: int) -> None:
        self.table = table
        self._values = {name: np.zeros(size) for name in table}

    def find(self, name: str) -> Reserved:
        """Return metadata."""
        return self.table[name]

    def array(self, name: str) -> NDArray[np.generic]:
        """Return the one array of a variable."""
        return self._values[name]

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Keep a value."""
        if values.size != self._values[name].size:
            raise ValueShapeError(f"{name!r} has {self._values[name].size} values, not {values.size}")
        self._values[name][...] = values.reshape(-1)


class NoaaLstmBmi(DeltaModelBmi):
    """A drop-in for ``bmi_LSTM`` of NOAA-OWP/lstm: other class, same files.

    It reads the configuration files of that component, unchanged, and gives its outputs under its names
    and in its units: the mean over the runs of neuralhydrology that ``train_cfg_file`` names, each at
    least zero, with states that go on from hour to hour from zero. Catchments whose files stand in
    one folder share one model. An input that the model does not use is not declared; it may be set.
    """

    configuration: ClassVar[type[RunConfig]] = NoaaConfig

    def _bundle_of(self, config: RunConfig) -> BundleInfo:
        assert isinstance(config, NoaaConfig)  # noqa: S101  `configuration` says so
        return noaa_lstm.load(config.runs)

    def _extra_variables(self, component: Component) -> UnusedInputs:
        used = component.about.by_name
        table = {
            name: Reserved(units, "float64") for name, units in noaa_lstm.INPUTS.items() if name not in used
        }
        return UnusedInputs(table, len(component.catchments))
