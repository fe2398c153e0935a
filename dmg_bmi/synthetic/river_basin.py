"""A synthetic river basin: divides, reaches and nexuses, written as a hydrofabric GeoPackage.

For the demonstration and for tests: it has the tables, columns and geometries of a hydrofabric v2.2
in EPSG:5070, so that readers of real ones read it unchanged.
"""

from __future__ import annotations

import errno
import heapq
import sqlite3
import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..arrays import BoolArray, FloatArray
from ..errors import WriteError
from ..io.atomic import replacing
from ..io.timeseries import BasinDataset, Series
from . import basins as synthetic

#: Middle of the basin in EPSG:5070, m: in the Appalachians of Pennsylvania.
CENTRE = (1_550_000.0, 2_110_000.0)
EPSG = 5070
ONE_HOUR = np.timedelta64(3600, "s")
#: Length of a winding reach over that of its line on the map.
SINUOSITY = 1.25


@dataclass(frozen=True)
class Basin:
    """A synthetic basin; row 0 is at the outlet, and each row flows into one before it.

    Parameters
    ----------
    below : ndarray of int64
        Row that each flows into, -1 at the outlet.
    polygons, lines : tuple of ndarray ``[points, 2]``
        Boundaries of the divides and courses of their reaches, m.
    area : ndarray
        km2.
    elevation : ndarray
        m.
    channel : mapping of name to ndarray
        Columns of ``flowpath-attributes``.
    """

    below: NDArray[np.int64]
    polygons: tuple[FloatArray, ...]
    lines: tuple[FloatArray, ...]
    area: FloatArray
    elevation: FloatArray
    channel: Mapping[str, FloatArray]

    @property
    def ids(self) -> tuple[str, ...]:
        """Return the ids of the divides: ``cat-1``, ..."""
        return tuple(f"cat-{k + 1}" for k in range(len(self.below)))

    def write(self, path: str | Path) -> None:
        """Write a GeoPackage, replacing an older one; WriteError if that fails."""
        with replacing(Path(path)) as temporary:
            try:
                self._write(temporary)
            except sqlite3.Error as problem:
                raise WriteError(errno.EIO, str(problem), str(path)) from problem

    def _write(self, path: Path) -> None:
        upstream = self.area.copy()
        for row in range(len(self.below) - 1, 0, -1):
            upstream[self.below[row]] += upstream[row]
        nexuses = sorted({int(row) for row in self.below})
        flowpaths, divides, attributes = [], [], []
        columns = [*self.channel]
        for k, below in enumerate(self.below.tolist()):
            reach, toid = f"wb-{k + 1}", f"nex-{below + 1}"
            line, polygon = _geometry(2, self.lines[k]), _geometry(3, self.polygons[k])
            length = float(self.channel["Length_m"][k]) / 1e3
            flowpaths.append((reach, toid, self.ids[k], length, float(upstream[k]), line))
            divides.append((self.ids[k], toid, reach, "network", float(self.area[k]), polygon))
            attributes.append((reach, *(float(self.channel[name][k]) for name in columns)))
        ends = {below: self.lines[k][-1] for k, below in enumerate(self.below.tolist())}
        with closing(sqlite3.connect(path)) as file:
            file.executescript(_SCHEMA.format(columns=", ".join(f"{name} REAL" for name in columns)))
            layers = {"divides": "POLYGON", "flowpaths": "LINESTRING", "nexus": "POINT"}
            file.executemany("INSERT INTO gpkg_spatial_ref_sys VALUES (?, ?, 'EPSG', ?, '', '')", _SYSTEMS)
            for name, kind in layers.items():
                file.execute(
                    "INSERT INTO gpkg_contents (table_name, data_type, identifier, srs_id) "
                    "VALUES (?, 'features', ?, ?)",
                    (name, name, EPSG),
                )
                file.execute(
                    "INSERT INTO gpkg_geometry_columns VALUES (?, 'geom', ?, ?, 0, 0)", (name, kind, EPSG)
                )
            file.executemany(f"INSERT INTO flowpaths VALUES (NULL, {_marks(6)})", flowpaths)  # noqa: S608  marks
            file.executemany(f"INSERT INTO divides VALUES (NULL, {_marks(6)})", divides)  # noqa: S608  marks
            file.executemany(
                "INSERT INTO nexus VALUES (NULL, ?, ?, ?)",
                [(f"nex-{k + 1}", f"wb-{k + 1}", _geometry(1, ends[k][None])) for k in nexuses],
            )
            marks = _marks(1 + len(columns))
            file.executemany(f'INSERT INTO "flowpath-attributes" VALUES ({marks})', attributes)  # noqa: S608  marks
            file.commit()


