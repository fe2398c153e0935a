"""Synthetic basins are hydrofabrics like real ones, and maps read the geometries of both."""

import sqlite3
import struct
from contextlib import closing

import numpy as np
import pytest

from dmg_bmi.errors import HydrofabricError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.hydrofabric.geometry import latitudes
from dmg_bmi.plotting import basin_map
from dmg_bmi.synthetic import river_basin


@pytest.fixture(scope="module")
def basin():
    return river_basin.generate(20, area=300.0, seed=5)


@pytest.fixture(scope="module")
def path(basin, tmp_path_factory):
    path = tmp_path_factory.mktemp("basin") / "basin.gpkg"
    basin.write(path)
    return path


def test_all_divides_drain_to_one_outlet_and_there_is_nothing_to_find(basin, path):
    assert (basin.below[1:] < np.arange(1, len(basin.below))).all()
    assert basin.below[0] == -1
    assert basin.area.sum() == pytest.approx(300.0)
    fabric = hydrofabric.read(path)
    assert [f.kind for f in fabric.findings] == ["outlet"]
    network = fabric.routable()
    assert network.columns()["upstream_area"][0] == pytest.approx(300.0)
    assert (basin.elevation[1:] > basin.elevation[0] - 100).all()


def test_rivers_join_where_they_meet_and_leave_no_divide_out(basin):
    for k, below in enumerate(basin.below.tolist()):
        if below >= 0:
            np.testing.assert_allclose(basin.lines[k][-1], basin.lines[below][0])
    outlines = [{tuple(np.round(p, 3)) for p in polygon} for polygon in basin.polygons]
    for k, below in enumerate(basin.below[1:].tolist(), start=1):
        assert len(outlines[k] & outlines[below]) >= 2  # they share a border


def test_the_same_seed_gives_the_same_basin_and_weather(basin):
    again = river_basin.generate(20, area=300.0, seed=5)
    np.testing.assert_array_equal(again.below, basin.below)
    first, second = (river_basin.weather(b, 20, seed=1) for b in (basin, again))
    np.testing.assert_array_equal(first.forcing["P"], second.forcing["P"])
    assert not np.array_equal(first.forcing["P"], river_basin.weather(basin, 20, seed=2).forcing["P"])
    high = int(basin.elevation.argmax())
    assert first.forcing["T"].mean(0).argmin() == high


def test_geometries_are_read_as_they_were_written(basin, path):
    divides, flowpaths = basin_map.geometries(path)
    for k, name in enumerate(basin.ids):
        (ring,), (line,) = divides[name], flowpaths[f"wb-{k + 1}"]
        np.testing.assert_array_equal(ring[:-1], basin.polygons[k])
        np.testing.assert_array_equal(line, basin.lines[k])
    assert all(40 < latitude < 42 for latitude in latitudes(path).values())


def test_the_geometries_of_the_juniata_are_where_its_divides_say(shared_data):
    path = shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg"
    divides, flowpaths = basin_map.geometries(path)
    fabric = hydrofabric.read(path)
    assert (len(divides), len(flowpaths)) == (794, 794)
    total = sum(river_basin._area(ring[:-1]) for rings in divides.values() for ring in rings)
    assert total / 1e6 == pytest.approx(fabric.divides.area.sum(), rel=0.01)


def test_a_map_is_drawn_and_a_missing_geometry_named(basin, path, tmp_path):
    pytest.importorskip("matplotlib")
    flow = {f"wb-{k + 1}": float(q) for k, q in enumerate(basin.area)}
    basin_map.basin(tmp_path / "map.png", path, flow, dict.fromkeys(basin.ids, 3.0), marked={"wb-1": "red"})
    assert (tmp_path / "map.png").stat().st_size > 10_000
    for value in ("NULL", "x'47500001'"):
        with closing(sqlite3.connect(path)) as file:
            file.execute(f"UPDATE divides SET geom = {value} WHERE divide_id = 'cat-3'")
            file.commit()
        with pytest.raises(HydrofabricError, match="cat-3 has"):
            basin_map.geometries(path)


POINTS = [(0.0, 0.0), (4.0, 0.0), (4.0, 3.0), (0.0, 0.0)]
HOLE = [(1.0, 0.5), (2.0, 0.5), (2.0, 1.0), (1.0, 0.5)]


def geometry(body, envelope=0, order="<"):
    """A GeoPackage's header, then well-known binary."""
    return b"GP\0" + bytes([envelope << 1 | 1]) + bytes(4 + basin_map.ENVELOPES[envelope]) + body(order)


def wkb(kind, *parts, extra=0):
    """Well-known binary of points, rings or whole geometries, with `extra` numbers per point."""

    def points(order, some):
        numbers = [x for point in some for x in (*point, *([9.0] * extra))]
        return struct.pack(f"{order}{len(numbers)}d", *numbers)

    def body(order):
        head = struct.pack(
            f"{order}BII", order == "<", kind, len(parts[0]) if kind % 1000 == 2 else len(parts)
        )
        if kind % 1000 == 2:
            return head + points(order, parts[0])
        if kind % 1000 == 3:
            return head + b"".join(struct.pack(f"{order}I", len(p)) + points(order, p) for p in parts)
        return head + b"".join(part(order) for part in parts)

    return body


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("envelope", range(5))
@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (wkb(2, POINTS), [POINTS]),
        (wkb(1002, POINTS, extra=1), [POINTS]),
        (wkb(2002, POINTS, extra=1), [POINTS]),
        (wkb(3002, POINTS, extra=2), [POINTS]),
        (wkb(3, POINTS, HOLE), [POINTS]),
        (wkb(5, wkb(2, POINTS), wkb(2, HOLE)), [POINTS, HOLE]),
        (wkb(6, wkb(3, POINTS, HOLE), wkb(3, HOLE)), [POINTS, HOLE]),
    ],
)
def test_every_kind_of_line_and_polygon_is_read(body, envelope, order, expected):
    parts = basin_map._parts(geometry(body, envelope, order), "x")
    assert [part.tolist() for part in parts] == [[list(point) for point in part] for part in expected]


@pytest.mark.parametrize(
    ("blob", "reason"),
    [
        (None, "has no geometry"),
        ("POINT (1 2)", "has no geometry"),
        (b"PG", "has no geometry"),
        (b"GP\0\1", "has a geometry that cannot be read"),
        (geometry(wkb(2, POINTS))[:-1], "has a geometry that cannot be read"),
        (b"GP\0\x0f" + bytes(100), "has a geometry that cannot be read"),
        (
            geometry(lambda order: struct.pack(f"{order}BIIdd", 1, 1, 0, 1.0, 2.0)),
            "has a geometry that cannot be read: type 1 is neither a line nor a polygon",
        ),
    ],
)
def test_a_geometry_that_cannot_be_read_is_named(blob, reason):
    with pytest.raises(HydrofabricError, match=f"^wb-1 {reason}"):
        basin_map._parts(blob, "wb-1")
