"""Typed configuration: YAML to dataclasses, with errors that name file, key and remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, is_dataclass
from dataclasses import fields as dataclass_fields
from datetime import UTC, date, datetime
from difflib import get_close_matches
from inspect import isabstract
from math import inf, isfinite
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from ..errors import ConfigError
from . import files
from .cf_time import parse_date

T = TypeVar("T")
#: How a date as text begins; Python would read dates of weeks and dates without dashes, too.
_CALENDAR = re.compile(r"\s*\d{4}-\d\d?-\d")


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read the mapping in a YAML file; :class:`ConfigError` if it is missing or not a mapping."""
    return files.read_yaml(files.as_path(path, ConfigError), ConfigError)


def from_mapping(cls: type[T], mapping: Any, source: str) -> T:
    """Build a dataclass, nested ones included, from plain data.

    Parameters
    ----------
    cls : dataclass
        Its annotations may use bool, int, float, str, Path, datetime, Literal, tuples,
        lists, dicts, unions, ``Any`` and further dataclasses. An abstract dataclass stands for the
        one of its ``variants()`` (name to a callable that returns the class) that the value names under
        its key ``TAG``.
    mapping : mapping
        What a YAML or JSON file held.
    source : str
        The file, for messages.

    Raises
    ------
    ConfigError
        Naming `source`, the key and the remedy: a key that does not exist (with the
        closest that does), one that is missing, or a value of the wrong type.
    """
    value: T = _convert(cls, mapping, source, "")
    return value


