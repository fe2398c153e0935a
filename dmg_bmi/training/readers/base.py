"""The base of every reader of training data: its keys in a configuration, and a method that reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

from ...errors import ConfigError, repeated
from ...io.timeseries import BasinDataset
from ...model.registry import load_registered, registered_names
from .basin_ids import read_ids
from .loading import Missing, Source, load

#: Readers of this package; those of others join by an entry point in the group :data:`GROUP`.
READERS = {
    "camels": "dmg_bmi.training.readers.camels:CamelsData",
    "camels_aus": "dmg_bmi.training.readers.camels_aus:CamelsAusData",
    "camels_br": "dmg_bmi.training.readers.camels_br:CamelsBrData",
    "camels_ch": "dmg_bmi.training.readers.camels_ch:CamelsChData",
    "camels_cl": "dmg_bmi.training.readers.camels_cl:CamelsClData",
    "camels_de": "dmg_bmi.training.readers.camels_de:CamelsDeData",
    "camels_gb": "dmg_bmi.training.readers.camels_gb:CamelsGbData",
    "camels_hourly": "dmg_bmi.training.readers.camels_hourly:HourlyCamelsData",
    "caravan": "dmg_bmi.training.readers.caravan:CaravanData",
    "netcdf": "dmg_bmi.training.readers.cf:NetcdfData",
    "synthetic": "dmg_bmi.training.readers.synthetic:SyntheticData",
}
GROUP = "dmg_bmi.readers"


@dataclass(frozen=True, kw_only=True)
class DataConfig(ABC):
    """The section ``data`` of a training configuration; a reader is a subclass with its own keys.

    Parameters
    ----------
    reader : str
        Its registered name.
    attributes : sequence of str, or mapping of str to str, optional
        Attributes that networks see, or names and the columns that give them; all by default.
    parameters : path, optional
        CSV file of parameters by basin, ids in its first column, as ``dmg-bmi calibrate`` writes it. Its
        columns join the attributes.
    observations : path, optional
        NetCDF file of further targets, see
        :func:`~dmg_bmi.training.readers.joined.with_observations`.
    additional_forcing : mapping of str to DataConfig
        Other data with weather of the same basins, see
        :func:`~dmg_bmi.training.readers.joined.with_forcing`.
    next_step : sequence of str
        Forcings whose values of the step after join as ``P_next``, see
        :func:`~dmg_bmi.training.readers.joined.with_next_step`.
    """

    TAG: ClassVar[str] = "reader"

    reader: str
    attributes: tuple[str, ...] | dict[str, str] | None = None
    parameters: Path | None = None
    observations: Path | None = None
    additional_forcing: dict[str, DataConfig] = field(default_factory=dict)
    next_step: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for key in ("attributes", "next_step"):
            if twice := repeated(getattr(self, key) or ()):
                raise ConfigError(f"{key} names {', '.join(twice)} more than once; keep one")

    @abstractmethod
    def read(self) -> BasinDataset:
        """Read the data, in memory or mapped from disk."""

    @classmethod
    def variants(cls) -> dict[str, Callable[[], type[DataConfig]]]:
        """Return what loads the class of each registered reader, by name."""
        return {name: partial(_load_class, name) for name in registered_names(READERS, GROUP)}


@dataclass(frozen=True, kw_only=True)
class FileData(DataConfig, ABC):
    """Keys of readers of files.

    Parameters
    ----------
    path : path
        Folder or file of the data, relative to where the command runs.
    basins : sequence of str, or path, optional
        Ids, or a text file of one id a line; all basins by default.
    missing_forcing : {"error", "drop", "interpolate"}
        ``drop`` leaves out basins that lack forcing in the periods; for ``interpolate`` see
        :func:`~dmg_bmi.training.readers.loading.load`.
    cache : path, optional
        See :func:`~dmg_bmi.training.readers.loading.load`.
    """

    path: Path
    basins: tuple[str, ...] | Path | None = None
    missing_forcing: Missing = "error"
    cache: Path | None = None

    @abstractmethod
    def source(self, basins: Sequence[str] | None) -> Source:
        """Find the files of the basins; of all without `basins`."""

    def read(self) -> BasinDataset:
        """Read the data, in memory or mapped from disk if there is a cache."""
        basins = read_ids(self.basins, "data.basins")
        if basins is not None and not basins:
            raise ConfigError(
                "data.basins is an empty list; list ids, or leave the key out to read all basins"
            )
        return load(self.source(basins), self.missing_forcing, self.cache)


def _load_class(name: str) -> type[DataConfig]:
    found = load_registered("reader", READERS, GROUP, name)
    if not (isinstance(found, type) and issubclass(found, DataConfig)):
        raise ConfigError(f"reader {name!r} is not a subclass of {DataConfig.__module__}.DataConfig")
    return found
