"""Forcing with potential evapotranspiration that is computed from the weather.

NextGen's forcing (AORC) has none. With the key ``pet`` a component takes the weather instead,
under the CSDMS names that NextGen knows its fields by, and computes PET when the weather of a
model step is complete.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...arrays import DAY, HOUR, FloatArray
from ...errors import ConfigError
from ...model.variables import Variable, input_variable
from ...physics import forcings, pet
from ...physics.forcings import PET
from ..config import Pet
from .aggregation import ForcingInputs, Place

#: Height of AORC's wind above ground, m.
WIND_HEIGHT = 10.0


_WEATHER = (
    replace(forcings.T, name="TMP_2maboveground"),
    forcings.PRESSURE,
    forcings.HUMIDITY,
    forcings.SHORTWAVE,
    forcings.LONGWAVE,
    forcings.WIND_X,
    forcings.WIND_Y,
)
#: Fields of AORC by the name of their column, under the CSDMS names that NextGen gives them.
AORC = {forcing.name: input_variable(forcing, HOUR) for forcing in _WEATHER}


@dataclass(frozen=True)
class Method:
    """Requirements of a method for PET of the weather (names in :data:`AORC`) and of the catchments."""

    weather: tuple[str, ...]
    attributes: tuple[str, ...] = ()


_T, _HUMID, _SUN = "TMP_2maboveground", ("SPFH_2maboveground", "PRES_surface"), "DSWRF_surface"
METHODS = {
    "penman_monteith": Method(
        (_T, *_HUMID, _SUN, "DLWRF_surface", "UGRD_10maboveground", "VGRD_10maboveground")
    ),
    "priestley_taylor": Method((_T, *_HUMID, _SUN), ("latitude", "elevation")),
    "hargreaves": Method((_T,), ("latitude",)),
    "oudin": Method((_T,), ("latitude",)),
}


class PetFromWeather(ForcingInputs):
    """Inputs of a model whose PET is computed from the weather.

    Parameters
    ----------
    forcings : sequence of Variable
        Of the model.
    step : float
        Seconds for which one value holds.
    model_step : float
        Seconds of a step of the model.
    method : str
        A key of :data:`METHODS`.

    Raises
    ------
    ConfigError
        If the method does not fit the steps, or the model takes no PET.
    """

    def __init__(self, forcings: Sequence[Variable], step: float, model_step: float, method: str) -> None:
        needs = METHODS[method]
        others = [v for v in forcings if v.name != PET.standard_name]
        computed = [v for v in forcings if v.name == PET.standard_name]
        if not computed:
            raise ConfigError("pet: this model takes no potential evapotranspiration; remove the key")
        if method == "penman_monteith" and step > HOUR:
            raise ConfigError(
                f"pet.method: penman_monteith is computed hour by hour, not by {step:g} s; write "
                "time_step: 3600"
            )
        if method != "penman_monteith" and model_step != DAY:
            raise ConfigError(
                f"pet.method: {method} needs whole days and this model steps by {model_step:g} s; "
                "choose penman_monteith"
            )
        if method == "hargreaves" and step == model_step:
            raise ConfigError(
                "pet.method: hargreaves needs the range of hourly temperatures; give hourly forcing"
            )
        super().__init__([*others, *(AORC[name] for name in needs.weather)], step)
        self._symbol, self._method, self.attributes = computed[0].symbol, method, needs.attributes
        self._others = {v.symbol for v in others}
        self._hours = step / HOUR

    def aggregate(self, series: FloatArray, place: Place | None = None) -> dict[str, FloatArray]:
        """Do as :meth:`ForcingInputs.aggregate`, and compute PET."""
        aggregated = super().aggregate(series)
        weather = {
            v.symbol: torch.from_numpy(series[:, k] * scale + offset)
            for k, v, (scale, offset) in zip(self._from, self.forcings, self._to_model, strict=True)
            if v.symbol not in self._others
        }
        forcing = {name: values for name, values in aggregated.items() if name in self._others}
        if self._method == "penman_monteith":
            forcing[self._symbol] = np.nansum(self._hourly(weather).numpy(), axis=0) * self._hours
        else:
            assert place is not None  # noqa: S101  the group knows that this method needs it
            present = ~np.isnan(series[:, 0])
            # The part of a first day that lies before time zero evaporates nothing.
            forcing[self._symbol] = self._daily(weather, place).numpy() * present.mean(0)
        return forcing

    def _hourly(self, weather: Mapping[str, Tensor]) -> Tensor:
        temperature, pressure = weather[_T], weather["PRES_surface"]
        radiation = pet.radiation_balance(
            temperature, torch.relu(weather["DSWRF_surface"]), weather["DLWRF_surface"]
        )
        wind = pet.wind_speed(weather["UGRD_10maboveground"], weather["VGRD_10maboveground"])
        return pet.penman_monteith_hourly(
            temperature,
            radiation,
            pet.wind_at_2m(wind, WIND_HEIGHT),
            pet.vapour_pressure(weather["SPFH_2maboveground"], pressure),
            pressure,
        )

    def _daily(self, weather: Mapping[str, Tensor], place: Place) -> Tensor:
        latitude, day = (
            torch.from_numpy(place.attributes["latitude"]),
            torch.from_numpy(place.day_of_year).to(torch.float64),
        )
        temperature = weather[_T]
        mean = temperature.nanmean(0)
        if self._method == "oudin":
            return pet.oudin(mean, latitude, day)
        if self._method == "hargreaves":
            values = temperature.numpy()
            low, high = (torch.from_numpy(f(values, axis=0)) for f in (np.nanmin, np.nanmax))
            return pet.hargreaves(low, high, mean, latitude, day)
        humidity = pet.vapour_pressure(weather["SPFH_2maboveground"], weather["PRES_surface"]).nanmean(0)
        elevation = torch.from_numpy(place.attributes["elevation"])
        shortwave = torch.relu(weather[_SUN].nanmean(0))
        return pet.priestley_taylor(mean, shortwave, humidity, elevation, latitude, day)


def make_forcing_inputs(
    forcings: Sequence[Variable], step: float, model_step: float, method: Pet | None
) -> ForcingInputs:
    """Make the inputs of a model: its forcings, or the weather that PET is computed from."""
    return (
        ForcingInputs(forcings, step)
        if method is None
        else PetFromWeather(forcings, step, model_step, method.method)
    )
