"""What prepare writes, from which tables, and what it does about holes."""

import csv
import json
import shutil
import sqlite3
import struct
import sys
from dataclasses import replace
from math import cos, hypot, log, radians, sin, sqrt, tan
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

from dmg_bmi import Bundle
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.cli import main
from dmg_bmi.errors import NextGenError
from dmg_bmi.hydrofabric import geometry
from dmg_bmi.nextgen.prepare import ngiab, tables
from dmg_bmi.nextgen.prepare.prepare import Plan, prepare

RUNOFF = "land_surface_water__runoff_depth"
MODEL = "DMG_BMI"


@pytest.fixture
def plan(bundle, juniata, tmp_path):
    """Make ``plan(**keys)`` of the Juniata River, three days of June."""

    def make(**keys) -> Plan:
        given = {
            "bundle": str(bundle("hybrid")),
            "output": tmp_path / "run",
            "hydrofabric": juniata.hydrofabric,
            "start": np.datetime64("2010-06-01"),
            "end": np.datetime64("2010-06-04"),
            "forcing": juniata.forcing,
            "pet": "oudin",
            "missing_attributes": "neighbours",
        }
        return Plan(**(given | keys))

    return make


def catchments(folder):
    with open(folder / "config" / "cat_config" / MODEL / "catchments.csv", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


# -- what is written ------------------------------------------------------------------


def test_per_catchment_files_are_tiny_and_what_is_shared_stands_once(plan, tmp_path):
    prepare(plan())
    models = tmp_path / "run" / "config" / "cat_config" / MODEL
    files = sorted(models.glob("cat-*.yml"))
    assert len(files) == 794
    assert max(f.stat().st_size for f in files) < 60
    shared = yaml.safe_load((models / "shared.yaml").read_text())
    assert shared["start_time"] == "2010-06-01T00:00:00"
    assert shared["time_step"] == 3600
    assert (models / "bundle" / "bundle.yaml").is_file()
    document = json.loads((tmp_path / "run" / "config" / "realization.json").read_text())
    params = document["global"]["formulations"][0]["params"]
    assert params["cache_input_variable_metadata"] is True
    assert params["main_output_variable"] == RUNOFF
    assert document["time"] == {
        "start_time": "2010-06-01 00:00:00", "end_time": "2010-06-03 23:00:00", "output_interval": 3600
    }  # fmt: skip
    for path in (tmp_path / "run" / "config").rglob("*.*"):
        if path.suffix in (".yml", ".yaml", ".json", ".csv"):
            assert path.read_bytes().isascii(), path


def test_attributes_come_in_the_units_of_the_bundle(plan, tmp_path, juniata):
    prepare(plan())
    table = catchments(tmp_path / "run")
    with sqlite3.connect(juniata.hydrofabric) as file:
        rows = file.execute(
            'SELECT a.divide_id, "mean.elevation", "mean.slope", tot_drainage_areasqkm, areasqkm '
            'FROM "divide-attributes" a JOIN divides d ON a.divide_id = d.divide_id'
        ).fetchall()
    assert len(rows) == 793
    for name, elevation, slope, upstream, area in rows:
        row = table[name]
        assert float(row["elevation"]) == pytest.approx(elevation / 100)
        assert float(row["slope"]) == pytest.approx(90 - slope)
        assert float(row["upstream_area"]) == upstream
        assert float(row["area_km2"]) == area
        assert 39.5 < float(row["latitude"]) < 41.5


def test_a_prepared_catchment_initializes(plan, tmp_path):
    prepare(plan())
    bmi = DeltaModelBmi()
    bmi.initialize(str(tmp_path / "run" / "config" / "cat_config" / MODEL / "cat-87385.yml"))
    table = catchments(tmp_path / "run")["cat-87385"]
    np.testing.assert_allclose(bmi.get_value_ptr("elevation"), float(table["elevation"]))
    assert bmi.get_time_step() == 3600.0


def test_preparing_again_replaces_what_was_there(plan, tmp_path):
    prepare(plan())
    old = tmp_path / "run" / "config" / "cat_config" / MODEL / "cat-0.yml"
    old.write_text("shared: shared.yaml\ncatchment: cat-0\n")
    prepare(plan(end=np.datetime64("2010-06-03")))
    assert not old.exists()


@pytest.mark.slow
def test_preparing_again_leaves_what_somebody_else_put_there(plan, tmp_path):
    prepare(plan())
    models = tmp_path / "run" / "config" / "cat_config" / MODEL
    kept = [models / name for name in ("notes.yml", "thesis/chapter.tex", ".catchments.csv.0a1b2c3d.part")]
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.write_text("a user's")
    prepare(plan(end=np.datetime64("2010-06-03")))
    assert [path.read_text() for path in kept] == ["a user's"] * 3


@pytest.mark.slow
def test_a_bundle_in_the_folder_that_is_prepared_is_not_lost(plan, tmp_path):
    prepare(plan())
    models = tmp_path / "run" / "config" / "cat_config" / MODEL
    before = {p.name: p.read_bytes() for p in (models / "bundle").iterdir()}
    prepare(plan(bundle=str(models / "bundle")))
    assert {p.name: p.read_bytes() for p in (models / "bundle").iterdir()} == before


def test_a_period_that_ends_before_it_starts_is_refused(plan):
    with pytest.raises(NextGenError, match="before it starts"):
        prepare(plan(end=np.datetime64("2010-05-01")))


# -- holes ------------------------------------------------------------------------------

HOLE = "cat-87639"


def test_holes_stop_and_are_named(plan):
    with pytest.raises(
        NextGenError, match=rf"attribute elevation: missing; choose --missing-attributes.*\[{HOLE}\]"
    ):
        prepare(plan(missing_attributes="error"))


def test_holes_are_dropped_with_their_divide(plan, tmp_path, ngen):
    done = prepare(plan(missing_attributes="drop"))
    assert done.catchments == 793
    assert HOLE not in catchments(tmp_path / "run")
    assert not (tmp_path / "run" / "config" / "cat_config" / MODEL / f"{HOLE}.yml").exists()
    with sqlite3.connect(done.hydrofabric) as file:
        assert file.execute("SELECT COUNT(*) FROM divides").fetchone() == (793,)
        assert file.execute("PRAGMA quick_check").fetchone() == ("ok",)
    assert any(f.ids == (HOLE,) and "left out" in f.message for f in done.findings)


def test_holes_are_filled_with_the_mean_of_what_is_next_to_them(plan, tmp_path, juniata):
    prepare(plan(missing_attributes="neighbours"))
    table = catchments(tmp_path / "run")
    with sqlite3.connect(juniata.hydrofabric) as file:
        (nexus,) = file.execute("SELECT toid FROM divides WHERE divide_id = ?", (HOLE,)).fetchone()
        (reach,) = file.execute("SELECT id FROM divides WHERE divide_id = ?", (HOLE,)).fetchone()
        up = file.execute(
            "SELECT divide_id FROM divides WHERE toid IN (SELECT id FROM nexus WHERE toid = ?)", (reach,)
        ).fetchall()
        beside = file.execute(
            "SELECT divide_id FROM divides WHERE toid = ? AND divide_id != ?", (nexus, HOLE)
        ).fetchall()
        down = file.execute(
            "SELECT divide_id FROM divides WHERE id IN (SELECT toid FROM nexus WHERE id = ?)", (nexus,)
        ).fetchall()
    around = [name for (name,) in (*up, *beside, *down)]
    values = [float(table[name]["elevation"]) for name in around]
    assert values
    assert min(values) <= float(table[HOLE]["elevation"]) <= max(values)


# -- the range in training -----------------------------------------------------------------


def ranged(bundle, folder, **limits):
    """The hybrid bundle, its elevations trained within limits."""
    model = Bundle.load(bundle("hybrid")).model
    model.statistics["elevation"] = replace(model.statistics["elevation"], **limits)
    return str(Bundle(model, "ranged").save(folder).path)


def test_divides_far_outside_of_the_training_stop_by_name(plan, bundle, tmp_path):
    narrow = ranged(bundle, tmp_path / "ranged", lower=-900.0, upper=-800.0)
    with pytest.raises(NextGenError, match=r"attribute elevation: far outside -900 to -800 m.*\[cat-"):
        prepare(plan(bundle=narrow))


def test_divides_a_little_outside_of_the_training_are_noted_and_counted(plan, bundle, tmp_path):
    done = prepare(plan(bundle=ranged(bundle, tmp_path / "ranged", lower=0.0, upper=300.0)))
    (found,) = [f for f in done.findings if "a little outside 0 to 300 m" in f.message]
    high = {name for name, row in catchments(tmp_path / "run").items() if float(row["elevation"]) > 300.001}
    assert set(found.ids) == high != set()


# -- tables -----------------------------------------------------------------------------


def write_table(path, ids, **columns):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["divide_id", *columns])
        for k, name in enumerate(ids):
            writer.writerow([name, *(values[k] for values in columns.values())])
    return path


