"""Pictures of a training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..arrays import FloatingArray
from .hydrographs import BLACK, BLUE, GREY, Target, pyplot, save

COLOURS = {"train": GREY, "validation": "#d98b2b", "test": BLUE, "ungauged": "#2f8f5b"}
#: Of labels that are no splits, in turn.
PALETTE = (BLUE, "#d98b2b", "#2f8f5b", "#b3404a", "#6b5b95", "#8c6d46", BLACK, GREY, "#00a3a3", "#c77cff")


def training_curve(
    path: Target, losses: Sequence[float], scores: Sequence[tuple[int, float]], name: str
) -> None:
    """Save the loss of each step, smoothed, and the validation scores.

    Parameters
    ----------
    path : path or file
    losses : sequence of float
    scores : sequence of (step, score)
        Empty without a validation.
    name : str
        Name of the loss.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    values = np.array(losses)
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=GREY, linewidth=0.6)
    half = len(values) // 40
    smooth = np.convolve(values, np.ones(2 * half + 1) / (2 * half + 1), "valid")
    axes.plot(steps[half : len(steps) - half], smooth, color=BLUE, linewidth=1.5)
    axes.set(xlabel="step", xlim=(1, max(len(values), 2)))
    axes.set_ylabel(f"training loss ({name})", color=BLUE)
    axes.spines[["top", "right"]].set_visible(False)
    if scores:
        right = axes.twinx()
        right.plot(*zip(*scores, strict=True), "o-", color=BLACK, markersize=4)
        right.set_ylabel("median NSE of the validation period")
        right.spines[["top"]].set_visible(False)
    save(figure, path)


def metric_cdf(
    path: Target, scores: Mapping[str, Mapping[str, FloatingArray]], metrics: Sequence[str]
) -> None:
    """Save the share of basins below each value of some metrics.

    Parameters
    ----------
    scores : mapping of split or model to mapping of metric to array ``[basins]``
        NaN where a basin has none. Metrics whose best value is 1; axes begin at -1.
    """
    plt = pyplot()
    beside = len(scores) > len(COLOURS)  # too many for a legend within the axes
    width = (8 if beside else 4) * len(metrics)
    figure, row = plt.subplots(1, len(metrics), figsize=(width, 3.6), layout="constrained", squeeze=False)
    for axes, metric in zip(row[0], metrics, strict=True):
        for k, (split, values) in enumerate(scores.items()):
            finite = np.sort(values[metric][np.isfinite(values[metric])])
            if not len(finite):
                continue
            label = f"{split}: median {np.median(finite):.2f}"
            share = np.arange(1, len(finite) + 1) / len(finite)
            colour = COLOURS.get(split, PALETTE[k % len(PALETTE)])
            axes.step(
                [-1.0, *np.clip(finite, -1, 1), 1.0],
                [0.0, *share, 1.0],
                where="post",
                color=colour,
                label=label,
            )
        axes.set(xlabel=metric, xlim=(-1, 1), ylim=(0, 1), xticks=[-1, -0.5, 0, 0.5, 1])
        axes.grid(color="#e4e8ec", linewidth=0.7)
        corner = (1.02, 1.0) if beside else None
        axes.legend(loc="upper left", frameon=False, fontsize=8, bbox_to_anchor=corner)
        axes.spines[["top", "right"]].set_visible(False)
    row[0][0].set_ylabel("share of basins below")
    save(figure, path)


def parameters(
    path: Target,
    values: Mapping[str, FloatingArray],
    bounds: Mapping[str, tuple[float, float]],
    units: Mapping[str, str],
    places: tuple[FloatingArray, FloatingArray] | None = None,
    one_scale: bool = False,
) -> None:
    """Save parameters or scores: maps if `places` are given, else their spread between the bounds.

    Parameters
    ----------
    values : mapping of name to array ``[basins]``
    bounds : mapping of name to two floats
    units : mapping of name to str
    places : two arrays ``[basins]``, optional
        Longitude and latitude, degrees.
    one_scale : bool
        Let the colours of maps reach from bound to bound instead of from the lowest to the highest value.
    """
    if places is None:
        _spreads(path, values, bounds, units)
    else:
        _maps(path, values, bounds, units, places, one_scale)


def _maps(
    path: Target,
    values: Mapping[str, FloatingArray],
    bounds: Mapping[str, tuple[float, float]],
    units: Mapping[str, str],
    places: tuple[FloatingArray, FloatingArray],
    one_scale: bool,
) -> None:
    columns = min(4, len(values))
    rows = -(-len(values) // columns)
    longitude, latitude = places
    # Degrees of longitude are shorter than those of latitude.
    stretch = 1 / float(np.cos(np.deg2rad(np.mean(latitude))))
    extent = stretch * float(np.ptp(latitude)) / max(float(np.ptp(longitude)), 0.1)
    height = 0.5 + float(np.clip(2.4 * extent, 0.8, 3.0))
    figure, grid = pyplot().subplots(
        rows,
        columns,
        figsize=(3.4 * columns, height * rows),
        layout="constrained",
        squeeze=False,
        sharex=True,
        sharey=True,
    )
    size = float(np.clip(900 / len(latitude), 8, 60))
    for axes, (name, basins) in zip(grid.flat, values.items(), strict=False):
        points = axes.scatter(
            longitude, latitude, c=basins, s=size, cmap="viridis", edgecolors="white", linewidths=0.4
        )
        lower, upper = bounds[name]
        if one_scale:
            points.set_clim(lower, upper)
        axes.set_title(f"{_with_units(name, units)}, {lower:g} to {upper:g}", loc="left", fontsize=9)
        axes.set_aspect(stretch, adjustable="box")
        axes.tick_params(labelsize=7)
        axes.grid(color="#e4e8ec", linewidth=0.6)
        axes.set_axisbelow(True)
        figure.colorbar(points, ax=axes, shrink=0.8).ax.tick_params(labelsize=7)
    for axes in list(grid.flat)[len(values) :]:
        axes.set_visible(False)
    for axes in list(grid.flat)[: len(values)][-columns:]:  # the lowest of each column
        axes.tick_params(labelbottom=True)
    figure.supxlabel("longitude", fontsize=9)
    figure.supylabel("latitude", fontsize=9)
    save(figure, path)


def _spreads(
    path: Target,
    values: Mapping[str, FloatingArray],
    bounds: Mapping[str, tuple[float, float]],
    units: Mapping[str, str],
) -> None:
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 0.6 + 0.3 * len(values)), layout="constrained")
    for line, (name, basins) in enumerate(values.items()):
        lower, upper = bounds[name]
        axes.plot([0, 1], [line, line], color="#e4e8ec", linewidth=1, zorder=0)
        axes.scatter(
            (basins - lower) / (upper - lower), np.full(len(basins), line), s=14, color=BLUE, alpha=0.5
        )
        axes.text(-0.01, line, f"{lower:g}", ha="right", va="center", fontsize=7, color=BLACK)
        axes.text(1.01, line, f"{upper:g}", ha="left", va="center", fontsize=7, color=BLACK)
    axes.set_yticks(range(len(values)), [_with_units(name, units) for name in values], fontsize=8)
    axes.tick_params(axis="y", pad=34, length=0)
    axes.set(xticks=[], xlim=(0, 1), ylim=(len(values) - 0.5, -0.5))
    axes.spines[:].set_visible(False)
    save(figure, path)


def _with_units(name: str, units: Mapping[str, str]) -> str:
    unit = units.get(name, "")
    return name if unit in ("", "1") else f"{name} ({unit})"
