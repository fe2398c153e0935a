"""One reader of text tables: what it takes, and what it says of what it refuses."""

import numpy as np
import pytest

from dmg_bmi.errors import AttributeTableError, NextGenError
from dmg_bmi.io.csv_table import CsvTable

GOOD = '﻿id; name ;area\n\na ;Elbe, upper;1.5\n;;\nb;"Oder;\nlower"; \n'


@pytest.fixture
def table(tmp_path):
    def of(text, delimiter=";"):
        (tmp_path / "t.csv").write_text(text, encoding="utf-8")
        return CsvTable.read(tmp_path / "t.csv", AttributeTableError, delimiter)

    return of


def test_cells_are_read_by_column_and_ids_by_row(table):
    good = table(GOOD)
    assert good.columns == {"id": ("a", "b"), "name": ("Elbe, upper", "Oder;\nlower"), "area": ("1.5", "")}
    assert good.rows() == {"a": 0, "b": 1}
    np.testing.assert_array_equal(good.numbers("area", [1, 0, 0]), [np.nan, 1.5, 1.5])
    assert good.numbers("area", []).shape == (0,)


def test_only_the_rows_that_are_asked_for_must_be_numbers(table):
    mixed = table("id,slope\na,steep\nb,2\n", ",")
    np.testing.assert_array_equal(mixed.numbers("slope", [1]), [2.0])
    with pytest.raises(AttributeTableError, match=r"t\.csv, line 2: slope is 'steep', not a number; correct"):
        mixed.numbers("slope", [0, 1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"t\.csv: needs a header line, and a line for each row"),
        ("id;slope\n\n ; \n", r"t\.csv: needs a header line, and a line for each row"),
        ("id;slope\n\na;1\nb\n", r"t\.csv, line 4: has not as many cells as the header \(1, not 2\); leave"),
        ("id;slope\na;1;2\n", r"t\.csv, line 2: .* \(3, not 2\); .* quote one with ';' in it"),
        ('id;slope\n"a;1\n', r"t\.csv, line 2: .* \(1, not 2\)"),
    ],
)
def test_a_table_that_is_not_whole_is_refused_with_its_line(table, text, said):
    with pytest.raises(AttributeTableError, match=said):
        table(text)


@pytest.mark.parametrize(("expected", "other"), [(";", ","), (",", ";"), (",", "\t"), (",", "|")])
def test_columns_that_are_separated_otherwise_are_told(table, expected, other):
    with pytest.raises(AttributeTableError, match=r"t\.csv: columns are separated by .*; separate them by"):
        table(f"id{other}slope\na{other}1\n", expected)
    assert table("id\na\n", expected).rows() == {"a": 0}


def test_an_id_that_stands_twice_is_named_with_its_second_line(table):
    with pytest.raises(AttributeTableError, match=r"t\.csv, line 5: 'b' appears twice in the first column"):
        table("id;slope\na;1\nb;2\nc;3\nb;2\na;4\n").rows()


def test_a_file_that_is_not_there_or_no_text_is_refused_as_its_reader_wants(tmp_path):
    with pytest.raises(NextGenError, match=r"none\.csv: cannot be read"):
        CsvTable.read(tmp_path / "none.csv", NextGenError)
    (tmp_path / "latin.csv").write_bytes("id,slope\nä,1\n".encode("latin-1"))
    with pytest.raises(NextGenError, match=r"latin\.csv: is not UTF-8 text"):
        CsvTable.read(tmp_path / "latin.csv", NextGenError)


@pytest.mark.parametrize(
    "mark", ["NA", "n/a", "#N/A", "<NA>", "None", "NULL", "-", "--", "-nan", "-1.#IND", ""]
)
def test_a_mark_of_what_is_not_known_is_no_number(table, mark):
    np.testing.assert_array_equal(table(f"id;slope\na;{mark}\nb;2\n").numbers("slope", [0, 1]), [np.nan, 2.0])


@pytest.mark.parametrize(
    ("cell", "remedy"),
    [
        ("1,5", "decimal point"),
        ("3,533.57", "thousands without commas"),
        ("12 %", "without the percent sign"),
        ("inf", "correct it"),
        ("1_0", "correct it"),
        ("missing", "correct it"),
    ],
)
def test_what_is_not_a_number_is_named_with_a_remedy_of_its_own(table, cell, remedy):
    with pytest.raises(AttributeTableError, match=rf"line 2: slope is '{cell}', not a number; .*{remedy}"):
        table(f"id;slope\na;{cell}\n").numbers("slope", [0])


@pytest.mark.parametrize("comment", ["# made by hand", "# data, version 1", "#a,b,c", "# one\n# two, three"])
def test_comments_above_a_header_and_between_rows_are_passed_over(table, comment):
    assert table(f"{comment}\nid,slope\na,1\n# b,9\nc,2\n", ",").columns == {
        "id": ("a", "c"),
        "slope": ("1", "2"),
    }


def test_a_header_may_begin_with_a_hash_mark(table):
    assert table("# version 1\n#id,slope\na,1\n", ",").columns == {"#id": ("a",), "slope": ("1",)}
    assert table("#id,slope\na,1\nb,2\n", ",").columns == {"#id": ("a", "b"), "slope": ("1", "2")}
