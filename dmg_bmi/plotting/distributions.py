"""Pictures of forecasts that say how sure they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..arrays import FloatingArray, TimeArray
from .hydrographs import BLACK, BLUE, GREY, Target, pyplot, save
from .training import PALETTE


def fan_chart(
    path: Target,
    times: TimeArray,
    quantiles: FloatingArray,
    levels: Sequence[float],
    observed: FloatingArray,
    title: str = "",
) -> None:
    """Save central intervals of a forecast, one within the other, its median and what came.

    Parameters
    ----------
    path : path or file
    times : array of datetime64 ``[time]``
    quantiles : array ``[levels, time]``
        mm per step.
    levels : sequence of float
        Rising, as many below a half as above.
    observed : array ``[time]``
        NaN leaves a gap.
    title : str
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(10, 4.2), layout="constrained")
    count = len(levels) // 2
    for k in range(count):
        low, high = quantiles[k], quantiles[-1 - k]
        axes.fill_between(times, low, high, color=BLUE, alpha=0.9 / count, linewidth=0)
    label = f"central intervals up to {levels[-1] - levels[0]:.0%}"
    axes.fill_between([], [], color=BLUE, alpha=0.4, linewidth=0, label=label)
    axes.plot(times, quantiles[count], color=BLUE, linewidth=1.1, label="median")
    axes.plot(times, observed, "o", color=BLACK, markersize=2.2, label="observed")
    axes.set(xlim=(times[0], times[-1]), ylabel="flow (mm per step)")
    axes.set_ylim(bottom=0.0)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=4)
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path)


def reliability_diagram(
    path: Target, levels: Sequence[float], shares: Mapping[str, FloatingArray], title: str = ""
) -> None:
    """Save how often flow was not above each quantile, beside how often it should have been.

    Parameters
    ----------
    path : path or file
    levels : sequence of float
    shares : mapping of label to array ``[levels]``
        Of :func:`~dmg_bmi.training.probabilistic.reliability`.
    title : str
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(4.8, 4.8), layout="constrained")
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
    for k, (label, share) in enumerate(shares.items()):
        axes.plot(
            levels, share, "o-", color=PALETTE[k % len(PALETTE)], markersize=3.5, linewidth=1.2, label=label
        )
    axes.set(xlabel="level of the quantile", ylabel="share of observations not above it")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", frameon=False, fontsize=8)
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path)


def rank_histogram(path: Target, ranks: FloatingArray, members: int, title: str = "") -> None:
    """Save how often each rank of the observations among members, or quantiles at even distances, occurs.

    Parameters
    ----------
    path : path or file
    ranks : array
        From 0 to `members`; NaN is missing.
    members : int
    title : str
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(6, 3.4), layout="constrained")
    counted = np.bincount(ranks[~np.isnan(ranks)].astype(int), minlength=members + 1)
    axes.bar(np.arange(members + 1), counted / max(counted.sum(), 1), color=BLUE, width=0.9)
    axes.axhline(1 / (members + 1), color=BLACK, linewidth=0.8)
    axes.set(xlabel="below the observation", ylabel="share of observations")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path)
