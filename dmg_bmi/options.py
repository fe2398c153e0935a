"""Constructor options as plain data, so that what was built can be named and built again."""

from __future__ import annotations

from collections.abc import Collection
from inspect import signature
from typing import Any


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
    AttributeError
        When an argument is not kept.
    """
    names = [name for name in signature(type(built)).parameters if name not in without]
    return {name: _plain(getattr(built, name)) for name in names}


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
