"""What columns of the field's data sets are here: forcings and runoff under shared names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from ...arrays import DAY, HOUR
from ...errors import ConfigError
from ...io.units import conversion

KELVIN = -273.15


@dataclass(frozen=True)
class Column:
    """The counterpart of a column.

    Parameters
    ----------
    symbol : str
        Here.
    period : float, optional
        Seconds over which an amount is taken.
    offset : float
        To be added to its values.
    """

    symbol: str
    period: float | None = None
    offset: float = 0.0


_FORCINGS: Mapping[str, Column] = {
    "prcp(mm/day)": Column("P", DAY),
    "total_precipitation_sum": Column("P", DAY),
    "precipitation(mm/day)": Column("P", DAY),
    "apcp_surface": Column("P", HOUR),
    "total_precipitation": Column("P", HOUR),
    "precip(mm/h)": Column("P", HOUR),
    "prcp(mm/h)": Column("P", HOUR),
    "tmean(c)": Column("T"),
    "temperature_2m_mean": Column("T"),
    "temp(c)": Column("T"),
    "tmp_2maboveground": Column("T", offset=KELVIN),
    "pet(mm/d)": Column("PET", DAY),
    "pet(mm/day)": Column("PET", DAY),
    "pet(mm/h)": Column("PET", HOUR),
    **{
        name.lower(): Column(name)
        for name in (
            *("PRES_surface", "SPFH_2maboveground", "DSWRF_surface", "DLWRF_surface"),
            *("UGRD_10maboveground", "VGRD_10maboveground"),
        )
    },
}
#: Targets without units in their name, by data set.
_TARGETS: Mapping[tuple[str, str], Column] = {
    ("caravan", "streamflow"): Column("Q", DAY),
    ("camels_gb", "discharge_spec"): Column("Q", DAY),
    ("camels_de", "discharge_spec_obs"): Column("Q", DAY),
    ("hourly_camels_us", "qobs_mm_per_hour"): Column("Q", HOUR),
}
_DEPTH = re.compile(r"(?:q|qobs|discharge|streamflow|runoff|flow)\w*\((?:mm)[/ ]?(d|day|h|hr|hour)\)")
_UNITS = re.compile(r".*\((.+)\)")
_SPELLED = {"C": "degC", "W/m2": "W m-2"}


def forcing(name: str) -> Column | None:
    """Return the counterpart of a dynamic input; None where it is not known."""
    return _FORCINGS.get(name.lower())


def target(name: str, dataset: str) -> Column | None:
    """Return the counterpart of a target: runoff as a depth; None where it is not known to be that."""
    match = _DEPTH.fullmatch(name.lower())
    if match is not None:
        return Column("Q", DAY if match[1].startswith("d") else HOUR)
    return _TARGETS.get((dataset, name.lower()))


def units(name: str) -> str:
    """Return the units that a name ends with in parentheses; empty where there are none that are known."""
    match = _UNITS.fullmatch(name)
    if match is None:
        return ""
    text = _SPELLED.get(match[1], match[1])
    try:
        conversion(text, text)
    except ConfigError:
        return ""
    return text
