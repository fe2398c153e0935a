"""The table of catchments: which rows, attributes and areas it gives, and how it says what is wrong."""

import numpy as np
import pytest

from dmg_bmi.errors import AttributeTableError
from dmg_bmi.runtime.catchments import Catchments, CatchmentTable

NAMES = ("aridity", "slope")


@pytest.fixture
def table(tmp_path):
    def of(text, **keys):
        path = tmp_path / "catchments.csv"
        path.write_text(text, encoding="utf-8")
        return CatchmentTable.load(Catchments(path, **keys), NAMES)

    return of


GOOD = "gauge,slope,aridity,area_km2,name\n01333000,1.5,0.5,100,Grün\n02,2.5,0.6,,Blau\n"


def test_a_table_gives_ids_as_text_and_attributes_by_name(table):
    good = table(GOOD)
    assert good.ids == ("01333000", "02")
    np.testing.assert_array_equal(good.attributes["slope"], [1.5, 2.5])
    np.testing.assert_array_equal(good.attributes["aridity"], [0.5, 0.6])
    np.testing.assert_array_equal(good.area, [100.0, np.nan])


def test_ids_choose_and_order_the_rows_of_a_table(table):
    chosen = table(GOOD, ids=("02", "01333000"), attributes={"slope": [7.0, 8.0]}, area=3.0)
    assert chosen.ids == ("02", "01333000")
    np.testing.assert_array_equal(chosen.attributes["aridity"], [0.6, 0.5])
    np.testing.assert_array_equal(chosen.attributes["slope"], [7.0, 8.0])
    np.testing.assert_array_equal(chosen.area, [3.0, 3.0])


def test_a_table_may_have_a_byte_order_mark_blank_lines_and_spaces(table):
    good = table("﻿id, slope ,aridity\n\n a , 1 ,2\n\n\n")
    assert good.ids == ("a",)
    np.testing.assert_array_equal(good.attributes["slope"], [1.0])


def test_without_a_table_lists_say_how_many_there_are():
    loaded = CatchmentTable.load(Catchments(attributes={"slope": [1.0, 2.0, 3.0], "aridity": 0.5}), NAMES)
    assert loaded.ids == ("0", "1", "2")
    np.testing.assert_array_equal(loaded.attributes["aridity"], [0.5] * 3)
    one = CatchmentTable.load(Catchments(attributes={"slope": 1.0, "aridity": 0.5}), NAMES)
    assert one.ids == ("0",)


@pytest.mark.parametrize(
    ("text", "keys", "reason"),
    [
        ("", {}, "needs a header line, and a line for each"),
        ("id,slope,aridity\n", {}, "needs a header line, and a line for each"),
        ("id,slope,aridity\n\n\n", {}, "needs a header line, and a line for each"),
        ("id,slope,aridity\na,1,2\na,3,4\n", {}, "line 3: 'a' appears twice in the first column"),
        (
            "id,slope,aridity\na,1,2\nb,3\n",
            {},
            "line 3: has not as many cells as the header .2, not 3.; leave",
        ),
        ("id,slope,aridity\na,1,2\nb,3,\n", {}, "attribute 'aridity' of catchment 'b' is nan"),
        ("id,slope,aridity\na,,2\nb,,4\nc,,4\n", {}, "attribute 'slope' of catchment 'a' and 2 more is nan"),
        ("id,slope,aridity\na,1,2\nb,inf,2\n", {}, "line 3: slope is 'inf', not a number"),
        ("id,slope,aridity\na,1,1e300\n", {}, "attribute 'aridity' of catchment 'a'"),
        ("id,slope,aridity\na,1,1e-300\n", {}, "attribute 'aridity' of catchment 'a'"),
        ("id,slope,aridity\na,1,2\nb,-9999,2\n", {}, "attribute 'slope' of catchment 'b' is -9999"),
        ("id,slope,aridity\na,1,-999.0\n", {}, "attribute 'aridity' of catchment 'a' is -999"),
        ("id,slope,aridity\na,1,1e20\n", {}, "attribute 'aridity' of catchment 'a' is 1e"),
        (
            "id,slope,aridity\na,1,2\n",
            {"attributes": {"slope": -9999.0}},
            "'slope' of catchment 'a' is -9999",
        ),
        ("id,slope,aridity,area_km2\na,1,2,0\n", {}, "'area' of catchment 'a' is 0"),
        ("id,slope,aridity,area_km2\na,1,2,\nb,1,2,-3\n", {}, "'area' of catchment 'b' is -3"),
        ("id,slope,aridity\na,1,2\n", {"area": np.nan}, "'area' of catchment 'a' is nan"),
        ("id,slope,aridity\na,1,2\n", {"area": 0.0}, "'area' of catchment 'a' is 0"),
        ("id,slope,aridity\na,steep,2\n", {}, "line 2: slope is 'steep', not a number"),
        ("id,slope\na,1\n", {}, "attribute 'aridity' is missing: add it"),
        ("id,slope,aridity\na,1,2\n", {"ids": ("z",)}, "has no catchment z"),
        ("id,slope,aridity\na,1,2\n", {"ids": ("a", "a")}, "'a' appears twice among the ids"),
        ("id,slope,aridity\na,1,2\n", {"attributes": {"height": 3.0}}, "has no attribute height; it uses"),
        ("id,slope,aridity\na,1,2\n", {"attributes": {"slope": [3.0, 4.0]}}, "slope has 2 values for 1"),
        ("id,slope,aridity\na,1,2\n", {"area": [3.0, 4.0]}, "area has 2 values for 1"),
        ("id,slope,aridity\na,1,2\n", {"attributes": {"slope": np.nan}}, "'slope' of catchment 'a' is nan"),
    ],
)
def test_a_wrong_table_names_attribute_and_catchment(table, text, keys, reason):
    with pytest.raises(AttributeTableError, match=reason):
        table(text, **keys)


def test_a_list_must_hold_something():
    with pytest.raises(AttributeTableError, match="empty"):
        CatchmentTable.load(Catchments(attributes={"slope": [], "aridity": []}), NAMES)


def test_a_table_that_is_not_there_or_no_text_is_named(tmp_path):
    with pytest.raises(AttributeTableError, match=r"none\.csv: cannot be read"):
        CatchmentTable.load(Catchments(tmp_path / "none.csv"), NAMES)
    (tmp_path / "latin.csv").write_bytes("id,slope\nä,1\n".encode("latin-1"))
    with pytest.raises(AttributeTableError, match=r"latin\.csv: is not UTF-8 text"):
        CatchmentTable.load(Catchments(tmp_path / "latin.csv"), NAMES)
