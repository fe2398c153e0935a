"""Where divides lie: those that stand alone get what is nearest, latitudes follow the projection."""

import sqlite3
import struct
from math import cos, hypot, log, radians, sin, sqrt, tan

import numpy as np
import pytest
from prepared_folders import catchments

from dmg_bmi.errors import NextGenError
from dmg_bmi.hydrofabric import geometry
from dmg_bmi.nextgen.prepare.prepare import prepare

# -- divides that stand alone ------------------------------------------------------------


def envelope(blob):
    """Middle of the envelope of a geometry of the Juniata's hydrofabric, which is little-endian."""
    low_x, high_x, low_y, high_y = struct.unpack("<4d", blob[8:40])
    return (low_x + high_x) / 2, (low_y + high_y) / 2


COASTAL = (
    "INSERT INTO divides (divide_id, toid, type, areasqkm, tot_drainage_areasqkm, geom) "
    "VALUES (?, ?, ?, ?, ?, ?)"
)


def test_a_coastal_divide_gets_what_the_nearest_one_has(plan, juniata, changed, tmp_path):
    with sqlite3.connect(juniata.hydrofabric) as file:
        rows = file.execute(
            'SELECT divide_id, geom FROM divides JOIN "divide-attributes" USING (divide_id)'
        ).fetchall()
    east = max(envelope(blob)[0] for _, blob in rows)
    middle = np.mean([envelope(blob)[1] for _, blob in rows])
    there = {"cat-1": (east + 30_000.0, middle), "cat-2": (east + 40_000.0, middle)}
    expected = {}
    for name, (x, y) in there.items():
        away = {d: hypot(envelope(blob)[0] - x, envelope(blob)[1] - y) for d, blob in rows}
        expected[name] = min(away, key=away.get), min(away.values()) / 1000
    blobs = {n: b"GP\0\x03" + struct.pack("<i4d", 5070, x, x, y, y) for n, (x, y) in there.items()}
    fabric = changed(*((COASTAL, (n, f"cnx-{n[4:]}", "coastal", 3.0, 3.0, blobs[n])) for n in there))

    done = prepare(
        plan(hydrofabric=fabric, stored_forcing=True, forcing=with_more_ids(juniata, [*there], tmp_path))
    )
    table = catchments(tmp_path / "run")
    for name, (donor, _) in expected.items():
        for attribute in ("elevation", "slope", "twi"):
            assert table[name][attribute] == table[donor][attribute]
    (note,) = (f for f in done.findings if f.where == "attribute elevation" and "nearest" in f.message)
    farthest = max(km for _, km in expected.values())
    assert note.ids == ("cat-1", "cat-2")
    assert f"for 2 without neighbours in the network, at most {farthest:.3g} km away" in note.message


def with_more_ids(domain, ids, folder):
    """The forcing of a domain with further catchments, that have the weather of the first."""
    import netCDF4

    path = folder / "more.nc"
    with netCDF4.Dataset(domain.forcing) as old, netCDF4.Dataset(path, "w") as new:
        new.createDimension("catchment-id", len(domain.ids) + len(ids))
        new.createDimension("time", old.dimensions["time"].size)
        for name, variable in old.variables.items():
            copy = new.createVariable(name, variable.dtype, variable.dimensions)
            copy.setncatts({key: variable.getncattr(key) for key in variable.ncattrs()})
            values = variable[:]
            copy[:] = np.concatenate(
                [values, np.array(ids, dtype=object) if name == "ids" else values[: len(ids)]]
            )
    return path


def test_without_a_place_a_divide_that_stands_alone_is_named(plan, changed):
    fabric = changed((COASTAL, ("cat-1", "cnx-1", "coastal", 3.0, 3.0, None)))
    with pytest.raises(NextGenError, match=r"attribute elevation: missing there and all around \[cat-1\]"):
        prepare(plan(hydrofabric=fabric, routing=False))


