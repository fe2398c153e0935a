"""Tables of a GeoPackage, which is an SQLite file, without its geometries."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Self

import numpy as np

from ..arrays import FloatArray
from ..errors import DmgBmiError, HydrofabricError
from .files import opened

#: Seconds that one query may take, and rows that it may give; a continent has about a million.
LONGEST, MOST_ROWS = 120.0, 5_000_000
#: Characters of one cell, and of all cells of a table: views and computed columns can make any number.
LONGEST_CELL, MOST_TEXT = 2**20, 2**31

#: How an SQLite file begins, and how files of other formats do that hold river networks too.
SQLITE = b"SQLite format 3\x00"
OTHERS = {
    b"CDF\x01": "NetCDF",
    b"CDF\x02": "NetCDF",
    b"CDF\x05": "NetCDF",
    b"\x89HDF": "NetCDF or HDF5",
    b"PAR1": "Parquet",
    b"\x00\x00\x27\x0a": "Shapefile",
    b"fgb\x03": "FlatGeobuf",
    b"PK\x03\x04": "ZIP",
    b"\x1f\x8b": "gzip",
}
#: A table: name of the column, one value per row.
Columns = dict[str, list[Any]]


def numbers(values: Iterable[Any]) -> FloatArray:
    """Convert a column to float64, NaN where there is no number."""

    def number(value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            return np.nan

    return np.array([number(value) for value in values], dtype=np.float64)


def identifiers(
    values: Iterable[Any], where: str, error: type[DmgBmiError] = HydrofabricError, optional: bool = False
) -> list[str]:
    """Convert ids of rows to text: whole numbers, of whatever type, become their digits.

    Parameters
    ----------
    values : iterable
        As a table holds them.
    where : str
        File and column, for the message.
    error : type of DmgBmiError
        What a row without an id raises.
    optional : bool
        Whether a row may name nothing; it is empty text then.
    """

    def text(row: int, value: Any) -> str:
        if type(value) is str and (optional or value.strip()):
            return value
        if value is None and optional:
            return ""
        whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
        if whole and not isinstance(value, bool):
            return str(int(value))
        shown = {type(None): "missing (NULL)", bytes: "a blob", str: "empty"}.get(type(value), f"{value!r}")
        raise error(f"{where} of row {row} is {shown}; an id is text or a whole number")

    return [text(row, value) for row, value in enumerate(values, 1)]


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
        _require_sqlite(path)
        try:
            self.connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        except sqlite3.Error as problem:
            raise HydrofabricError(f"{path}: cannot be read as a GeoPackage: {problem}") from problem
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_CELL)
        # Views of strangers call no function that could do harm; damaged pages are noticed.
        for pragma in ("trusted_schema = OFF", "cell_size_check = ON"):
            self.connection.execute(f"PRAGMA {pragma}")
        # A view may never end, or a damaged file send its reader round in circles.
        self._deadline = monotonic() + LONGEST
        self.connection.set_progress_handler(lambda: monotonic() > self._deadline, 100_000)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def columns(
        self,
        tables: Sequence[str],
        key: str,
        wanted: Sequence[str] = (),
        optional: Sequence[str] = (),
        references: Sequence[str] = (),
    ) -> Columns:
        """Read columns of the first of these tables that exists.

        Parameters
        ----------
        tables : sequence of str
        key : str
            The column of ids; all are text.
        wanted, optional : sequence of str
            An optional one that is not there is all None.
        references : sequence of str
            Those of `wanted` and `optional` that name other rows: text, empty where they name none.
        """
        table = self._first(tables)
        if table is None:
            raise self.no_table(tables)
        present = self._names(table)
        found = {}
        wanted = (key, *wanted)
        for name in (*wanted, *optional):
            aliases = self.aliases.get(name, (name.lower(),))
            column = next((present[alias] for alias in aliases if alias in present), None)
            if column is not None:
                found[name] = column
            elif name in wanted:
                raise HydrofabricError(f"{self.path}: table {table} has no column {' or '.join(aliases)}")
        values = self._select(table, list(found.values()))
        empty: list[Any] = [None] * len(values[0])
        columns = {name: empty for name in optional} | dict(zip(found, values, strict=True))
        return self._with_text_ids(table, columns, key, references)

    def no_table(self, tables: Sequence[str]) -> HydrofabricError:
        """Return an error that names tables which are missing, and those that there are."""
        own = [name for name in self._tables() if not name.startswith(("gpkg_", "rtree_", "sqlite_"))]
        has = f"no table {' or '.join(tables)}, but {', '.join(own[:8]) or 'none'}"
        return HydrofabricError(f"{self.path}: has {has}; is it a hydrofabric?")

    def everything(self, tables: Sequence[str], key: str, references: Sequence[str] = ()) -> Columns | None:
        """Read all columns but the geometry; None if none of these tables exists."""
        table = self._first(tables)
        if table is None:
            return None
        present = {lower: name for lower, name in self._names(table).items() if lower not in ("fid", "geom")}
        if key not in present:
            raise HydrofabricError(f"{self.path}: table {table} has no column {key}")
        names = [key if lower == key else name for lower, name in present.items()]
        columns = dict(zip(names, self._select(table, [*present.values()]), strict=True))
        return self._with_text_ids(table, columns, key, [name for name in references if name in columns])

    def _with_text_ids(self, table: str, columns: Columns, key: str, references: Sequence[str]) -> Columns:
        for name in (key, *references):
            where = f"{self.path}: table {table}: {name}"
            columns[name] = identifiers(columns[name], where, optional=name != key)
        return columns

    def has(self, table: str, column: str) -> bool:
        """Tell whether a table has a column of that name."""
        return self._first((table,)) is not None and column in self._names(table)

    def _first(self, tables: Sequence[str]) -> str | None:
        # SQLite takes names of tables and columns without regard to case.
        present = {name.lower(): name for name in self._tables()}
        return next((present[table.lower()] for table in tables if table.lower() in present), None)

    def _tables(self) -> list[str]:
        return [
            name for (name,) in self._query("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")
        ]

    def _names(self, table: str) -> dict[str, str]:
        return {row[1].lower(): row[1] for row in self._query(f"PRAGMA table_info({_quoted(table)})")}

    def _select(self, table: str, names: Sequence[str]) -> list[list[Any]]:
        # Names are quoted; values are no part of a statement.
        rows = self._query(f"SELECT {', '.join(map(_quoted, names))} FROM {_quoted(table)}")  # noqa: S608
        return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in names]

    def _query(self, sql: str) -> list[tuple[Any, ...]]:
        self._deadline = monotonic() + LONGEST
        rows: list[tuple[Any, ...]] = []
        text = 0
        try:
            cursor = self.connection.execute(sql)
            while (part := cursor.fetchmany(256)) and len(rows) <= MOST_ROWS and text <= MOST_TEXT:
                rows += part
                text += sum([len(cell) for row in part for cell in row if isinstance(cell, (str, bytes))])
        except (sqlite3.Error, ValueError, OverflowError) as problem:
            late = f" after {LONGEST:g} s" if monotonic() > self._deadline else ""
            raise HydrofabricError(
                f"{self.path}: cannot be read as a GeoPackage: {problem}{late}"
            ) from problem
        if len(rows) > MOST_ROWS or text > MOST_TEXT:
            raise HydrofabricError(
                f"{self.path}: a table has more than {MOST_ROWS} rows or {MOST_TEXT} characters; "
                "is it a view without end?"
            )
        return rows


def _require_sqlite(path: Path) -> None:
    """Refuse a file of another format, which the message names."""
    with opened(path, HydrofabricError) as file:
        head = file.read(512)
    if head.startswith(SQLITE):
        return
    kind = next((name for begin, name in OTHERS.items() if head.startswith(begin)), "")
    if head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith((b"{", b"[")):
        kind = "GeoJSON or other JSON"
    said = f"is a {kind} file" if kind else "cannot be read as a GeoPackage: it is not an SQLite file"
    route_link = "; a RouteLink file of the National Water Model has reaches but no divides"
    raise HydrofabricError(
        f"{path}: {said}{route_link if 'NetCDF' in kind else ''}. A hydrofabric is read from a GeoPackage "
        "(.gpkg) with the tables divides, flowpaths, nexus and flowpath-attributes, as hydrofabric 2.0.1 to "
        "2.2 and their subsets have them"
    )


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
