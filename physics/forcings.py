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
#: Further fields of the weather, under the names of AORC and, for frameworks, those that NextGen gives them.
PRESSURE = Forcing("PRES_surface", "Pa", "air pressure", "land_surface_air__pressure", "mean", 3e4, 1.2e5)
HUMIDITY = Forcing(
    "SPFH_2maboveground",
    "kg kg-1",
    "specific humidity of the air",
    "atmosphere_air_water~vapor__relative_saturation",  # NextGen calls specific humidity so
    "mean",
    lower=0.0,
    upper=0.1,
)
SHORTWAVE = Forcing(
    "DSWRF_surface",
    "W m-2",
    "shortwave",
    "land_surface_radiation~incoming~shortwave__energy_flux",
    "mean",
    lower=-5.0,
    upper=1600.0,
)
LONGWAVE = Forcing(
    "DLWRF_surface",
    "W m-2",
    "longwave",
    "land_surface_radiation~incoming~longwave__energy_flux",
    "mean",
    lower=10.0,
    upper=900.0,
)
WIND_X = Forcing(
    "UGRD_10maboveground",
    "m s-1",
    "wind",
    "land_surface_wind__x_component_of_velocity",
    "mean",
    lower=-120.0,
    upper=120.0,
)
WIND_Y = Forcing(
    "VGRD_10maboveground",
    "m s-1",
    "wind",
    "land_surface_wind__y_component_of_velocity",
    "mean",
    lower=-120.0,
    upper=120.0,
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
