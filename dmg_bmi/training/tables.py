"""Attributes of basins from text tables whose first column is the basin's id."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..csv_table import CsvTable
from ..dataset import COORDINATES, Series
from ..errors import AttributeTableError, ConfigError, there_is

log = logging.getLogger(__name__)


def attribute_table(
    files: Iterable[Path], ids: Sequence[str], names: Sequence[str], delimiter: str = ","
) -> dict[str, dict[str, float]]:
    """Basin to attribute to value, of the basins that have them all; the others are reported.

    Coordinates come along where the tables have them, NaN where they do not.

    Parameters
    ----------
    files : iterable of Path
        A basin may stand in several, each with some of the columns.
    ids, names : sequence of str
    delimiter : str

    Raises
    ------
    ConfigError
        If no file has a column of that name.
    AttributeTableError
        If a file cannot be read, a value is text, or no basin is left.
    """
    wanted = {*names, *COORDINATES}
    found: Series = {}
    columns: set[str] = set()
    where = ""
    for file in files:
        where = str(file.parent)
        part = CsvTable.read(file, AttributeTableError, delimiter)
        row = part.rows()
        there = [k for k, basin in enumerate(ids) if basin in row]
        fields = [*part.columns][1:]
        columns.update(fields)
        for name in wanted.intersection(fields):
            values = found.setdefault(name, np.full(len(ids), np.nan))
            values[there] = part.numbers(name, [row[ids[k]] for k in there])
    unknown = [name for name in names if name not in columns]
    if unknown:
        what = there_is(unknown[0], sorted(columns))
        raise ConfigError(f"{where}: no attribute {', '.join(unknown)}; {what}")
    coordinates = [name for name in COORDINATES if name in found and name not in names]
    table: dict[str, dict[str, float]] = {}
    for k, basin in enumerate(ids):
        lacking = [name for name in names if np.isnan(found[name][k])]
        if lacking:
            some = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            log.warning("basin %s is left out: no attribute %s in %s", basin, some, where)
        else:
            table[basin] = {name: float(found[name][k]) for name in (*names, *coordinates)}
    if not table:
        raise AttributeTableError(f"{where}: no basin has all of the attributes {', '.join(names)}")
    return table


def static(
    table: dict[str, dict[str, float]], names: Iterable[str], units: dict[str, str]
) -> tuple[Series, dict[str, str]]:
    """Arrays ``[basins]`` of the named attributes of a table and its coordinates, and their units."""
    there = next(iter(table.values()))
    kept = [name for name in dict.fromkeys([*names, *COORDINATES]) if name in there]
    arrays: Series = {name: np.array([row[name] for row in table.values()]) for name in kept}
    return arrays, {name: (COORDINATES | units).get(name, "") for name in kept}
