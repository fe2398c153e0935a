"""Units are read and converted as UDUNITS does, as far as hydrologic forcing needs."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import ConfigError
from dmg_bmi.io.units import conversion, is_rate_of, parse

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
    ("inHg", "Pa"),
    ("torr", "Pa"),
    ("ppm", "1"),
    ("10^6 m3", "m3"),
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


#: Degrees of temperature with a blank, which UDUNITS takes for degrees of arc times kelvin.
NO_ANGLES = ["deg K", "degree K", "degrees K", "Deg. K", "degrees kelvin", "° K"]
#: What public files hold: NOAA, ECMWF, CF, USGS, UDUNITS, R and spreadsheets.
SPELLINGS = {
    "mm": [
        "millimeter",
        "millimeters",
        "Millimetre",
        "kg m**-2",
        "kg/m2",
        "kg m^-2",
        "mm of water equivalent",
        "1e-3 m",
    ],
    "cm": ["cm of water equivalent", "cm w.e.", "cm of liquid water"],
    "m": ["meter", "metres", "m of water equivalent", "m water equivalent", "100 cm", "0.001 km"],
    "knot": ["kt", "knots"],
    "mi/h": ["mph"],
    "km/h": ["kph"],
    "101325 Pa": ["atm"],
    "W m-2 K-1": ["W m-2 degK-1", "W/(m2 K)"],
    "inch": ["in", "inches", "25.4 mm"],
    "mm d-1": [
        "mm/day",
        "mm day-1",
        "mm d^-1",
        "mm d**-1",
        "mm.d-1",
        "mm per day",
        "mm/24 h",
        "mm/24h",
        "kg m-2 d-1",
        "[mm/d]",
        "(mm/day)",
        "mm d⁻¹",
        "mm d^{-1}",
        "mm d\N{MINUS SIGN}1",
        "mm d\N{EN DASH}1",
        "kg/(m2 d)",
    ],
    "mm s-1": [
        "kg m-2 s-1",
        "kg m**-2 s**-1",
        "kg/m2/s",
        "kg/m^2/s",
        "kg m^-2 s^-1",
        "mm/s",
        "mm s^-1",
        "mm/sec",
        "kg/(m2 s)",
        "kg/(m^2*s)",
        "kg m⁻² s⁻¹",
        "kg m^{-2} s^{-1}",
        "kg.m^-2.s^-1",
        "Kg m-2 s-1",
    ],
    "mm h-1": ["mm/hr", "mm hr-1", "mm/hour", "millimeters per hour", "3 mm/3h"],
    "degC": [
        "°C",
        "deg C",
        "degree_C",
        "ºC",
        "degrees_C",
        "degrees C",
        "degree_Celsius",
        "degrees_Celsius",
        "celsius",
        "Celsius",
        "℃",
        "oC",
    ],
    "K": ["k", "Kelvin", "kelvin", "degK", "kelvins", "°K", "[K]", *NO_ANGLES],
    "degF": ["°F", "deg F", "fahrenheit", "degrees Fahrenheit"],
    "W m-2": ["W/m2", "W m**-2", "W/m^2", "watts/meters^2", "J s-1 m-2", "W/m²", "watts per square meter"],
    "Pa": [
        "pa",
        "pascal",
        "Pascals",
        "0.01 hPa",
        "0.01 mbar",
        "0.01 mb",
        "0.01 millibars",
        "0.01 hpa",
        "0.001 kpa",
        "1e-5 bars",
    ],
    "kg kg-1": ["kg kg**-1", "kg/kg", "1", "-", "dimensionless", "fraction", "1000 g/kg"],
    "m3 s-1": [
        "m^3/s",
        "m**3 s**-1",
        "m3/s",
        "cms",
        "cumecs",
        "m³/s",
        "1000 L/s",
        "1000 l s-1",
        "m³ s⁻¹",
        "cubic meters per second",
    ],
    "ft3 s-1": ["cfs", "CFS", "ft3/s", "ft^3 s-1", "cubic feet per second", "cu. ft/s"],
    "km2": ["km^2", "km**2", "sqkm", "100 ha", "1e6 m2", "sq. km", "square kilometre"],
    "mi2": ["sq mi", "square miles", "640 acres"],
    "umol m-2 s-1": ["μmol m-2 s-1", "µmol/m2/s", "µmol/(m2 s)"],
    "s": ["sec", "seconds", "second"],
    "d": ["day", "days", "24 hours", "1440 min", "86400 s"],
}


@pytest.mark.parametrize(("wanted", "given"), [(w, g) for w, many in SPELLINGS.items() for g in many])
def test_a_spelling_that_public_files_have_is_read(wanted, given):
    scale, offset = conversion(given, wanted)
    assert scale == pytest.approx(1.0, rel=1e-12)
    assert offset == pytest.approx(0.0, abs=1e-9)


#: Where UDUNITS reads something else: a product with degrees of arc, acres of US survey feet.
NOT_OF_UDUNITS = {"degrees Fahrenheit", "640 acres", *NO_ANGLES}


def test_spellings_are_read_as_udunits_reads_them():
    units = pytest.importorskip("gimli.units", reason="gimli.units<0.4 is not installed").units
    compared = 0
    for wanted, spelling in ((w, s) for w, many in SPELLINGS.items() for s in many):
        if spelling in NOT_OF_UDUNITS:
            continue
        try:
            convert = units.Unit(spelling).to(units.Unit(wanted))
        except Exception:  # a spelling that it does not know, such as ECMWF's
            continue
        values = np.array([-1.0, 0.0, 10.0])
        scale, offset = conversion(spelling, wanted)
        np.testing.assert_allclose(
            values * scale + offset, convert(values), rtol=1e-9, atol=1e-9, err_msg=spelling
        )
        compared += 1
    assert compared > 70


@pytest.mark.parametrize(
    ("given", "factor"), [("10 mm", 10), ("1000 mm d-1", 1000), ("100 Pa", 100), ("0.5 m3 s-1", 0.5)]
)
def test_the_number_of_a_unit_is_a_factor(given, factor):
    assert conversion(given, given.split(" ", 1)[1]) == (pytest.approx(factor), 0.0)


def test_degrees_fahrenheit_have_their_own_zero():
    scale, offset = conversion("degF", "degC")
    assert [t * scale + offset for t in (32.0, 212.0)] == [pytest.approx(0.0, abs=1e-9), pytest.approx(100.0)]


@pytest.mark.parametrize("units", ["C", "F", "deg", "M", "[C]", "Mm", "Mm/Day", "Mm3", "0.1 degC", "10 °C"])
def test_what_can_be_read_in_two_ways_is_refused(units):
    with pytest.raises(ConfigError, match="can be read in two ways; write "):
        parse(units)


@pytest.mark.parametrize(
    "units",
    [
        *(
            "mm/timestep",
            "furlong",
            "mm d -1",
            "m/s/",
            "/d",
            "mm**",
            "^2",
            "degC d-1",
            "ö",
            "mm month-1",
            "mm 24h-1",
            "[]",
            "kg/(m2/s)",
            "kg/()",
            "((mm))",
        ),
        *("0 mm", "-1 mm", "m^999999", "1e999 m", "x" * 300, "mm\0", "\ud800", "m" * 5000),
    ],
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
