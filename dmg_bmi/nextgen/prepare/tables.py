"""Attribute tables by divide: CSV, NetCDF, and Parquet where pyarrow is installed."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...arrays import FloatArray
from ...errors import NextGenError
from ...io.csv_table import CsvTable
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
    """

    path: Path
    ids: tuple[str, ...]
    columns: dict[str, FloatArray]
    units: dict[str, str]

    def require_any(self, ids: Sequence[str]) -> None:
        """Refuse a table that has none of the divides: its ids are written otherwise."""
        if not set(ids).intersection(self.ids):
            raise NextGenError(
                f"{self.path}: has none of the divides: its ids are such as {next(iter(self.ids), '')!r}, "
                f"those of the hydrofabric such as {next(iter(ids), '')!r}; write the same ids in both"
            )

    def column(self, name: str, ids: Sequence[str]) -> FloatArray:
        """Return a column in the order of `ids`, NaN where the table has no such divide."""
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
    ids, columns, units = readers[path.suffix](path)
    seen = {name: k for k, name in enumerate(ids)}
    if len(seen) != len(ids):
        twice = next(name for k, name in enumerate(ids) if seen[name] != k)
        raise NextGenError(f"{path}: {twice} appears twice")
    return Table(path, tuple(ids), columns, units)


Read = tuple[list[str], dict[str, FloatArray], dict[str, str]]


def _csv(path: Path) -> Read:
    columns, units = {}, {}
    for title, cells in CsvTable.read(path, NextGenError).columns.items():
        match = _HEADER.match(title)
        name = match[1] if match else title
        columns[name] = cells
        if match:
            units[name] = match[2]
    ids = columns.pop(_id_column(path, [*columns]))
    return [*ids], {name: numbers(cells) for name, cells in columns.items()}, units


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
        return [*ids_of(data[name], path, NextGenError)], columns, units


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
    return ids, {name: numbers(column) for name, column in values.items()}, {}


def _id_column(path: Path, names: Sequence[str]) -> str:
    for name in ID_COLUMNS:
        if name in names:
            return name
    raise NextGenError(f"{path}: no column of ids: it must be one of {', '.join(ID_COLUMNS)}")
