"""Times as CF files and BMI components give them: numbers since a date, in a calendar."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..arrays import TimeArray
from ..errors import DmgBmiError

#: Seconds of a unit; months and years have no fixed length.
SECONDS = {
    "ns": 1e-9,
    "nanosecond": 1e-9,
    "us": 1e-6,
    "microsecond": 1e-6,
    "ms": 1e-3,
    "millisecond": 1e-3,
    "msec": 1e-3,
    "s": 1.0,
    "sec": 1.0,
    "second": 1.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
    "d": 86400.0,
    "day": 86400.0,
    "week": 604800.0,
}
STANDARD = ("standard", "gregorian", "proleptic_gregorian")
NO_LEAP = ("noleap", "365_day")
#: Dates that datetime64[s] and Python's datetime both hold, with room for offsets.
EARLIEST, LATEST = np.datetime64("0001-01-03", "s"), np.datetime64("9999-12-29", "s")
#: Seconds by which a time may be off a whole second, as days in floating point are.
HAIR = 0.3
#: The standard calendar is Julian before; no record of weather is as old.
REFORM = np.datetime64("1582-10-15", "s")
_SINCE = re.compile(r"\s*(\w+)\s+since\s+(.+?)\s*", re.IGNORECASE)
_DATE = re.compile(
    r"(\d{1,4})-(\d{1,2})-(\d{1,2})"
    r"(?:(?:\s+|T)(\d{1,2})(?::?(\d{1,2})(?::?(\d{1,2})(?:\.(\d*))?)?)?)?"
    r"\s*(Z|UTC|GMT|[+-]\d{1,2}(?::?\d{2})?|(?<=\s)00?:00)?",
    re.IGNORECASE | re.ASCII,
)
#: What NumPy reads as it is meant, and many times faster.
_PLAIN = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[ T][0-9]{2}:[0-9]{2}:[0-9]{2})?")


def seconds_of(unit: str, source: str, error: type[DmgBmiError]) -> float:
    """Return the seconds of a unit of time; raise `error` for one of no fixed length."""
    word = unit.strip().lower()
    for name in (word, word.removesuffix("s")):
        if name in SECONDS:
            return SECONDS[name]
    raise error(f"{source}: the unit of time {unit!r} is not understood; use seconds, minutes, hours or days")


def unit_and_date(units: Any) -> tuple[str, str]:
    """Split units into the unit and the date that it counts from, empty in units such as ``hours``."""
    text = units if isinstance(units, str) else ""
    match = _SINCE.fullmatch(text)
    return (match[1], match[2]) if match else (text, "")


def split_units(units: Any, source: str, error: type[DmgBmiError]) -> tuple[float, np.datetime64]:
    """Return the seconds of the unit and the date, in UTC, of units such as ``hours since 2000-01-01``."""
    unit, date = unit_and_date(units)
    if not date:
        raise error(f"{source}: time has units {units!r}; they must be like 'hours since 2000-01-01 00:00'")
    return seconds_of(unit, source, error), parse_date(date, source, error)


def parse_date(text: str, source: str, error: type[DmgBmiError]) -> np.datetime64:
    """Return a date and time in UTC, read with one-digit parts and with a zone such as ``-6:00``."""
    match = _DATE.fullmatch(text.strip())
    try:
        if match is None:
            raise ValueError("it must be like 2000-01-31 18:00:00")
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        if hour * 3600 + minute * 60 + second > 86400 or minute > 59 or second > 59:
            raise ValueError("no such time of day")
        if float(f"0.{match[7] or 0}") > HAIR:
            raise ValueError("it must be a whole second")
        day_begins = np.datetime64(f"{year:04d}-{month:02d}-{day:02d}", "s")
        date = day_begins + np.timedelta64(hour * 3600 + minute * 60 + second, "s") - _zone(match[8])
        if not EARLIEST <= date <= LATEST:
            raise ValueError("it is too early or too late")
    except ValueError as problem:
        raise error(f"{source}: the date {text!r} is not understood: {problem}") from problem
    return date


def parse_dates(
    texts: Sequence[str], lines: Sequence[int], source: str, error: type[DmgBmiError]
) -> TimeArray:
    """Return the dates of a table's rows as :func:`parse_date` does; a message names the line."""
    if all(map(_PLAIN.fullmatch, texts)):
        try:
            dates = np.array(texts, dtype="datetime64[s]")
            if not len(dates) or EARLIEST <= dates.min() <= dates.max() <= LATEST:
                return dates
        except ValueError:
            pass  # One of them does not exist; which, the rows say.
    return np.array(
        [parse_date(text, f"{source}, line {line}", error) for text, line in zip(texts, lines, strict=True)],
        dtype="datetime64[s]",
    )


def whole_days(times: TimeArray, source: str, error: type[DmgBmiError]) -> TimeArray:
    """Return the days of daily records in order, whose times are dates, or noons.

    Parameters
    ----------
    times : array of datetime64[s]
        In UTC.
    source : str
        What a message begins with.
    error : type of DmgBmiError
        What days out of order raise, and times so late that they are midnights of another zone.
    """
    days: TimeArray = times.astype("datetime64[D]")
    late = times - days > np.timedelta64(12 * 3600, "s")
    if late.any():
        raise error(
            f"{source}: a record of a day begins at {times[late][0]} UTC, which may be midnight of another "
            "zone; write dates without time and zone"
        )
    if not len(days) or (np.diff(days).astype(int) <= 0).any():
        raise error(f"{source}: its days are not in order")
    return days