def generate(divides: int = 40, *, area: float = 900.0, seed: int = 0) -> Basin:
    """Generate a basin of about as many divides, whose areas add up to `area`.

    Divides are the cells of points spread evenly over an oval; each drains to the neighbour on its
    cheapest path to the outlet in the east, where the cost of a path is its length times a random
    field. Channels follow from drained area by power laws.

    Parameters
    ----------
    divides : int
    area : float
        km2.
    seed : int
    """
    rng = np.random.default_rng(seed)
    points, inside = _points(rng, divides)
    cells, borders = _cells(points)
    below, order = _tree(rng, points, inside, borders)
    place = {cell: k for k, cell in enumerate(order)}
    scale = 1e3 * np.sqrt(area / sum(_area(cells[cell]) for cell in order))
    centre = np.array(CENTRE)

    mouth = max((e.mean(0) for j, e in borders[order[0]].items() if not inside[j]), key=lambda p: p[0])
    lines = [line * scale + centre for line in _courses(points, order, below, mouth)]
    downstream = np.array([place.get(below[cell], -1) for cell in order], dtype=np.int64)
    polygons = tuple(cells[cell] * scale + centre for cell in order)
    areas = np.array([_area(polygon) for polygon in polygons]) / 1e6
    drained = areas.copy()
    for row in range(len(order) - 1, 0, -1):
        drained[downstream[row]] += drained[row]
    length = np.array([np.hypot(*np.diff(line, axis=0).T).sum() for line in lines]) * SINUOSITY
    slope = np.maximum(0.03 * drained**-0.45, 1e-4)
    elevation = np.full(len(order), 160.0)
    for row in range(1, len(order)):
        elevation[row] = elevation[downstream[row]] + slope[row] * length[row]
    hills = 0.012 * length * rng.uniform(0.7, 1.3, len(order))
    bottom = 2.0 * drained**0.35
    channel = {
        "Length_m": length,
        "n": np.full(len(order), 0.055),
        "nCC": np.full(len(order), 0.11),
        "BtmWdth": bottom,
        "TopWdth": 1.2 * bottom,
        "TopWdthCC": 3.6 * bottom,
        "ChSlp": np.full(len(order), 0.6),
        "So": slope,
    }
    return Basin(downstream, polygons, tuple(lines), areas, elevation + hills, channel)


def _points(rng: np.random.Generator, n: int) -> tuple[FloatArray, BoolArray]:
    """Spread points evenly, and mark those in the basin; those around it bound its cells."""
    half = np.array([1.9, 1.35])
    angle = rng.uniform(0, 2 * np.pi, 3)
    amplitude = rng.uniform(0.03, 0.1, 3)

    def within(at: FloatArray) -> BoolArray:
        theta = np.arctan2(at[:, 1] / 0.68, at[:, 0])
        radius = 1.0 + sum(
            a * np.cos((k + 2) * theta + p) for k, (a, p) in enumerate(zip(amplitude, angle, strict=True))
        )
        return np.hypot(at[:, 0], at[:, 1] / 0.68) < radius

    cloud = rng.uniform(-half, half, (20_000, 2))
    share = within(cloud).mean()
    points = rng.uniform(-half, half, (round(n / share), 2))
    for _ in range(4):  # Lloyd's relaxation
        nearest = ((cloud[:, None] - points[None]) ** 2).sum(-1).argmin(1)
        count = np.bincount(nearest, minlength=len(points)).clip(min=1)
        points = np.stack([np.bincount(nearest, c, len(points)) / count for c in cloud.T], axis=1)
    return points, within(points)


