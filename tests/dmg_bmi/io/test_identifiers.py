"""Ids are read in one way from every kind of array."""

import numpy as np
import pytest

from dmg_bmi.errors import ForcingError
from dmg_bmi.io.identifiers import ids_from


@pytest.mark.parametrize(
    "values",
    [
        np.array(["1013500", "2"]),
        np.array(["1013500 ", " 2"], dtype=object),
        np.array([b"1013500", b"2"]),
        np.array([b"1013500", b"2\0"], dtype=object),
        np.array([1013500, 2], dtype=np.int64),
        np.array([1013500.0, 2.0]),
        np.array([1013500, 2], dtype=object),
    ],
)
def test_ids_are_the_same_text_in_whatever_type_they_are_stored(values):
    assert ids_from(values, "ids", ForcingError) == ("1013500", "2")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array(["a", ""]), "rows without an id"),
        (np.array(["a", None], dtype=object), "rows without an id"),
        (np.array(["a", np.nan], dtype=object), "rows without an id"),
        (np.array([1.0, np.nan]), "not ids, such as nan"),
        (np.array([1.5, 2.0]), "not ids, such as 1.5"),
        (np.array(["a ", "a"]), "'a' twice"),
        (np.array([b"\xff"]), "not UTF-8"),
        (np.zeros((2, 2), dtype=int), "one id each, not int64 of shape"),
        (np.array(["2000-01-01"], dtype="datetime64[s]"), "one id each, not datetime64"),
    ],
)
def test_what_is_no_id_is_refused(values, said):
    with pytest.raises(ForcingError, match=f"ids .*{said}"):
        ids_from(values, "ids", ForcingError)
