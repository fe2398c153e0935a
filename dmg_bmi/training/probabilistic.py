"""Scores of distributions: members or quantiles of a forecast against what was observed.

Arrays have members or levels first; the other axes are those of the observations, in which NaN is
missing and gives NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import erf, pi, sqrt

import numpy as np

from ..arrays import FloatArray, FloatingArray

#: Levels of the quantiles that stand for a distribution, and the share of its widest central interval.
LEVELS = tuple(round(0.05 * k, 2) for k in range(1, 20))
#: Levels whose quantiles are written where no others are asked for.
WRITTEN = (0.05, 0.25, 0.5, 0.75, 0.95)
#: Shares of a basin's highest observed flows that are looked at apart.
HIGHEST = 0.05
SCORES = (
    "CRPS",
    "CRPSS",
    "coverage",
    "width",
    "coverage_high",
    "width_high",
    "coverage_high_forecast",
    "Brier_90",
)


def crps_of_members(members: FloatingArray, observed: FloatingArray) -> FloatArray:
    """Continuous ranked probability score of an ensemble (Hersbach, 2000), in units of the flow.

    https://doi.org/10.1175/1520-0434(2000)015<0559:DOTCRP>2.0.CO;2

    Parameters
    ----------
    members : ndarray ``[members, ...]``
    observed : ndarray ``[...]``
    """
    ordered = np.sort(members.astype(np.float64), axis=0)
    count = len(ordered)
    weight = (2 * np.arange(1, count + 1) - count - 1).reshape(-1, *[1] * observed.ndim)
    among = (weight * ordered).sum(0) / count**2  # half the mean distance of two members
    return np.abs(ordered - observed).mean(0) - among


def crps_of_quantiles(
    quantiles: FloatingArray, levels: Sequence[float], observed: FloatingArray
) -> FloatArray:
    """Continuous ranked probability score: twice the pinball loss, integrated over its levels.

    Each level stands for the probabilities that are nearest to it (Gneiting & Ranjan, 2011,
    https://doi.org/10.1198/jbes.2010.08110).

    Parameters
    ----------
    quantiles : ndarray ``[levels, ...]``
    levels : sequence of float
        Rising, between 0 and 1.
    observed : ndarray ``[...]``
    """
    level = np.array(levels, dtype=np.float64)
    edges = np.concatenate([[0.0], (level[1:] + level[:-1]) / 2, [1.0]])
    axes = [1] * observed.ndim
    above = observed - quantiles.astype(np.float64)
    level, weight = level.reshape(-1, *axes), np.diff(edges).reshape(-1, *axes)
    loss = np.maximum(level * above, (level - 1) * above)
    return 2.0 * (weight * loss).sum(0)


def crps_of_normal(mean: FloatingArray, std: FloatingArray, observed: FloatingArray) -> FloatArray:
    """Continuous ranked probability score of a normal distribution (Gneiting et al., 2005, eq. 5).

    https://doi.org/10.1175/MWR2904.1
    """
    z = (observed - mean) / std
    below = 0.5 * (1.0 + np.vectorize(erf, otypes=[np.float64])(z / sqrt(2.0)))
    density = np.exp(-0.5 * z**2) / sqrt(2.0 * pi)
    return np.asarray(std * (z * (2.0 * below - 1.0) + 2.0 * density - 1.0 / sqrt(pi)), dtype=np.float64)


def skill_score(score: FloatingArray, reference: FloatingArray) -> FloatArray:
    """Return what part of a reference's score is saved: 1 is perfect, 0 as good as the reference."""
    return 1.0 - score.astype(np.float64) / reference


def probability_above(
    quantiles: FloatingArray, levels: Sequence[float], threshold: FloatingArray
) -> FloatArray:
    """Return the probability of more than a threshold ``[...]``, by the quantiles ``[levels, ...]``.

    Between levels it is interpolated; beyond the outermost ones it is theirs.
    """
    threshold = np.broadcast_to(threshold, quantiles.shape[1:])
    level = np.array(levels)
    below = np.clip((quantiles <= threshold).sum(0), 1, len(level) - 1)  # of the two around the threshold
    low, high = (np.take_along_axis(quantiles, k[None], 0)[0] for k in (below - 1, below))
    gap = high - low
    share = np.where(gap > 0, (threshold - low) / np.where(gap > 0, gap, 1.0), threshold > low)
    return np.asarray(1.0 - (level[below - 1] + np.clip(share, 0.0, 1.0) * (level[below] - level[below - 1])))


def brier(probability: FloatingArray, observed: FloatingArray, threshold: FloatingArray) -> FloatArray:
    """Brier (1950) score of the probability that flow is above a threshold; all ``[...]``."""
    happened = np.where(np.isnan(observed), np.nan, observed > threshold)
    return np.square(probability - happened)


def ranks(members: FloatingArray, observed: FloatingArray, seed: int = 0) -> FloatArray:
    """Return how many members lie below each observation, ties broken at random.

    Where members and observations come from one distribution all ranks, 0 to their number, are
    equally frequent (Hamill, 2001, https://doi.org/10.1175/1520-0493(2001)129<0550:IORHFV>2.0.CO;2).
    """
    below, equal = (members < observed).sum(0), (members == observed).sum(0)
    drawn = np.random.default_rng(seed).integers(0, equal + 1)
    return np.where(np.isnan(observed), np.nan, below + drawn)


def pit(quantiles: FloatingArray, levels: Sequence[float], observed: FloatingArray) -> FloatArray:
    """Return the probability integral transform of observations: uniform for reliable quantiles."""
    below = 1.0 - probability_above(quantiles, levels, np.nan_to_num(observed))
    return np.where(np.isnan(observed), np.nan, below)


def reliability(quantiles: FloatingArray, observed: FloatingArray) -> FloatArray:
    """Return the share of observations that are not above each quantile, ``[levels]``."""
    present = ~np.isnan(observed)
    return np.array([(q[present] >= observed[present]).mean() for q in quantiles])


def per_basin(
    quantiles: FloatingArray, levels: Sequence[float], observed: FloatingArray
) -> dict[str, FloatArray]:
    """Compute the scores of quantiles ``[levels, time, basins]`` of every basin, ``[basins]``.

    ``CRPS`` in mm per step and its skill score against the basin's own observed distribution; how often
    the interval between the outermost levels holds (``coverage``) and its mean ``width``, both also in
    the highest 5 % of the observed flows and in those of the forecast's median; the
    Brier score of flow above the observed 0.9 quantile.
    """
    result = {name: np.full(observed.shape[1], np.nan) for name in SCORES}
    for column in range(observed.shape[1]):
        present = ~np.isnan(observed[:, column])
        if present.sum() > 1:
            scores = _scores(quantiles[:, present, column], levels, observed[present, column])
            for name, value in scores.items():
                result[name][column] = value
    return result


def _scores(
    quantiles: FloatingArray, levels: Sequence[float], observed: FloatingArray
) -> Mapping[str, float]:
    """Return the scores of one basin; all steps are observed."""
    climate = np.repeat(np.quantile(observed, levels)[:, None], len(observed), axis=1)
    crps, reference = (crps_of_quantiles(q, levels, observed).mean() for q in (quantiles, climate))
    lower, median, upper = quantiles[0], quantiles[len(levels) // 2], quantiles[-1]
    held, width = (lower <= observed) & (observed <= upper), upper - lower
    high, high_forecast = (q >= np.quantile(q, 1 - HIGHEST) for q in (observed, median))
    threshold = np.full(len(observed), np.quantile(observed, 0.9))
    above = probability_above(quantiles, levels, threshold)
    return {
        "CRPS": crps,
        "CRPSS": float(skill_score(crps, reference)) if reference > 0 else np.nan,
        "coverage": held.mean(),
        "width": width.mean(),
        "coverage_high": held[high].mean(),
        "width_high": width[high].mean(),
        "coverage_high_forecast": held[high_forecast].mean(),
        "Brier_90": brier(above, observed, threshold).mean(),
    }