def _dataclass(cls: Any, value: Any, source: str, key: str) -> Any:
    if not isinstance(value, Mapping):
        raise _wrong(source, key, "a mapping of keys to values", value)
    hints = get_type_hints(cls)
    declared = {f.name: f for f in dataclass_fields(cls) if f.init}
    for name in value:
        if name not in declared:
            close = get_close_matches(str(name), declared, n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            known = ", ".join(declared)
            raise ConfigError(f"{source}: unknown key '{_join(key, name)}'; {meant}known keys are {known}")
    missing = [
        _join(key, name)
        for name, f in declared.items()
        if name not in value and f.default is MISSING and f.default_factory is MISSING
    ]
    if missing:
        raise ConfigError(f"{source}: missing key '{missing[0]}'; it has no default, so give it a value")
    given = {name: _convert(hints[name], value[name], source, _join(key, name)) for name in value}
    try:
        return cls(**given)
    except (ValueError, TypeError) as error:
        where = f"{source}: {key}: " if key else f"{source}: "
        raise ConfigError(f"{where}{error}") from error


def _convert(kind: Any, value: Any, source: str, key: str) -> Any:
    """Convert `value` to what the annotation `kind` requires."""
    origin, arguments = get_origin(kind), get_args(kind)
    if kind is Any or kind is object:
        return value
    if isinstance(value, float) and not isfinite(value):
        raise _wrong(source, key, "a finite number", value)
    if is_dataclass(kind):
        return _dataclass(_variant(kind, value, source, key), value, source, key)
    if origin in (Union, UnionType):
        return _union(arguments, value, source, key)
    if origin is Literal:
        return _choice(arguments, value, source, key)
    if origin in (tuple, list) or kind in (tuple, list):
        return _sequence(origin or kind, arguments, value, source, key)
    if (origin is not None and issubclass(origin, Mapping)) or kind is dict:
        return _mapping(arguments, value, source, key)
    return _scalar(kind, value, source, key)


def _choice(options: tuple[Any, ...], value: Any, source: str, key: str) -> Any:
    if value not in options:
        close = get_close_matches(str(value), [str(option) for option in options], n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        raise _wrong(source, key, "one of " + ", ".join(map(str, options)), value, meant)
    return value


def _mapping(arguments: tuple[Any, ...], value: Any, source: str, key: str) -> dict[Any, Any]:
    if not isinstance(value, Mapping):
        raise _wrong(source, key, "a mapping of keys to values", value)
    name, item = arguments or (Any, Any)
    for k in value:
        if name in (str, int) and type(k) is not name:
            hint = "; write it in quotes" if name is str else ""
            raise _wrong(source, _join(key, k), f"named by {_NAMES[name]}", k, hint)
    return {k: _convert(item, v, source, _join(key, k)) for k, v in value.items()}


def _union(options: tuple[Any, ...], value: Any, source: str, key: str) -> Any:
    if value is None and NoneType in options:
        return None
    real = [option for option in options if option is not NoneType]
    for option in real:
        try:
            return _convert(option, value, source, key)
        except ConfigError:
            kinds = (tuple, list) if isinstance(value, list | tuple) else (dict,)
            meant = isinstance(value, list | tuple | Mapping) and get_origin(option) in kinds
            if len(real) == 1 or meant:
                raise
    ids = isinstance(value, int) and tuple[str, ...] in real
    hint = f"; write ['{value}'] for a list of one" if ids else ""
    raise _wrong(source, key, " or ".join(_named(option) for option in real), value, hint)


def _variant(cls: Any, value: Any, source: str, key: str) -> Any:
    """Return the class that a value names under the key ``TAG`` of an abstract dataclass."""
    if not isabstract(cls):
        return cls
    if not isinstance(value, Mapping):
        raise _wrong(source, key, "a mapping of keys to values", value)
    variants = cls.variants()
    if cls.TAG not in value:
        raise ConfigError(
            f"{source}: missing key '{_join(key, cls.TAG)}'; choose one of {', '.join(variants)}"
        )
    name = _convert(Literal[tuple(variants)], value[cls.TAG], source, _join(key, cls.TAG))
    return variants[name]()


def _sequence(kind: Any, arguments: tuple[Any, ...], value: Any, source: str, key: str) -> Any:
    if kind is tuple and arguments and arguments[-1] is not Ellipsis:
        if not isinstance(value, list | tuple) or len(value) != len(arguments):
            raise _wrong(source, key, f"a list of {len(arguments)} values", value)
        kinds = arguments
    elif not isinstance(value, list | tuple):
        raise _wrong(source, key, "a list", value, f"; write [{value}] for a list of one")
    else:
        kinds = (arguments[0] if arguments else Any,) * len(value)
    return kind(
        _convert(k, v, source, f"{key}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True))
    )


def _scalar(kind: Any, value: Any, source: str, key: str) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is datetime and isinstance(value, date):
        return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    if kind in (int, float) and isinstance(value, bool):
        raise _wrong(source, key, _named(kind), value)
    # YAML 1.1 reads 1e-3 (no dot) and quoted dates as text; what they say is plain.
    if isinstance(value, str) and kind is datetime and _CALENDAR.match(value):
        value = _date(value)
    if isinstance(value, str) and kind in (int, float):
        with suppress(ValueError):
            value = kind(value)
    if kind is float and isinstance(value, int):
        value = float(value) if abs(value) <= files.LARGEST else inf
    if isinstance(value, kind):
        return _possible(value, source, key)
    hint = ""
    if kind is str:
        hint = f"; put it in quotes: '{value}'" if type(value) in (int, float) else "; put it in quotes"
    raise _wrong(source, key, _named(kind), value, hint)


def _date(text: str) -> datetime | str:
    """Read a date with or without a zone, also as other files spell it; text that is none comes back."""
    with suppress(ValueError):
        return datetime.fromisoformat(text)
    with suppress(ConfigError):
        date: datetime = parse_date(text, "", ConfigError).astype(datetime)
        return date
    return text


def _possible(value: Any, source: str, key: str) -> Any:
    """Refuse numbers that cannot be computed with, and dates outside the calendar."""
    if isinstance(value, float) and not isfinite(value):
        raise _wrong(source, key, "a finite number", value)
    if isinstance(value, int) and abs(value) > files.LARGEST:
        raise _wrong(source, key, "a number below 2**63", value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        try:
            value.astimezone(UTC)
        except OverflowError as problem:
            raise _wrong(source, key, "a date that is in the years 1 to 9999 by UTC too", value) from problem
    return value


_NAMES = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    Path: "a path",
    datetime: "a date such as 2000-10-01",
}


def _named(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (tuple, list):
        return "a list"
    if get_origin(kind) is dict:
        return "a mapping of keys to values"
    return _NAMES.get(kind, "a mapping of keys to values" if is_dataclass(kind) else str(kind))


def _join(key: str, name: Any) -> str:
    return f"{key}.{name}" if key else str(name)


def _wrong(source: str, key: str, wanted: str, value: Any, hint: str = "") -> ConfigError:
    where = f"{source}: key '{key}'" if key else source
    return ConfigError(f"{where} must be {wanted}, not {_shown(value)}{hint}")


def _shown(value: Any) -> str:
    """Show a value as a user would recognise it, shortened."""
    if value is None:
        return "empty"
    text = str(value) if isinstance(value, date) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
