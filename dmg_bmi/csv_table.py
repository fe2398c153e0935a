"""Tables of text with a header line (CSV), read and refused in one way everywhere."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from .errors import DmgBmiError


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
        """Read a file of UTF-8 text; lines without a value are passed over.

        Raises
        ------
        DmgBmiError
            Of the type `error`: no such file, no text, no rows, or a row that does not fit its header.
        """
        try:
            # A spreadsheet may put a byte order mark before the first name.
            with open(path, encoding="utf-8-sig", newline="") as file:
                reader = csv.reader(file, delimiter=delimiter)
                cells = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
        except (OSError, ValueError, csv.Error) as problem:
            raise error(f"{path}: cannot be read: {problem}") from problem
        lines = {line: row for line, row in cells if any(row)}
        if len(lines) < 2:
            raise error(f"{path}: needs a header line, and a line for each row of the table")
        header = lines.pop(next(iter(lines)))
        for line, row in lines.items():
            if len(row) != len(header):
                counts = f"{len(row)}, not {len(header)}"
                raise error(
                    f"{path}, line {line}: has not as many cells as the header ({counts}); leave a cell "
                    f"empty where there is no value, and quote one with {delimiter!r} in it"
                )
        columns = zip(*lines.values(), strict=True)
        return cls(path, dict(zip(header, columns, strict=True)), tuple(lines), error)

    def rows(self) -> dict[str, int]:
        """Row of each entry of the first column, in which none may stand twice."""
        rows: dict[str, int] = {}
        for row, name in enumerate(next(iter(self.columns.values()))):
            if rows.setdefault(name, row) != row:
                where = f"{self.path}, line {self.lines[row]}"
                raise self.error(f"{where}: {name!r} stands twice in the first column")
        return rows

    def numbers(self, name: str, rows: Sequence[int]) -> NDArray[np.float64]:
        """Values of a column in some rows, NaN where a cell is empty."""
        column = self.columns[name]
        values = np.full(len(rows), np.nan)
        for k, row in enumerate(rows):
            try:
                values[k] = float(column[row] or "nan")
            except ValueError as problem:
                raise self.error(
                    f"{self.path}, line {self.lines[row]}: {name} is {column[row]!r}, not a number; "
                    "correct it or choose another column"
                ) from problem
        return values
