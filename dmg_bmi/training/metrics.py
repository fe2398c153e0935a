"""How good a simulation is, per basin, over the steps that were observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def nse(simulated: Array, observed: Array) -> float:
    """Nash & Sutcliffe (1970) efficiency."""
    return float(1.0 - np.sum((simulated - observed) ** 2) / np.sum((observed - observed.mean()) ** 2))


def kge(simulated: Array, observed: Array) -> float:
    """Kling-Gupta efficiency (Gupta et al., 2009, https://doi.org/10.1016/j.jhydrol.2009.08.003)."""
    spread = simulated.std() / observed.std()
    return _kge(simulated, observed, spread)


def kge_2012(simulated: Array, observed: Array) -> float:
    """Kling-Gupta efficiency by coefficients of variation.

    Kling et al. (2012), https://doi.org/10.1016/j.jhydrol.2012.01.011.
    """
    spread = (simulated.std() / simulated.mean()) / (observed.std() / observed.mean())
    return _kge(simulated, observed, spread)


def _kge(simulated: Array, observed: Array, spread: float) -> float:
    ratio = simulated.mean() / observed.mean()
    r = correlation(simulated, observed)
    return float(1.0 - np.sqrt((r - 1.0) ** 2 + (spread - 1.0) ** 2 + (ratio - 1.0) ** 2))


def rmse(simulated: Array, observed: Array) -> float:
    """Root mean squared error, mm per step."""
    return float(np.sqrt(np.mean((simulated - observed) ** 2)))


def bias(simulated: Array, observed: Array) -> float:
    """Volume simulated too much, percent of the observed."""
    return float(100.0 * np.sum(simulated - observed) / np.sum(observed))


def correlation(simulated: Array, observed: Array) -> float:
    """Pearson's correlation."""
    return float(np.corrcoef(simulated, observed)[0, 1])


def fhv(simulated: Array, observed: Array) -> float:
    """Bias of the highest 2 % of the flow duration curve, percent.

    Yilmaz et al. (2008), https://doi.org/10.1029/2007WR006716, eq. A3.
    """
    top = max(round(0.02 * len(observed)), 1)
    sim, obs = np.sort(simulated)[-top:], np.sort(observed)[-top:]
    return float(100.0 * np.sum(sim - obs) / np.sum(obs))


def flv(simulated: Array, observed: Array) -> float:
    """Bias of the lowest 30 % of the flow duration curve in log space, percent.

    Yilmaz et al. (2008), eq. A4; flow below 1e-6 mm is taken as that.
    """
    low = max(round(0.3 * len(observed)), 1)
    sim, obs = (np.log(np.sort(np.maximum(q, 1e-6))[:low]) for q in (simulated, observed))
    simulated_volume, observed_volume = np.sum(sim - sim[0]), np.sum(obs - obs[0])
    return float(-100.0 * (simulated_volume - observed_volume) / (observed_volume + 1e-6))


METRICS: Mapping[str, Callable[[Array, Array], float]] = {
    "NSE": nse,
    "KGE": kge,
    "KGE_2012": kge_2012,
    "RMSE": rmse,
    "bias": bias,
    "r": correlation,
    "FHV": fhv,
    "FLV": flv,
}


def per_basin(simulated: Array, observed: Array) -> dict[str, Array]:
    """Every metric of every basin.

    Parameters
    ----------
    simulated, observed : ndarray ``[time, basins]``
        NaN in `observed` is missing and leaves the step out.

    Returns
    -------
    dict of metric to ndarray ``[basins]``
        NaN for a basin with fewer than two observations, and where a metric is not defined
        (an observed flow that never changes has no NSE).
    """
    result = {name: np.full(observed.shape[1], np.nan) for name in METRICS}
    for column in range(observed.shape[1]):
        there = ~np.isnan(observed[:, column])
        if there.sum() < 2:
            continue
        sim, obs = simulated[there, column].astype(np.float64), observed[there, column].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, metric in METRICS.items():
                value = metric(sim, obs)
                result[name][column] = value if np.isfinite(value) else np.nan
    return result
