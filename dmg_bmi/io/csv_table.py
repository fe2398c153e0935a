"""Tables of text with a header line (CSV), read and refused in one way everywhere."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import isfinite, nan
from pathlib import Path
from typing import Self

import numpy as np

from ..arrays import FloatArray
from ..errors import DmgBmiError, repeated
from .atomic import write_atomic
from .files import read_text

#: What separates cells in the wild.
DELIMITERS = (",", ";", "\t", "|")
#: Cells in which nothing is known, in lower case, as spreadsheets, R, pandas and data bases write them.
MISSING = frozenset(
    {"", "-", "--", "na", "n/a", "nan", "-nan", "null", "none", "<na>", "#na", "#n/a", "1.#ind", "-1.#ind"}
)
#: A decimal comma, or commas between thousands.
_COMMAS = re.compile(r"[+-]?\d[\d.]*(?:,\d+)+(?:\.\d+)?")


@dataclass(frozen=True)
class CsvTable:
    """Columns of cells, without the blanks around them.

    Parameters
    ----------
    path : Path
    columns : dict of name to tuple of str
        In the order of the file.
    lines : tuple of int
        Where in the file each row stands.
    error : type of DmgBmiError
        What a wrong table raises.
    """

    path: Path
    columns: dict[str, tuple[str, ...]]
    lines: tuple[int, ...]
    error: type[DmgBmiError]

    @classmethod
    def read(cls, path: Path, error: type[DmgBmiError], delimiter: str = ",") -> Self:
        """Read a file of UTF-8 text; lines without a value are skipped.

        Raises
        ------
        DmgBmiError
            Of the type `error`: no such file, no text, no rows, or a row that does not fit its header.
        """
        return cls.parse(read_text(path, error), path, error, delimiter)

    @classmethod
    def parse(cls, text: str, path: Path, error: type[DmgBmiError], delimiter: str = ",") -> Self:
        """Read the text of a file, see :meth:`read`."""
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            cells = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
        except csv.Error as problem:
            raise error(f"{path}: cannot be read: {problem}") from problem
        lines = _without_comments({line: row for line, row in cells if any(row)})
        if len(lines) < 2:
            raise error(f"{path}: needs a header line, and a line for each row of the table")
        header = lines.pop(next(iter(lines)))
        if other := other_delimiter(header):
            raise error(f"{path}: columns are separated by {other!r}; separate them by {delimiter!r}")
        if twice := repeated(name for name in header if name):
            raise error(f"{path}: column {twice[0]!r} appears twice; rename or remove one of them")
        for line, row in lines.items():
            if len(row) != len(header):
                counts = f"{len(row)}, not {len(header)}"
                raise error(
                    f"{path}, line {line}: has not as many cells as the header ({counts}); leave a cell "
                    f"empty where there is no value, and quote one with {delimiter!r} in it"
                )
        columns = zip(*lines.values(), strict=True)
        return cls(path, dict(zip(header, columns, strict=True)), tuple(lines), error)

    def rows(self, key: str | None = None) -> dict[str, int]:
        """Return the row of each entry of a column, by default the first; duplicates are refused."""
        key = next(iter(self.columns)) if key is None else key
        rows: dict[str, int] = {}
        for row, name in enumerate(self.columns[key]):
            if rows.setdefault(name, row) != row:
                where = f"{self.path}, line {self.lines[row]}"
                column = "the first column" if key == next(iter(self.columns)) else f"column {key!r}"
                raise self.error(f"{where}: {name!r} appears twice in {column}")
        return rows

    def numbers(self, name: str, rows: Sequence[int]) -> FloatArray:
        """Read values of a column in some rows, NaN where a cell is empty or marks a missing value."""
        column = self.columns[name]
        values = np.full(len(rows), np.nan)
        for k, row in enumerate(rows):
            try:
                values[k] = number(column[row])
            except ValueError as problem:
                raise self.error(f"{self.path}, line {self.lines[row]}: {name} is {problem}") from problem
        return values

    def codes(self, name: str, rows: Sequence[int], classes: Sequence[str]) -> FloatArray:
        """Return the positions of a column's text among `classes`, NaN where a cell is missing."""
        column = self.columns[name]
        place = {text: float(code) for code, text in enumerate(classes)}
        for row in rows:
            if column[row] not in place and not is_missing(column[row]):
                raise self.error(
                    f"{self.path}, line {self.lines[row]}: {name} is {column[row]!r}; "
                    f"write one of {', '.join(classes)}"
                )
        return np.array([place.get(column[row], np.nan) for row in rows])


def other_delimiter(header: Sequence[str]) -> str | None:
    """Return what separates the columns of a header that was read as one column; None if nothing does."""
    return next((d for d in DELIMITERS if len(header) == 1 and d in header[0]), None)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table whole or not at all; WriteError if that fails."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    write_atomic(path, text.getvalue().encode("utf-8"))


def is_missing(cell: str) -> bool:
    """Tell whether a cell marks a value that is not known."""
    return cell.lower() in MISSING


def number(cell: str) -> float:
    """Parse a cell, NaN where it marks a missing value; ValueError, saying what to write, for other text."""
    # Python would take 1_0 for ten.
    with suppress(ValueError):
        if isfinite(value := float(cell)) and cell.isascii() and "_" not in cell:
            return value
    if is_missing(cell):
        return nan
    remedy = "correct it or choose another column"
    if _COMMAS.fullmatch(cell):
        remedy = "write a decimal point, and thousands without commas"
    elif cell.endswith("%"):
        remedy = "write it without the percent sign, in the units of the column"
    raise ValueError(f"{cell!r}, not a number; {remedy}")


def _without_comments(lines: dict[int, list[str]]) -> dict[int, list[str]]:
    """Drop lines that begin with a hash mark, but for a header that does so: numbers are right below it."""
    kept = {line: row for line, row in lines.items() if not row[0].startswith("#")}
    if not kept:
        return kept
    first, below = next(iter(kept.items()))
    last = max((line for line in lines if line < first), default=None)
    if last is not None and len(lines[last]) == len(below) > 1 and any(map(_is_number, below[1:])):
        return {last: lines[last], **kept}
    return kept


def _is_number(cell: str) -> bool:
    with suppress(ValueError):
        return isfinite(number(cell))
    return False
