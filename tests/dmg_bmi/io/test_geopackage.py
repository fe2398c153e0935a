"""A GeoPackage of a stranger costs neither time nor memory without bound."""

import sqlite3
from contextlib import closing

import pytest

from dmg_bmi.errors import HydrofabricError
from dmg_bmi.io import geopackage
from dmg_bmi.io.geopackage import GeoPackage


@pytest.fixture
def written(tmp_path):
    """Write a database by SQL."""

    def of(*statements):
        path = tmp_path / "h.gpkg"
        with closing(sqlite3.connect(path)) as database, database:
            for statement in statements:
                database.execute(statement)
        return path

    return of


def columns(path):
    with GeoPackage(path, {}) as file:
        return file.columns(("divides",), "a")


ENDLESS = "WITH RECURSIVE c(a) AS (SELECT 1 UNION ALL SELECT a + 1 FROM c) SELECT"


def test_a_query_that_never_ends_is_stopped(written, monkeypatch):
    monkeypatch.setattr(geopackage, "LONGEST", 0.2)
    path = written(f"CREATE VIEW divides AS {ENDLESS} a FROM c WHERE a < 0")
    with pytest.raises(HydrofabricError, match=r"h\.gpkg: cannot be read as a GeoPackage: .* after"):
        columns(path)


def test_a_view_that_gives_rows_for_ever_is_refused(written, monkeypatch):
    monkeypatch.setattr(geopackage, "MOST_ROWS", 1000)
    path = written(f"CREATE VIEW divides AS {ENDLESS} a FROM c")
    with pytest.raises(HydrofabricError, match="more than 1000 rows"):
        columns(path)


def test_rows_that_are_few_but_huge_take_no_memory(written, monkeypatch):
    monkeypatch.setattr(geopackage, "MOST_TEXT", 10**6)
    path = written(f"CREATE VIEW divides AS {ENDLESS} printf('%.*c', 2000, 'x') AS a FROM c LIMIT 100000")
    with pytest.raises(HydrofabricError, match="or 1000000 characters"):
        columns(path)


def test_a_cell_of_a_gigabyte_is_refused(written):
    path = written("CREATE VIEW divides AS SELECT zeroblob(900000000) AS a")
    with pytest.raises(HydrofabricError, match="too big"):
        columns(path)


@pytest.mark.slow
def test_a_computed_column_is_not_read(written):
    path = written(
        "CREATE TABLE divides (n, a TEXT GENERATED ALWAYS AS (printf('%.*c', n, 'x')))",
        "INSERT INTO divides VALUES (500000000)",
    )
    with pytest.raises(HydrofabricError, match="no column a"):
        columns(path)


def test_a_large_shape_beside_is_no_hindrance(written):
    path = written(
        "CREATE TABLE divides (a, geom BLOB)", "INSERT INTO divides VALUES ('cat-1', zeroblob(5000000))"
    )
    assert columns(path) == {"a": ["cat-1"]}


def test_a_view_of_a_stranger_calls_nothing_that_could_do_harm(written):
    path = written("CREATE VIEW divides AS SELECT load_extension('x') AS a")
    with pytest.raises(HydrofabricError, match="cannot be read as a GeoPackage"):
        columns(path)
