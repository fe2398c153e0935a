"""Synthetic basins are hydrofabrics like real ones, and maps read the geometries of both."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest

from dmg_bmi import hydrofabric, maps, synthetic_basin
from dmg_bmi.errors import HydrofabricError
from dmg_bmi.nextgen.geometry import latitudes


@pytest.fixture(scope="module")
def basin():
    return synthetic_basin.generate(20, area=300.0, seed=5)


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
    again = synthetic_basin.generate(20, area=300.0, seed=5)
    np.testing.assert_array_equal(again.below, basin.below)
    first, second = (synthetic_basin.weather(b, 20, seed=1) for b in (basin, again))
    np.testing.assert_array_equal(first.forcing["P"], second.forcing["P"])
    assert not np.array_equal(first.forcing["P"], synthetic_basin.weather(basin, 20, seed=2).forcing["P"])
    high = int(basin.elevation.argmax())
    assert first.forcing["T"].mean(0).argmin() == high


def test_geometries_are_read_as_they_were_written(basin, path):
    divides, flowpaths = maps.geometries(path)
    for k, name in enumerate(basin.ids):
        (ring,), (line,) = divides[name], flowpaths[f"wb-{k + 1}"]
        np.testing.assert_array_equal(ring[:-1], basin.polygons[k])
        np.testing.assert_array_equal(line, basin.lines[k])
    assert all(40 < latitude < 42 for latitude in latitudes(path).values())


def test_the_geometries_of_the_juniata_are_where_its_divides_say(shared_data):
    path = shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg"
    divides, flowpaths = maps.geometries(path)
    fabric = hydrofabric.read(path)
    assert (len(divides), len(flowpaths)) == (794, 794)
    total = sum(synthetic_basin._area(ring[:-1]) for rings in divides.values() for ring in rings)
    assert total / 1e6 == pytest.approx(fabric.divides.area.sum(), rel=0.01)


def test_a_map_is_drawn_and_a_missing_geometry_named(basin, path, tmp_path):
    pytest.importorskip("matplotlib")
    flow = {f"wb-{k + 1}": float(q) for k, q in enumerate(basin.area)}
    maps.basin(tmp_path / "map.png", path, flow, dict.fromkeys(basin.ids, 3.0), marked={"wb-1": "red"})
    assert (tmp_path / "map.png").stat().st_size > 10_000
    for value in ("NULL", "x'47500001'"):
        with closing(sqlite3.connect(path)) as file:
            file.execute(f"UPDATE divides SET geom = {value} WHERE divide_id = 'cat-3'")
            file.commit()
        with pytest.raises(HydrofabricError, match="cat-3 has"):
            maps.geometries(path)
