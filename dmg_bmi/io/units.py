"""Units as hydrologic files spell them: UDUNITS' names and notations, ECMWF's and the USGS's."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite

from ..errors import ConfigError

Exponents = tuple[int, int, int, int, int]
#: Symbol to factor to SI and exponents of m, s, K, kg, mol.
_BASE: dict[str, tuple[float, Exponents]] = {
    "m": (1.0, (1, 0, 0, 0, 0)),
    "s": (1.0, (0, 1, 0, 0, 0)),
    "K": (1.0, (0, 0, 1, 0, 0)),
    "g": (1e-3, (0, 0, 0, 1, 0)),
    "mol": (1.0, (0, 0, 0, 0, 1)),
    "Pa": (1.0, (-1, -2, 0, 1, 0)),
    "bar": (1e5, (-1, -2, 0, 1, 0)),
    "N": (1.0, (1, -2, 0, 1, 0)),
    "J": (1.0, (2, -2, 0, 1, 0)),
    "W": (1.0, (2, -3, 0, 1, 0)),
    "L": (1e-3, (3, 0, 0, 0, 0)),
}
#: What takes no prefix.
_OTHERS: dict[str, tuple[float, Exponents]] = {
    "1": (1.0, (0, 0, 0, 0, 0)),
    "%": (0.01, (0, 0, 0, 0, 0)),
    "min": (60.0, (0, 1, 0, 0, 0)),
    "h": (3600.0, (0, 1, 0, 0, 0)),
    "d": (86400.0, (0, 1, 0, 0, 0)),
    "week": (604800.0, (0, 1, 0, 0, 0)),
    "in": (0.0254, (1, 0, 0, 0, 0)),
    "ft": (0.3048, (1, 0, 0, 0, 0)),
    "yd": (0.9144, (1, 0, 0, 0, 0)),
    "mi": (1609.344, (1, 0, 0, 0, 0)),
    "acre": (4046.8564224, (2, 0, 0, 0, 0)),
    "ha": (1e4, (2, 0, 0, 0, 0)),
    "cfs": (0.3048**3, (3, -1, 0, 0, 0)),
    "cms": (1.0, (3, -1, 0, 0, 0)),
    "knot": (1852.0 / 3600.0, (1, -1, 0, 0, 0)),
    "mph": (1609.344 / 3600.0, (1, -1, 0, 0, 0)),
    "kph": (1000.0 / 3600.0, (1, -1, 0, 0, 0)),
    "atm": (101325.0, (-1, -2, 0, 1, 0)),
    "psi": (6894.757293168361, (-1, -2, 0, 1, 0)),
    "mmHg": (133.322387415, (-1, -2, 0, 1, 0)),
    "inHg": (3386.388640341, (-1, -2, 0, 1, 0)),
    "ppm": (1e-6, (0, 0, 0, 0, 0)),
    "degree": (0.017453292519943295, (0, 0, 0, 0, 0)),
    "rad": (1.0, (0, 0, 0, 0, 0)),
}
_PREFIXES = {"M": 1e6, "k": 1e3, "h": 1e2, "d": 1e-1, "c": 1e-2, "m": 1e-3, "u": 1e-6, "µ": 1e-6, "n": 1e-9}
_LONG_PREFIXES = {
    "mega": "M",
    "kilo": "k",
    "hecto": "h",
    "centi": "c",
    "milli": "m",
    "micro": "u",
    "nano": "n",
}
#: Other words for a symbol, in the singular and in lower case.
_WORDS = {
    "meter": "m",
    "metre": "m",
    "second": "s",
    "sec": "s",
    "minute": "min",
    "hour": "h",
    "hr": "h",
    "day": "d",
    "gram": "g",
    "gramme": "g",
    "pascal": "Pa",
    "joule": "J",
    "watt": "W",
    "newton": "N",
    "mole": "mol",
    "liter": "L",
    "litre": "L",
    "l": "L",
    "inch": "in",
    "inche": "in",
    "foot": "ft",
    "feet": "ft",
    "mile": "mi",
    "hectare": "ha",
    "kelvin": "K",
    "kt": "knot",
    "mmhg": "mmHg",
    "inhg": "inHg",
    "torr": "mmHg",
    "kmh": "kph",
    "kg": "kg",
    "mb": "hPa",
    "millibar": "hPa",
    "hpa": "hPa",
    "kpa": "kPa",
    "bar": "bar",
    "yard": "yd",
    "percent": "%",
    "pct": "%",
    "radian": "rad",
    "deg": "degree",
    "degree_north": "degree",
    "degrees_north": "degree",
    "degree_east": "degree",
    "degrees_east": "degree",
}
#: Whole spellings, in lower case.
_WHOLE = {
    "": "1",
    "-": "1",
    "--": "1",
    "[-]": "1",
    "none": "1",
    "unitless": "1",
    "dimensionless": "1",
    "fraction": "1",
    "mb": "hPa",
    "mbar": "hPa",
    "millibar": "hPa",
    "millibars": "hPa",
    "pa": "Pa",
    "k": "K",
    "in.": "in",
    "sqkm": "km2",
    "sqmi": "mi2",
    "kcfs": "1000 cfs",
    "cumecs": "m3 s-1",
    "cumec": "m3 s-1",
    "ft3/sec": "ft3 s-1",
}
_DEGREES = r"(?:[°º] ?|deg(?:rees?|s)?\.?[ _]?)"
_CELSIUS = re.compile(rf"{_DEGREES}?(?:celsius|centigrade)|{_DEGREES}c|oc|℃", re.IGNORECASE)
_FAHRENHEIT = re.compile(rf"{_DEGREES}?fahrenheit|{_DEGREES}f|℉", re.IGNORECASE)
#: 0.1 degC, to UDUNITS tenths of a kelvin, to files that are packed tenths above the zero of Celsius.
_SCALED = re.compile(rf"[\d.]+ ?[*.]? ?(?:{_CELSIUS.pattern}|{_FAHRENHEIT.pattern})", re.IGNORECASE)
#: Degrees of the thermodynamic scale, alone or in a product, which are no angles.
_KELVIN = re.compile(rf"(?<![A-Za-z]){_DEGREES}k(?:elvins?)?(?![A-Za-z])", re.IGNORECASE)
#: What a depth is of.
_WATER = re.compile(
    r"(?<=m)(?: of)? (?:liquid )?(?:water(?:[ _-]equivalents?)?|w\.?e\.?|swe)$", re.IGNORECASE
)
#: Powers in words, before the word that is raised.
_WORDS_OF_POWERS = re.compile(r"\b(square|sq|cubic|cu)(?:\.? |_)([A-Za-z]+)", re.IGNORECASE)
#: Read as one thing here and as another there: a coulomb or a degree, a farad or a degree.
_AMBIGUOUS = {"C": "degC", "c": "degC", "F": "degF", "f": "degF", "deg": "degree or degC", "M": "m"}
#: The same within a unit: Mm/Day of files in all capitals, Mm3 of reservoirs.
_NEVER_MEANT = {"Mm": "mm, or hm3 for millions of cubic metres"}
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻\N{MINUS SIGN}\N{EN DASH}·⋅μ", "0123456789---  µ")
_BRACKETS = re.compile(r"\[([^][()]*)\]|\(([^][()]*)\)")
#: What stands in brackets behind a slash is divided by as a whole.
_DIVISOR = re.compile(r"/\s*\(([^()/]*)\)")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
#: 10^6 m3, with a power of two digits at most.
_NUMBER_TO_POWER = re.compile(rf"({_NUMBER.pattern})(?:\^([+-]?\d{{1,2}}))?")
#: 24h-1 may mean once in a day, or 24 times an hour.
_GLUED = re.compile(r"(?<![\w^.+-])\d+\.?\d*[A-DF-Za-df-z]\w*\^?-")
_POWER = re.compile(r"(?P<name>[^\d\s^*+./-][^\d\s^*+./-]*?)(?:\s*(?:\*\*|\^)\s*|)(?P<power>\(?[+-]?\d+\)?)?")
WATER_DENSITY = 1000.0


@dataclass(frozen=True)
class _Unit:
    factor: float
    exponents: tuple[int, ...]
    offset: float = 0.0


@lru_cache(maxsize=512)
def parse(units: str) -> _Unit:
    """Return factor, dimensions and offset of a unit string.

    Products are written with a blank, ``.`` or ``*``, quotients with ``/``, ``per`` or a negative power,
    powers as ``m2``, ``m^2`` or ``m**2``; a number is a factor.

    Raises
    ------
    ConfigError
        If the unit is not understood, or can be read in two ways.
    """
    text = units.strip() if isinstance(units, str) else ""
    if (whole := _BRACKETS.fullmatch(text)) and (whole[1] or whole[2]):
        text = (whole[1] or whole[2]).strip()
    if text in _AMBIGUOUS or _SCALED.fullmatch(text):
        clear = _AMBIGUOUS.get(text, "degC, or K, and scale the values")
        raise ConfigError(f"unit {units!r} can be read in two ways; write {clear}")
    if _CELSIUS.fullmatch(text):
        return _Unit(1.0, _BASE["K"][1], 273.15)
    if _FAHRENHEIT.fullmatch(text):
        return _Unit(5.0 / 9.0, _BASE["K"][1], 459.67 * 5.0 / 9.0)
    text = _plain(_WHOLE.get(text.lower(), text))
    factor, exponents = 1.0, [0, 0, 0, 0, 0]
    for sign, token in _tokens(text, units):
        try:
            if number := _NUMBER_TO_POWER.fullmatch(token):
                factor *= float(number[1]) ** (sign * int(number[2] or 1))
                continue
            scale, dimension, power = _term(token, units)
            factor *= scale ** (sign * power)
        except (ArithmeticError, ValueError) as problem:
            if isinstance(problem, ConfigError):
                raise
            raise _unknown(units, token) from problem
        exponents = [e + sign * power * d for e, d in zip(exponents, dimension, strict=True)]
    if not isfinite(factor) or factor <= 0 or max(map(abs, exponents)) > 99:
        raise ConfigError(f"unit {units!r} is not understood: its factor is {factor:g}")
    return _Unit(factor, tuple(exponents))


def _plain(text: str) -> str:
    """Write in symbols what a spelling has in words: degrees of kelvin, depths of water, powers."""
    text = _WATER.sub("", _KELVIN.sub("K", text))
    return _WORDS_OF_POWERS.sub(lambda m: f"{m[2]}^{2 if m[1].lower().startswith('s') else 3}", text)


def _tokens(text: str, units: str) -> list[tuple[int, str]]:
    """Yield the factors of a unit, each with 1, or -1 after a slash: ``kg/m2/s``, ``mm/3 h``, ``W m**-2``."""
    spaced = re.sub(r"\bper\b", "/", text.translate(_RAISED))
    spaced = re.sub(r"\s*(\*\*|\^)\s*", r"^", spaced)
    spaced = re.sub(r"\^\{([+-]?\d+)\}", r"^\1", spaced)
    spaced = _DIVISOR.sub(lambda found: "/" + "/".join(re.split(r"[\s*]+", found[1].strip())), spaced)
    # A dot between letters is a product, within a number it is not.
    spaced = re.sub(r"(?<=[A-Za-z%])(\^?-?\d*)\.(?=[A-Za-z])|\*", r"\1 ", spaced)
    if _GLUED.search(spaced) or spaced.endswith("^"):
        raise _unknown(units, text)
    # 3h is three hours.
    spaced = re.sub(rf"(?<![\w^.+-])({_NUMBER.pattern})(?=[A-Za-z])(?![eE][+-]?\d)", r"\1 ", spaced)
    parts = [part.split() for part in spaced.split("/")]
    if not all(parts) and text != "1":
        raise _unknown(units, text)
    tokens = [(1, token) for token in parts[0]]
    for part in parts[1:]:
        # Only what stands right behind a slash is divided by, and a number that belongs to it.
        head = 2 if _NUMBER.fullmatch(part[0]) and len(part) > 1 else 1
        tokens += [(-1, token) for token in part[:head]] + [(1, token) for token in part[head:]]
    return tokens


def _term(token: str, units: str) -> tuple[float, Exponents, int]:
    match = _POWER.fullmatch(token.replace("^", "**") if "^" in token else token)
    if match is None:
        raise _unknown(units, token)
    power = int((match["power"] or "1").strip("()")[:4])
    scale, dimension = _symbol(match["name"], units)
    return scale, dimension, power


def _symbol(name: str, units: str) -> tuple[float, Exponents]:
    if name in _NEVER_MEANT:
        raise ConfigError(f"unit {units!r} can be read in two ways; write {_NEVER_MEANT[name]}")
    if name in _BASE:
        return _BASE[name]
    if name in _OTHERS:
        return _OTHERS[name]
    if name[0] in _PREFIXES and name[1:] in _BASE:
        factor, dimension = _BASE[name[1:]]
        return factor * _PREFIXES[name[0]], dimension
    word = name.lower()
    for singular in (word, word.removesuffix("s")):
        if singular in _WORDS:
            return _symbol(_WORDS[singular], units)
        for long, short in _LONG_PREFIXES.items():
            rest = _WORDS.get(singular.removeprefix(long))
            if singular.startswith(long) and rest in _BASE:
                return _symbol(short + str(rest), units)
        if singular in _OTHERS and len(singular) > 2:
            return _OTHERS[singular]
    raise _unknown(units, name)


def _unknown(units: str, token: str) -> ConfigError:
    return ConfigError(f"unit {units!r} is not understood at {token!r}; write it like 'mm d-1'")


def conversion(given: str, wanted: str) -> tuple[float, float]:
    """Return scale and offset that turn a value in `given` units into `wanted` units.

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
    scale = factor / b.factor
    # Zero of the one in degrees of the other: offsets are in kelvin.
    return scale, (a.offset - b.offset) / b.factor


def is_rate_of(rate: str, amount: str) -> bool:
    """Tell whether `rate` is per time what `amount` is."""
    return parse(rate).exponents[1] == parse(amount).exponents[1] - 1


def cf_units(units: str) -> str:
    """Return units that UDUNITS reads; the logarithm of a unit is not among them."""
    return "1" if "log" in units or not units else units
