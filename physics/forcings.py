"""Forcings that process models share, declared once."""

from .contract import Forcing

P = Forcing(
    "P",
    "mm",
    "precipitation",
    "atmosphere_water__liquid_equivalent_precipitation_rate",
    "sum",
    lower=0.0,
    upper=2500.0,
)
T = Forcing("T", "degC", "air temperature", "land_surface_air__temperature", "mean", -95.0, 65.0)
PET = Forcing(
    "PET",
    "mm",
    "potential evapotranspiration",
    "land_surface_water__potential_evaporation_volume_flux",
    "sum",
    lower=0.0,
    upper=100.0,
)
