"""Synthetic basins: seasonal weather, attributes, and runoff from a hidden truth.

Data without external sources, for the demonstration, tests and twin experiments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..arrays import DAY, FloatArray, FloatingArray, TimeArray
from ..io.timeseries import BasinDataset, Series, day_of_year

if TYPE_CHECKING:
    from ..physics import Catchment

ATTRIBUTES = {
    "gauge_lat": "degree_north",
    "elev_mean": "m",
    "area": "km2",
    "aridity": "1",
    "frac_snow": "1",
    "frac_forest": "1",
    "clay_frac": "%",
}
FORCINGS = {"P": "mm", "T": "degC", "PET": "mm"}
#: Intercept and weights of the attributes, each scaled to about -1 to 1, in the logit of each
#: parameter's position between its bounds.
TRUTH = {
    "BETA": (-0.5, {"clay_frac": -1.8, "frac_forest": 1.1}),
    "FC": (-0.8, {"frac_forest": 1.8, "elev_mean": -0.9}),
    "K0": (-0.5, {"clay_frac": 1.4, "area": -1.1}),
    "K1": (-0.7, {"clay_frac": 1.1, "elev_mean": 0.9}),
    "K2": (-1.0, {"clay_frac": -1.3, "area": -0.7}),
    "LP": (0.5, {"aridity": -1.4}),
    "PERC": (-1.5, {"clay_frac": -1.8}),
    "UZL": (-0.7, {"area": 1.3, "frac_forest": 0.9}),
    "TT": (0.0, {"frac_forest": -1.1}),
    "CFMAX": (-0.7, {"frac_forest": -1.6}),
    "CFR": (0.0, {"elev_mean": 0.9}),
    "CWH": (0.0, {"frac_forest": 0.9}),
    "BETAET": (-1.0, {"aridity": 1.1}),
    "route_a": (0.0, {"area": 1.4}),
    "route_b": (-2.0, {"area": 1.8}),
}
#: Offset and scale that bring each attribute to about -1 to 1.
SCALES = {
    "elev_mean": (900.0, 800.0),
    "area": (2.5, 0.7),
    "aridity": (0.9, 0.5),
    "frac_forest": (0.5, 0.4),
    "clay_frac": (22.0, 14.0),
}


def generate(
    basins: int = 12,
    years: int = 8,
    *,
    step: float = DAY,
    start: str = "2000-10-01",
    noise: float = 0.05,
    seed: int = 0,
) -> BasinDataset:
    """Generate weather, attributes and runoff of several basins.

    Parameters
    ----------
    basins, years : int
    step : float
        Seconds: a day, or a divisor of one.
    start : str
        Date of the first step.
    noise : float
        Standard deviation of the logarithm of the error of "observed" runoff.
    seed : int
        The same seed gives the same basins; other `basins` or `years` give different ones.

    Returns
    -------
    BasinDataset
        Forcings P, T, PET; target Q; the attributes of :data:`ATTRIBUTES`.
    """
    rng = np.random.default_rng(seed)
    # A spin-up year fills the empty stores of the truth.
    first = np.datetime64(start, "s")
    begin, end = years_later(first, -1), years_later(first, years)
    times = np.arange(begin, end, np.timedelta64(round(step), "s"))
    attributes, forcing = climate(rng, times, step, basins)
    days = step / DAY
    runoff = _runoff(forcing, true_parameters(attributes), days)
    observed = runoff * rng.lognormal(-0.5 * noise**2, noise, runoff.shape)
    whole = BasinDataset(
        ids=tuple(f"synthetic-{i + 1:03d}" for i in range(basins)),
        times=times,
        step=step,
        forcing=forcing,
        attributes={name: attributes[name] for name in ATTRIBUTES},
        target={"Q": observed},
        units={**FORCINGS, **ATTRIBUTES, "Q": "mm"},
    )
    return whole.period(first, end)


def climate(rng: np.random.Generator, times: TimeArray, step: float, n: int) -> tuple[Series, Series]:
    """Generate attributes ``[n]`` and weather P, T, PET ``[time, n]`` of independent basins."""
    attributes = _landscapes(rng, n)
    forcing = _weather(rng, times, step, attributes)
    attributes["aridity"] = forcing["PET"].mean(0) / forcing["P"].mean(0)
    cold = np.where(forcing["T"] < 0.0, forcing["P"], 0.0)
    attributes["frac_snow"] = cold.mean(0) / forcing["P"].mean(0)
    return attributes, forcing


def years_later(date: np.datetime64, years: int) -> np.datetime64:
    """Return the same day and hour some years later, or earlier."""
    month = date.astype("datetime64[M]")
    return (month + 12 * years).astype("datetime64[s]") + (date - month)


def true_parameters(attributes: Series) -> Series:
    """Compute the parameters of the hidden truth, HBV with ``BETAET`` and routing, ``[basins]``.

    Each is a smooth function of the attributes: :data:`TRUTH` through a logistic curve into
    the bounds that the equations declare.
    """
    bounds = {p.name: (p.lower, p.upper) for p in _truth(step=1.0).declaration.parameters}
    result: Series = {}
    for name, (intercept, weights) in TRUTH.items():
        logit = intercept + sum(w * _scaled(a, attributes[a]) for a, w in weights.items())
        lower, upper = bounds[name]
        result[name] = lower + (upper - lower) / (1.0 + np.exp(-logit))
    return result


def _scaled(name: str, values: FloatingArray) -> FloatingArray:
    offset, scale = SCALES[name]
    values = np.log10(values) if name == "area" else values
    return np.clip((values - offset) / scale, -1.5, 1.5)


def _landscapes(rng: np.random.Generator, n: int) -> Series:
    """Draw the attributes that do not follow from the weather."""
    elevation = rng.gamma(1.5, 500.0, n).clip(10.0, 3200.0)
    return {
        "gauge_lat": rng.uniform(32.0, 48.0, n),
        "elev_mean": elevation,
        "area": 10.0 ** rng.uniform(1.5, 3.5, n),
        "frac_forest": rng.beta(1.2, 1.2, n),
        "clay_frac": rng.uniform(5.0, 45.0, n),
    }


def _weather(rng: np.random.Generator, times: TimeArray, step: float, land: Series) -> Series:
    """Generate P, T and PET, ``[time, basins]``."""
    n, days = len(land["gauge_lat"]), step / DAY
    doy = day_of_year(times)[:, None].astype(np.float64)
    hour = ((times - times.astype("datetime64[D]")).astype(np.float64) + step / 2)[:, None] / 3600.0
    season = np.cos(2 * np.pi * (doy - 200.0) / 365.25)

    latitude, elevation = land["gauge_lat"], land["elev_mean"]
    mean = 22.0 - 0.95 * (latitude - 32.0) - 0.0055 * elevation
    daily_mean = mean + (7.0 + 0.35 * (latitude - 32.0)) * season
    anomaly = 4.0 * _autoregressive(rng, np.exp(-days / 2.5), len(times), n)
    swing = 5.0 * np.cos(2 * np.pi * (hour - 15.0) / 24.0) if step < DAY else 0.0
    precipitation = _precipitation(rng, doy, step, n)
    smooth = daily_mean + (anomaly if step == DAY else 0.0)
    return {
        "P": precipitation,
        "T": daily_mean + anomaly + swing,
        "PET": _evapotranspiration(smooth, latitude, doy, hour, days),
    }


def _precipitation(rng: np.random.Generator, doy: FloatArray, step: float, n: int) -> FloatArray:
    """Draw wet and dry spells of about a day, more or less frequent by season, with gamma amounts."""
    days = step / DAY
    wetness = rng.uniform(0.15, 0.45, n)
    phase = rng.uniform(0.0, 365.0, n)
    share = wetness * (1.0 + 0.4 * np.cos(2 * np.pi * (doy - phase) / 365.25))
    persistence = np.exp(-days / 0.8)
    draw = rng.random((len(doy), n))
    wet = np.empty((len(doy), n), dtype=bool)
    now = draw[0] < share[0]
    for t in range(len(doy)):
        now = draw[t] < share[t] * (1.0 - persistence) + persistence * now
        wet[t] = now
    shape = 0.7 if step == DAY else 0.4
    intensity = rng.uniform(5.0, 12.0, n) * days
    return np.where(wet, rng.gamma(shape, intensity / shape, wet.shape), 0.0)


def _evapotranspiration(
    temperature: FloatArray, latitude: FloatingArray, doy: FloatArray, hour: FloatArray, days: float
) -> FloatArray:
    """Compute PET of each step: Oudin's of the day, spread over the hours of daylight."""
    import torch

    from ..physics import pet

    per_day = pet.oudin(
        torch.from_numpy(temperature), torch.from_numpy(latitude), torch.from_numpy(doy)
    ).numpy()
    if days < 1.0:
        sun = np.maximum(np.cos(2 * np.pi * (hour - 12.5) / 24.0), 0.0)
        per_day = per_day * sun / sun[: round(1.0 / days)].mean()
    return per_day * days


def _autoregressive(rng: np.random.Generator, r: float, length: int, n: int) -> FloatArray:
    """Draw series of unit variance with correlation `r` from step to step."""
    shocks = rng.standard_normal((length, n))
    values = np.empty_like(shocks)
    now = shocks[0]
    for t in range(length):
        now = r * now + np.sqrt(1.0 - r * r) * shocks[t]
        values[t] = now
    return values


def _truth(step: float) -> Catchment:
    from ..physics import HBV, Catchment

    return Catchment(HBV(betaet=True), nmul=1, routing=round(15 / step))


def _runoff(forcing: Series, parameters: Series, days: float) -> FloatArray:
    import torch

    from ..physics import run

    model = _truth(days)
    arguments = {}
    for p in model.declaration.parameters:
        values = torch.from_numpy(parameters[p.name])
        arguments[p.name] = values.reshape(-1, *p.shape)
    n = forcing["P"].shape[1]
    with torch.no_grad():
        fluxes, _ = run(
            model,
            {name: torch.from_numpy(values) for name, values in forcing.items()},
            model.init_state(n),
            arguments,
            {},
            days,
            outputs=("Q",),
        )
    return fluxes["Q"].numpy()