def test_a_table_goes_before_the_hydrofabric_and_is_matched_by_id(plan, juniata, tmp_path):
    ids = list(reversed(juniata.ids))
    table = write_table(tmp_path / "t.csv", ids, twi=[float(i[4:]) for i in ids])
    prepare(plan(table=table))
    assert all(float(r["twi"]) == float(i[4:]) for i, r in catchments(tmp_path / "run").items())


def test_units_of_a_table_are_converted(plan, juniata, tmp_path):
    table = tmp_path / "t.csv"
    write_table(table, juniata.ids, **{"elevation [km]": [0.5] * 794})
    prepare(plan(table=table))
    assert {float(r["elevation"]) for r in catchments(tmp_path / "run").values()} == {500.0}
    write_table(table, juniata.ids, **{"elevation [Pa]": [0.5] * 794})
    with pytest.raises(NextGenError, match="elevation is in Pa, which cannot become m"):
        prepare(plan(table=table))


def test_a_netcdf_table_is_read(plan, juniata, tmp_path):
    import netCDF4

    path = tmp_path / "t.nc"
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("n", 794)
        data.createVariable("divide_id", str, ("n",))[:] = np.array(juniata.ids, dtype=object)
        data.createVariable("wetness", "f8", ("n",))[:] = np.arange(794.0)
    prepare(plan(table=path, columns={"twi": "wetness"}))
    table = catchments(tmp_path / "run")
    assert [float(table[i]["twi"]) for i in juniata.ids] == list(range(794))


