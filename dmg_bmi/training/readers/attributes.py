"""Attributes of basins from text tables whose first column is the basin's id."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...arrays import FloatingArray
from ...errors import AttributeTableError, ConfigError, alternatives
from ...io.csv_table import CsvTable
from ...io.timeseries import COORDINATES, BasinDataset, Series
from .basin_ids import require_same_spelling
from .loading import without_fills

log = logging.getLogger(__name__)
#: The column of ids in CAMELS, Caravan and their kin; pandas may have written its index before it.
ID = "gauge_id"


NO_CLASSES: Mapping[str, Sequence[str]] = MappingProxyType({})
#: Columns by their own names, or names with the columns that give them.
Names = Sequence[str] | Mapping[str, str]


def as_mapping(names: Names) -> dict[str, str]:
    """Return name to column."""
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}


def attribute_table(
    files: Iterable[Path],
    ids: Sequence[str],
    names: Names,
    delimiter: str = ",",
    classes: Mapping[str, Sequence[str]] = NO_CLASSES,
    read: Callable[[Path], CsvTable] | None = None,
) -> dict[str, dict[str, float]]:
    """Return basin to attribute to value, of the basins that have all attributes; log the others.

    Coordinates come along where the tables have them, NaN where they do not.

    Parameters
    ----------
    files : iterable of Path
        A basin may be in several, each with some of the columns.
    ids : sequence of str
    names : sequence of str, or mapping of str to str
    delimiter : str
    classes : mapping of str to sequence of str
        Columns of text; the place of a cell's text in the sequence is its value.
    read : callable, optional
        Reads a file that is not plainly delimited.

    Raises
    ------
    ConfigError
        If no file has a column of that name.
    AttributeTableError
        If a file cannot be read, a value is text, or no basin is left.

    Notes
    -----
    Ids are in the column ``gauge_id``, or in the first where there is none of that name. A file with
    none of the ids is logged.
    """
    column = as_mapping(names)
    tables = _Tables(ids, {*column.values(), *COORDINATES})
    for file in files:
        table = CsvTable.read(file, AttributeTableError, delimiter) if read is None else read(file)
        tables.add(table, classes)
    unknown = [name for name in column.values() if name not in tables.columns]
    if unknown:
        what = alternatives(unknown[0], sorted(tables.columns))
        raise ConfigError(f"{tables.folder}: no attribute {', '.join(unknown)}; {what}")
    rows = tables.complete_rows(column)
    if not rows:
        if tables.without_ids:
            raise AttributeTableError(tables.without_ids[0])
        raise AttributeTableError(f"{tables.folder}: no basin has all of the attributes {', '.join(column)}")
    return rows


class _Tables:
    """Columns of several tables, by basin.

    Parameters
    ----------
    ids : sequence of str
    requested : set of str
        Columns to read.

    Attributes
    ----------
    columns : set of str
        All columns of the tables.
    folder : str
        Folder of the last table, for messages.
    without_ids : list of str
        A message for each table that has none of the basins.
    """

    def __init__(self, ids: Sequence[str], requested: set[str]) -> None:
        self._ids, self._requested = ids, requested
        self._values: Series = {}
        self._sources: dict[str, Path] = {}
        self.columns: set[str] = set()
        self.folder = ""
        self.without_ids: list[str] = []

    def add(self, table: CsvTable, classes: Mapping[str, Sequence[str]]) -> None:
        """Take the requested columns of a table."""
        self.folder = str(table.path.parent)
        key = ID if ID in table.columns else next(iter(table.columns))
        row = table.rows(key)
        present = [k for k, basin in enumerate(self._ids) if basin in row]
        fields = [name for name in table.columns if name != key]
        self.columns.update(fields)
        if self._ids and self._requested.intersection(fields):
            if present:
                require_same_spelling(self._ids, row, table.path)
            else:
                self._report_without_ids(table.path, key, next(iter(row)))
        rows = [row[self._ids[k]] for k in present]
        for name in self._requested.intersection(fields):
            values = self._values.setdefault(name, np.full(len(self._ids), np.nan))
            order = classes.get(name)
            found = (
                table.codes(name, rows, order)
                if order
                else without_fills(table.numbers(name, rows), f"{table.path}: {name}")
            )
            self._require_same(name, values[present], found, present, table.path)
            values[present] = np.where(np.isnan(values[present]), found, values[present])

    def _require_same(
        self, name: str, first: FloatingArray, second: FloatingArray, columns: Sequence[int], path: Path
    ) -> None:
        """Refuse a column that is in two tables with other values; coordinates may be rounded there."""
        earlier = self._sources.setdefault(name, path)
        differs = ~np.isclose(first, second, rtol=1e-3) & ~np.isnan(first) & ~np.isnan(second)
        if differs.any() and name not in COORDINATES:
            k = int(np.argmax(differs))
            raise AttributeTableError(
                f"{path}: {name} of basin {self._ids[columns[k]]} is {second[k]:g}, in {earlier} it is "
                f"{first[k]:g}; keep one of the two columns"
            )

    def _report_without_ids(self, file: Path, key: str, example: str) -> None:
        # That which differs by a prefix alone is the same basin.
        similar = next((basin for basin in self._ids if basin.endswith(example)), None)
        similar = similar or get_close_matches(example, self._ids, n=1, cutoff=0.0)[0]
        self.without_ids.append(
            f"{file}: has none of the basins: column {key!r} has ids such as {example!r}, the basins are "
            f"such as {similar!r}; write the same ids in both"
        )
        log.warning("%s", self.without_ids[-1])

    def complete_rows(self, column: Mapping[str, str]) -> dict[str, dict[str, float]]:
        """Return the attributes and coordinates of the basins that have all attributes; log the others."""
        coordinates = {name: name for name in COORDINATES if name in self._values and name not in column}
        table: dict[str, dict[str, float]] = {}
        for k, basin in enumerate(self._ids):
            absent = [name for name, source in column.items() if np.isnan(self._values[source][k])]
            if absent:
                some = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
                log.warning("basin %s is left out: no attribute %s in %s", basin, some, self.folder)
            else:
                sources = {**column, **coordinates}
                table[basin] = {name: float(self._values[source][k]) for name, source in sources.items()}
        return table


def with_table(dataset: BasinDataset, path: Path) -> BasinDataset:
    """Return the dataset with all columns of a CSV file, ids in its first, as further attributes.

    Basins that have no row in the file are left out and logged.

    Raises
    ------
    AttributeTableError
        If the file cannot be read, has none of the basins, or a value is missing.
    """
    table = CsvTable.read(path, AttributeTableError)
    row = table.rows()
    absent = [basin for basin in dataset.ids if basin not in row]
    if len(absent) == len(dataset.ids):
        raise AttributeTableError(f"{path}: has none of the basins; {alternatives(absent[0], row)}")
    if absent:
        require_same_spelling(absent, row, path)
        dataset = dataset.basins(basin for basin in dataset.ids if basin in row)
        log.warning("%d basins are left out: %s has no row of %s", len(absent), path, ", ".join(absent[:5]))
    rows = [row[basin] for basin in dataset.ids]
    _, *names = table.columns
    values = {name: table.numbers(name, rows) for name in names}
    for name, column in values.items():
        if np.isnan(column).any():
            basin = dataset.ids[int(np.isnan(column).argmax())]
            raise AttributeTableError(f"{path}: basin {basin!r} has no value of {name}")
    return replace(dataset, attributes={**dataset.attributes, **values})


def static(
    table: dict[str, dict[str, float]], names: Names, units: dict[str, str]
) -> tuple[Series, dict[str, str]]:
    """Return arrays ``[basins]`` of the named attributes of a table and its coordinates, and their units."""
    first = next(iter(table.values()))
    column = as_mapping(names) | {name: name for name in COORDINATES}
    present = [name for name in column if name in first]
    arrays: Series = {name: np.array([row[name] for row in table.values()]) for name in present}
    return arrays, {name: (COORDINATES | units).get(column[name], "") for name in present}
