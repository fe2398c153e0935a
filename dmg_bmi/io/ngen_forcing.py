"""NextGen's forcing files: what they hold, and what `ngen` would make of them."""

from __future__ import annotations

import csv
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FloatArray, TimeArray
from ..errors import NextGenError, repeated
from .cf_time import STANDARD, decode, parse_dates
from .csv_table import other_delimiter
from .files import read_text

HOUR = np.timedelta64(3600, "s")
#: Catchments whose times are read at once.
BLOCK = 500
#: Columns that `ngen` knows: CSDMS name, and units where the file names none (AorcForcing.hpp).
WELL_KNOWN = {
    "precip_rate": ("atmosphere_water__liquid_equivalent_precipitation_rate", "mm s^-1"),
    "RAINRATE": ("atmosphere_water__liquid_equivalent_precipitation_rate", "mm s^-1"),
    "APCP_surface": ("atmosphere_water__rainfall_volume_flux", "kg m^-2"),
    "DLWRF_surface": ("land_surface_radiation~incoming~longwave__energy_flux", "W m-2"),
    "LWDOWN": ("land_surface_radiation~incoming~longwave__energy_flux", "W m-2"),
    "DSWRF_surface": ("land_surface_radiation~incoming~shortwave__energy_flux", "W m-2"),
    "SWDOWN": ("land_surface_radiation~incoming~shortwave__energy_flux", "W m-2"),
    "PRES_surface": ("land_surface_air__pressure", "Pa"),
    "PSFC": ("land_surface_air__pressure", "Pa"),
    "SPFH_2maboveground": ("atmosphere_air_water~vapor__relative_saturation", "kg kg-1"),
    "Q2D": ("atmosphere_air_water~vapor__relative_saturation", "kg kg-1"),
    "TMP_2maboveground": ("land_surface_air__temperature", "K"),
    "T2D": ("land_surface_air__temperature", "K"),
    "UGRD_10maboveground": ("land_surface_wind__x_component_of_velocity", "m s-1"),
    "U2D": ("land_surface_wind__x_component_of_velocity", "m s-1"),
    "VGRD_10maboveground": ("land_surface_wind__y_component_of_velocity", "m s-1"),
    "V2D": ("land_surface_wind__y_component_of_velocity", "m s-1"),
}
_TITLE = re.compile(r"^(\S+?)\s*[\[(](.*)[\])]$")
#: Units of time that `ngen` knows, short and long, by the names that CF has for them.
TIME_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "ms": "ms", "us": "us", "ns": "ns"}
TIME_UNITS |= {"seconds": "seconds", "minutes": "minutes", "hours": "hours"}
TIME_UNITS |= {"milliseconds": "ms", "microseconds": "us", "nanoseconds": "ns"}
#: When they count from, where the file says it: month, day and year.
_EPOCH = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4}) (\d{1,2}:\d{2}:\d{2})")


class Forcing(ABC):
    """Hourly forcing of many catchments.

    Attributes
    ----------
    path : Path
    ids : tuple of str
    times : ndarray of datetime64[s]
        Begin of each record.
    units : dict of column to str
        As `ngen` takes them.
    """

    path: Path
    ids: tuple[str, ...]
    times: TimeArray
    units: dict[str, str]

    def misread(self) -> list[tuple[Path, str, tuple[str, ...]]]:
        """List what `ngen` would read as something else: file, fault, and catchments where it is of some."""
        return []

    @abstractmethod
    def read(self, column: str, ids: Sequence[str], steps: slice = slice(None)) -> FloatArray:
        """Read values ``[ids, time]`` of some steps, NaN where missing."""

    def absent(self, ids: Sequence[str]) -> list[str]:
        """Return those of some catchments that have no forcing."""
        known = {*self.ids}
        return [name for name in ids if name not in known]

    def column(self, name: str) -> str | None:
        """Return the column of a name: itself, or that of which it is the CSDMS name."""
        if name in self.units:
            return name
        return next((c for c in self.units if WELL_KNOWN.get(c, ("",))[0] == name), None)

    def names(self) -> set[str]:
        """List all names by which a module can ask."""
        return {*self.units} | {WELL_KNOWN[c][0] for c in self.units if c in WELL_KNOWN}


