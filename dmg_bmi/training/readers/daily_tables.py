"""Daily series in text tables: one table a basin, or one a variable with a column for each basin.

Shared by the readers of the national CAMELS data sets, which differ in where the columns are.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...arrays import DAY, FloatArray, TimeArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io.cf_time import parse_dates, whole_days
from ...io.csv_table import CsvTable, number
from ...io.files import read_text
from .attributes import Names, attribute_table, static
from .loading import Chunk, Source, without_fills

#: Forcings and target that a national data set has, with their units.
UNITS = {"P": "mm", "T": "degC", "PET": "mm", "Q": "mm"}
#: Units of attributes that several of the data sets have under these names.
ATTRIBUTE_UNITS = {
    "p_mean": "mm d-1",
    "pet_mean": "mm d-1",
    "aridity": "1",
    "p_seasonality": "1",
    "frac_snow": "1",
    "high_prec_freq": "d yr-1",
    "high_prec_dur": "d",
    "low_prec_freq": "d yr-1",
    "low_prec_dur": "d",
    "area": "km2",
    "catchment_area": "km2",
    "elev_mean": "m",
}
#: Climate of the tables that all of the data sets but CAMELS-DE and CAMELS-CL have under these names.
CLIMATE = (
    "p_mean",
    "pet_mean",
    "aridity",
    "p_seasonality",
    "frac_snow",
    "high_prec_freq",
    "high_prec_dur",
    "low_prec_freq",
    "low_prec_dur",
)
#: What cannot be below zero; flow that is (-99.99) is missing.
NOT_NEGATIVE = ("P", "PET", "Q")
DATE, PARTS = ("date", "gauge_id"), ("year", "month", "day")
#: Largest file of one table of all basins, bytes.
LARGEST = 2**31


@dataclass(frozen=True)
class Place:
    """Where a series is: a file, and the names that its column has in one release or another."""

    file: Path
    columns: tuple[str, ...]


def daily_source(
    reader: str,
    places: Mapping[str, Mapping[str, Sequence[Place]]],
    tables: Iterable[Path],
    attributes: Names,
    options: Mapping[str, str],
    delimiter: str = ",",
    read_table: Callable[[Path], CsvTable] | None = None,
) -> Source:
    """Return a source of P, T, PET and Q by day.

    Parameters
    ----------
    reader : str
        Its registered name.
    places : mapping of basin to mapping of variable to places
        A variable of several places is their mean.
    tables : iterable of Path
        Of attributes.
    attributes : sequence of str, or mapping of str to str
    options : mapping of str to str
        What else the series depend on.
    delimiter : str
        Of the series.
    read_table : callable, optional
        Reads a table of attributes that is not plain CSV.

    Raises
    ------
    ConfigError
        If an attribute or a file does not exist.
    ForcingError, AttributeTableError
        If a file cannot be read as what it should be, or no basin is left.
    """
    table = attribute_table(tables, tuple(places), attributes, read=read_table)
    arrays, attribute_units = static(table, attributes, ATTRIBUTE_UNITS)
    kept = {basin: places[basin] for basin in table}
    files = list(dict.fromkeys(p.file for of in kept.values() for some in of.values() for p in some))
    spans = [_span(file, delimiter) for file in files]
    days = np.arange(min(first for first, _ in spans), max(last for _, last in spans) + 1)
    return Source(
        ids=tuple(kept),
        times=days.astype("datetime64[s]"),
        step=DAY,
        attributes=arrays,
        units={**UNITS, **attribute_units},
        forcings=("P", "T", "PET"),
        targets=("Q",),
        chunks=partial(_chunks, kept, files, days[0], delimiter),
        files=tuple(files),
        options={"reader": reader, **options},
    )


def by_id(files: Iterable[Path], prefix: str = "", part: int = 0) -> dict[str, Path]:
    """Return gauge id to file: the part of its name between underscores, after a prefix.

    Raises
    ------
    ConfigError
        If two files are of one basin.
    """
    found: dict[str, Path] = {}
    for file in sorted(files):
        basin = file.stem.removeprefix(prefix).split("_")[part]
        first = found.setdefault(basin, file)
        if first != file:
            raise ConfigError(f"{first} and {file} are of one basin; remove one of them")
    return found


def selected(root: Path, basins: Sequence[str] | None, found: Mapping[str, object]) -> tuple[str, ...]:
    """Return the basins that are asked for, by default all; ConfigError for one that there is not."""
    ids = tuple(found) if basins is None else tuple(basins)
    for basin in ids:
        if basin not in found:
            raise ConfigError(f"{root}: no series of basin {basin!r}; {alternatives(basin, found)}")
    return ids


def find_files(root: Path, pattern: str, what: str) -> list[Path]:
    """Return the files below a folder whose names match; ConfigError if there is none."""
    files = sorted(file for file in root.rglob(pattern) if file.is_file() and not file.name.startswith("."))
    if not files:
        raise ConfigError(f"{root}: has no {pattern} in it or below; give the folder of {what} as data.path")
    return files


def find_file(root: Path, patterns: Sequence[str], what: str) -> Path:
    """Return the only file below a folder that matches the first of some patterns that any does."""
    for pattern in patterns:
        files = [file for file in sorted(root.rglob(pattern)) if file.is_file()]
        if len(files) > 1:
            raise ConfigError(f"{root}: has both {files[0]} and {files[1]}; remove one of them")
        if files:
            return files[0]
    raise ConfigError(
        f"{root}: has no {' or '.join(patterns)} in it or below; give the folder of {what} as data.path"
    )


def header(file: Path, delimiter: str) -> list[str]:
    """Return the names of the columns of a file of series."""
    lines = read_text(file, ForcingError, LARGEST).splitlines()
    return next(csv.reader(lines[:1], delimiter=delimiter), [])


def _chunks(
    places: Mapping[str, Mapping[str, Sequence[Place]]],
    files: Sequence[Path],
    start: np.datetime64,
    delimiter: str,
) -> Iterator[Chunk]:
    """Read file by file; yield the series of each basin when all of its places are read."""
    read: dict[tuple[int, str], list[tuple[TimeArray, FloatArray]]] = {}
    for file in files:
        requested = [
            (row, name, place.columns, len(some))
            for row, of in enumerate(places.values())
            for name, some in of.items()
            for place in some
            if place.file == file
        ]
        days, values = _read(file, [columns for _, _, columns, _ in requested], delimiter)
        for (row, name, _, count), column in zip(requested, values, strict=True):
            parts = read.setdefault((row, name), [])
            parts.append((days, column))
            if len(parts) == count:
                yield _chunk(row, name, parts, start, file)
                del read[row, name]


def _chunk(
    row: int, name: str, parts: list[tuple[TimeArray, FloatArray]], start: np.datetime64, file: Path
) -> Chunk:
    days, values = parts[0]
    for others, more in parts[1:]:
        days, here, there = np.intersect1d(days, others, return_indices=True)
        values = values[here] + more[there]
    values = without_fills(values / len(parts), f"{file}: {name}")
    if name in NOT_NEGATIVE:
        values = np.where(values < 0, np.nan, values)
    return Chunk(slice(row, row + 1), (days - start).astype(int), {name: values})


def _read(file: Path, columns: Sequence[Sequence[str]], delimiter: str) -> tuple[TimeArray, list[FloatArray]]:
    """Return the days of a table and the requested columns, each by the first of its names that exists."""
    lines = read_text(file, ForcingError, LARGEST).splitlines()
    rows = csv.reader(lines, delimiter=delimiter)
    names = [name.strip() for name in next(rows, [])]
    place = [_place(file, names, some) for some in columns]
    texts: list[str] = []
    numbers: list[int] = []
    values = np.empty((len(lines), len(place)))
    date_of = _date_of(file, names)
    for row in rows:
        if not any(row):
            continue
        if len(row) != len(names):
            raise ForcingError(
                f"{file}, line {rows.line_num}: has {len(row)} cells, the header has {len(names)}"
            )
        for column, k in enumerate(place):
            try:
                values[len(texts), column] = number(row[k].strip())
            except ValueError as problem:
                raise ForcingError(f"{file}, line {rows.line_num}: {names[k]} is {problem}") from problem
        texts.append(date_of(row))
        numbers.append(rows.line_num)
    if not texts:
        raise ForcingError(f"{file}: has no rows")
    days = whole_days(parse_dates(texts, numbers, str(file), ForcingError), str(file), ForcingError)
    return days, list(values[: len(texts)].T)


def _place(file: Path, names: Sequence[str], alternatives_: Sequence[str]) -> int:
    for name in alternatives_:
        if name in names:
            return names.index(name)
    some = ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")
    raise ForcingError(f"{file}: has no column {' or '.join(alternatives_)}; it has {some}")


def _date_of(file: Path, names: Sequence[str]) -> Callable[[Sequence[str]], str]:
    """Return what makes the text of a row's date: of its column, or of those of year, month and day."""
    for name in DATE:
        if name in names:
            k = names.index(name)
            return lambda row: row[k].strip().replace("/", "-")
    if all(part in names for part in PARTS):
        y, m, d = (names.index(part) for part in PARTS)
        return lambda row: f"{row[y].strip():0>4}-{row[m].strip():0>2}-{row[d].strip():0>2}"
    raise ForcingError(
        f"{file}: has no column {DATE[0]}, nor {', '.join(PARTS)}; it has {', '.join(names[:12])}"
    )


def _span(file: Path, delimiter: str) -> tuple[np.datetime64, np.datetime64]:
    """Return the first and last day of a file, from its first and last row."""
    lines = [line for line in read_text(file, ForcingError, LARGEST).splitlines() if line.strip()]
    if len(lines) < 2:
        raise ForcingError(f"{file}: has no rows")
    names = [name.strip() for name in next(csv.reader(lines[:1], delimiter=delimiter))]
    date_of = _date_of(file, names)
    ends = [*csv.reader([lines[1], lines[-1]], delimiter=delimiter)]
    if any(len(row) != len(names) for row in ends):
        raise ForcingError(f"{file}: its rows have not as many cells as its header")
    days = parse_dates([date_of(row) for row in ends], [2, len(lines)], str(file), ForcingError)
    first, last = days.astype("datetime64[D]")
    return first, last
