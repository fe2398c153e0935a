"""Tables of a GeoPackage, which is an SQLite file, without its geometries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from .errors import HydrofabricError
from .files import opened

#: Seconds that one query may take, and rows that it may give; a continent has about a million.
LONGEST, MOST_ROWS = 120.0, 5_000_000

#: A table: name of the column, one value per row.
Columns = dict[str, list[Any]]


def numbers(values: Iterable[Any]) -> NDArray[np.float64]:
    """Values of a column as float64, NaN where there is no number."""

    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([number(value) for value in values], dtype=np.float64)


class GeoPackage:
    """An open file, read only; a context manager.

    Parameters
    ----------
    path : Path
    aliases : mapping of str to tuple of str
        All names that a column has had, in lower case.

    Raises
    ------
    HydrofabricError
        Naming the file and what is missing or wrong, from every method.
    """

    def __init__(self, path: Path, aliases: Mapping[str, Sequence[str]]) -> None:
        self.path = path
        self.aliases = aliases
        with opened(path, HydrofabricError):
            pass
        try:
            self.connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        except sqlite3.Error as problem:
            raise HydrofabricError(f"{path}: cannot be read as a GeoPackage: {problem}") from problem
        # A view may never end, or a damaged file send its reader round in circles.
        self._deadline = monotonic() + LONGEST
        self.connection.set_progress_handler(lambda: monotonic() > self._deadline, 100_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def columns(self, tables: Sequence[str], wanted: Sequence[str], optional: Sequence[str] = ()) -> Columns:
        """Columns of the first of these tables that is there; an optional one may be all None."""
        table = self._first(tables)
        if table is None:
            raise HydrofabricError(f"{self.path}: has no table {' or '.join(tables)}; is it a hydrofabric?")
        present = self._names(table)
        found = {}
        for name in (*wanted, *optional):
            aliases = self.aliases.get(name, (name.lower(),))
            column = next((present[alias] for alias in aliases if alias in present), None)
            if column is not None:
                found[name] = column
            elif name in wanted:
                raise HydrofabricError(f"{self.path}: table {table} has no column {' or '.join(aliases)}")
        values = self._select(table, list(found.values()))
        empty: list[Any] = [None] * len(values[0])
        return {name: empty for name in optional} | dict(zip(found, values, strict=True))

    def everything(self, tables: Sequence[str]) -> Columns | None:
        """All columns but the geometry, or None where none of these tables is there."""
        table = self._first(tables)
        if table is None:
            return None
        names = [name for lower, name in self._names(table).items() if lower not in ("fid", "geom")]
        return dict(zip(names, self._select(table, names), strict=True))

    def has(self, table: str, column: str) -> bool:
        """Whether there is a table with a column of that name."""
        return self._first((table,)) is not None and column in self._names(table)

    def _first(self, tables: Sequence[str]) -> str | None:
        rows = self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        present = {name for (name,) in rows}
        return next((table for table in tables if table in present), None)

    def _names(self, table: str) -> dict[str, str]:
        return {row[1].lower(): row[1] for row in self._query(f"PRAGMA table_info({_quoted(table)})")}

    def _select(self, table: str, names: Sequence[str]) -> list[list[Any]]:
        # Names are quoted; values are no part of a statement.
        rows = self._query(f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(table)}")  # noqa: S608
        return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        self._deadline = monotonic() + LONGEST
        try:
            rows = self.connection.execute(sql).fetchmany(MOST_ROWS + 1)
        except (sqlite3.Error, ValueError, OverflowError) as problem:
            late = f" after {LONGEST:.0f} s" if monotonic() > self._deadline else ""
            raise HydrofabricError(
                f"{self.path}: cannot be read as a GeoPackage: {problem}{late}"
            ) from problem
        if len(rows) > MOST_ROWS:
            raise HydrofabricError(
                f"{self.path}: a table has more than {MOST_ROWS} rows; is it a view without end?"
            )
        return rows


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
