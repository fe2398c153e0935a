"""Attributes from tables: matched by id, converted, and refused with what is wrong."""

import csv
import shutil
import sqlite3
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from prepared_folders import catchments

from dmg_bmi.errors import NextGenError
from dmg_bmi.nextgen.prepare import tables
from dmg_bmi.nextgen.prepare.prepare import Plan, prepare


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


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [("12%", "percent sign"), ('"3,5"', "decimal point"), ("1_0", "correct it"), ("low", "correct it")],
)
def test_text_in_a_column_is_no_missing_value_and_told_where_the_column_is_needed(tmp_path, cell, remedy):
    path = tmp_path / "t.csv"
    path.write_text(f"divide_id,name,elevation,twi\ncat-1,Elbe,3,NA\ncat-2,Oder,{cell},1\n")
    table = tables.read(path)
    np.testing.assert_equal(table.column("twi", ["cat-2", "cat-1", "cat-9"]), [1.0, np.nan, np.nan])
    with pytest.raises(NextGenError, match=rf"t\.csv, line 3: elevation is .*not a number; .*{remedy}"):
        table.column("elevation", ["cat-1"])


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
    np.testing.assert_equal(table.column("twi", ["cat-2", "cat-1"]), [np.nan, 2.5])
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
