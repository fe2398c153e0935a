"""Units are read and converted as UDUNITS does, as far as hydrologic forcing needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import ConfigError
from dmg_bmi.units import conversion, is_rate_of, parse

LENGTHS = ["m", "mm", "cm", "km", "ft"]
TIMES = ["s", "min", "h", "hr", "hour", "d", "day"]
SAME = [
    *((f"{a} {t}-1", f"{b} s-1") for a in LENGTHS for b in ("m", "mm") for t in TIMES),
    *((f"{a}/{t}", "mm/day") for a in LENGTHS for t in TIMES),
    ("kg m-2 s-1", "g m-2 h-1"),
    ("W m-2", "MJ m-2 d-1"),
    ("J m-2", "MJ m-2"),
    ("hPa", "Pa"),
    ("kPa", "hPa"),
    ("K", "degC"),
    ("degC", "K"),
    ("celsius", "kelvin"),
    ("%", "1"),
    ("percent", "1"),
    ("umol m-2 s-1", "mol m-2 d-1"),
    ("m3 s-1", "ft3 s-1"),
    ("m^3 s^-1", "m3/s"),
    ("kg.m-2.s-1", "kg m-2 s-1"),
    ("km2", "m2"),
    ("1", "1"),
]


@pytest.mark.parametrize(("given", "wanted"), SAME)
def test_conversions_are_those_of_udunits(given, wanted):
    units = pytest.importorskip("gimli.units", reason="gimli.units<0.4 is not installed").units
    values = np.array([-40.0, 0.0, 1.0, 273.15])
    expected = units.Unit(given).to(units.Unit(wanted))(values)
    scale, offset = conversion(given, wanted)
    np.testing.assert_allclose(values * scale + offset, expected, rtol=1e-12, atol=1e-12)


@given(st.sampled_from(SAME), st.floats(-1e6, 1e6))
def test_there_and_back_is_where_one_was(pair, value):
    there, back = conversion(*pair), conversion(*reversed(pair))
    again = (value * there[0] + there[1]) * back[0] + back[1]
    assert again == pytest.approx(value, rel=1e-12, abs=1e-9)


@pytest.mark.parametrize("units", ["mm d-1", "K", "W m-2", "1", "m3 s-1"])
def test_a_unit_is_itself_exactly(units):
    assert conversion(units, units) == (1.0, 0.0)


def test_known_values():
    assert conversion("K", "degC") == (1.0, -273.15)
    assert conversion("m", "mm")[0] == pytest.approx(1000.0, rel=1e-15)
    assert conversion("mm h-1", "mm d-1")[0] == pytest.approx(24.0, rel=1e-15)


def test_mass_of_water_per_area_is_its_depth():
    assert conversion("kg m-2", "mm") == (pytest.approx(1.0, rel=1e-15), 0.0)
    assert conversion("kg m-2 s-1", "mm d-1")[0] == pytest.approx(86400.0, rel=1e-15)


@pytest.mark.parametrize("same", ["", "-", "1", " 1 "])
def test_no_unit_is_written_in_several_ways(same):
    assert parse(same).exponents == (0, 0, 0, 0, 0)
    assert conversion(same, "%")[0] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [("mm", "mm d-1"), ("K", "mm"), ("W m-2", "mm d-1"), ("m3 s-1", "m s-1"), ("mm", "kg m-2")],
)
def test_different_things_are_not_converted(given, wanted):
    with pytest.raises(ConfigError, match="measure different things"):
        conversion(given, wanted)


@pytest.mark.parametrize(
    "units",
    ["C", "deg C", "mm/timestep", "furlong", "mm d -1", "mm**2", "2 mm", "m/s/", "degC d-1", "1e-3 m", "ö"],
)
def test_what_is_not_understood_is_named(units):
    with pytest.raises(ConfigError, match="is not understood"):
        parse(units)


@pytest.mark.parametrize(
    ("rate", "amount", "yes"),
    [
        ("mm d-1", "mm", True),
        ("kg m-2 s-1", "mm", True),
        ("m s-1", "mm", True),
        ("mm", "mm", False),
        ("kg m-2", "mm", False),
        ("degC", "degC", False),
    ],
)
def test_a_rate_is_told_from_an_amount(rate, amount, yes):
    assert is_rate_of(rate, amount) is yes
