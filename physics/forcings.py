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
PAR = Forcing(
    "PAR",
    "umol m-2 s-1",
    "photosynthetic photon flux density on the leaf",
    "plant_leaf_radiation~incoming~photosynthetically-active__photon_flux",
    "mean",
    lower=0.0,
    upper=3000.0,
)
T_LEAF = Forcing("T_leaf", "degC", "leaf temperature", "plant_leaf__temperature", "mean", -50.0, 65.0)
CO2 = Forcing(
    "CO2",
    "umol mol-1",
    "mole fraction of carbon dioxide in the air around the leaf",
    "atmosphere_bottom_air_carbon-dioxide__mole_fraction",
    "mean",
    lower=0.0,
    upper=5000.0,
)
VPD = Forcing(
    "VPD",
    "kPa",
    "vapour pressure deficit at the leaf surface",
    "atmosphere_bottom_air_water~vapor__vapor_pressure_deficit",
    "mean",
    lower=0.0,
    upper=15.0,
)
