"""Fluxes that process models share, declared once, and their limit by what a store holds."""

import torch
from torch import Tensor

from .contract import Flux

Q = Flux("Q", "mm", "runoff", "land_surface_water__runoff_depth", "sum")
ET = Flux("ET", "mm", "evapotranspiration", "land_surface_water__evapotranspiration_depth", "sum")
RECHARGE = Flux("recharge", "mm", "water from soil to groundwater", "soil_water__recharge_depth", "sum")
EXCHANGE = Flux("exchange", "mm", "groundwater from other catchments, as applied", aggregation="sum")
SWE = Flux("SWE", "mm", "snow water equivalent", "snowpack__liquid-equivalent_depth", "last")
SOIL_MOISTURE = Flux("soil_moisture", "mm", "soil moisture", "soil_water__liquid-equivalent_depth", "last")
GROUNDWATER = Flux("groundwater", "mm", "groundwater", "groundwater__liquid-equivalent_depth", "last")


def limited(flux: Tensor, supply: Tensor) -> Tensor:
    """Limit a flux out of a store: not negative, and no more than the store holds."""
    return torch.minimum(torch.relu(flux), supply)