def test_distances_in_degrees_are_along_great_circles(tmp_path):
    """A degree of a meridian is 111.2 km; at 60 degrees one of a parallel is half of it."""
    with sqlite3.connect(tmp_path / "d.gpkg") as file:
        file.execute("CREATE TABLE divides (divide_id, geom)")
        for name, x, y in (("here", 10.0, 60.0), ("north", 10.0, 61.0), ("east", 11.5, 60.0)):
            blob = b"GP\0\x03" + struct.pack("<i4d", 4326, x, x, y, y)
            file.execute("INSERT INTO divides VALUES (?, ?)", (name, blob))
    degree = radians(1) * 6371.0
    found = geometry.nearest(tmp_path / "d.gpkg", ["here"], ["north"])
    assert found == {"here": ("north", pytest.approx(degree))}
    found = geometry.nearest(tmp_path / "d.gpkg", ["here"], ["north", "east"])
    assert found == {"here": ("east", pytest.approx(0.75 * degree, rel=1e-4))}


WKT = {
    4258: (
        'GEOGCS["ETRS89",DATUM["ETRS89",SPHEROID["GRS 1980",6378137,298.257]],UNIT["degree",0.01745]]',
        None,
    ),
    4937: ('GEOGCRS["ETRS89",ENSEMBLE["x"],CS[ellipsoidal,2],ANGLEUNIT["degree",0.01745]]', None),
    2263: (
        'PROJCS["NAD83 / New York Long Island (ftUS)",GEOGCS["NAD83",UNIT["degree",0.01745]],'
        'PROJECTION["Lambert_Conformal_Conic_2SP"],UNIT["US survey foot",0.3048006]]',
        0.3048006,
    ),
    5070: ('PROJCS["NAD83 / Conus Albers",GEOGCS["NAD83",UNIT["degree",0.01745]],UNIT["metre",1]]', 1.0),
    9999: ("undefined", 1.0),
    9998: ('PROJCS["x",UNIT["nothing",0]]', 1.0),
}


@pytest.mark.parametrize("number", WKT)
def test_the_unit_of_coordinates_is_that_of_their_definition(tmp_path, number):
    definition, metres = WKT[number]
    with sqlite3.connect(tmp_path / "d.gpkg") as file:
        file.execute("CREATE TABLE divides (divide_id, geom)")
        for name, y in (("here", 60.0), ("north", 61.0)):
            blob = b"GP\0\x03" + struct.pack("<i4d", number, 10.0, 10.0, y, y)
            file.execute("INSERT INTO divides VALUES (?, ?)", (name, blob))
        file.execute("CREATE TABLE gpkg_spatial_ref_sys (srs_name, srs_id INTEGER, definition)")
        file.execute("INSERT INTO gpkg_spatial_ref_sys VALUES ('x', ?, ?)", (number, definition))
    path = tmp_path / "d.gpkg"
    km = radians(1) * 6371.0 if metres is None else metres / 1000
    assert geometry.nearest(path, ["here"], ["north"]) == {"here": ("north", pytest.approx(km))}
    if metres is None:
        assert geometry.latitudes(path) == {"here": 60.0, "north": 61.0}
    elif number != 5070:
        with pytest.raises(NextGenError, match=rf"EPSG:{number}, neither degrees nor 5070"):
            geometry.latitudes(path)


# -- latitude ---------------------------------------------------------------------------


def albers(latitude, longitude):
    """Forward equations of Snyder (1987), 14-1 to 14-6, in EPSG:5070."""
    e2 = geometry.FLATTENING * (2 - geometry.FLATTENING)
    e = sqrt(e2)

    def m(phi):
        return cos(phi) / sqrt(1 - e2 * sin(phi) ** 2)

    def q(phi):
        s = sin(phi)
        return (1 - e2) * (s / (1 - e2 * s * s) - log((1 - e * s) / (1 + e * s)) / (2 * e))

    first, second, origin, phi = (radians(x) for x in (29.5, 45.5, 23.0, latitude))
    n = (m(first) ** 2 - m(second) ** 2) / (q(second) - q(first))
    c = m(first) ** 2 + n * q(first)
    rho, rho0 = (geometry.AXIS * sqrt(c - n * q(p)) / n for p in (phi, origin))
    theta = n * radians(longitude + 96.0)
    return rho * sin(theta), rho0 - rho * cos(theta)


@pytest.mark.parametrize("latitude", [23.0, 29.5, 37.0, 45.5, 49.0])
@pytest.mark.parametrize("longitude", [-124.0, -96.0, -70.0])
def test_latitudes_are_those_of_the_projection(latitude, longitude):
    x, y = albers(latitude, longitude)
    assert geometry.albers_latitude(x, y) == pytest.approx(latitude, abs=1e-9)
    if (latitude, longitude) == (23.0, -96.0):
        assert hypot(x, y) < 1e-6 < tan(1)
