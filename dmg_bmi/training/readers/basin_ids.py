"""Lists of basin ids, in a configuration or in a text file that it names."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from pathlib import Path

from ...errors import AttributeTableError, ConfigError, repeated
from ...io.files import read_text


def read_ids(ids: Iterable[str] | Path | None, key: str) -> list[str] | None:
    """Return the ids that a configuration lists, or those in the file that it names.

    Parameters
    ----------
    ids : iterable of str, or path, optional
        In a file one id a line; ``#`` begins a comment.
    key : str
        For messages.

    Raises
    ------
    ConfigError
        If the file cannot be read or has no ids, or an id is listed twice.
    """
    if not isinstance(ids, Path):
        return None if ids is None else _require_unique(list(ids), key)
    try:
        text = read_text(ids, ConfigError)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}; give a list of ids, or a text file of one id a line") from error
    lines = [line.split("#")[0].strip() for line in text.splitlines()]
    names = [name for name in lines if name]
    if not names:
        raise ConfigError(f"{key}: {ids} has no ids; write one a line")
    return _require_unique(names, f"{key}: {ids}")


def _require_unique(ids: list[str], where: str) -> list[str]:
    if twice := repeated(ids):
        raise ConfigError(f"{where} lists {', '.join(twice[:5])} more than once; keep one")
    return ids


def require_same_spelling(ids: Iterable[str], rows: Collection[str], path: Path) -> None:
    """Refuse a table that has a basin under an id that differs in spelling alone: such a basin would be lost.

    Spellings are those of spreadsheets and pandas, ``1013500`` or ``1013500.0`` for ``01013500``, capital
    letters, and ids without the prefix of their data set.

    Raises
    ------
    AttributeTableError
        Naming one id in both spellings.
    """
    ids = [*ids]
    plain = {_plain(name): name for name in {*rows} - {*ids}}
    for basin in ids:
        spellings = (_plain(basin), _plain(basin.rpartition("_")[2]))
        other = next((plain[name] for name in spellings if name in plain), None)
        if basin not in rows and other is not None:
            raise AttributeTableError(
                f"{path}: has {other!r} for basin {basin!r}, and others as they are; write the same "
                "ids in both"
            )


def _plain(name: str) -> str:
    return re.sub(r"\.0+$", "", name.strip("'\" ").lower()).lstrip("0")