def test_a_parquet_table_is_read_and_a_damaged_one_refused(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(pyarrow.table({"divide_id": ["cat-1", "cat-2"], "twi": [2.5, None]}), path)
    table = tables.read(path)
    assert table.ids == ("cat-1", "cat-2")
    np.testing.assert_equal(table.of("twi", ["cat-2", "cat-1"]), [np.nan, 2.5])
    content = path.read_bytes()
    for damaged in (
        b"",
        b"PAR1",
        content[:-9],
        content[: len(content) // 2],
        content.replace(b"PAR1", b"RAP2"),
    ):
        path.write_bytes(damaged)
        with pytest.raises(NextGenError, match=r"t\.parquet: cannot be read as Parquet"):
            tables.read(path)


def test_parquet_needs_pyarrow_and_says_so(plan, tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        with pytest.raises(NextGenError, match="install it or convert to CSV"):
            prepare(plan(table=tmp_path / "t.parquet"))
    else:
        pytest.skip("pyarrow is installed")


class ArrowException(Exception):
    """As pyarrow's own, which come from no class of Python."""


def broken(path):
    raise ArrowException("Parquet magic bytes not found in footer")


@pytest.mark.parametrize(
    ("read", "match"),
    [
        (broken, "t.parquet: cannot be read as Parquet: Parquet magic bytes"),
        (lambda path: parquet_of(id=[1, None]), "t.parquet: id of row 2 is missing"),
        (lambda path: parquet_of(id=[1, 2.0, 1]), "t.parquet: 1 appears twice"),
        (lambda path: parquet_of(name=[1]), "no column of ids"),
    ],
)
def test_a_parquet_table_that_cannot_be_read_is_named(tmp_path, monkeypatch, read, match):
    """With a stand-in for pyarrow, which the tests do not need."""
    parquet = SimpleNamespace(read_table=read)
    library = SimpleNamespace(ArrowException=ArrowException, parquet=parquet)
    monkeypatch.setitem(sys.modules, "pyarrow", library)
    (tmp_path / "t.parquet").write_bytes(b"PAR1")
    with pytest.raises(NextGenError, match=match):
        tables.read(tmp_path / "t.parquet")


def parquet_of(**columns):
    """What pyarrow makes of a file, as far as it is used."""

    class Table(dict):
        column_names = tuple(columns)

    return Table({n: SimpleNamespace(to_pylist=lambda v=v: v) for n, v in columns.items()})


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("name,twi\ncat-1,2\n", "no column of ids"),
        ("divide_id,twi\ncat-1,2\ncat-1,3\n", "cat-1 appears twice"),
        ("divide_id,twi\ncat-1\n", r"line 2: has not as many cells as the header \(1, not 2\)"),
    ],
)
def test_what_is_wrong_with_a_table_is_said(plan, tmp_path, text, match):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(NextGenError, match=match):
        prepare(plan(table=tmp_path / "t.csv"))


@pytest.mark.parametrize("ids", [["11371", "11372"], ["CAT-11371", "CAT-11372"], ["cat-1", "cat-2"]])
def test_a_table_whose_ids_are_written_otherwise_is_told_with_one_of_each(plan, small, tmp_path, ids):
    table = write_table(tmp_path / "t.csv", ids, twi=[5.0, 6.0])
    with pytest.raises(
        NextGenError, match=rf"t\.csv: has none of the divides: .*'{ids[0]}', .*'cat-\d+'; write"
    ):
        prepare(plan(hydrofabric=small.hydrofabric, table=table))


def test_a_column_that_the_table_lacks_is_told_with_those_it_has(plan, small, tmp_path, bundle):
    table = write_table(tmp_path / "t.csv", small.ids, meanelevation=[300.0] * 5, area=[2.0] * 5)
    given = {"hydrofabric": small.hydrofabric, "table": table, "columns": {"twi": "mean_twi"}}
    with pytest.raises(NextGenError, match=r"not found: .*twi .*t\.csv: .*available: meanelevation, area"):
        prepare(plan(**given))


def test_a_missing_attribute_is_told_once(plan, small, tmp_path):
    twi = ["5.0", "", "-9999", "6.0", "7.0"]
    table = write_table(tmp_path / "t.csv", small.ids, twi=twi, elevation=[300.0] * 5, slope=[2.0] * 5)
    with pytest.raises(NextGenError) as caught:
        prepare(plan(hydrofabric=small.hydrofabric, table=table, missing_attributes="error"))
    assert f"attribute twi: missing; choose --missing-attributes drop or neighbours [{small.ids[1]}]" in str(
        caught.value
    )
    assert f"one that stands for a missing value [{small.ids[2]}]" in str(caught.value)
    assert "range of training" not in str(caught.value)


@pytest.mark.parametrize(("value", "what"), [("1e200", "not a number"), ("-3.0", "outside 0 to 1e")])
def test_an_absurd_value_is_named(tmp_path, small, value, what):
    from dmg_bmi.model.bundle import Bundle
    from dmg_bmi.model.delta_model import DeltaModel
    from dmg_bmi.model.registry import build_process_model

    declared = build_process_model({"name": "hbv_2"}).declaration.parameters
    model = DeltaModel.build(
        phy_model={"name": "hbv_2"}, fixed={p.name: (p.lower + p.upper) / 2 for p in declared}
    )
    Bundle(model, "hbv_2").save(tmp_path / "bundle")
    table = write_table(
        tmp_path / "t.csv",
        small.ids,
        elevation=[300] * 5,
        upstream_area=[10.0, 10.0, value, 10.0, 10.0],
    )
    with pytest.raises(NextGenError, match=rf"upstream_area.*{what}.*{small.ids[2]}"):
        prepare(
            Plan(
                bundle=str(tmp_path / "bundle"),
                output=tmp_path / "run",
                hydrofabric=small.hydrofabric,
                start=np.datetime64("2015-12-01"),
                end=np.datetime64("2015-12-03"),
                forcing=small.forcing,
                pet="penman_monteith",
                table=table,
            )
        )


@pytest.mark.parametrize("name", ["../../away", "/tmp/away", "cat/1", "..", "cat-1\n", "NUL"])
def test_the_id_of_a_divide_cannot_lead_out_of_the_folder(plan, bundle, small, tmp_path, name):
    fabric = shutil.copy(small.hydrofabric, tmp_path / "forged.gpkg")
    with sqlite3.connect(fabric) as file:
        for (trigger,) in file.execute("select name from sqlite_master where type = 'trigger'").fetchall():
            file.execute(f'drop trigger "{trigger}"')
        for table in ("divides", "network"):
            file.execute(f'update "{table}" set divide_id = ? where divide_id = ?', (name, small.ids[0]))
    with pytest.raises(NextGenError, match=r"divide: .* cannot be part of a file's name"):
        prepare(plan(bundle=str(bundle("plain")), hydrofabric=fabric, forcing=small.forcing, routing=False))
    assert not list(tmp_path.parent.rglob("away.yml"))


def test_an_attribute_that_is_nowhere_is_named_with_what_to_do(prepared, bundle):
    with pytest.raises(NextGenError, match=r"not found: elevation .*twi.*--table.*--columns NAME=COLUMN"):
        prepared(bundle=str(bundle("hybrid")), model_params={})


# -- divides that stand alone ------------------------------------------------------------


@pytest.fixture
def changed(juniata, tmp_path):
    """A function that copies the Juniata's hydrofabric, changed by SQL statements with values."""

    def make(*statements):
        path = tmp_path / "changed.gpkg"
        shutil.copyfile(juniata.hydrofabric, path)
        with sqlite3.connect(path) as file:
            for (trigger,) in file.execute(
                "select name from sqlite_master where type = 'trigger'"
            ).fetchall():
                file.execute(f'drop trigger "{trigger}"')
            for statement, values in statements:
                file.execute(statement, values)
        return path

    return make


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


# -- what is wrong with a hydrofabric -----------------------------------------------------


@pytest.mark.parametrize(
    ("table", "key", "column"),
    [
        ("divide-attributes", "divide_id", "mean.elevation"),
        ("flowpath-attributes", "link", "n"),
        ("flowpaths", "id", "tot_drainage_areasqkm"),
        ("divides", "divide_id", "areasqkm"),
    ],
)
@pytest.mark.parametrize("routing", [True, False])
def test_rows_of_one_id_that_differ_stop(plan, juniata, changed, table, key, column, routing):
    with sqlite3.connect(juniata.hydrofabric) as file:
        names = [r[1] for r in file.execute(f'PRAGMA table_info("{table}")') if r[1] != "fid"]
    listed = ", ".join(f'"{n}"' for n in names)
    values = ", ".join(f'"{n}" + 1' if n == column else f'"{n}"' for n in names)
    name = "cat-87385" if key == "divide_id" else "wb-87385"
    again = f'INSERT INTO "{table}" ({listed}) SELECT {values} FROM "{table}" WHERE {key} = ?'
    with pytest.raises(
        NextGenError, match=rf"duplicate: repeated in the table {table}, in rows that differ.*\[{name}\]"
    ):
        prepare(plan(hydrofabric=changed((again, (name,))), routing=routing))


def test_an_upstream_area_that_is_text_is_named(plan, changed):
    text = ("UPDATE divides SET tot_drainage_areasqkm = 'large' WHERE divide_id = ?", ("cat-87385",))
    with pytest.raises(NextGenError, match=r"attribute upstream_area: missing.*cat-87385"):
        prepare(plan(hydrofabric=changed(text), missing_attributes="error"))


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


# -- stores -----------------------------------------------------------------------------


def test_a_store_holds_what_the_file_holds(plan, juniata, tmp_path):
    import netCDF4

    prepare(plan(stored_forcing=True, start=np.datetime64("2010-06-02"), end=np.datetime64("2010-06-04")))
    folder = tmp_path / "run" / "forcings" / "store"
    index = yaml.safe_load((folder / "forcing.yaml").read_text())
    assert index["ids"] == list(juniata.ids)
    assert {name: v["units"] for name, v in index["variables"].items()} == {"P": "mm s^-1", "T": "K"}
    with netCDF4.Dataset(juniata.forcing) as data:
        for name, column in (("P", "precip_rate"), ("T", "TMP_2maboveground")):
            stored = np.load(folder / index["variables"][name]["file"])
            np.testing.assert_array_equal(stored, data[column][:, 24:72].T)


def test_a_store_reaches_to_the_end_of_the_last_day_of_the_model(plan, tmp_path):
    prepare(
        plan(
            stored_forcing=True,
            start=np.datetime64("2010-06-01T05:00"),
            end=np.datetime64("2010-06-03T07:00"),
        )
    )
    stored = np.load(tmp_path / "run" / "forcings" / "store" / "P.npy", mmap_mode="r")
    assert len(stored) == 3 * 24 - 5
    with pytest.raises(NextGenError, match=r"required is every hour from"):
        prepare(plan(stored_forcing=True, end=np.datetime64("2010-06-06T01:00")))


def test_a_gap_stops_a_store_and_names_the_catchment(plan, juniata, tmp_path, write_forcing):
    write, weather = write_forcing
    values = weather(72, 794)
    values["precip_rate"][5, 30] = np.nan
    write(tmp_path / "gap.nc", juniata.ids, values, np.datetime64("2010-06-01"))
    with pytest.raises(NextGenError, match=f"precip_rate is missing .* in {juniata.ids[5]}"):
        prepare(plan(stored_forcing=True, forcing=tmp_path / "gap.nc"))
    assert not (tmp_path / "run" / "forcings" / "store" / "forcing.yaml").exists()
    prepare(plan(stored_forcing=True, forcing=tmp_path / "gap.nc", missing_forcing="hold"))


WRONG = [
    (
        "TMP_2maboveground",
        lambda v: v - 273.15,
        {},
        "TMP_2maboveground of cat-.* at 2010-06-01.* K, possible are",
    ),
    ("precip_rate", lambda v: v * 3600, {}, "precip_rate of cat-.* mm s\\^-1, possible are 0 to 500 mm h-1"),
    ("precip_rate", lambda v: np.where(v > 0, v, -9999.0), {}, "precip_rate of cat-.* is -9999"),
    ("precip_rate", lambda v: v - 1e-3, {}, "precip_rate of cat-.* is -0.001"),
    ("TMP_2maboveground", lambda v: v, {"TMP_2maboveground": "degC"}, "TMP_2maboveground of cat-.* degC"),
    ("TMP_2maboveground", lambda v: v * np.inf, {}, "TMP_2maboveground of cat-.* is inf"),
]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("column", "wrong", "units", "match"), WRONG)
def test_values_that_no_weather_has_stop_with_catchment_and_hour(
    plan, juniata, tmp_path, write_forcing, own, column, wrong, units, match
):
    write, weather = write_forcing
    values = weather(24 * 5, len(juniata.ids))
    values[column] = wrong(values[column])
    aorc = {"precip_rate": "mm s^-1", "TMP_2maboveground": "K"}
    write(tmp_path / "odd.nc", juniata.ids, values, np.datetime64("2010-06-01"), units=aorc | units)
    with pytest.raises(NextGenError, match=match):
        prepare(plan(stored_forcing=own, forcing=tmp_path / "odd.nc"))
    assert not (tmp_path / "run" / "forcings" / "store" / "forcing.yaml").exists()