class NetCdf(Forcing):
    """`ngen`'s NetCDF layout: ``ids(catchment-id)``, ``Time(catchment-id, time)``, variables of both.

    The file is opened for each reading: an open one that the garbage collector closes, perhaps
    in another thread, crashes the library.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as data:
            for name in ("ids", "Time"):
                if name not in data.variables:
                    raise NextGenError(f"{path}: has no variable {name}; is it a forcing file of ngen?")
            from .netcdf_file import ids_of

            self.ids = ids_of(data["ids"], path, NextGenError)
            self._fault = _fault_of_ids(data["ids"], self.ids, path)
            of_ids = data["ids"].dimensions[0]
            self.times = _netcdf_times(data["Time"], of_ids, path)
            _require_one_time(data["Time"], self.ids, path)
            self.units = {}
            for name, variable in data.variables.items():
                if (
                    name in ("ids", "Time")
                    or variable.ndim != 2
                    or not isinstance(variable.datatype, np.dtype)  # a list in each cell
                    or getattr(variable.dtype, "kind", "") not in "fiu"
                ):
                    continue
                if variable.dimensions != data["Time"].dimensions:
                    raise NextGenError(
                        f"{path}: {name} has dimensions {', '.join(variable.dimensions)}; ngen reads "
                        f"({', '.join(data['Time'].dimensions)})"
                    )
                self.units[name] = str(getattr(variable, "units", "")) or WELL_KNOWN.get(name, ("", ""))[1]
        self._fault = self._fault or fault_of_fields(self.units)
        self._place = {name: k for k, name in enumerate(self.ids)}

    def misread(self) -> list[tuple[Path, str, tuple[str, ...]]]:
        """See :meth:`Forcing.misread`."""
        return [(self.path, self._fault, ())] if self._fault else []

    def _open(self) -> Any:
        from .netcdf_file import open_netcdf

        return open_netcdf(self.path, NextGenError)

    def read(self, column: str, ids: Sequence[str], steps: slice = slice(None)) -> FloatArray:
        """See :meth:`Forcing.read`."""
        if absent := self.absent(ids):
            raise NextGenError(f"{self.path}: has no catchment {', '.join(absent[:5])}")
        rows = np.array([self._place[i] for i in ids])
        first, last = int(rows.min()), int(rows.max()) + 1
        from .netcdf_file import part_of

        with self._open() as data:
            # One slab that holds them all: NetCDF picks single rows slowly.
            slab = np.ma.asarray(part_of(data[column], (slice(first, last), steps), self.path, NextGenError))
        return np.ma.filled(slab.astype(np.float64), np.nan)[rows - first]


def fault_of_fields(columns: Iterable[str]) -> str:
    """Return what is wrong with columns of which two are one field to `ngen`; empty if none are."""
    fields: dict[str, str] = {}
    for column in columns:
        first = fields.setdefault(WELL_KNOWN.get(column, (column,))[0], column)
        if first != column:
            return f"{first} and {column} are one field: ngen mixes their values; keep one"
    return ""


def _fault_of_ids(variable: Any, ids: Sequence[str], path: Path) -> str:
    """Return what keeps `ngen`, which takes strings as they are, from finding the ids that are meant."""
    if variable.ndim > 1:
        return "ids are characters of two dimensions, where ngen stops; write them as strings"
    if variable.dtype is not str:
        return f"ids are of the type {variable.dtype}, which ngen takes for strings; write them as strings"
    from .netcdf_file import part_of

    stored = part_of(variable, slice(None), path, NextGenError).tolist()
    padded = next((name for name, id_ in zip(stored, ids, strict=True) if name != id_), None)
    if padded is None:
        return ""
    return f"ids such as {padded!r} have blanks, so ngen silently gives the values of the first catchment"


def _netcdf_times(variable: Any, of_ids: str, path: Path) -> TimeArray:
    if variable.ndim != 2 or variable.dimensions[0] != of_ids:
        raise NextGenError(
            f"{path}: Time has dimensions ({', '.join(variable.dimensions)}); ngen reads ({of_ids}, time), "
            "the same times for each catchment"
        )
    calendar = str(getattr(variable, "calendar", "standard")).lower()
    if calendar not in STANDARD:
        raise NextGenError(f"{path}: Time has the calendar {calendar!r}, which ngen ignores; convert it")
    units = str(getattr(variable, "units", "s"))
    if " since " not in units:
        if units not in TIME_UNITS:
            raise NextGenError(f"{path}: units {units!r} of Time are not among those that ngen knows")
        said = str(getattr(variable, "epoch_start", "01/01/1970 00:00:00")).strip()
        if (epoch := _EPOCH.fullmatch(said)) is None:
            raise NextGenError(f"{path}: epoch_start {said!r} of Time must be like '01/31/1970 00:00:00'")
        month, day, year, clock = epoch.groups()
        units = f"{TIME_UNITS[units]} since {year}-{month}-{day} {clock}"
    from .netcdf_file import part_of

    return decode(part_of(variable, 0, path, NextGenError), units, f"{path}: Time", NextGenError)[0]


def _require_one_time(variable: Any, ids: Sequence[str], path: Path) -> None:
    """Refuse catchments whose times are not those of the first, which are taken for all."""
    from .netcdf_file import part_of

    first = np.ma.filled(part_of(variable, 0, path, NextGenError), 0)
    for begin in range(0, len(ids), BLOCK):
        block = part_of(variable, slice(begin, begin + BLOCK), path, NextGenError)
        differs = (np.ma.filled(block, 0) != first).any(axis=1)
        if differs.any():
            name = ids[begin + int(np.argmax(differs))]
            raise NextGenError(
                f"{path}: Time of {name} is not that of {ids[0]}; ngen takes the first for all: write the "
                "same times for each catchment"
            )


class CsvFolder(Forcing):
    """One CSV per catchment, with ``cat-N`` in its name; or a single one, of the catchment that is named."""

    def __init__(self, path: Path, catchment: str | None = None) -> None:
        self.path = path
        self.files = {} if catchment is None else {catchment: path}
        for file in sorted(path.glob("*.csv")):
            match = re.search(r"cat-\d+", file.name)
            if match:
                other = self.files.setdefault(match[0], file)
                if other != file:
                    raise NextGenError(
                        f"{path}: {other.name} and {file.name} are both of {match[0]}; keep one"
                    )
        if not self.files:
            raise NextGenError(f"{path}: holds no .csv with cat-<number> in its name")
        self.ids = tuple(self.files)
        self._problems: dict[str, str] = {}
        self._cache: dict[str, dict[str, FloatArray]] = {}
        self.times, self.units = self._open(self.ids[0])

    def _open(self, name: str) -> tuple[TimeArray, dict[str, str]]:
        """Read a file; what `ngen` makes of it wrongly is kept for :meth:`misread`."""
        file = self.files[name]
        header, lines = self._lines(name, file)
        titles = [_TITLE.match(h.strip()) for h in header]
        names = [m[1] if m else h.strip() for m, h in zip(titles, header, strict=True)]
        if twice := repeated(names):
            raise NextGenError(f"{file}: column {twice[0]!r} appears twice")
        if fault := fault_of_fields(names):
            self._problem(name, fault)
        time = next((k for k, n in enumerate(names) if n in ("time", "Time")), None)
        if time is None:
            raise NextGenError(f"{file}: has no column time; it has {', '.join(names[:8])}")
        stamps = [cells[time].strip() for _, cells in lines]
        if any("T" in stamp for stamp in stamps):
            self._problem(name, "times with a T: ngen drops the time of day; write them with a blank")
        times = parse_dates(stamps, [number for number, _ in lines], str(file), NextGenError)
        units = {
            n: m[2] if m else WELL_KNOWN.get(n, ("", ""))[1]
            for k, (n, m) in enumerate(zip(names, titles, strict=True))
            if k != time
        }
        values = {n: self._column(name, n, k, lines) for k, n in enumerate(names) if k != time}
        self._cache[name] = values
        gaps = np.diff(times)
        if (gaps != HOUR).any():
            k = int(np.argmax(gaps != HOUR))
            self._problem(
                name,
                f"no record an hour after {stamps[k]}: ngen takes row by row as hours, whatever they say",
            )
        if hasattr(self, "times") and not np.array_equal(times, self.times):
            self._problem(name, "other times than the first file")
        if hasattr(self, "units") and units != self.units:
            self._problem(name, "other columns or other units than the first file")
        return times, units

    def misread(self) -> list[tuple[Path, str, tuple[str, ...]]]:
        """See :meth:`Forcing.misread`; of the files read so far."""
        return [(self.files[name], problem, (name,)) for name, problem in self._problems.items()]

    def _problem(self, name: str, what: str) -> None:
        """Keep the first problem of a file."""
        self._problems.setdefault(name, what)

    def _lines(self, name: str, file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
        """Return the header, and the cells of each row with its line number."""
        text = read_text(file, NextGenError)
        if '"' in text:
            self._problem(name, "cells in quotes: ngen takes the marks as part of names and numbers")
        if "\r" in text.replace("\r\n", "\n"):
            self._problem(name, "line ends of the old Macintosh (CR alone): ngen reads them as no line ends")
        try:
            reader = csv.reader(text.splitlines())
            rows = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
        except csv.Error as problem:
            raise NextGenError(f"{file}: is not CSV: {problem}") from problem
        if len(rows) < 2:
            raise NextGenError(f"{file}: is empty, or has a header alone")
        header, lines = rows[0][1], rows[1:]
        if other := other_delimiter(header):
            raise NextGenError(f"{file}: columns are separated by {other!r}; ngen reads commas alone")
        for number, cells in lines:
            if len(cells) != len(header):
                counts = f"{len(cells)} cells, the header {len(header)}"
                self._problem(name, f"line {number} has {counts}: ngen reads past its end")
        return header, [(number, (cells + [""] * len(header))[: len(header)]) for number, cells in lines]

    def _column(self, name: str, column: str, k: int, lines: Sequence[tuple[int, list[str]]]) -> FloatArray:
        values = np.full(len(lines), np.nan)
        for row, (number, cells) in enumerate(lines):
            cell = cells[k].strip()
            try:
                values[row] = float(cell)
            except ValueError:
                what = f"{cell!r} is not a number" if cell else "the cell is empty"
                self._problem(name, f"line {number}, column {column}: {what}: ngen stops there")
        return values

    def read(self, column: str, ids: Sequence[str], steps: slice = slice(None)) -> FloatArray:
        """See :meth:`Forcing.read`."""
        rows = []
        for name in ids:
            if name not in self._cache:
                self._open(name)
            values = self._cache[name].get(column, np.empty(0))
            if len(values) != len(self.times):
                values = np.full(len(self.times), np.nan)
            rows.append(values[steps])
        return np.stack(rows)


def open_forcing(path: Path, catchment: str | None = None) -> Forcing:
    """Open a NetCDF file or a folder of CSV files; or, of one catchment, a CSV file.

    Raises
    ------
    NextGenError
        If it is neither.
    """
    if os.path.isdir(path):
        return CsvFolder(path)
    if not os.path.isfile(path):
        raise NextGenError(f"{path}: no such forcing, neither a NetCDF file nor a folder of CSVs")
    if catchment is not None and path.suffix == ".csv":
        return CsvFolder(path, catchment)
    return NetCdf(path)
