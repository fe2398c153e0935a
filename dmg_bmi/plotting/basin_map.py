"""A map of a basin from the geometries of its hydrofabric."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatArray
from ..errors import HydrofabricError
from ..io.geopackage import GeoPackage
from .hydrographs import pyplot, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection

#: Bytes of the envelope in a geometry's header, by its code.
ENVELOPES = (0, 32, 48, 48, 64)
DARK = "#08306b"


def geometries(path: str | Path) -> tuple[dict[str, list[FloatArray]], dict[str, list[FloatArray]]]:
    """Read outer borders of divides and lines of flowpaths of a hydrofabric, by id: arrays ``[points, 2]``.

    Raises
    ------
    HydrofabricError
        If a divide or flowpath has no usable geometry.
    """
    with GeoPackage(Path(path), {"geom": ("geom", "geometry")}) as file:
        divides = file.columns(("divides",), "divide_id", ("geom",))
        flowpaths = file.columns(("flowpaths",), "id", ("geom",))
    return (
        {n: _parts(g, f"{path}: {n}") for n, g in zip(divides["divide_id"], divides["geom"], strict=True)},
        {n: _parts(g, f"{path}: {n}") for n, g in zip(flowpaths["id"], flowpaths["geom"], strict=True)},
    )


def _parts(blob: Any, what: str) -> list[FloatArray]:
    """Return the lines, or the outer rings of polygons, of a GeoPackage geometry."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP":
        raise HydrofabricError(f"{what} has no geometry")
    try:
        return _read(blob, 8 + ENVELOPES[(blob[3] >> 1) & 7])[0]
    except (struct.error, IndexError, ValueError) as problem:
        raise HydrofabricError(f"{what} has a geometry that cannot be read: {problem}") from problem


def _read(blob: bytes, at: int) -> tuple[list[FloatArray], int]:
    """Return the parts of the well-known binary that starts at `at`, and where it ends."""
    order = "<" if blob[at] else ">"
    kind, count = struct.unpack_from(f"{order}II", blob, at + 1)
    # With Z or M a point has more numbers than two.
    width = 2 + (kind // 1000 in (1, 3)) + (kind // 1000 in (2, 3))
    kind, at = kind % 1000, at + 9

    def points(n: int, at: int) -> tuple[FloatArray, int]:
        values = np.frombuffer(blob, f"{order}f8", n * width, at).reshape(n, width)[:, :2]
        return values.astype(np.float64), at + 8 * n * width

    if kind == 2:
        line, at = points(count, at)
        return [line], at
    if kind == 3:
        rings = []
        for _ in range(count):
            (n,) = struct.unpack_from(f"{order}I", blob, at)
            ring, at = points(n, at + 4)
            rings.append(ring)
        return rings[:1], at
    if kind in (5, 6):
        parts = []
        for _ in range(count):
            more, at = _read(blob, at)
            parts += more
        return parts, at
    raise ValueError(f"type {kind} is neither a line nor a polygon")


def basin(
    path: str | Path,
    fabric: str | Path,
    flow: Mapping[str, float],
    depth: Mapping[str, float],
    *,
    title: str = "",
    depth_label: str = "runoff (mm)",
    flow_label: str = "flow (m$^3$ s$^{-1}$)",
    marked: Mapping[str, str] | None = None,
) -> None:
    """Save a map: divides coloured by a depth, rivers as wide as their flow.

    Parameters
    ----------
    path, fabric : path
        The picture, and the hydrofabric.
    flow : mapping of flowpath id to number
        m3 s-1.
    depth : mapping of divide id to number
    marked : mapping of flowpath id to colour
        Where a dot is drawn on the reach.
    """
    divides, flowpaths = geometries(fabric)
    rings = [(ring, depth[name]) for name, rings in divides.items() if name in depth for ring in rings]
    points = np.concatenate([ring for ring, _ in rings])
    low, high = points.min(0), points.max(0)
    wide, tall = (high - low) / 1e3
    figure, axes = pyplot().subplots(figsize=(8.6, 1.3 + 6.6 * tall / wide), layout="constrained")
    values = np.array([value for _, value in rings])
    cells = _draw_divides(axes, [(ring - low) / 1e3 for ring, _ in rings], values)
    top = max(flow.values())
    rivers = [((line - low) / 1e3, flow[n]) for n, lines in flowpaths.items() if n in flow for line in lines]
    _draw_rivers(axes, rivers, top)
    for name, colour in (marked or {}).items():
        line = flowpaths[name][-1]
        x, y = (line[round(0.7 * (len(line) - 1))] - low) / 1e3
        axes.plot(x, y, "o", markersize=9, markerfacecolor=colour, markeredgecolor="white", zorder=5)
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.margins(0.03)
    axes.set_axis_off()
    _draw_scale_bar(axes, wide, tall)
    _draw_flow_legend(axes, top, flow_label)
    bar = figure.colorbar(cells, cax=axes.inset_axes((1.03, 0.08, 0.028, 0.42)), label=depth_label)
    bar.outline.set_visible(False)
    if np.ptp(values) > 0:
        bar.ax.set_ylim(values.min(), values.max())
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path, dpi=150)