def test_rain_below_zero_by_rounding_becomes_zero_and_is_counted(
    plan, juniata, tmp_path, write_forcing, caplog
):
    write, weather = write_forcing
    values = weather(24 * 5, len(juniata.ids))
    dry = values["precip_rate"] == 0.0
    values["precip_rate"][dry] = -1e-9
    write(tmp_path / "odd.nc", juniata.ids, values, np.datetime64("2010-06-01"))
    caplog.set_level("INFO")
    prepare(plan(stored_forcing=True, forcing=tmp_path / "odd.nc"))
    rain = np.load(tmp_path / "run" / "forcings" / "store" / "P.npy")
    assert rain.min() == 0.0
    assert rain.max() > 0.0
    count = int(dry[:, : len(rain)].sum())
    assert f"precip_rate: {count} values below zero by rounding became zero" in caplog.text
    done = prepare(plan(forcing=tmp_path / "odd.nc", output=tmp_path / "fed"))
    assert any(f"{dry.sum()} values below zero by rounding" in f.message for f in done.findings)


def test_own_forcing_without_pet_says_what_to_choose(plan):
    with pytest.raises(NextGenError, match=r"has no PET.*choose --pet"):
        prepare(plan(stored_forcing=True, pet=None))


# -- routing ------------------------------------------------------------------------------


