"""Networks from GeoPackages: three real ones, and small ones broken on purpose."""

import sqlite3
from contextlib import closing

import numpy as np
import pytest
import torch

from dmg_bmi.errors import DmgBmiError, HydrofabricError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.io import geopackage
from dmg_bmi.nextgen.check.context import DivideLayer

CHANNEL = {
    "Length_m": 3000.0,
    "n": 0.05,
    "nCC": 0.1,
    "BtmWdth": 4.0,
    "TopWdth": 5.0,
    "TopWdthCC": 15.0,
    "ChSlp": 0.8,
    "So": 0.01,
}
#: Two sources meet at nex-3, above wb-3; wb-4 carries on and leaves the domain.
FLOWPATHS = (
    ("wb-1", "nex-3", "cat-1"),
    ("wb-2", "nex-3", "cat-2"),
    ("wb-3", "nex-4", "cat-3"),
    ("wb-4", "nex-5", "cat-4"),
)
NEXUSES = (("nex-3", "wb-3"), ("nex-4", "wb-4"), ("nex-5", "wb-5"))


@pytest.fixture
def fabric(tmp_path):
    """A function that writes the small network, changed by SQL statements."""

    def write(*statements):
        path = tmp_path / "small.gpkg"
        path.unlink(missing_ok=True)
        names = [*CHANNEL]
        with closing(sqlite3.connect(path)) as db:
            db.execute("CREATE TABLE divides (divide_id, toid, type, areasqkm)")
            db.execute("CREATE TABLE flowpaths (id, toid, divide_id, tot_drainage_areasqkm)")
            db.execute("CREATE TABLE nexus (id, toid)")
            db.execute(f'CREATE TABLE "flowpath-attributes" (id, gage, WaterbodyID, {", ".join(names)})')
            db.executemany("INSERT INTO nexus VALUES (?, ?)", NEXUSES)
            for (flowpath, toid, divide), total in zip(FLOWPATHS, (2.0, 2.0, 6.0, 8.0), strict=True):
                db.execute("INSERT INTO flowpaths VALUES (?, ?, ?, ?)", (flowpath, toid, divide, total))
                db.execute("INSERT INTO divides VALUES (?, ?, 'network', 2.0)", (divide, toid))
                marks = ", ".join("?" * (3 + len(names)))
                row = (flowpath, None, None, *CHANNEL.values())
                db.execute(f'INSERT INTO "flowpath-attributes" VALUES ({marks})', row)
            for statement in statements:
                db.execute(statement)
            db.commit()
        return hydrofabric.read(path)

    return write


def found(fabric, kind, level):
    """Ids of all findings of a kind."""
    return {i for f in fabric.findings if f.kind == kind and f.level == level for i in f.ids}


# -- real files -------------------------------------------------------------------