def _zone(text: str | None) -> np.timedelta64:
    digits = re.fullmatch(r"([+-])(\d{1,2}):?(\d{2})?", text or "")
    if digits is None:
        return np.timedelta64(0, "s")
    seconds = int(digits[2]) * 3600 + int(digits[3] or 0) * 60
    if seconds > 18 * 3600:
        raise ValueError("no such time zone")
    return np.timedelta64(-seconds if digits[1] == "-" else seconds, "s")


def decode(
    values: Any, units: Any, source: str, error: type[DmgBmiError], calendar: Any = "standard"
) -> tuple[TimeArray, TimeArray]:
    """Turn numbers into UTC times to the second.

    Parameters
    ----------
    values : array or masked array of numbers
    units : str
        Such as ``days since 1970-01-01``.
    source : str
        What a message begins with.
    error : type of DmgBmiError
        What a time that cannot be read raises.
    calendar : str
        ``standard``, ``proleptic_gregorian``, or ``noleap``, whose dates are taken as they are.

    Returns
    -------
    times : array of datetime64[s]
        Numbers a hair off a second, as days in floating point are, are rounded.
    skipped : array of datetime64[s]
        Days between the first and the last time that the calendar does not have.
    """
    name = str("standard" if calendar is None else calendar).strip().lower() or "standard"
    if name not in (*STANDARD, *NO_LEAP):
        raise error(
            f"{source}: the calendar {calendar!r} is not supported, only standard ones and noleap; convert "
            "the file's times first (xarray's convert_calendar does)"
        )
    numbers = np.ma.asarray(values)
    if numbers.dtype.kind not in "fiu":
        raise error(f"{source}: times must be numbers, not {numbers.dtype}")
    if numbers.ndim != 1:
        raise error(f"{source}: times must be one series, not an array of shape {numbers.shape}")
    if np.ma.getmaskarray(numbers).any() or not np.isfinite(numbers.filled(0)).all():
        raise error(f"{source}: a time is missing")
    scale, origin = split_units(units, source, error)
    seconds = _seconds(numbers.filled(0), scale, source, error)
    if name in NO_LEAP:
        times = _without_leap_days(seconds, origin)
    else:
        times = origin + seconds.astype("timedelta64[s]")
    if len(times) and not EARLIEST <= times.min() <= times.max() <= LATEST:
        raise error(f"{source}: its times run from {times.min()} to {times.max()}; are the units right?")
    if len(times) and name != "proleptic_gregorian" and times.min() < REFORM:
        raise error(f"{source}: its times begin in {times.min()}, before the calendar of today")
    return times, _leap_days(times) if name in NO_LEAP else times[:0]


def _seconds(numbers: NDArray[Any], scale: float, source: str, error: type[DmgBmiError]) -> NDArray[np.int64]:
    """Round to whole seconds; float32 days since long ago are told."""
    if numbers.dtype.kind in "iu" and scale >= 1.0:
        large = numbers.astype(np.float64) * scale
        whole = numbers.astype(np.int64) * int(scale)
    else:
        large = numbers.astype(np.float64) * scale
        whole = np.round(np.clip(large, -1e15, 1e15)).astype(np.int64)
        off = np.abs(large - whole)
        # How far the next number lies, in seconds; whole days are exact however far that is.
        coarse = np.where(numbers == np.round(numbers), 0.0, np.spacing(numbers).astype(np.float64) * scale)
        if numbers.size and (coarse.max() > 1.0 or off.max() > HAIR):
            k = int(off.argmax())
            why = f", and {numbers.dtype} cannot tell seconds there" if coarse.max() > 1.0 else ""
            raise error(
                f"{source}: time {numbers.flat[k]} is {large.flat[k]:.16g} s after its origin, not a whole "
                f"second{why}; store times as float64 or as whole numbers"
            )
    if large.size and np.abs(large).max() > 4e11:
        raise error(f"{source}: a time of {large.flat[np.abs(large).argmax()]:g} s; are the units right?")
    return whole


def _without_leap_days(seconds: NDArray[np.int64], origin: np.datetime64) -> TimeArray:
    """Convert times of a calendar whose years all have 365 days, on the dates that they name."""
    day, rest = np.divmod(seconds + _of_noleap(origin), 86400)
    year, day = np.divmod(day, 365)
    years = (year + 1 - 1970).astype("datetime64[Y]")
    dates = years.astype("datetime64[D]") + day
    leap = (years + 1).astype("datetime64[D]") - years.astype("datetime64[D]") == np.timedelta64(366, "D")
    dates = dates + np.where(leap & (day >= 59), 1, 0)
    times: TimeArray = dates.astype("datetime64[s]") + rest.astype("timedelta64[s]")
    return times


def _of_noleap(date: np.datetime64) -> int:
    """Count the seconds of a date since the year 1, where every year has 365 days."""
    year = date.astype("datetime64[Y]")
    start = year.astype("datetime64[s]")
    seconds = int((date - start) / np.timedelta64(1, "s"))
    leap = (year + 1).astype("datetime64[D]") - year.astype("datetime64[D]") == np.timedelta64(366, "D")
    if leap and seconds >= 60 * 86400:
        seconds -= 86400
    return (int(year.astype(int)) + 1970 - 1) * 365 * 86400 + seconds


def _leap_days(times: TimeArray) -> TimeArray:
    """List the days of 29 February between the first and the last time."""
    if not len(times):
        return times[:0]
    first, last = times.min().astype("datetime64[Y]"), times.max().astype("datetime64[Y]")
    years = np.arange(first, last + 1)
    days = years.astype("datetime64[D]") + 59
    leap = (years + 1).astype("datetime64[D]") - years.astype("datetime64[D]") == np.timedelta64(366, "D")
    within = leap & (days > times.min().astype("datetime64[D]")) & (days < times.max())
    result: TimeArray = days[within].astype("datetime64[s]")
    return result