def test_routing_gets_a_hydrofabric_without_what_t_route_stumbles_over(plan, juniata):
    done = prepare(plan())
    with sqlite3.connect(done.hydrofabric) as file:
        columns = [row[1] for row in file.execute('PRAGMA table_info("flowpath-attributes")')]
        assert "link" in columns
        assert not {"id", "toid", "vpuid"} & {*columns}
        links = [row[0] for row in file.execute('SELECT link FROM "flowpath-attributes"')]
        assert len(links) == len(set(links)) == 794
        for table in ("divides", "flowpaths", "nexus"):
            with sqlite3.connect(juniata.hydrofabric) as original:
                count = f"SELECT COUNT(*) FROM {table}"
                assert file.execute(count).fetchone() == original.execute(count).fetchone()
    content = yaml.safe_load((done.realization.parent / "troute.yaml").read_text())
    forcing = content["compute_parameters"]["forcing_parameters"]
    assert forcing["nts"] == 3 * 288
    assert forcing["dt"] * forcing["qts_subdivisions"] == 3600
    assert content["compute_parameters"]["restart_parameters"]["start_datetime"] == "2010-06-01 00:00:00"


# -- NextGen In A Box -----------------------------------------------------------------------


@pytest.fixture
def run_folder(juniata, tmp_path):
    """A run folder as NGIAB_data_preprocess lays it out."""
    root = tmp_path / "ngiab"
    (root / "config").mkdir(parents=True)
    (root / "forcings").mkdir()
    shutil.copyfile(juniata.hydrofabric, root / "config" / "gage_subset.gpkg")
    shutil.copyfile(juniata.forcing, root / "forcings" / "forcings.nc")
    time = {"start_time": "2010-06-01 00:00:00", "end_time": "2010-06-03 23:00:00", "output_interval": 3600}
    (root / "config" / "realization.json").write_text(json.dumps({"time": time}))
    return root