def test_the_juniata_is_read_whole(shared_data):
    """Counts and ids as SQL tells them; what is wrong with it was found by hand."""
    juniata = hydrofabric.read(shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg")
    network = juniata.network
    assert len(network) == len(juniata.divides.ids) == 794
    assert network.area.sum() == pytest.approx(6180.7, abs=0.05)
    assert network.level.max() == 39
    assert len(network.gages) == 22
    assert network.ids[network.gages["01558000"]] == "wb-88148"
    assert network.ids[network.gages["01558098"]] == "wb-88148"

    assert found(juniata, "duplicate", level="warning") == {"wb-88148"}
    assert found(juniata, "outlet", level="warning") == {"wb-87405", "wb-87639"}
    assert found(juniata, "lake", level="warning") == {"wb-87813", "wb-87694"}
    assert found(juniata, "missing attributes", level="warning") == {"cat-87639"}
    flat = found(juniata, "zero slope", level="error")
    assert len(flat) == 10
    assert {"wb-87396", "wb-87693"} < flat
    assert {f.kind for f in juniata.findings.errors} == {"zero slope"}

    with pytest.raises(
        HydrofabricError, match=r"jrb_hydrofabric(?s:.)*zero slope: So is 0 or less .wb-87396, wb-87687"
    ):
        juniata.routable()
    assert juniata.routable(minimum_slope=1e-5).channel["So"].min() == 1e-5
    assert juniata.network.channel["So"].min() == 0


def test_its_network_drains_all_of_it_to_one_nexus(shared_data):
    network = hydrofabric.read(shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg").network
    drained = np.append(network.area, 0.0)
    for row in np.argsort(network.level):
        assert network.downstream[row] == 794 or network.level[network.downstream[row]] > network.level[row]
        drained[network.downstream[row]] += drained[row]
    outlets = np.flatnonzero(network.downstream == 794)
    assert {network.toid[row] for row in outlets} == {"nex-87406"}
    assert drained[-1] == pytest.approx(network.area.sum(), rel=1e-12)


def test_its_divide_attributes_come_in_units_that_people_expect(shared_data):
    juniata = hydrofabric.read(shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg")
    values = juniata.attributes.values
    hole = juniata.divides.ids.index("cat-87639")
    assert all(np.isnan(array[hole]) for array in values.values())
    assert 171 < np.nanmin(values["elevation"]) < np.nanmax(values["elevation"]) < 828
    assert 2 < np.nanmin(values["slope"]) < np.nanmax(values["slope"]) < 40
    assert juniata.attributes.units == {"elevation": "m", "slope": "degree", "twi": "1"}
    row = juniata.divides.ids.index("cat-87385")
    assert values["elevation"][row] == pytest.approx(314.15, abs=0.005)
    assert values["slope"][row] == pytest.approx(90 - 70.8575, abs=1e-4)
    shares = (0.2508, 0.2475, 0.2508, 0.2508)
    twi = np.dot((4.401, 6.618, 8.673, 13.5), shares) / sum(shares)
    assert values["twi"][row] == pytest.approx(twi, rel=1e-12)
    assert "mode.bexp_soil_layers_stag=1" in values
    assert "vpuid" not in values


def test_the_layout_before_v2_2_is_read_the_same(shared_data):
    older = hydrofabric.read(shared_data / "nextgen_01073000" / "gauge_01073000.gpkg")
    network = older.routable()
    names = {name: row for row, name in enumerate(network.ids)}
    assert set(names) == {"wb-11223", "wb-11224", "wb-11371", "wb-11410", "wb-11509"}
    below = {
        i: network.ids[d] if d < 5 else None for i, d in zip(network.ids, network.downstream, strict=True)
    }
    assert below == {
        "wb-11410": "wb-11223",
        "wb-11223": "wb-11224",
        "wb-11371": "wb-11224",
        "wb-11509": "wb-11224",
        "wb-11224": None,
    }
    assert network.gages == {"01073000": names["wb-11224"]}
    assert network.channel["Length_m"][names["wb-11224"]] == pytest.approx(2417.755, abs=0.001)
    assert network.channel["So"].min() == 1e-5
    assert older.attributes is None


def test_one_reach_is_a_network(shared_data):
    single = hydrofabric.read(shared_data / "routing_one_cat" / "cat-486888_subset.gpkg")
    network = single.routable()
    assert network.ids == ("wb-486888",)
    assert network.downstream.tolist() == [1]
    # From flowpath-attributes, not from flowpath-attributes-ml beside it.
    assert network.channel["BtmWdth"][0] == pytest.approx(6.08678, abs=1e-5)
    parameters, static = network.tensors()
    assert set(parameters) | set(static) >= set(CHANNEL)
    assert static["jumps"].shape == (0, 1)


# -- small ones -------------------------------------------------------------------


def test_a_sound_network_has_nothing_to_say_but_its_outlet(fabric):
    sound = fabric()
    assert [f.kind for f in sound.findings] == ["outlet"]
    network = sound.routable()
    assert network.downstream.tolist() == [2, 2, 3, 4]
    assert network.level.tolist() == [0, 0, 1, 2]
    assert sound.divides.reach.tolist() == [0, 1, 2, 3]
    _, static = network.tensors()
    assert torch.equal(static["jumps"], torch.tensor([[2, 2, 3, 4], [3, 3, 4, 4]]))
    assert "lake" not in static


@pytest.mark.parametrize(
    ("statement", "kind", "ids"),
    [
        ("UPDATE nexus SET toid = 'wb-3' WHERE id = 'nex-5'", "loop", {"wb-3", "wb-4"}),
        ("UPDATE nexus SET toid = 'wb-3' WHERE id = 'nex-4'", "loop", {"wb-3"}),
        ("DELETE FROM nexus WHERE id = 'nex-3'", "orphan", {"wb-1 (to nex-3)", "wb-2 (to nex-3)"}),
        ("UPDATE flowpaths SET toid = NULL WHERE id = 'wb-2'", "orphan", {"wb-2 (to nothing)"}),
        ("DELETE FROM flowpaths WHERE id = 'wb-1'", "orphan", {"cat-1"}),
        ("INSERT INTO flowpaths VALUES ('wb-1', 'nex-4', 'cat-1', 2.0)", "duplicate", {"wb-1"}),
        ("INSERT INTO nexus VALUES ('nex-3', 'wb-4')", "duplicate", {"nex-3"}),
        ("INSERT INTO divides VALUES ('cat-2', 'nex-3', 'network', 9.0)", "duplicate", {"cat-2"}),
        ("UPDATE divides SET areasqkm = 0 WHERE divide_id = 'cat-3'", "zero area", {"cat-3"}),
        ("UPDATE divides SET areasqkm = NULL WHERE divide_id = 'cat-3'", "zero area", {"cat-3"}),
        ("UPDATE divides SET areasqkm = '2 km2' WHERE divide_id = 'cat-3'", "zero area", {"cat-3"}),
        ("DELETE FROM \"flowpath-attributes\" WHERE id = 'wb-2'", "missing attributes", {"wb-2"}),
        ("UPDATE \"flowpath-attributes\" SET n = NULL WHERE id = 'wb-4'", "missing attributes", {"wb-4"}),
        ("UPDATE \"flowpath-attributes\" SET n = 'NaN' WHERE id = 'wb-4'", "missing attributes", {"wb-4"}),
        ("UPDATE \"flowpath-attributes\" SET Length_m = 0 WHERE id = 'wb-1'", "zero length", {"wb-1"}),
        ("UPDATE \"flowpath-attributes\" SET So = -0.1 WHERE id = 'wb-1'", "zero slope", {"wb-1"}),
        ("UPDATE \"flowpath-attributes\" SET So = 1e400 WHERE id = 'wb-1'", "channel", {"wb-1"}),
        ("UPDATE \"flowpath-attributes\" SET n = 1e400 WHERE id = 'wb-2'", "channel", {"wb-2"}),
        ("UPDATE divides SET areasqkm = 1e400 WHERE divide_id = 'cat-3'", "zero area", {"cat-3"}),
        ('UPDATE "flowpath-attributes" SET BtmWdth = 0', "channel", {"wb-1", "wb-2", "wb-3", "wb-4"}),
    ],
)
def test_what_keeps_water_from_being_routed_is_named(fabric, statement, kind, ids):
    broken = fabric(statement)
    assert found(broken, kind, level="error") == ids
    first = min(ids)
    with pytest.raises(HydrofabricError) as error:
        broken.routable()
    assert f"{kind}: " in str(error.value)
    assert first in str(error.value)
    assert "small.gpkg" in str(error.value)


@pytest.mark.parametrize(
    ("statement", "kind", "ids"),
    [
        ("INSERT INTO flowpaths SELECT * FROM flowpaths WHERE id = 'wb-2'", "duplicate", {"wb-2"}),
        ("INSERT INTO nexus VALUES ('nex-9', 'wb-1')", "orphan", {"nex-9"}),
        ("INSERT INTO divides VALUES ('cat-9', 'cnx-9', 'coastal', 1.0)", "orphan", {"cat-9"}),
        ("UPDATE flowpaths SET tot_drainage_areasqkm = 9 WHERE id = 'wb-4'", "drainage area", {"wb-4"}),
        ("UPDATE \"flowpath-attributes\" SET WaterbodyID = '77' WHERE id = 'wb-3'", "lake", {"wb-3"}),
        ("UPDATE \"flowpath-attributes\" SET TopWdthCC = 4 WHERE id = 'wb-3'", "channel", {"wb-3"}),
        ("UPDATE nexus SET toid = NULL WHERE id = 'nex-5'", "outlet", {"wb-4"}),
    ],
)
def test_what_is_only_worth_knowing_is_named_and_water_still_flows(fabric, statement, kind, ids):
    odd = fabric(statement)
    assert found(odd, kind, level="warning") == ids
    assert len(odd.routable()) == 4


def test_every_fault_is_named_at_once(fabric):
    broken = fabric(
        "UPDATE \"flowpath-attributes\" SET Length_m = 0 WHERE id = 'wb-1'",
        "UPDATE \"flowpath-attributes\" SET So = 0 WHERE id = 'wb-2'",
        "UPDATE nexus SET toid = 'wb-3' WHERE id = 'nex-5'",
    )
    message = r"loop: .*\[wb-3, wb-4\](?s:\n.*)zero length: .*\[wb-1\](?s:\n.*)zero slope: .*\[wb-2\]"
    with pytest.raises(HydrofabricError, match=message):
        broken.routable()
    # A slope to put in its place mends one of the three.
    with pytest.raises(HydrofabricError) as error:
        broken.routable(minimum_slope=1e-5)
    assert "zero slope" not in str(error.value)
    with pytest.raises(HydrofabricError, match="minimum_slope"):
        broken.routable(minimum_slope=0.0)


def test_a_long_list_of_ids_is_cut_in_the_message_only(fabric):
    many = fabric(*(f"INSERT INTO nexus VALUES ('nex-{i}', 'wb-1')" for i in range(100, 130)))
    (finding,) = (f for f in many.findings if f.kind == "orphan")
    assert len(finding.ids) == 30
    assert "[nex-100, nex-101, " in str(finding)
    assert str(finding).endswith("and 22 more]")


def test_gages_of_repeated_rows_are_all_kept(fabric):
    repeated = fabric(
        "UPDATE \"flowpath-attributes\" SET gage = '01' WHERE id = 'wb-4'",
        "INSERT INTO \"flowpath-attributes\" SELECT id, '02, 03', WaterbodyID, "
        f"{', '.join(CHANNEL)} FROM \"flowpath-attributes\" WHERE id = 'wb-4'",
    )
    assert repeated.routable().gages == {"01": 3, "02": 3, "03": 3}


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ('DROP TABLE "flowpath-attributes"', "no table flowpath-attributes or flowpath_attributes"),
        ("DROP TABLE nexus", "no table nexus"),
        ("ALTER TABLE divides DROP COLUMN areasqkm", "table divides has no column areasqkm or area_sqkm"),
        ('ALTER TABLE "flowpath-attributes" DROP COLUMN So', "no column so"),
    ],
)
def test_a_file_that_lacks_a_table_or_a_column_is_refused(fabric, statement, message):
    with pytest.raises(HydrofabricError, match=message):
        fabric(statement)


# -- ids ----------------------------------------------------------------------------


def as_numbers(kind):
    """Statements that turn all ids into numbers of an SQL type, as some writers store them."""
    keys = {
        "divides": ("divide_id", "toid"),
        "flowpaths": ("id", "toid", "divide_id"),
        "nexus": ("id", "toid"),
        '"flowpath-attributes"': ("id",),
    }
    for table, columns in keys.items():
        for name in columns:
            yield (
                f"UPDATE {table} SET {name} = CAST(substr({name}, instr({name}, '-') + 1) AS {kind}) "
                f"+ 100 * ({name} LIKE 'nex%') + 200 * ({name} LIKE 'cat%')"
            )


@pytest.mark.parametrize("kind", ["INTEGER", "REAL"])
def test_ids_that_are_numbers_become_their_digits(fabric, kind):
    plain, numbered = fabric().network, fabric(*as_numbers(kind))
    network = numbered.routable()
    assert network.ids == ("1", "2", "3", "4")
    assert network.toid == ("103", "103", "104", "105")
    assert numbered.divides.ids == ("201", "202", "203", "204")
    assert numbered.divides.reach.tolist() == [0, 1, 2, 3]
    assert network.downstream.tolist() == plain.downstream.tolist()


def test_marks_of_lakes_and_gages_that_are_numbers_are_read_as_such(fabric):
    marked = fabric(
        "UPDATE \"flowpath-attributes\" SET WaterbodyID = -9999.0, gage = 1558000.0 WHERE id = 'wb-1'",
        "UPDATE \"flowpath-attributes\" SET WaterbodyID = 0 WHERE id = 'wb-2'",
        "UPDATE \"flowpath-attributes\" SET WaterbodyID = 77 WHERE id = 'wb-3'",
    ).routable()
    assert marked.lake.tolist() == [False, False, True, False]
    assert marked.gages == {"1558000": 0}


@pytest.mark.parametrize(
    ("value", "said"), [("NULL", "missing"), ("x'00ff'", "a blob"), ("1.5", "1.5"), ("' '", "empty")]
)
@pytest.mark.parametrize(
    ("table", "column"), [("divides", "divide_id"), ("flowpaths", "id"), ("nexus", "id")]
)
def test_what_is_no_id_is_refused_with_table_and_row(fabric, tmp_path, table, column, value, said):
    statement = f"UPDATE {table} SET {column} = {value} WHERE rowid = 2"
    with pytest.raises(HydrofabricError, match=f"small.gpkg: table {table}: {column} of row 2 is {said}"):
        fabric(statement)
    if table == "divides":
        with pytest.raises(HydrofabricError, match=f"divide_id of row 2 is {said}"):
            DivideLayer.read(tmp_path / "small.gpkg")


# -- other layouts and formats ---------------------------------------------------------


def test_version_2_0_1_is_read(fabric):
    """Its names: flowpath_attributes, length_m, rl_gages, rl_NHDWaterbodyComID."""
    table = '"flowpath-attributes"'
    renamed = {"Length_m": "length_m2", "gage": "rl_gages", "WaterbodyID": "rl_NHDWaterbodyComID"}
    older = fabric(
        f"UPDATE {table} SET gage = '01073000' WHERE id = 'wb-4'",
        f"UPDATE {table} SET WaterbodyID = '77' WHERE id = 'wb-3'",
        *(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}" for old, new in renamed.items()),
        f"ALTER TABLE {table} RENAME COLUMN length_m2 TO length_m",
        f"ALTER TABLE {table} RENAME TO flowpath_attributes",
    ).routable()
    assert older.gages == {"01073000": 3}
    assert older.lake.tolist() == [False, False, True, False]
    assert older.channel["Length_m"].tolist() == [CHANNEL["Length_m"]] * 4


@pytest.mark.parametrize("read", [hydrofabric.read, DivideLayer.read])
def test_the_layout_to_come_is_refused_by_its_name(tmp_path, read):
    with closing(sqlite3.connect(tmp_path / "next.gpkg")) as db:
        db.execute("CREATE TABLE divides (fid, geom, div_id INTEGER, type, area_sqkm)")
        db.execute("CREATE TABLE flowpaths (fid, geom, fp_id INTEGER, dn_nex_id, div_id)")
        db.execute("CREATE TABLE nexus (fid, geom, nex_id INTEGER, dn_fp_id)")
    with pytest.raises(DmgBmiError, match=r"NOAA's next layout \(div_id, fp_id"):
        read(tmp_path / "next.gpkg")


@pytest.mark.parametrize("read", [hydrofabric.read, DivideLayer.read])
@pytest.mark.parametrize(
    ("tables", "said"),
    [
        (
            ("flowpaths (fid, fp_id, dn_nex_id)", "virtual_flowpaths (fid, virtual_fp_id)"),
            "NOAA's next layout",
        ),
        (("nexus (fid, nex_id, dn_fp_id)",), "NOAA's next layout"),
        (("NHDFlowline_Network (COMID, ToNode)", "CatchmentSP (FEATUREID)"), "NHDPlus"),
        (("catchments (ID, area_sqkm, toID)", "flowpaths (ID, toID)"), "hydrofabric 1.0"),
        (("divides (id, toid, areasqkm)", "flowpaths (id, toid)"), "hydrofabric 1.2"),
        (("refactored_divides (ID)", "refactored_flowpaths (ID, toID)"), "the reference fabric"),
        (("reconciled_divides (ID)", "reconciled_flowpaths (ID)"), "the reference fabric"),
    ],
)
def test_every_other_layout_is_refused_by_its_name(tmp_path, read, tables, said):
    with closing(sqlite3.connect(tmp_path / "other.gpkg")) as db:
        for table in tables:
            db.execute(f"CREATE TABLE {table}")
    with pytest.raises(DmgBmiError, match=rf"other\.gpkg: is of {said}.* use version 2\.2 or 2\.0\.1"):
        read(tmp_path / "other.gpkg")


@pytest.mark.parametrize("read", [hydrofabric.read, DivideLayer.read])
def test_a_geopackage_of_anything_else_is_told_with_its_tables(tmp_path, read):
    with closing(sqlite3.connect(tmp_path / "roads.gpkg")) as db:
        db.execute("CREATE TABLE gpkg_contents (table_name)")
        db.execute("CREATE TABLE roads (fid)")
    with pytest.raises(DmgBmiError, match=r"has no table divides, but roads; is it a hydrofabric"):
        read(tmp_path / "roads.gpkg")


def test_names_of_tables_are_taken_in_any_case(fabric):
    """As SQLite takes them."""
    tables = ("divides", "flowpaths", "nexus", "flowpath-attributes")
    steps = [(old, new) for name in tables for old, new in ((name, "other"), ("other", name.title()))]
    other = fabric(*(f'ALTER TABLE "{old}" RENAME TO "{new}"' for old, new in steps))
    assert other.divides.ids == fabric().divides.ids


@pytest.mark.parametrize("read", [hydrofabric.read, DivideLayer.read])
@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("catchment_data.geojson", b'{"type": "FeatureCollection", "features": []}', "GeoJSON"),
        ("bom.geojson", b'\xef\xbb\xbf\n {"type": "FeatureCollection"}', "GeoJSON"),
        (
            "RouteLink_CONUS.nc",
            b"\x89HDF\r\n\x1a\n" + bytes(90),
            "RouteLink file of the National Water Model",
        ),
        ("RouteLink.nc", b"CDF\x01" + bytes(90), "RouteLink file of the National Water Model"),
        ("divides.parquet", b"PAR1" + bytes(90), "a Parquet file"),
        ("divides.shp", b"\x00\x00\x27\x0a" + bytes(90), "a Shapefile file"),
        ("divides.fgb", b"fgb\x03fgb\x00" + bytes(90), "a FlatGeobuf file"),
        ("divides.gpkg.gz", b"\x1f\x8b" + bytes(90), "a gzip file"),
        ("divides.zip", b"PK\x03\x04" + bytes(90), "a ZIP file"),
        ("empty.gpkg", b"", "it is not an SQLite file"),
    ],
)
def test_a_file_of_another_format_is_refused_by_its_name(tmp_path, read, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(HydrofabricError, match=f"{name}: .*{said}.*A hydrofabric is read from a GeoPackage"):
        read(tmp_path / name)


# -- hostile ones ----------------------------------------------------------------------

#: Numbers without end.
ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)"