def _cells(points: FloatArray) -> tuple[list[FloatArray], list[dict[int, FloatArray]]]:
    """Compute the Voronoi cell of each point, and its edges by neighbour."""
    cells, borders = [], []
    for centre in points:
        corners = np.array([[-3.0, -3.0], [3.0, -3.0], [3.0, 3.0], [-3.0, 3.0]])
        beyond = [-1] * 4  # the neighbour behind the edge that begins at each corner
        for j in np.argsort(((points - centre) ** 2).sum(1))[1:].tolist():
            normal, middle = points[j] - centre, (points[j] + centre) / 2
            side = (corners - middle) @ normal
            if (side <= 0).all():
                continue
            inner: list[FloatArray] = []
            behind: list[int] = []
            for a in range(len(corners)):
                b = (a + 1) % len(corners)
                if side[a] <= 0:
                    inner.append(corners[a])
                    behind.append(beyond[a])
                if (side[a] <= 0) != (side[b] <= 0):
                    inner.append(corners[a] + side[a] / (side[a] - side[b]) * (corners[b] - corners[a]))
                    behind.append(j if side[a] <= 0 else beyond[a])
            corners, beyond = np.array(inner), behind
        cells.append(corners)
        edges = np.stack([corners, np.roll(corners, -1, axis=0)], axis=1)
        borders.append({j: edge for j, edge in zip(beyond, edges, strict=True) if j >= 0})
    return cells, borders


def _tree(
    rng: np.random.Generator, points: FloatArray, inside: BoolArray, borders: list[dict[int, FloatArray]]
) -> tuple[dict[int, int], list[int]]:
    """Find the cell that each cell of the basin drains to; list the cells from the outlet upwards."""
    outlet = int(np.where(inside, points[:, 0], -np.inf).argmax())
    roughness = rng.uniform(0.3, 1.7, len(points))
    below: dict[int, int] = {}
    order: list[int] = []
    queue = [(0.0, outlet, -1)]
    while queue:
        cost, cell, beneath = heapq.heappop(queue)
        if cell in below:
            continue
        below[cell] = beneath
        order.append(cell)
        for other, edge in borders[cell].items():
            if inside[other] and other not in below:
                width = float(np.hypot(*(edge[1] - edge[0])))
                step = float(np.hypot(*(points[other] - points[cell])))
                # A path through a narrow gap is costly.
                heapq.heappush(queue, (cost + step * roughness[other] * (1 + 0.03 / width), other, cell))
    return below, order


def _courses(
    points: FloatArray, order: list[int], below: dict[int, int], mouth: FloatArray
) -> list[FloatArray]:
    """Draw lines from point to point that join smoothly: cubic, with one direction at each point."""
    target = {cell: points[below[cell]] if below[cell] >= 0 else mouth for cell in order}
    size = dict.fromkeys(order, 1)
    longest: dict[int, int] = {}
    for cell in reversed(order):
        if below[cell] >= 0:
            size[below[cell]] += size[cell]
            if size[cell] > size.get(longest.get(below[cell], -1), 0):
                longest[below[cell]] = cell
    direction = {}
    for cell in order:
        onward = target[cell] - points[cell]
        came = points[cell] - points[longest[cell]] if cell in longest else onward
        both = onward / np.hypot(*onward) + came / np.hypot(*came)
        direction[cell] = both / np.hypot(*both)
    t = np.linspace(0.0, 1.0, 17)[:, None]
    lines = []
    for cell in order:
        begin, end = points[cell], target[cell]
        reach = 0.9 * np.hypot(*(end - begin))
        last = direction[below[cell]] if below[cell] >= 0 else direction[cell]
        lines.append(
            (2 * t**3 - 3 * t**2 + 1) * begin
            + (t**3 - 2 * t**2 + t) * reach * direction[cell]
            + (3 * t**2 - 2 * t**3) * end
            + (t**3 - t**2) * reach * last
        )
    return lines


