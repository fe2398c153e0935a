"""Attribute tables by divide: CSV, NetCDF, and Parquet where pyarrow is installed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ...arrays import FloatArray
from ...errors import NextGenError
from ...io.csv_table import CsvTable, number
from ...io.files import opened
from ...io.geopackage import identifiers, numbers

#: Names that the column of ids may have.
ID_COLUMNS = ("divide_id", "catchment", "catchment_id", "id", "ids")
_HEADER = re.compile(r"^(.*?)\s*[\[(]([^\])]*)[\])]$")


@dataclass(frozen=True)
class Table:
    """Columns of numbers by divide.

    Parameters
    ----------
    path : Path
    ids : tuple of str
    columns : dict of name to ndarray ``[ids]``
        NaN where a value is missing.
    units : dict of name to str
        Where the table says so.
    faults : dict of name to str
        What is wrong with columns that hold text, told when one is asked for.
    """

    path: Path
    ids: tuple[str, ...]
    columns: dict[str, FloatArray]
    units: dict[str, str]
    faults: dict[str, str] = field(default_factory=dict)

    def require_any(self, ids: Sequence[str]) -> None:
        """Refuse a table that has none of the divides: its ids are written otherwise."""
        if not set(ids).intersection(self.ids):
            raise NextGenError(
                f"{self.path}: has none of the divides: its ids are such as {next(iter(self.ids), '')!r}, "
                f"those of the hydrofabric such as {next(iter(ids), '')!r}; write the same ids in both"
            )

    def column(self, name: str, ids: Sequence[str]) -> FloatArray:
        """Return a column in the order of `ids`, NaN where the table has no such divide.

        Raises
        ------
        NextGenError
            Naming the first cell that is neither a number nor a mark of a missing one.
        """
        if name in self.faults:
            raise NextGenError(f"{self.path}{self.faults[name]}")
        row = {divide: k for k, divide in enumerate(self.ids)}
        rows = np.array([row.get(i, -1) for i in ids])
        return np.append(self.columns[name], np.nan)[rows]


def read(path: Path) -> Table:
    """Read a table.

    Raises
    ------
    NextGenError
        Naming the file and what is wrong.
    """
    readers = {".csv": _csv, ".nc": _netcdf, ".parquet": _parquet}
    if path.suffix not in readers:
        raise NextGenError(f"{path}: an attribute table is a .csv, .nc or .parquet file")
    ids, columns, units, faults = readers[path.suffix](path)
    seen = {name: k for k, name in enumerate(ids)}
    if len(seen) != len(ids):
        twice = next(name for k, name in enumerate(ids) if seen[name] != k)
        raise NextGenError(f"{path}: {twice} appears twice")
    return Table(path, tuple(ids), columns, units, faults)


Read = tuple[list[str], dict[str, FloatArray], dict[str, str], dict[str, str]]


def _csv(path: Path) -> Read:
    table = CsvTable.read(path, NextGenError)
    titles, units = {}, {}
    for title in table.columns:
        match = _HEADER.match(title)
        titles[match[1] if match else title] = title
        if match:
            units[match[1]] = match[2]
    ids = table.columns[titles.pop(_id_column(path, [*titles]))]
    columns, faults = _numbers({name: table.columns[title] for name, title in titles.items()}, table.lines)
    return [*ids], columns, units, faults


def _numbers(
    columns: Mapping[str, Sequence[Any]], lines: Sequence[int]
) -> tuple[dict[str, FloatArray], dict[str, str]]:
    """Return columns as numbers, and what the first text is in those that hold any."""
    faults: dict[str, str] = {}
    found = {name: np.full(len(lines), np.nan) for name in columns}
    for name, cells in columns.items():
        texts = [row for row, cell in enumerate(cells) if isinstance(cell, str)]
        if len(texts) < len(cells):
            found[name] = numbers(cells)
        for row in texts:
            try:
                found[name][row] = number(cells[row])
            except ValueError as problem:
                faults.setdefault(name, f", line {lines[row]}: {name} is {problem}")
    return found, faults


def _netcdf(path: Path) -> Read:
    from ...io.netcdf_file import ids_of, open_netcdf, part_of

    with open_netcdf(path, NextGenError) as data:
        name = _id_column(path, [*data.variables])
        # An array of characters has a second dimension, the length of its text.
        dimension = data[name].dimensions[:1]
        chosen = {
            n: v
            for n, v in data.variables.items()
            if v.dimensions == dimension and n != name and getattr(v.dtype, "kind", "") in "fiu"
        }
        values = {n: np.ma.asarray(part_of(v, slice(None), path, NextGenError)) for n, v in chosen.items()}
        columns = {n: numbers(np.ma.filled(v.astype(float), np.nan)) for n, v in values.items()}
        units = {n: str(v.units) for n, v in chosen.items() if hasattr(v, "units")}
        return [*ids_of(data[name], path, NextGenError)], columns, units, {}


def _parquet(path: Path) -> Read:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError as problem:
        raise NextGenError(f"{path}: Parquet needs pyarrow; install it or convert to CSV") from problem
    with opened(path, NextGenError) as file:
        try:
            table = parquet.read_table(file)
            values = {name: table[name].to_pylist() for name in table.column_names}
        except (ArrowException, OSError, ValueError, LookupError, RecursionError) as problem:
            raise NextGenError(f"{path}: cannot be read as Parquet: {problem}") from problem
    key = _id_column(path, [*values])
    ids = identifiers(values.pop(key), f"{path}: {key}", NextGenError)
    columns, faults = _numbers(values, range(1, len(ids) + 1))
    return ids, columns, {}, faults


def _id_column(path: Path, names: Sequence[str]) -> str:
    for name in ID_COLUMNS:
        if name in names:
            return name
    raise NextGenError(
        f"{path}: no column of ids: it must be one of {', '.join(ID_COLUMNS)}; the table has "
        f"{', '.join(names[:8])}"
    )