def test_a_view_whose_rows_never_end_is_refused(fabric, monkeypatch):
    monkeypatch.setattr(geopackage, "MOST_ROWS", 5000)
    with pytest.raises(HydrofabricError, match=r"more than 5000 rows.*is it a view without end"):
        fabric(
            "DROP TABLE nexus",
            f"CREATE VIEW nexus AS {ENDLESS} SELECT 'nex-' || i AS id, NULL AS toid FROM n",
        )


def test_a_view_that_never_gives_a_row_is_given_up(fabric, monkeypatch):
    monkeypatch.setattr(geopackage, "LONGEST", 0.2)
    with pytest.raises(HydrofabricError, match=r"small.gpkg: cannot be read.* after 0.2 s"):
        fabric("DROP TABLE nexus", f"CREATE VIEW nexus AS {ENDLESS} SELECT max(i) AS id, NULL AS toid FROM n")


def test_a_file_that_is_no_geopackage_is_refused(tmp_path):
    with pytest.raises(HydrofabricError, match="No such file"):
        hydrofabric.read(tmp_path / "nothing.gpkg")
    (tmp_path / "text.gpkg").write_text("not a database, but long enough to be looked at as one" * 50)
    with pytest.raises(HydrofabricError, match="cannot be read as a GeoPackage"):
        hydrofabric.read(tmp_path / "text.gpkg")


def test_reading_changes_nothing(fabric, tmp_path):
    fabric()
    before = (tmp_path / "small.gpkg").read_bytes()
    hydrofabric.read(tmp_path / "small.gpkg")
    assert (tmp_path / "small.gpkg").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["small.gpkg"]
