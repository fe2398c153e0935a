"""What fuzzing has found, each mended and kept here by name."""

import numpy as np
import pytest
from kill_points import drive, start

from dmg_bmi.errors import StateError, ValueShapeError
from dmg_bmi.runtime import codec


@pytest.mark.parametrize("dtype", ["U8", "S8", "bool", "object"])
def test_numbers_do_not_go_into_an_array_of_something_else(tmp_path, dtype):
    """Text took the first digits of them, silently."""
    bmi = start(tmp_path)
    with pytest.raises(ValueShapeError, match="cannot go into dest"):
        bmi.get_value("Q", np.zeros(1, dtype=dtype))


@pytest.mark.parametrize("size", [np.nan, np.inf, -np.inf, -1.0, 1e30])
def test_no_such_number_of_bytes_can_be_announced(tmp_path, size):
    bmi = start(tmp_path)
    with pytest.raises(ValueShapeError, match="one number of bytes"):
        bmi.set_value("ngen::serialization_size", np.array([size]))


@pytest.mark.parametrize(
    ("key", "value"), [("shares", float("inf")), ("shares", 0), ("position", 4), ("position", -1)]
)
def test_a_header_that_counts_impossibly_is_refused_and_nothing_changes(tmp_path, key, value):
    bmi, twin = start(tmp_path), start(tmp_path)
    for each in (bmi, twin):
        drive(each, 5)
    header, tensors = codec.decode(bmi.component.save())
    with pytest.raises(StateError):
        bmi.component.load(codec.encode({**header, key: value}, tensors))
    assert drive(bmi, 5) == drive(twin, 5)


@pytest.mark.parametrize("name", ["phy.SM", "runtime.fluxes", "runtime.series"])
def test_values_that_cannot_be_are_refused_and_nothing_changes(tmp_path, name):
    bmi, twin = start(tmp_path), start(tmp_path)
    for each in (bmi, twin):
        drive(each, 5)
    header, tensors = codec.decode(bmi.component.save())
    spoilt = tensors[name].clone()
    spoilt.view(-1)[0] = float("inf")
    with pytest.raises(StateError, match="values that cannot be"):
        bmi.component.load(codec.encode(header, {**tensors, name: spoilt}))
    assert drive(bmi, 5) == drive(twin, 5)
