"""Attributes of basins from text tables whose first column is the basin's id."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from ..dataset import COORDINATES, Series
from ..errors import AttributeTableError, ConfigError

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
        If no file has a column of that name, or it holds text.
    AttributeTableError
        If a file cannot be read, or no basin is left.
    """
    cells: dict[str, dict[str, str]] = {basin: {} for basin in ids}
    columns: set[str] = set()
    where = ""
    for file in files:
        where = str(file.parent)
        try:
            with open(file, encoding="utf-8-sig", newline="") as lines:
                header, *rows = csv.reader(lines, delimiter=delimiter)
        except (OSError, ValueError, csv.Error) as error:
            raise AttributeTableError(f"{file}: not a table of attributes: {error}") from error
        fields = [field.strip() for field in header[1:]]
        columns.update(fields)
        for row in rows:
            if row and row[0] in cells:
                cells[row[0]].update(zip(fields, row[1:], strict=False))
    unknown = [name for name in names if name not in columns]
    if unknown:
        raise ConfigError(
            f"{where}: no attribute {', '.join(unknown)}; there is {', '.join(sorted(columns))}"
        )
    coordinates = [name for name in COORDINATES if name in columns and name not in names]
    table: dict[str, dict[str, float]] = {}
    for basin, texts in cells.items():
        numbers = {name: _number(texts.get(name, ""), name, where) for name in (*names, *coordinates)}
        lacking = [name for name in names if np.isnan(numbers[name])]
        if lacking:
            some = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            log.warning("basin %s is left out: no attribute %s in %s", basin, some, where)
        else:
            table[basin] = numbers
    if not table:
        raise AttributeTableError(f"{where}: no basin has all of the attributes {', '.join(names)}")
    return table


def _number(cell: str, name: str, where: str) -> float:
    try:
        return float(cell) if cell.strip() else float("nan")
    except ValueError as error:
        raise ConfigError(f"{where}: attribute {name} is text ({cell!r}); choose numeric ones") from error


def static(
    table: dict[str, dict[str, float]], names: Iterable[str], units: dict[str, str]
) -> tuple[Series, dict[str, str]]:
    """Arrays ``[basins]`` of the named attributes of a table and its coordinates, and their units."""
    there = next(iter(table.values()))
    kept = [name for name in dict.fromkeys([*names, *COORDINATES]) if name in there]
    arrays: Series = {name: np.array([row[name] for row in table.values()]) for name in kept}
    return arrays, {name: (COORDINATES | units).get(name, "") for name in kept}
