"""Attribute tables by divide: CSV, NetCDF, and Parquet where pyarrow is installed."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NextGenError
from ..geopackage import numbers

FloatArray = NDArray[np.float64]
#: Names that the column of ids may have.
ID_COLUMNS = ("divide_id", "catchment", "catchment_id", "id", "ids")
_HEADER = re.compile(r"^(.*?)\s*[\[(]([^\])]*)[\])]$")


@dataclass(frozen=True)
class Table:
    """Columns of numbers by divide.

    Parameters
    ----------
    ids : tuple of str
    columns : dict of name to ndarray ``[ids]``
        NaN where a value is missing.
    units : dict of name to str
        Of the columns that say.
    """

    ids: tuple[str, ...]
    columns: dict[str, FloatArray]
    units: dict[str, str]

    def of(self, name: str, ids: Sequence[str]) -> FloatArray:
        """A column in the order of `ids`, NaN where the table lacks one."""
        place = {known: k for k, known in enumerate(self.ids)}
        rows = np.array([place.get(i, -1) for i in ids])
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
    if not path.is_file():
        raise NextGenError(f"{path}: there is no such file")
    ids, columns, units = readers[path.suffix](path)
    seen = {name: k for k, name in enumerate(ids)}
    if len(seen) != len(ids):
        twice = next(name for k, name in enumerate(ids) if seen[name] != k)
        raise NextGenError(f"{path}: {twice} stands twice")
    return Table(tuple(ids), columns, units)


Read = tuple[list[str], dict[str, FloatArray], dict[str, str]]


def _csv(path: Path) -> Read:
    try:
        with open(path, encoding="utf-8", newline="") as file:
            header, *lines = [line for line in csv.reader(file) if line]
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as problem:
        raise NextGenError(f"{path}: cannot be read: {problem}") from problem
    names, units = [], {}
    for title in header:
        match = _HEADER.match(title.strip())
        names.append(match[1] if match else title.strip())
        if match:
            units[names[-1]] = match[2]
    key = _id_column(path, names)
    ragged = [line[key] for line in lines if len(line) != len(names)]
    if ragged:
        raise NextGenError(f"{path}: the line of {ragged[0]} has not {len(names)} values")
    columns = {name: numbers([line[k] for line in lines]) for k, name in enumerate(names) if k != key}
    return [line[key].strip() for line in lines], columns, units


def _netcdf(path: Path) -> Read:
    import netCDF4

    with netCDF4.Dataset(path) as data:
        name = _id_column(path, [*data.variables])
        dimension = data[name].dimensions
        ids = [str(i) for i in data[name][:]]
        chosen = {n: v for n, v in data.variables.items() if v.dimensions == dimension and n != name}
        columns = {n: numbers(np.ma.filled(v[:].astype(float), np.nan)) for n, v in chosen.items()}
        return ids, columns, {n: v.units for n, v in chosen.items() if hasattr(v, "units")}


def _parquet(path: Path) -> Read:
    try:
        from pyarrow import parquet
    except ImportError as problem:
        raise NextGenError(f"{path}: Parquet needs pyarrow; install it or convert to CSV") from problem
    table = parquet.read_table(path)
    key = table.column_names[_id_column(path, table.column_names)]
    columns = {n: numbers(table[n].to_pylist()) for n in table.column_names if n != key}
    return [str(i) for i in table[key].to_pylist()], columns, {}


def _id_column(path: Path, names: Sequence[str]) -> Any:
    """Name (of a NetCDF variable) or position of the column of ids."""
    for name in ID_COLUMNS:
        if name in names:
            return name if path.suffix == ".nc" else names.index(name)
    raise NextGenError(f"{path}: has no column of ids: one of {', '.join(ID_COLUMNS)}")
