"""Potential evapotranspiration from daily and hourly weather.

Equation numbers are those of FAO-56: Allen et al. (1998), Crop evapotranspiration, FAO Irrigation
and Drainage Paper 56. Arguments are tensors that broadcast: weather ``[time, rows]``, latitude and
elevation ``[rows]``, day of year ``[time, 1]``. Temperatures are in degC, radiation is the mean of the
day in W m-2, results are in mm d-1 and never negative.
"""

from __future__ import annotations

from math import log, pi

import torch
from torch import Tensor

#: W m-2 over a day, in MJ m-2 d-1.
MEGAJOULES = 0.0864
#: Latent heat of vaporisation, MJ kg-1 (FAO-56 eq. 8).
LATENT_HEAT = 2.45
#: Solar constant, MJ m-2 min-1 (FAO-56 eq. 21).
SOLAR_CONSTANT = 0.0820
#: Stefan-Boltzmann constant, MJ K-4 m-2 d-1 (FAO-56 eq. 39).
STEFAN_BOLTZMANN = 4.903e-9
#: Albedo of the reference surface (FAO-56 eq. 38).
ALBEDO = 0.23
#: Priestley & Taylor (1972).
ALPHA = 1.26


def hargreaves(tmin: Tensor, tmax: Tensor, tmean: Tensor, latitude: Tensor, day_of_year: Tensor) -> Tensor:
    """Compute PET after Hargreaves & Samani (1985), FAO-56 eq. 52.

    Parameters
    ----------
    tmin, tmax, tmean : Tensor
        Air temperature, degC. Where `tmax` is not above `tmin` the result is zero.
    latitude : Tensor
        Degrees, north positive.
    day_of_year : Tensor
        1 to 366.

    Returns
    -------
    Tensor
        mm d-1.
    """
    water = _as_water(extraterrestrial_radiation(latitude, day_of_year))
    return torch.relu(0.0023 * water * (tmean + 17.8)) * _root(tmax - tmin)


def oudin(tmean: Tensor, latitude: Tensor, day_of_year: Tensor) -> Tensor:
    """Compute PET after Oudin et al. (2005), https://doi.org/10.1016/j.jhydrol.2004.08.026, eq. 3.

    Parameters
    ----------
    tmean : Tensor
        Air temperature, degC.
    latitude : Tensor
        Degrees, north positive.
    day_of_year : Tensor
        1 to 366.

    Returns
    -------
    Tensor
        mm d-1; zero at and below -5 degC.
    """
    return _as_water(extraterrestrial_radiation(latitude, day_of_year)) * torch.relu(tmean + 5.0) / 100.0


def priestley_taylor(
    tmean: Tensor,
    shortwave: Tensor,
    vapour_pressure: Tensor,
    elevation: Tensor,
    latitude: Tensor,
    day_of_year: Tensor,
) -> Tensor:
    """Compute PET after Priestley & Taylor (1972), net radiation after FAO-56, no soil heat flux.

    Parameters
    ----------
    tmean : Tensor
        Air temperature, degC.
    shortwave : Tensor
        Incoming shortwave radiation, mean of the whole day, W m-2.
    vapour_pressure : Tensor
        Actual vapour pressure, Pa.
    elevation : Tensor
        m.
    latitude : Tensor
        Degrees, north positive.
    day_of_year : Tensor
        1 to 366.

    Returns
    -------
    Tensor
        mm d-1; zero where net radiation is negative.
    """
    slope = vapour_pressure_slope(tmean)
    weight = slope / (slope + psychrometric_constant(elevation))
    radiation = net_radiation(tmean, tmean, shortwave, vapour_pressure, elevation, latitude, day_of_year)
    return ALPHA * weight * torch.relu(_as_water(radiation))


def extraterrestrial_radiation(latitude: Tensor, day_of_year: Tensor) -> Tensor:
    """Compute solar radiation on top of the atmosphere, W m-2, mean of the day (FAO-56 eqs. 21 to 25).

    Parameters
    ----------
    latitude : Tensor
        Degrees, north positive; also beyond the polar circles.
    day_of_year : Tensor
        1 to 366.
    """
    phi = torch.deg2rad(latitude)
    angle = 2.0 * pi * day_of_year / 365.0
    distance = 1.0 + 0.033 * torch.cos(angle)
    declination = 0.409 * torch.sin(angle - 1.39)
    x = -torch.tan(phi) * torch.tan(declination)
    # Outside (-1, 1) the sun does not set or not rise; acos there has no finite slope.
    rises = x.abs() < 1.0
    sunset = torch.where(rises, torch.acos(torch.where(rises, x, 0.0)), torch.where(x < 0.0, pi, 0.0))
    height = sunset * torch.sin(phi) * torch.sin(declination)
    height = height + torch.cos(phi) * torch.cos(declination) * torch.sin(sunset)
    return torch.relu(24.0 * 60.0 / pi * SOLAR_CONSTANT * distance * height) / MEGAJOULES


