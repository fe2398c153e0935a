"""Comparison of two models basin by basin: who is better where, and how sure that is."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from ...arrays import FloatingArray

#: Samples of basins, drawn with replacement.
RESAMPLES = 10_000


@dataclass(frozen=True)
class Comparison:
    """One model against another in the basins that both have a score of.

    Parameters
    ----------
    basins, better : int
        Basins compared, and in how many of them the first is better.
    difference : float
        Median over basins of the first's score less the other's.
    low, high : float
        Bounds of its central 95 % over resampled basins (bootstrap).
    p : float
        Two-sided sign test (Dixon and Mood, 1946): how probable so uneven a count, or a more uneven one, is
        if each is as likely to be better.
    """

    basins: int
    better: int
    difference: float
    low: float
    high: float
    p: float


def compared(first: FloatingArray, other: FloatingArray, seed: int = 0) -> Comparison:
    """Compare scores ``[basins]``, higher is better; NaN leaves a basin out, a tie out of the test."""
    both = np.isfinite(first) & np.isfinite(other)
    differences = (first - other)[both].astype(np.float64)
    n = len(differences)
    if not n:
        return Comparison(0, 0, *[float("nan")] * 4)
    draws = np.random.default_rng(seed).integers(0, n, (RESAMPLES, n))
    low, high = np.quantile(np.median(differences[draws], axis=1), [0.025, 0.975])
    better, worse = int((differences > 0).sum()), int((differences < 0).sum())
    return Comparison(
        n, better, float(np.median(differences)), float(low), float(high), sign_test(better, worse)
    )


def sign_test(better: int, worse: int) -> float:
    """Return the two-sided probability of a count of heads and tails of a fair coin, or a more uneven one."""
    n = better + worse
    tail = sum(comb(n, k) for k in range(min(better, worse) + 1))
    return min(1.0, 2 * tail / 2**n)
