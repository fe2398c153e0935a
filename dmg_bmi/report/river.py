"""A coupled run, or one of NextGen, as one interactive HTML file: its basin on a map that runs in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import hydrofabric
from ..arrays import FloatArray
from ..errors import ConfigError
from ..hydrofabric.reader import Hydrofabric
from ..plotting.basin_map import geometries
from .page import write_page
from .payload import Payload
from .results import Variable, read_results
from .series import SeriesPacker

REPORT = "report.html"
#: Bytes before compression of all series, and of the pictures of the map in time.
SERIES_ROOM, FRAME_ROOM = 6_000_000, 4_000_000
#: Frames of a map in time at most.
FRAMES = 1000
#: Cells of the grid that borders are drawn on, across the basin.
GRID = 3000


def write_river_report(folder: str | Path, fabric: str | Path | None = None) -> Path:
    """Write ``report.html`` into the folder of a run.

    Parameters
    ----------
    folder : path
        Of ``dmg-bmi couple`` or ``demo``, or the run folder of `ngen`.
    fabric : path, optional
        Hydrofabric; by default the only GeoPackage in the folder or its ``config/``.

    Raises
    ------
    ConfigError
        If the folder holds no results of the hydrofabric's divides or reaches.
    HydrofabricError
        If the hydrofabric cannot be read.
    """
    folder = Path(folder)
    path = find_fabric(folder) if fabric is None else Path(fabric)
    read = hydrofabric.read(path)
    variables = read_results(folder, read)
    payload = Payload()
    content = _content(folder, read, variables, payload)
    return write_page(folder / REPORT, content["title"], ["river.js"], content, payload)


def find_fabric(folder: Path) -> Path:
    """Return the only GeoPackage in a folder, or in its ``config/``."""
    for place in (folder, folder / "config"):
        found = sorted(place.glob("*.gpkg"))
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{place}: has {len(found)} .gpkg files; name one by --hydrofabric")
    raise ConfigError(
        f"{folder}: holds no finished run of dmg-bmi train (no metrics.csv) and no .gpkg of a coupled run; "
        "see dmg-bmi train, or give --hydrofabric"
    )


def _content(
    folder: Path, fabric: Hydrofabric, variables: Sequence[Variable], payload: Payload
) -> dict[str, Any]:
    divides, flowpaths = geometries(fabric.path)
    network = fabric.network
    packed = [_pack(v, fabric, payload, len(variables)) for v in variables]
    size = network.columns()["upstream_area"]
    period = [v.times[[0, -1]] for v in variables]
    begin, end = min(p[0] for p in period), max(p[1] for p in period)
    facts = {
        "hydrofabric": fabric.path.name,
        "divides": f"{len(fabric.divides.ids)}, {np.nansum(fabric.divides.area):,.0f} km²",
        "reaches": f"{len(network.ids)}",
        "period": f"{str(begin)[:16].replace('T', ' ')} to {str(end)[:16].replace('T', ' ')}",
    }
    grid = _grid([*divides.values(), *flowpaths.values()])
    return {
        "title": folder.resolve().name,
        "facts": [[key, value] for key, value in facts.items()],
        "divides": _shapes(fabric.divides.ids, divides, grid, payload),
        "reaches": _shapes(network.ids, flowpaths, grid, payload),
        "area": payload.add(fabric.divides.area, "f4"),
        "upstream": payload.add(size, "f4"),
        "reach": payload.add(fabric.divides.reach, "i4"),
        "variables": packed,
    }


def _pack(variable: Variable, fabric: Hydrofabric, payload: Payload, count: int) -> dict[str, Any]:
    """Pack a variable's series and frames, in the order of the hydrofabric's items."""
    items = fabric.divides.ids if variable.of == "divide" else fabric.network.ids
    place = {name: k for k, name in enumerate(variable.ids)}
    rows = np.array([place.get(name, -1) for name in items])
    length = len(variable.times)
    block = -(-length // int(min(FRAMES, max(1, FRAME_ROOM // (2 * count * len(items))), length)))
    packer = SeriesPacker(
        variable.times, variable.step, len(items), {"value": "envelope"}, SERIES_ROOM // count
    )
    values = np.where(rows < 0, np.nan, variable.values[:, rows])
    packer.append({"value": values})
    frames = np.array([values[k : k + block].mean(0) for k in range(0, length, block)])
    known = frames[np.isfinite(frames)]
    return {
        "name": variable.name,
        "units": variable.units,
        "meaning": variable.meaning,
        "of": variable.of,
        "group": packer.pack(payload),
        "frame": block,
        "frames": payload.add(frames),
        "limits": [float(known.min()), float(np.quantile(known, 0.995))] if known.size else [0.0, 1.0],
    }


def _grid(groups: Sequence[Sequence[FloatArray]]) -> tuple[FloatArray, float]:
    points = np.concatenate([part for parts in groups for part in parts])
    low, high = points.min(0), points.max(0)
    return low, float((high - low).max()) / GRID or 1.0


def _shapes(
    ids: Sequence[str],
    shapes: Mapping[str, list[FloatArray]],
    grid: tuple[FloatArray, float],
    payload: Payload,
) -> dict[str, Any]:
    """Pack outlines on a grid, so that neighbours keep one border; how many points each part has."""
    low, cell = grid
    counts: list[list[int]] = []
    points = []
    for name in ids:
        parts = []
        for part in shapes.get(name, ()):
            snapped = np.round((part - low) / cell).astype(np.int64)
            moved = np.append(True, (np.diff(snapped, axis=0) != 0).any(1))
            parts.append(snapped[moved] if moved.sum() > 1 else snapped[[0, -1]])
        counts.append([len(part) for part in parts])
        points += parts
    flat = np.concatenate(points).ravel() if points else np.zeros(0, np.int64)
    return {"ids": list(ids), "counts": counts, "points": payload.add(flat, "i4")}
