"""A map of a basin from the geometries of its hydrofabric."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import HydrofabricError
from ..io.geopackage import GeoPackage
from .hydrographs import pyplot, save

#: Bytes of the envelope in a geometry's header, by its code.
ENVELOPES = (0, 32, 48, 48, 64)
DARK = "#08306b"


def geometries(path: str | Path) -> tuple[dict[str, list[FloatArray]], dict[str, list[FloatArray]]]:
    """Outer borders of divides and lines of flowpaths of a hydrofabric, by id: arrays ``[points, 2]``.

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
    """Lines, or outer rings of polygons, of a GeoPackage geometry."""
    if not isinstance(blob, bytes) or blob[:2] != b"GP":
        raise HydrofabricError(f"{what} has no geometry")
    try:
        return _read(blob, 8 + ENVELOPES[(blob[3] >> 1) & 7])[0]
    except (struct.error, IndexError, ValueError) as problem:
        raise HydrofabricError(f"{what} has a geometry that cannot be read: {problem}") from problem


def _read(blob: bytes, at: int) -> tuple[list[FloatArray], int]:
    """Parts of the well-known binary at a place, and where it ends."""
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
    raise ValueError(f"type {kind} is no line and no polygon")


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
    plt = pyplot()
    from matplotlib.collections import LineCollection, PolyCollection
    from matplotlib.lines import Line2D

    divides, flowpaths = geometries(fabric)
    shapes = [(ring, depth[name]) for name, rings in divides.items() if name in depth for ring in rings]
    every = np.concatenate([ring for ring, _ in shapes])
    low, high = every.min(0), every.max(0)
    wide, tall = (high - low) / 1e3
    figure, axes = plt.subplots(figsize=(8.6, 1.3 + 6.6 * tall / wide), layout="constrained")
    cells = PolyCollection(
        [(ring - low) / 1e3 for ring, _ in shapes], cmap="YlGnBu", edgecolor="white", linewidth=0.7
    )
    values = np.array([value for _, value in shapes])
    cells.set_array(values)
    # The dark end of the colours belongs to the rivers.
    span = float(np.ptp(values)) or 1.0
    cells.set_clim(values.min() - 0.1 * span, values.max() + 0.9 * span)
    axes.add_collection(cells)

    top = max(flow.values())

    def thickness(q: float) -> float:
        return 0.5 + 5.5 * np.sqrt(max(q, 0.0) / top)

    drawn = [(line, flow[name]) for name, lines in flowpaths.items() if name in flow for line in lines]
    drawn.sort(key=lambda part: part[1])
    for colour, extra in (("white", 1.6), (DARK, 0.0)):
        axes.add_collection(
            LineCollection(
                [(line - low) / 1e3 for line, _ in drawn],
                linewidths=[thickness(q) + extra for _, q in drawn],
                colors=colour,
                alpha=0.55 if extra else 1.0,
                capstyle="round",
                joinstyle="round",
            )
        )
    for name, colour in (marked or {}).items():
        line = flowpaths[name][-1]
        x, y = (line[round(0.7 * (len(line) - 1))] - low) / 1e3
        axes.plot(x, y, "o", markersize=9, markerfacecolor=colour, markeredgecolor="white", zorder=5)
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.margins(0.03)
    axes.set_axis_off()
    _scale_bar(axes, wide, tall)
    samples = [q for q in _round_steps(top)]
    axes.legend(
        [Line2D([], [], color=DARK, linewidth=thickness(q), solid_capstyle="round") for q in samples],
        [f"{q:g}" for q in samples],
        title=flow_label,
        loc="upper left",
        bbox_to_anchor=(0.995, 0.98),
        frameon=False,
        alignment="left",
    )
    bar = figure.colorbar(cells, cax=axes.inset_axes((1.03, 0.08, 0.028, 0.42)), label=depth_label)
    bar.outline.set_visible(False)
    if np.ptp(values) > 0:
        bar.ax.set_ylim(values.min(), values.max())
    axes.set_title(title, loc="left", fontsize=11)
    save(figure, path, dpi=150)


def _round_steps(top: float) -> list[float]:
    """Three round numbers up to `top`."""
    unit = 10.0 ** np.floor(np.log10(top)) if top > 0 else 1.0
    best = max(k for k in (1.0, 2.0, 4.0, 6.0, 8.0) if k * unit <= top) * unit if top > 0 else 1.0
    return [best / 10, best / 2, best]


def _scale_bar(axes: Any, wide: float, tall: float) -> None:
    """A line of a round number of kilometres below the map."""
    unit = 10.0 ** np.floor(np.log10(wide / 3))
    length = max(k for k in (1.0, 2.0, 5.0) if k * unit <= wide / 3) * unit
    y = -0.06 * tall
    axes.plot([0, length], [y, y], color="#444444", linewidth=2.5, solid_capstyle="butt")
    axes.text(
        length / 2, y - 0.015 * tall, f"{length:g} km", ha="center", va="top", color="#444444", fontsize=9
    )