def _area(polygon: FloatArray) -> float:
    x, y = polygon.T
    return float(abs(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2)


def _marks(n: int) -> str:
    return ", ".join("?" * n)


def _geometry(kind: int, points: FloatArray) -> bytes:
    """Encode a GeoPackage geometry: point (1), line (2) or polygon (3) of one ring."""
    if kind == 3:
        points = np.concatenate([points, points[:1]])
    (low_x, low_y), (high_x, high_y) = points.min(0), points.max(0)
    header = struct.pack("<2sBBi4d", b"GP", 0, 0b11, EPSG, low_x, high_x, low_y, high_y)
    counts = [] if kind == 1 else [len(points)] if kind == 2 else [1, len(points)]
    body = struct.pack(f"<BI{len(counts)}I", 1, kind, *counts)
    return header + body + np.ascontiguousarray(points, dtype="<f8").tobytes()


_SYSTEMS = [
    ("NAD83 / Conus Albers", EPSG, EPSG),
    ("WGS 84", 4326, 4326),
    ("undefined cartesian", -1, -1),
    ("undefined geographic", 0, 0),
]
_SCHEMA = """
PRAGMA application_id = 1196444487;
PRAGMA user_version = 10300;
CREATE TABLE gpkg_spatial_ref_sys (srs_name TEXT NOT NULL, srs_id INTEGER PRIMARY KEY,
    organization TEXT NOT NULL, organization_coordsys_id INTEGER NOT NULL, definition TEXT NOT NULL,
    description TEXT);
CREATE TABLE gpkg_contents (table_name TEXT PRIMARY KEY, data_type TEXT NOT NULL, identifier TEXT UNIQUE,
    description TEXT DEFAULT '', last_change DATETIME DEFAULT '2000-01-01T00:00:00Z', min_x DOUBLE,
    min_y DOUBLE, max_x DOUBLE, max_y DOUBLE, srs_id INTEGER);
CREATE TABLE gpkg_geometry_columns (table_name TEXT PRIMARY KEY, column_name TEXT NOT NULL,
    geometry_type_name TEXT NOT NULL, srs_id INTEGER NOT NULL, z TINYINT NOT NULL, m TINYINT NOT NULL);
CREATE TABLE flowpaths (fid INTEGER PRIMARY KEY, id TEXT, toid TEXT, divide_id TEXT, lengthkm REAL,
    tot_drainage_areasqkm REAL, geom BLOB);
CREATE TABLE divides (fid INTEGER PRIMARY KEY, divide_id TEXT, toid TEXT, id TEXT, type TEXT,
    areasqkm REAL, geom BLOB);
CREATE TABLE nexus (fid INTEGER PRIMARY KEY, id TEXT, toid TEXT, geom BLOB);
CREATE TABLE "flowpath-attributes" (id TEXT, {columns});
"""


def weather(basin: Basin, days: int = 40, *, start: str = "2001-03-20", seed: int = 0) -> BasinDataset:
    """Generate hourly weather of a basin's divides, and the attributes of the shipped models.

    Storms cross the basin from west to east in some hours; uphill it is wetter and colder.

    Parameters
    ----------
    basin : Basin
    days : int
    start : str
        Date of the first hour.
    seed : int

    Returns
    -------
    BasinDataset
        Forcings P, T, PET; the attributes of :data:`.basins.ATTRIBUTES`, and area_km2.
    """
    rng = np.random.default_rng(seed)
    first, hours = np.datetime64(start, "s"), 24 * days
    # The climatic attributes come from a year more of the same weather.
    times = np.arange(synthetic.years_later(first, -1), first + hours * ONE_HOUR, ONE_HOUR)
    climate, year = synthetic.climate(rng, times, 3600.0, 1)
    begin = len(times) - hours
    middle = np.array([polygon.mean(0) for polygon in basin.polygons])
    x, y = ((middle - middle.min(0)) / np.ptp(middle, axis=0)).T
    uphill = (basin.elevation - basin.elevation.mean()) / np.ptp(basin.elevation)
    lapse = 0.0065 * (basin.elevation - basin.elevation.mean())
    storm_hour = begin + np.arange(hours)[:, None] - np.round(5 * x).astype(int)
    waves = np.sin(2 * np.pi * (x + rng.random())) + np.cos(2 * np.pi * (y + rng.random()))
    return BasinDataset(
        ids=basin.ids,
        times=times[begin:],
        step=3600.0,
        forcing={
            "P": year["P"][:, 0][storm_hour] * (1.0 + 0.5 * uphill + 0.15 * waves),
            "T": year["T"][begin:] - lapse,
            "PET": np.repeat(year["PET"][begin:], len(basin.below), axis=1),
        },
        attributes=_attributes(rng, basin, climate, uphill, waves),
        target={},
        units={**synthetic.FORCINGS, **synthetic.ATTRIBUTES, "area_km2": "km2"},
    )


def _attributes(
    rng: np.random.Generator, basin: Basin, climate: Series, uphill: FloatArray, waves: FloatArray
) -> Series:
    n = len(basin.below)
    same = {name: np.full(n, float(climate[name][0])) for name in synthetic.ATTRIBUTES if name != "area"}
    return {
        **same,
        "elev_mean": basin.elevation,
        "area": basin.area,
        "area_km2": basin.area,
        "frac_forest": np.clip(0.5 + 0.6 * uphill + 0.1 * waves, 0.02, 0.98),
        "clay_frac": np.clip(18.0 - 14.0 * uphill + 3.0 * rng.standard_normal(n), 4.0, 45.0),
    }
