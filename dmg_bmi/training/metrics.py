"""Metrics of a simulation, per basin, over the observed steps.

A metric takes the simulated and the observed series of one basin, ``[time]``, with NaN where
nothing was observed, and the seconds of a step, which matter to the timing of peaks alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import wraps

import numpy as np

from ..arrays import DAY, FloatingArray

Metric = Callable[..., float]
#: Steps within which only the highest peak counts.
APART = 100
#: The same of peaks that may be missed, and the percentile of the flow that they reach.
APART_IF_MISSED, HIGH = 30, 80


def _over_observed(metric: Callable[[FloatingArray, FloatingArray], float]) -> Metric:
    """Restrict a metric that does not depend on the order of steps to the observed ones."""

    @wraps(metric)
    def masked(simulated: FloatingArray, observed: FloatingArray, step: float = DAY) -> float:
        present = ~np.isnan(observed)
        return metric(simulated[present].astype(np.float64), observed[present].astype(np.float64))

    return masked


@_over_observed
def nse(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Nash & Sutcliffe (1970) efficiency."""
    return float(1.0 - np.sum((simulated - observed) ** 2) / np.sum((observed - observed.mean()) ** 2))


@_over_observed
def kge(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Kling-Gupta efficiency (Gupta et al., 2009, https://doi.org/10.1016/j.jhydrol.2009.08.003)."""
    spread = simulated.std() / observed.std()
    return _kge(simulated, observed, spread)


@_over_observed
def kge_2012(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Kling-Gupta efficiency by coefficients of variation.

    Kling et al. (2012), https://doi.org/10.1016/j.jhydrol.2012.01.011.
    """
    spread = (simulated.std() / simulated.mean()) / (observed.std() / observed.mean())
    return _kge(simulated, observed, spread)


def _kge(simulated: FloatingArray, observed: FloatingArray, spread: float) -> float:
    ratio = simulated.mean() / observed.mean()
    r = correlation(simulated, observed)
    return float(1.0 - np.sqrt((r - 1.0) ** 2 + (spread - 1.0) ** 2 + (ratio - 1.0) ** 2))


@_over_observed
def rmse(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Root mean squared error, mm per step."""
    return float(np.sqrt(np.mean((simulated - observed) ** 2)))


@_over_observed
def bias(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Return the excess of simulated volume, percent of the observed."""
    return float(100.0 * np.sum(simulated - observed) / np.sum(observed))


@_over_observed
def correlation(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Pearson's correlation."""
    return float(np.corrcoef(simulated, observed)[0, 1])


@_over_observed
def alpha_nse(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Ratio of standard deviations, which NSE is made of (Gupta et al., 2009, eq. 4)."""
    return float(simulated.std() / observed.std())


@_over_observed
def beta_nse(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Difference of means over the observed standard deviation (Gupta et al., 2009, eq. 4)."""
    return float((simulated.mean() - observed.mean()) / observed.std())


@_over_observed
def fhv(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Bias of the highest 2 % of the flow duration curve, percent.

    Yilmaz et al. (2008), https://doi.org/10.1029/2007WR006716, eq. A3.
    """
    top = max(round(0.02 * len(observed)), 1)
    sim, obs = np.sort(simulated)[-top:], np.sort(observed)[-top:]
    return float(100.0 * np.sum(sim - obs) / np.sum(obs))


@_over_observed
def fms(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Bias of the slope of the flow duration curve between flows exceeded 20 and 70 % of the time, percent.

    Yilmaz et al. (2008), eq. A2, in log space; flow below 1e-6 mm is taken as that.
    """
    high, low = (min(round(share * len(observed)), len(observed) - 1) for share in (0.2, 0.7))
    sim, obs = (np.log(np.sort(np.maximum(q, 1e-6))[::-1]) for q in (simulated, observed))
    slope = obs[high] - obs[low]
    return float(100.0 * (sim[high] - sim[low] - slope) / (slope + 1e-6))


@_over_observed
def flv(simulated: FloatingArray, observed: FloatingArray) -> float:
    """Bias of the lowest 30 % of the flow duration curve in log space, percent.

    Yilmaz et al. (2008), eq. A4; flow below 1e-6 mm is taken as that.
    """
    low = max(round(0.3 * len(observed)), 1)
    sim, obs = (np.log(np.sort(np.maximum(q, 1e-6))[:low]) for q in (simulated, observed))
    simulated_volume, observed_volume = np.sum(sim - sim[0]), np.sum(obs - obs[0])
    return float(-100.0 * (simulated_volume - observed_volume) / (observed_volume + 1e-6))


def peak_timing(simulated: FloatingArray, observed: FloatingArray, step: float = DAY) -> float:
    """Mean number of steps by which simulated peaks come too early or too late; NaN without a peak.

    As in Kratzert et al. (2021, https://doi.org/10.5194/hess-25-2685-2021): an observed peak
    counts if it stands out by a standard deviation of the flow and no higher one is nearer than
    100 steps; the simulated peak is the highest flow within a window of 12 hours, or three steps if
    that is longer, on both sides, or the step itself if that is a peak too.

    Parameters
    ----------
    simulated, observed : ndarray ``[time]``
        Peaks with a step in their window that was not observed do not count.
    step : float
        Seconds.
    """
    off = _peaks_off(simulated, observed, step)
    return float(np.mean(off)) if off else float("nan")


def peaks_compared(simulated: FloatingArray, observed: FloatingArray, step: float = DAY) -> float:
    """Return the number of observed peaks that :func:`peak_timing` is the mean of."""
    return float(len(_peaks_off(simulated, observed, step)))


def peak_mape(simulated: FloatingArray, observed: FloatingArray, step: float = DAY) -> float:
    """Mean absolute error of simulated flow at observed peaks, percent of them; NaN without a peak."""
    steps = np.flatnonzero(~np.isnan(observed))
    seen, flow = observed[steps], simulated[steps]
    at = peaks(seen, APART, float(seen.std()) if len(seen) else 0.0)
    return float(100.0 * np.mean(np.abs(flow[at] / seen[at] - 1.0))) if at else float("nan")


def missed_peaks(simulated: FloatingArray, observed: FloatingArray, step: float = DAY) -> float:
    """Share of observed peaks with no simulated peak within 12 hours, or one step if that is longer.

    As in neuralhydrology: a peak is the highest flow within 30 steps, and among the highest fifth of its
    series. One with a gap around it is not missed.
    """
    steps = np.flatnonzero(~np.isnan(observed))
    if not len(steps):
        return float("nan")
    window = max(1, int(DAY / 2 // step))
    high, found = (_high_peaks(series[steps]) for series in (observed, simulated))
    missed = 0
    for peak in high:
        around = steps[max(peak - window, 0) : peak + window + 1]
        whole = len(around) == 2 * window + 1 and around[-1] - around[0] == 2 * window
        missed += whole and not any(abs(other - peak) <= window for other in found)
    return missed / len(high) if high else 0.0


def _high_peaks(flow: FloatingArray) -> list[int]:
    lowest = np.percentile(flow, HIGH)
    return [k for k in peaks(flow, APART_IF_MISSED, 0.0) if flow[k] >= lowest]


def _peaks_off(simulated: FloatingArray, observed: FloatingArray, step: float) -> list[int]:
    """Return the steps between each observed peak that counts and the simulated one."""
    window = max(3, int(DAY / 2 // step))
    steps = np.flatnonzero(~np.isnan(observed))
    seen = observed[steps]
    off = []
    for peak in peaks(seen, APART, float(seen.std()) if len(seen) else 0.0):
        around = steps[max(peak - window, 0) : peak + window + 1]
        if len(around) < 2 * window + 1 or around[-1] - around[0] != 2 * window:
            continue
        flow = simulated[around]
        is_peak = flow[window] > max(flow[window - 1], flow[window + 1])
        off.append(0 if is_peak else abs(int(flow.argmax()) - window))
    return off


def peaks(flow: FloatingArray, apart: int, prominence: float) -> list[int]:
    """Find the steps of local maxima, in order.

    Parameters
    ----------
    flow : ndarray ``[time]``
    apart : int
        Of two that are nearer than this the lower one goes.
    prominence : float
        How far, at least, flow falls on both sides before it rises above the peak.
    """
    if len(flow) < 3:
        return []
    change = np.flatnonzero(np.diff(flow))  # the last step of each plateau
    edges = np.concatenate([[-1], change, [len(flow) - 1]])
    level = flow[edges[1:]]
    tops = np.flatnonzero((level[1:-1] > level[:-2]) & (level[1:-1] > level[2:])) + 1
    maxima = (edges[tops] + 1 + edges[tops + 1]) // 2
    kept = np.ones(len(maxima), dtype=bool)
    for k in np.argsort(flow[maxima], kind="stable")[::-1]:
        if kept[k]:
            kept &= (np.abs(maxima - maxima[k]) >= apart) | (np.arange(len(maxima)) == k)
    return [int(k) for k in maxima[kept] if not prominence or _prominence(flow, k) >= prominence]


def _prominence(flow: FloatingArray, peak: int) -> float:
    """Return the height of a peak over the higher of its two valleys."""
    valleys = []
    for side in (flow[peak::-1], flow[peak:]):
        higher = np.flatnonzero(side > flow[peak])
        valleys.append(side[: higher[0] if len(higher) else None].min())
    return float(flow[peak] - max(valleys))


METRICS: Mapping[str, Metric] = {
    "NSE": nse,
    "KGE": kge,
    "KGE_2012": kge_2012,
    "RMSE": rmse,
    "bias": bias,
    "r": correlation,
    "alpha_NSE": alpha_nse,
    "beta_NSE": beta_nse,
    "FHV": fhv,
    "FMS": fms,
    "FLV": flv,
    "peak_timing": peak_timing,
    "peaks": peaks_compared,
    "peak_MAPE": peak_mape,
    "missed_peaks": missed_peaks,
}


def per_basin(
    simulated: FloatingArray,
    observed: FloatingArray,
    step: float = DAY,
    names: Collection[str] = METRICS.keys(),
) -> dict[str, FloatingArray]:
    """Compute metrics of every basin.

    Parameters
    ----------
    simulated, observed : ndarray ``[time, basins]``
        NaN in `observed` is missing and leaves the step out.
    step : float
        Seconds.
    names : collection of str
        Of :data:`METRICS`; all by default.

    Returns
    -------
    dict of metric to ndarray ``[basins]``
        NaN for a basin with fewer than two observations, and where a metric is not defined
        (an observed flow that never changes has no NSE).
    """
    result = {name: np.full(observed.shape[1], np.nan) for name in names}
    enough = (~np.isnan(observed)).sum(axis=0) > 1
    for column in np.flatnonzero(enough):
        with np.errstate(divide="ignore", invalid="ignore"):
            for name in names:
                value = METRICS[name](simulated[:, column], observed[:, column], step)
                result[name][column] = value if np.isfinite(value) else np.nan
    return result


def distribution(values: FloatingArray) -> tuple[FloatingArray, FloatingArray]:
    """Return the cumulative distribution over basins: values in order, and the share not higher.

    Parameters
    ----------
    values : ndarray ``[basins]``
        Values of one metric; a basin without one is left out.
    """
    finite = np.sort(values[np.isfinite(values)])
    return finite, np.arange(1, len(finite) + 1) / max(len(finite), 1)
