"""Pictures of a training."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..plots import BLACK, BLUE, GREY, pyplot
from .trainer import History


def training_curve(path: str | Path, history: History, loss: str) -> None:
    """Save loss by step, smoothed, and the validation scores if there are any."""
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    values = np.array(history.loss)
    steps = np.arange(1, len(values) + 1)
    axes.plot(steps, values, color=GREY, linewidth=0.6)
    half = len(values) // 40
    smooth = np.convolve(values, np.ones(2 * half + 1) / (2 * half + 1), "valid")
    axes.plot(steps[half : len(steps) - half], smooth, color=BLUE, linewidth=1.5)
    axes.set(xlabel="step", xlim=(1, max(len(values), 2)))
    axes.set_ylabel(f"training loss ({loss})", color=BLUE)
    axes.spines[["top", "right"]].set_visible(False)
    if history.scores:
        right = axes.twinx()
        right.plot(*zip(*history.scores, strict=True), "o-", color=BLACK, markersize=4)
        right.set_ylabel("median NSE of the validation period")
        right.spines[["top"]].set_visible(False)
    figure.savefig(path, dpi=130)
    plt.close(figure)