def _draw_divides(axes: Axes, rings: list[FloatArray], values: FloatArray) -> PolyCollection:
    from matplotlib.collections import PolyCollection

    cells = PolyCollection(rings, cmap="YlGnBu", edgecolor="white", linewidth=0.7)
    cells.set_array(values)
    # The dark end of the colours belongs to the rivers.
    span = float(np.ptp(values)) or 1.0
    cells.set_clim(values.min() - 0.1 * span, values.max() + 0.9 * span)
    axes.add_collection(cells)
    return cells


def _line_width(flow: float, top: float) -> float:
    return float(0.5 + 5.5 * np.sqrt(max(flow, 0.0) / top))


def _draw_rivers(axes: Axes, rivers: list[tuple[FloatArray, float]], top: float) -> None:
    """Draw lines as wide as their flow, largest last, on white borders."""
    from matplotlib.collections import LineCollection

    rivers = sorted(rivers, key=lambda river: river[1])
    for colour, border in (("white", 1.6), (DARK, 0.0)):
        axes.add_collection(
            LineCollection(
                [line for line, _ in rivers],
                linewidths=[_line_width(flow, top) + border for _, flow in rivers],
                colors=colour,
                alpha=0.55 if border else 1.0,
                capstyle="round",
                joinstyle="round",
            )
        )


def _draw_flow_legend(axes: Axes, top: float, label: str) -> None:
    from matplotlib.lines import Line2D

    samples = _round_steps(top)
    widths = [_line_width(flow, top) for flow in samples]
    axes.legend(
        [Line2D([], [], color=DARK, linewidth=width, solid_capstyle="round") for width in widths],
        [f"{flow:g}" for flow in samples],
        title=label,
        loc="upper left",
        bbox_to_anchor=(0.995, 0.98),
        frameon=False,
        alignment="left",
    )


def _round_steps(top: float) -> list[float]:
    """Return three round numbers up to `top`."""
    unit = 10.0 ** np.floor(np.log10(top)) if top > 0 else 1.0
    best = max(k for k in (1.0, 2.0, 4.0, 6.0, 8.0) if k * unit <= top) * unit if top > 0 else 1.0
    return [best / 10, best / 2, best]


def _draw_scale_bar(axes: Axes, wide: float, tall: float) -> None:
    """Draw a line of a round number of kilometres below the map."""
    unit = 10.0 ** np.floor(np.log10(wide / 3))
    length = max(k for k in (1.0, 2.0, 5.0) if k * unit <= wide / 3) * unit
    y = -0.06 * tall
    axes.plot([0, length], [y, y], color="#444444", linewidth=2.5, solid_capstyle="butt")
    axes.text(
        length / 2, y - 0.015 * tall, f"{length:g} km", ha="center", va="top", color="#444444", fontsize=9
    )
