"""Lists of basin ids, in a configuration or in a text file that it names."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ...errors import ConfigError, repeated
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
