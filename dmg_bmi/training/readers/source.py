"""The data that a configuration asks for."""

from __future__ import annotations

from ...errors import ConfigError
from ...io.timeseries import BasinDataset
from ...synthetic.basins import generate
from ..config import CamelsData, CaravanData, NetcdfData, SyntheticData
from ..splits import listed
from .camels import camels
from .caravan import caravan
from .cf import cf
from .loading import Source, gather


def read(data: CamelsData | CaravanData | NetcdfData | SyntheticData) -> BasinDataset:
    """In memory, or mapped from disk if `data` names a cache."""
    if isinstance(data, SyntheticData):
        start = f"{data.start:%Y-%m-%d}"
        return generate(
            data.basins, data.years, step=data.step, start=start, noise=data.noise, seed=data.seed
        )
    return gather(_source(data), data.missing_forcing, data.cache)


def _source(data: CamelsData | CaravanData | NetcdfData) -> Source:
    basins = listed(data.basins, "data.basins")
    if basins is not None and not basins:
        raise ConfigError("data.basins is an empty list; list ids, or leave the key out to read all basins")
    if isinstance(data, CamelsData):
        return camels(data.path, basins, data.attributes, forcing=data.forcing, pet=data.pet, area=data.area)
    if isinstance(data, CaravanData):
        return caravan(
            data.path, basins, data.attributes, pet=data.pet, inputs=data.inputs, targets=data.targets
        )
    return cf(data.path, basins, data.attributes, table=data.table)
