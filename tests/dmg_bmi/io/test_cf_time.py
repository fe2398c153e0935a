"""Times of CF files and BMI components are read as cftime reads them, or refused in words."""

import cftime
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import ForcingError
from dmg_bmi.io.cf_time import decode, parse_date, parse_dates, whole_days

ORIGINS = ["1850-01-01", "2000-02-28 12:00", "1999-12-31 6:5:4", "2004-03-01T00:00:00", "1600-3-1"]


def read(values, units, calendar="standard"):
    return decode(np.array(values), units, "f.nc", ForcingError, calendar)


@given(
    st.sampled_from(["standard", "gregorian", "proleptic_gregorian", "noleap", "365_day"]),
    st.sampled_from(["days", "hours", "minutes", "seconds"]),
    st.sampled_from(ORIGINS),
    st.lists(st.integers(0, 90_000), min_size=1, max_size=20),
)
def test_dates_are_those_of_cftime(calendar, unit, origin, numbers):
    dates = cftime.num2date(numbers, f"{unit} since {origin.replace('T', ' ')}", calendar)
    expected = [np.datetime64(date.isoformat()[:19]) for date in np.atleast_1d(dates)]
    np.testing.assert_array_equal(read(numbers, f"{unit} since {origin}", calendar)[0], expected)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("2000-01-01 00:00:00 -6:00", "2000-01-01T06:00"),
        ("2000-01-01 00:00:00 +05:30", "1999-12-31T18:30"),
        ("2000-01-01T00:00:00Z", "2000-01-01T00:00"),
        ("2000-1-1 5:4:3", "2000-01-01T05:04:03"),
        ("2000-01-01 00:00:00.0 UTC", "2000-01-01T00:00"),
        ("2000-01-01 00:00:00.0 00:00", "2000-01-01T00:00"),
        ("2000-01-01 24:00", "2000-01-02T00:00"),
    ],
)
def test_a_zone_and_one_digit_parts_are_read(text, utc):
    assert parse_date(text, "f.nc", ForcingError) == np.datetime64(utc)


def test_a_time_a_hair_before_midnight_is_midnight():
    days = 30_000 + np.arange(40) - 1e-6
    np.testing.assert_array_equal(
        read(days, "days since 1900-01-01")[0],
        np.datetime64("1982-02-20", "s") + np.arange(40) * np.timedelta64(86400, "s"),
    )


def test_days_that_a_calendar_lacks_are_told():
    _, absent = read(np.arange(0, 365 * 9), "days since 2000-01-01", "noleap")
    np.testing.assert_array_equal(absent, np.array(["2000-02-29", "2004-02-29", "2008-02-29"], "M8[s]"))
    assert not read(np.arange(900), "days since 2000-01-01")[1].size


@pytest.mark.parametrize(
    ("values", "units", "calendar", "said"),
    [
        ([1], "days since 2000-01-01", "360_day", "the calendar '360_day' is not supported"),
        ([1], "days since 2000-01-01", "julian", "the calendar 'julian' is not supported"),
        ([1], "days since 2000-01-01", "all_leap", "not supported"),
        ([1], "days since 2000-01-01", 7, "not supported"),
        ([1], "days since 2000-01-01", np.array([1, 2]), "not supported"),
        ([1], "months since 2000-01-01", "standard", "the unit of time 'months' is not understood"),
        ([1], "days", "standard", "must be like 'hours since 2000-01-01 00:00'"),
        ([1], 5, "standard", "must be like"),
        ([1], "days since 2000-13-01", "standard", "the date '2000-13-01' is not understood"),
        ([1], "days since 2000-01-01 25:00", "standard", "no such time of day"),
        ([1], "days since 2000-01-01 24:30", "standard", "no such time of day"),
        ([1], "days since 2000-01-01 00:00:00.75", "standard", "must be a whole second"),
        ([1], "days since 2000-01-01 00:00:00 01:00", "standard", "is not understood"),
        (3.0, "days since 2000-01-01", "standard", "must be one series"),
        ([[1, 2], [1, 2]], "days since 2000-01-01", "standard", "must be one series"),
        ([1], "days since 2000-01-01 00:00 +99:00", "standard", "no such time zone"),
        ([1e30], "days since 2000-01-01", "standard", "not a whole second"),
        ([10**9], "days since 2000-01-01", "standard", "are the units right"),
        (
            [-(10**6)],
            "days since 2000-01-01",
            "standard",
            "too early|are the units right|before the calendar",
        ),
        ([np.nan], "days since 2000-01-01", "standard", "a time is missing"),
        ([np.inf], "days since 2000-01-01", "standard", "a time is missing"),
        (["a"], "days since 2000-01-01", "standard", "times must be numbers"),
        (np.array([40000.3], "f4"), "days since 1900-01-01", "standard", "float32 cannot tell seconds there"),
    ],
)
def test_a_time_that_cannot_be_told_is_refused_in_words(values, units, calendar, said):
    with pytest.raises(ForcingError, match=f"f.nc: .*({said})"):
        read(values, units, calendar)


def test_a_masked_time_is_missing():
    with pytest.raises(ForcingError, match="a time is missing"):
        decode(np.ma.array([1.0, 2.0], mask=[0, 1]), "days since 2000-01-01", "f.nc", ForcingError)


@pytest.mark.parametrize(
    "texts",
    [
        ["1981-01-31", "1981-02-01"],
        ["1981-01-31 23:00:00", "1981-02-01T00:00:00"],
        ["1981-1-31", "1981-02-01 6:00"],
        ["1981-01-31 23:00:00-06:00"],
        ["1981-01-31 24:00:00"],
        [],
    ],
)
def test_dates_of_a_table_are_those_of_its_rows(texts):
    alone = [parse_date(text, "f.csv", ForcingError) for text in texts]
    assert parse_dates(texts, range(len(texts)), "f.csv", ForcingError).tolist() == [
        date.astype(object) for date in alone
    ]


@pytest.mark.parametrize(
    "text",
    ["1981-02-30", "0000-01-01", "0001-01-01", "1981-01-01 25:00:00", "1981-01-01x", "\u0661981-01-01"],
)
def test_a_date_of_a_table_that_is_none_is_named_with_its_line(text):
    with pytest.raises(ForcingError, match=r"f.csv, line 7: the date '.*' is not understood"):
        parse_dates(["1981-01-01", text], [6, 7], "f.csv", ForcingError)


def test_daily_records_are_dated_by_their_day_unless_it_is_that_of_another_zone():
    noons = np.array(["2000-01-01T12:00", "2000-01-02T12:00"], "datetime64[s]")
    assert whole_days(noons, "f.csv", ForcingError).astype(str).tolist() == ["2000-01-01", "2000-01-02"]
    # Midnight at +01:00.
    with pytest.raises(ForcingError, match=r"f\.csv: a record of a day begins at 1999-12-31T23:00:00 UTC"):
        whole_days(np.array(["1999-12-31T23:00"], "datetime64[s]"), "f.csv", ForcingError)
    with pytest.raises(ForcingError, match=r"f\.csv: its days are not in order"):
        whole_days(noons[::-1], "f.csv", ForcingError)
