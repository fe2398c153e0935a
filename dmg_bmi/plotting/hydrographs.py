"""Hydrographs, and what all pictures share; matplotlib is loaded when one is drawn."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..arrays import FloatArray, FloatingArray, TimeArray
from ..errors import DmgBmiError
from ..io.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

log = logging.getLogger("dmg_bmi")
Target = str | Path | BinaryIO

BLUE, GREY, BLACK = "#1b6ca8", "#8fa3b0", "#222222"


def can_draw() -> bool:
    """Tell whether there is matplotlib; where there is none, say once that pictures are left out."""
    if importlib.util.find_spec("matplotlib") is not None:
        return True
    _say_once("pictures are left out: they need matplotlib, pip install 'dmg_bmi[plot]'")
    return False


@lru_cache
def _say_once(message: str) -> None:
    log.warning("%s", message)


def pyplot() -> Any:
    """Import matplotlib.pyplot with a backend that needs no window, unless somebody has chosen one.

    A notebook that has goes on to show its own figures.
    """
    try:
        import matplotlib
    except ImportError as problem:
        raise DmgBmiError("pictures need matplotlib: pip install 'dmg_bmi[plot]'") from problem
    if "matplotlib.pyplot" not in sys.modules:
        matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def save(figure: Figure, path: Target, dpi: int = 130) -> None:
    """Write a picture as PNG, whole or not at all, and close it."""
    if isinstance(path, (str, Path)):
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, dpi=dpi, format="png")
    else:
        figure.savefig(path, dpi=dpi, format="png")
    pyplot().close(figure)


def hydrograph(
    path: str | Path,
    times: TimeArray,
    runoff: FloatArray,
    *,
    precipitation: FloatArray | None = None,
    observed: FloatArray | None = None,
    title: str = "",
    units: str = "mm d$^{-1}$",
) -> None:
    """Save a hydrograph of one catchment, rain hanging from the top.

    Parameters
    ----------
    times : array of datetime64 ``[time]``
    runoff, precipitation, observed : array ``[time]``
        In `units`; NaN leaves a gap.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(10, 4.5), layout="constrained")
    if observed is not None:
        axes.plot(times, observed, color=BLACK, linewidth=0.9, label="observed")
    axes.plot(times, runoff, color=BLUE, linewidth=1.2, label="simulated")
    high = np.nanmax([np.nanmax(s) for s in (runoff, observed) if s is not None and np.isfinite(s).any()])
    axes.set_ylim(0.0, 1.5 * high if high > 0 else 1.0)
    axes.set_ylabel(f"runoff ({units})")
    axes.set_xlim(times[0], times[-1])
    axes.spines[["top", "right"]].set_visible(False)
    if precipitation is not None:
        _hang(axes.twinx(), times, precipitation, units)
    # Beside the title, where it hides nothing.
    axes.legend(loc="lower right", frameon=False, bbox_to_anchor=(1.0, 1.0), borderaxespad=0.0, ncols=2)
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path)


def routed(
    path: str | Path,
    times: TimeArray,
    flows: Mapping[str, tuple[FloatingArray, str]],
    runoff: FloatArray,
    *,
    precipitation: FloatArray | None = None,
    title: str = "",
) -> None:
    """Save hydrographs of a river network, rain hanging from the top.

    Parameters
    ----------
    times : array of datetime64 ``[time]``
    flows : mapping of label to array ``[time]`` and colour
        m3 s-1; the first is drawn boldest.
    runoff : array ``[time]``
        Sum over all catchments, m3 s-1.
    precipitation : array ``[time]``, optional
        mm h-1.
    """
    plt = pyplot()
    figure, axes = plt.subplots(figsize=(10, 4.8), layout="constrained")
    axes.fill_between(times, runoff, color="#dbe7ef", linewidth=0, label="runoff, not routed")
    for k, (label, (flow, colour)) in enumerate(flows.items()):
        axes.plot(
            times,
            flow,
            color=colour,
            linewidth=1.3 if k else 2.2,
            label=label,
            zorder=5 - k,
            solid_capstyle="round",
        )
    high = max(float(np.max(series)) for series in (runoff, *(flow for flow, _ in flows.values())))
    axes.set_ylim(0.0, 1.45 * high if high > 0 else 1.0)
    axes.set_xlim(times[0], times[-1])
    axes.set_ylabel("flow (m$^3$ s$^{-1}$)")
    axes.spines[["top", "right"]].set_visible(False)
    dates = importlib.import_module("matplotlib.dates")
    locator = dates.AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(dates.ConciseDateFormatter(locator))
    if precipitation is not None:
        _hang(axes.twinx(), times, precipitation, "mm h$^{-1}$")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower left", frameon=False, ncols=4)
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path)


def _hang(axes: Axes, times: TimeArray, precipitation: FloatArray, units: str) -> None:
    axes.bar(times, precipitation, width=times[1] - times[0], color=GREY, linewidth=0)
    top = float(np.nanmax(precipitation))
    axes.set_ylim(3.5 * top if top > 0 else 1.0, 0.0)
    axes.set_ylabel(f"precipitation ({units})", color=GREY)
    axes.tick_params(axis="y", colors=GREY)
    axes.spines[["top"]].set_visible(False)