def net_radiation(
    tmin: Tensor,
    tmax: Tensor,
    shortwave: Tensor,
    vapour_pressure: Tensor,
    elevation: Tensor,
    latitude: Tensor,
    day_of_year: Tensor,
) -> Tensor:
    """Compute net radiation of the reference surface, W m-2 (FAO-56 eqs. 37 to 40).

    The cloud term of net longwave radiation takes the ratio of shortwave to clear-sky
    radiation within 0.3 and 1 (ASCE, 2005, eq. 45), which also settles nights without end.

    Parameters
    ----------
    tmin, tmax : Tensor
        Air temperature, degC.
    shortwave : Tensor
        W m-2, mean of the whole day.
    vapour_pressure : Tensor
        Pa.
    elevation : Tensor
        m.
    latitude, day_of_year : Tensor
        Degrees; 1 to 366.
    """
    clear_sky = (0.75 + 2e-5 * elevation) * extraterrestrial_radiation(latitude, day_of_year)
    clearness = (shortwave / clear_sky.clamp(min=1e-3)).clamp(0.3, 1.0)
    black_body = STEFAN_BOLTZMANN * ((tmax + 273.16) ** 4 + (tmin + 273.16) ** 4) / 2.0
    longwave = black_body * (0.34 - 0.14 * _root(vapour_pressure / 1000.0)) * (1.35 * clearness - 0.35)
    return (1.0 - ALBEDO) * shortwave - longwave / MEGAJOULES


def vapour_pressure_slope(temperature: Tensor) -> Tensor:
    """Compute the slope of the saturation vapour pressure curve, kPa K-1 (FAO-56 eq. 13)."""
    return 4098.0 * saturation_vapour_pressure(temperature) / (temperature + 237.3) ** 2


def psychrometric_constant(elevation: Tensor) -> Tensor:
    """Compute the psychrometric constant, kPa K-1, at an elevation in m (FAO-56 eqs. 7, 8)."""
    pressure = 101.3 * ((293.0 - 0.0065 * elevation) / 293.0) ** 5.26
    return 0.665e-3 * pressure


def _as_water(radiation: Tensor) -> Tensor:
    """Convert W m-2 into the mm d-1 of water that it evaporates (FAO-56 eq. 20)."""
    return radiation * (MEGAJOULES / LATENT_HEAT)


def _root(x: Tensor) -> Tensor:
    """Take the square root, zero and of zero slope where `x` is not positive."""
    positive = x > 0.0
    return torch.where(positive, torch.sqrt(torch.where(positive, x, 1.0)), 0.0)


def penman_monteith_hourly(
    temperature: Tensor, net_radiation: Tensor, wind: Tensor, vapour_pressure: Tensor, pressure: Tensor
) -> Tensor:
    """Compute PET of an hour after Penman-Monteith, FAO-56 eq. 53.

    The soil takes or gives a tenth of net radiation while that is positive, half of it
    otherwise (eqs. 45 and 46).

    Parameters
    ----------
    temperature : Tensor
        Air temperature, mean of the hour, degC.
    net_radiation : Tensor
        W m-2, mean of the hour.
    wind : Tensor
        At 2 m, m s-1.
    vapour_pressure : Tensor
        Actual vapour pressure, Pa.
    pressure : Tensor
        Of the air, Pa.

    Returns
    -------
    Tensor
        mm h-1; zero where vapour would condense.
    """
    slope = vapour_pressure_slope(temperature)
    constant = 0.665e-6 * pressure
    deficit = saturation_vapour_pressure(temperature) - vapour_pressure / 1000.0
    heat = torch.where(net_radiation > 0.0, 0.1, 0.5) * net_radiation
    radiation = _as_water(net_radiation - heat) / 24.0
    aerodynamic = constant * 37.0 / (temperature + 273.0) * wind * deficit
    return torch.relu((slope * radiation + aerodynamic) / (slope + constant * (1.0 + 0.34 * wind)))


def radiation_balance(temperature: Tensor, shortwave: Tensor, longwave: Tensor) -> Tensor:
    """Compute net radiation of the reference surface from measured incoming radiation, W m-2.

    The surface reflects as in FAO-56 eq. 38 and emits as a black body of the air's temperature.

    Parameters
    ----------
    temperature : Tensor
        degC.
    shortwave, longwave : Tensor
        Incoming, W m-2.
    """
    emitted = STEFAN_BOLTZMANN / MEGAJOULES * (temperature + 273.16) ** 4
    return (1.0 - ALBEDO) * shortwave + longwave - emitted


def saturation_vapour_pressure(temperature: Tensor) -> Tensor:
    """Compute the saturation vapour pressure in kPa at a temperature in degC (FAO-56 eq. 11)."""
    return 0.6108 * torch.exp(17.27 * temperature / (temperature + 237.3))


def vapour_pressure(specific_humidity: Tensor, pressure: Tensor) -> Tensor:
    """Compute the actual vapour pressure, in the unit of `pressure`, from specific humidity in kg kg-1.

    Uses the ratio 0.622 of the molar masses of water and dry air, as in FAO-56 eq. 8.
    """
    return specific_humidity * pressure / (0.622 + 0.378 * specific_humidity)


def wind_speed(x: Tensor, y: Tensor) -> Tensor:
    """Compute wind speed from two components in the same unit; zero, and of zero slope, in a calm."""
    calm = (x == 0.0) & (y == 0.0)
    return torch.where(calm, 0.0, torch.hypot(torch.where(calm, 1.0, x), y))


def wind_at_2m(wind: Tensor, height: float) -> Tensor:
    """Convert wind at another height in m to wind at 2 m (FAO-56 eq. 47)."""
    return wind * (4.87 / log(67.8 * height - 5.42))
