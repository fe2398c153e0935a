"""Constructor options as plain data, so that what was built can be named and built again."""

from __future__ import annotations

from collections.abc import Collection
from inspect import signature
from typing import Any

from .errors import ConfigError


def constructor_options(built: object, without: Collection[str] = ()) -> dict[str, Any]:
    """Return the arguments of the constructor of `built`, read from its attributes of the same names.

    Parameters
    ----------
    built : object
        Keeps every constructor argument under its own name.
    without : collection of str
        Arguments to leave out.

    Raises
    ------
    ConfigError
        When an argument is not kept.
    """
    options = {}
    for name, parameter in signature(type(built)).parameters.items():
        if name in without or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if not hasattr(built, name):
            raise ConfigError(
                f"{type(built).__name__} does not keep its option {name!r}; "
                "set an attribute of that name in its constructor, or write describe()"
            )
        value = getattr(built, name)
        options[name] = list(value) if isinstance(value, tuple) else value
    return options
