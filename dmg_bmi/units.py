"""Linear unit conversion for the units that hydrologic forcing comes in.

Enough of UDUNITS to read what files and frameworks say (``mm d-1``, ``kg m-2 s-1``, ``K``)
without a compiled library in the runtime path.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from .errors import ConfigError

# symbol: (factor to SI, exponents of m, s, K, kg, mol), with an offset where zero differs.
_BASE: dict[str, tuple[float, tuple[int, int, int, int, int]]] = {
    "1": (1.0, (0, 0, 0, 0, 0)),
    "%": (0.01, (0, 0, 0, 0, 0)),
    "m": (1.0, (1, 0, 0, 0, 0)),
    "km": (1e3, (1, 0, 0, 0, 0)),
    "cm": (1e-2, (1, 0, 0, 0, 0)),
    "mm": (1e-3, (1, 0, 0, 0, 0)),
    "ft": (0.3048, (1, 0, 0, 0, 0)),
    "s": (1.0, (0, 1, 0, 0, 0)),
    "min": (60.0, (0, 1, 0, 0, 0)),
    "h": (3600.0, (0, 1, 0, 0, 0)),
    "d": (86400.0, (0, 1, 0, 0, 0)),
    "K": (1.0, (0, 0, 1, 0, 0)),
    "kg": (1.0, (0, 0, 0, 1, 0)),
    "g": (1e-3, (0, 0, 0, 1, 0)),
    "Pa": (1.0, (-1, -2, 0, 1, 0)),
    "hPa": (1e2, (-1, -2, 0, 1, 0)),
    "kPa": (1e3, (-1, -2, 0, 1, 0)),
    "W": (1.0, (2, -3, 0, 1, 0)),
    "J": (1.0, (2, -2, 0, 1, 0)),
    "MJ": (1e6, (2, -2, 0, 1, 0)),
    "mol": (1.0, (0, 0, 0, 0, 1)),
    "umol": (1e-6, (0, 0, 0, 0, 1)),
}
_ALIASES = {
    "hr": "h",
    "hour": "h",
    "hours": "h",
    "day": "d",
    "days": "d",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "kelvin": "K",
    "percent": "%",
    "-": "1",
    "": "1",
}
_CELSIUS = {"degC", "celsius", "Celsius", "degrees_Celsius", "deg_C"}
_TOKEN = re.compile(r"^([A-Za-z_%]+|1)\^?([+-]?\d+)?$")
WATER_DENSITY = 1000.0


@dataclass(frozen=True)
class _Unit:
    factor: float
    exponents: tuple[int, ...]
    offset: float = 0.0


@lru_cache(maxsize=512)
def parse(units: str) -> _Unit:
    """Factor, dimensions and offset of a unit string; ConfigError if it is not understood."""
    text = units.strip()
    if text in _CELSIUS:
        return _Unit(1.0, _BASE["K"][1], 273.15)
    factor, exponents = 1.0, [0, 0, 0, 0, 0]
    for position, part in enumerate((_ALIASES.get(text) or text).split("/")):
        for token in re.split(r"[\s.*]+", part.strip()):
            match = _TOKEN.match(token)
            name = _ALIASES.get(match[1], match[1]) if match else None
            if match is None or name not in _BASE:
                raise ConfigError(f"unit {units!r} is not understood at {token!r}; write it like 'mm d-1'")
            power = int(match[2] or 1) * (-1 if position else 1)
            base, dimension = _BASE[name]
            factor *= base**power
            exponents = [e + power * d for e, d in zip(exponents, dimension, strict=True)]
    return _Unit(factor, tuple(exponents))


def conversion(given: str, wanted: str) -> tuple[float, float]:
    """Scale and offset that turn a value in `given` units into `wanted` units.

    Mass of water per area counts as its depth (``kg m-2`` as ``mm``).

    Raises
    ------
    ConfigError
        If a unit is not understood, or the two measure different things.
    """
    a, b = parse(given), parse(wanted)
    factor = a.factor
    if a.exponents != b.exponents:
        water = tuple(x + y for x, y in zip(a.exponents, (3, 0, 0, -1, 0), strict=True))
        if water != b.exponents:
            raise ConfigError(f"{given!r} cannot be converted to {wanted!r}: they measure different things")
        factor /= WATER_DENSITY
    if factor == b.factor:
        return 1.0, a.offset - b.offset
    return factor / b.factor, (a.offset * factor - b.offset * b.factor) / b.factor


def is_rate_of(rate: str, amount: str) -> bool:
    """Whether `rate` is per time what `amount` is."""
    return parse(rate).exponents[1] == parse(amount).exponents[1] - 1
