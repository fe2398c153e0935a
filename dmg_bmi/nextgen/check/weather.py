"""Forcing beyond any weather: in other units than the file says, or marks of missing values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...arrays import FloatArray, TimeArray
from ...errors import ConfigError
from ...io.ngen_forcing import WELL_KNOWN
from ...io.units import conversion
from ...runtime.catchments import implausible

#: Units, and limits beyond every record on Earth with room to spare (rain in an hour: 305 mm, Holt, 1947).
LIMITS = {
    "atmosphere_water__liquid_equivalent_precipitation_rate": ("mm h-1", 0.0, 500.0),
    "atmosphere_water__rainfall_volume_flux": ("mm", 0.0, 500.0),
    "land_surface_air__temperature": ("K", 170.0, 340.0),
    "land_surface_air__pressure": ("Pa", 25e3, 115e3),
    "atmosphere_air_water~vapor__relative_saturation": ("kg kg-1", -1e-3, 0.1),
    "land_surface_radiation~incoming~shortwave__energy_flux": ("W m-2", -50.0, 2000.0),
    "land_surface_radiation~incoming~longwave__energy_flux": ("W m-2", 0.0, 1000.0),
    "land_surface_wind__x_component_of_velocity": ("m s-1", -150.0, 150.0),
    "land_surface_wind__y_component_of_velocity": ("m s-1", -150.0, 150.0),
}
#: Rain below zero that regridding leaves, in mm in an hour.
ROUNDING = 1e-3


def examine(
    column: str, units: str, values: FloatArray, ids: Sequence[str], times: TimeArray
) -> tuple[str, int]:
    """Look for impossible values, and set rain that rounding left below zero to zero, in place.

    Parameters
    ----------
    column : str
        Its limits are those of its CSDMS name; a column that `ngen` does not know has none.
    units : str
        Those of the file.
    values : ndarray [ids, time]
        NaN where missing, which is not examined.
    ids : sequence of str
    times : ndarray [time] of datetime64

    Returns
    -------
    problem : str
        The first, with its catchment and hour; empty if there is none.
    rounded : int
        Number of values set to zero.
    """
    name = WELL_KNOWN.get(column, (column,))[0]
    bad = implausible(values) & ~np.isnan(values)
    limits, rounded = "", 0
    if name in LIMITS:
        unit, lower, upper = LIMITS[name]
        try:
            scale, offset = conversion(units, unit)
        except ConfigError:  # the examination of units says so
            scale, offset, lower, upper = 1.0, 0.0, -np.inf, np.inf
        converted = values * scale + offset
        if name.startswith("atmosphere_water__"):
            below = (converted < 0.0) & (converted >= -ROUNDING)
            rounded = int(below.sum())
            values[below] = converted[below] = 0.0
        bad |= (converted < lower) | (converted > upper)
        limits = f", possible are {lower:g} to {upper:g} {unit}"
    if not bad.any():
        return "", rounded
    row, hour = divmod(int(np.argmax(bad)), bad.shape[1])
    return (
        f"{column} of {ids[row]} at {times[hour]} is {values[row, hour]:g} {units}{limits}; "
        f"{int(bad.sum())} values are like this: are the units of the file those of its values?"
    ), rounded