@pytest.mark.parametrize("own", [False, True], ids=["pushed", "own"])
def test_a_run_folder_is_read_written_and_run(run_folder, bundle, ngen, own):
    command = ["nextgen", "prepare", str(bundle("hybrid")), "--ngiab", str(run_folder), "--pet", "oudin"]
    original = (run_folder / "config" / "gage_subset.gpkg").read_bytes()
    assert (
        main(
            [
                *command,
                "--missing-attributes",
                "neighbours",
                "--multi",
                *(["--stored-forcing"] if own else []),
            ]
        )
        == 0
    )
    assert (run_folder / "config" / "gage_subset.gpkg").read_bytes() == original
    document = json.loads((run_folder / "config" / "realization.json").read_text())
    assert document["time"]["end_time"] == "2010-06-03 23:00:00"
    assert document["global"]["formulations"][0]["name"] == "bmi_multi"
    if not own:
        assert document["global"]["forcing"] == {"path": "./forcings/forcings.nc", "provider": "NetCDF"}
    run = ngen(run_folder)
    assert run.status == 0, run.stderr
    assert "mass_balance" not in run.stderr


def test_a_run_folder_keeps_its_divides(run_folder, bundle, capsys):
    command = ["nextgen", "prepare", str(bundle("hybrid")), "--ngiab", str(run_folder), "--pet", "oudin"]
    assert main([*command, "--missing-attributes", "drop"]) == 2
    assert "choose --missing-attributes neighbours" in capsys.readouterr().err


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(NextGenError, match=r"has 0 .gpkg"):
        ngiab.read(tmp_path)


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ({"start_time": "2010-6-1 0:00:00", "end_time": "2010-06-03 23:00:00"}, None),
        ({"start_time": "2010-06-01 00:00:00"}, "realization.json: time.end_time: the date '' is not"),
        ({"start_time": "soon", "end_time": "2010-06-03"}, "time.start_time: the date 'soon' is not"),
        ({"start_time": ["2010-06-01"], "end_time": 3}, "time.start_time: the date .* is not"),
        ({"start_time": "0000-06-01", "end_time": "2010-06-03"}, "time.start_time: the date .* is not"),
        (None, "realization.json: time must be an object"),
        ("2010", "realization.json: time must be an object"),
    ],
)
def test_the_period_of_a_run_folder_is_read_as_every_date(run_folder, time, said):
    (run_folder / "config" / "realization.json").write_text(json.dumps({"time": time}))
    if said is None:
        found = ngiab.read(run_folder)
        assert (found.start, found.end) == (np.datetime64("2010-06-01"), np.datetime64("2010-06-04"))
    else:
        with pytest.raises(NextGenError, match=said):
            ngiab.read(run_folder)


