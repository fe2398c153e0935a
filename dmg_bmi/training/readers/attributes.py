"""Attributes of basins from text tables whose first column is the basin's id."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType

import numpy as np

from ...errors import AttributeTableError, ConfigError, alternatives
from ...io.csv_table import CsvTable
from ...io.timeseries import COORDINATES, Series

log = logging.getLogger(__name__)
#: The column of ids in CAMELS, Caravan and their kin; pandas may have written its index before it.
ID = "gauge_id"


NO_CLASSES: Mapping[str, Sequence[str]] = MappingProxyType({})
#: Columns by their own names, or names with the columns that give them.
Names = Sequence[str] | Mapping[str, str]


def as_mapping(names: Names) -> dict[str, str]:
    """Name to column."""
    return dict(names) if isinstance(names, Mapping) else {name: name for name in names}


def attribute_table(
    files: Iterable[Path],
    ids: Sequence[str],
    names: Names,
    delimiter: str = ",",
    classes: Mapping[str, Sequence[str]] = NO_CLASSES,
) -> dict[str, dict[str, float]]:
    """Basin to attribute to value, of the basins that have them all; the others are reported.

    Coordinates come along where the tables have them, NaN where they do not.

    Parameters
    ----------
    files : iterable of Path
        A basin may stand in several, each with some of the columns.
    ids : sequence of str
    names : sequence of str, or mapping of str to str
    delimiter : str
    classes : mapping of str to sequence of str
        Columns of text; the place of a cell's text in the sequence is its value.

    Raises
    ------
    ConfigError
        If no file has a column of that name.
    AttributeTableError
        If a file cannot be read, a value is text, or no basin is left.

    Notes
    -----
    Ids stand in the column ``gauge_id``, or in the first where there is none of that name. A file with
    none of the ids is reported.
    """
    column = as_mapping(names)
    wanted = {*column.values(), *COORDINATES}
    found: Series = {}
    columns: set[str] = set()
    strangers: list[str] = []
    where = ""
    for file in files:
        where = str(file.parent)
        part = CsvTable.read(file, AttributeTableError, delimiter)
        key = ID if ID in part.columns else next(iter(part.columns))
        row = part.rows(key)
        there = [k for k, basin in enumerate(ids) if basin in row]
        fields = [name for name in part.columns if name != key]
        columns.update(fields)
        if ids and not there and wanted.intersection(fields):
            one = next(iter(row))
            like = get_close_matches(one, ids, n=1, cutoff=0.0)[0]
            strangers.append(
                f"{file}: has none of the basins: column {key!r} has ids such as {one!r}, the basins are "
                f"such as {like!r}; write the same ids in both"
            )
            log.warning("%s", strangers[-1])
        for name in wanted.intersection(fields):
            values = found.setdefault(name, np.full(len(ids), np.nan))
            rows = [row[ids[k]] for k in there]
            known = classes.get(name)
            values[there] = part.codes(name, rows, known) if known else part.numbers(name, rows)
    unknown = [name for name in column.values() if name not in columns]
    if unknown:
        what = alternatives(unknown[0], sorted(columns))
        raise ConfigError(f"{where}: no attribute {', '.join(unknown)}; {what}")
    coordinates = [name for name in COORDINATES if name in found and name not in column]
    table: dict[str, dict[str, float]] = {}
    for k, basin in enumerate(ids):
        lacking = [name for name, of in column.items() if np.isnan(found[of][k])]
        if lacking:
            some = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            log.warning("basin %s is left out: no attribute %s in %s", basin, some, where)
        else:
            own = {name: float(found[of][k]) for name, of in column.items()}
            table[basin] = own | {name: float(found[name][k]) for name in coordinates}
    if not table:
        if strangers:
            raise AttributeTableError(strangers[0])
        raise AttributeTableError(f"{where}: no basin has all of the attributes {', '.join(column)}")
    return table


def static(
    table: dict[str, dict[str, float]], names: Names, units: dict[str, str]
) -> tuple[Series, dict[str, str]]:
    """Arrays ``[basins]`` of the named attributes of a table and its coordinates, and their units."""
    there = next(iter(table.values()))
    column = as_mapping(names) | {name: name for name in COORDINATES}
    kept = [name for name in column if name in there]
    arrays: Series = {name: np.array([row[name] for row in table.values()]) for name in kept}
    return arrays, {name: (COORDINATES | units).get(column[name], "") for name in kept}