# -- the command line -------------------------------------------------------------------------


def test_the_command_prepares_and_says_how_to_run(small, bundle, tmp_path, capsys, ngen):
    command = [
        "nextgen", "prepare", str(bundle()), "--output", str(tmp_path / "run"),
        "--hydrofabric", str(small.hydrofabric), "--forcing", str(small.forcing),
        "--start", "2015-12-01", "--end", "2015-12-03", "--pet", "penman_monteith",
    ]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "5 catchments are ready" in said
    fabric = "config/gauge_01073000.gpkg"
    assert f"ngen {fabric} all {fabric} all config/realization.json" in said
    assert ngen(tmp_path / "run").status == 0
    check = ["nextgen", "check", str(tmp_path / "run" / "config" / "realization.json"), "--hydrofabric"]
    assert main([*check, str(tmp_path / "run" / fabric)]) == 0
    path = tmp_path / "run" / "config" / "realization.json"
    path.write_text(path.read_text().replace("3600", "86400"))
    assert main([*check, str(tmp_path / "run" / fabric)]) == 2
    captured = capsys.readouterr()
    assert "output_interval" in captured.out
    assert "errors found: 1; correct them" in captured.err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "--output for a new folder, or --ngiab"),
        (["--output", "x", "--ngiab", "y"], "--output for a new folder, or --ngiab"),
        (["--output", "x"], "give --hydrofabric"),
        (["--output", "x", "--hydrofabric", "h.gpkg"], "give --start"),
        (
            ["--output", "x", "--hydrofabric", "h.gpkg", "--start", "tomorrow"],
            "the date 'tomorrow' is not understood",
        ),
        (
            [
                "--output",
                "x",
                "--hydrofabric",
                "h.gpkg",
                "--start",
                "2000-01-01",
                "--end",
                "2000-01-02",
                "--columns",
                "a",
            ],
            "'a' is not NAME=COLUMN",
        ),
    ],
)
def test_what_the_command_lacks_is_said(bundle, capsys, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    assert main(["nextgen", "prepare", str(bundle()), *arguments]) == 2
    assert match in capsys.readouterr().err
