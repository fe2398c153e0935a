"""Units and forcing as ngen handles them; used by the stand-in alone."""

from __future__ import annotations

import math
import re
import sys
from calendar import timegm
from datetime import datetime
from pathlib import Path
from typing import ClassVar

import numpy as np

#: Column: CSDMS name, unit by default (AorcForcing.hpp). Both names are known, and no other twin.
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
#: Parts of ``%Y-%m-%d %H:%M:%S`` as strptime reads them, with their limits.
PARTS = (
    (r"\s*(\d{1,4})", 0, 9999),
    (r"-\s*(\d{1,2})", 1, 12),
    (r"-\s*(\d{1,2})", 1, 31),
    (r"\s*(\d{1,2})", 0, 23),
    (r":\s*(\d{1,2})", 0, 59),
    (r":\s*(\d{1,2})", 0, 61),
)
#: What a C++ cast makes a number of.
NUMBER = re.compile(
    r"[+-]?((\d+\.?\d*|\.\d+)(e[+-]?\d+)?|inf|infinity|nan(\(.*\))?)", re.IGNORECASE | re.ASCII
)


class Abort(Exception):
    """ngen ends here."""


def parse_time(text: str) -> int:
    """Seconds since 1970, UTC; where the text stops fitting, what was read until there counts."""
    found = [1900, 1, 0, 0, 0, 0]
    for k, (pattern, lower, upper) in enumerate(PARTS):
        match = re.match(pattern, text, re.ASCII)
        if match is None or not lower <= int(match[1]) <= upper:
            break
        found[k] = int(match[1])
        text = text[match.end() :]
    return timegm(tuple(found))


class Units:
    """UnitsHelper: UDUNITS-2, with failures that are said once and otherwise pass the raw value."""

    def __init__(self) -> None:
        from gimli.units import units

        self._system = units
        self._converters: dict[tuple[str, str], object] = {}
        self._said: set[tuple[str, ...]] = set()

    def _converter(self, given: str, wanted: str):
        key = (given, wanted)
        if key not in self._converters:
            try:
                self._converters[key] = self._system.Unit(given).to(self._system.Unit(wanted))
            except Exception as problem:
                self._converters[key] = problem
        return self._converters[key]

    def seconds(self, time_units: str) -> float:
        """Factor from 1.0 of these units to seconds."""
        converter = self._converter(time_units, "s")
        if isinstance(converter, Exception):
            raise Abort(f"time units {time_units!r}: {converter}")
        return float(converter(1.0))

    def convert(
        self, value: float, given: str, wanted: str, requester: str, variable: str, fatal: bool = False
    ) -> float:
        """The converted value; the raw one, with a warning the first time, where that fails."""
        if given == wanted:
            return value
        converter = self._converter(given or "1", wanted)
        if isinstance(converter, Exception):
            if fatal:
                raise Abort(f"{variable}: {given!r} cannot become {wanted!r}")
            key = (requester, variable, given, wanted)
            if key not in self._said:
                self._said.add(key)
                print(
                    f"Unit conversion failure: {requester} {variable}: {given!r} to {wanted!r}",
                    file=sys.stderr,
                )
            return value
        return float(converter(value))


class CsvPerFeature:
    """The file of one catchment; rows are hours, whatever their time stamps say."""

    def __init__(self, path: str, start: int, end: int) -> None:
        self.start, self.end, self.rows = start, end, 0
        #: By each name: units. A field that is well known has two names, values stand under its CSDMS name.
        self.units: dict[str, str] = {}
        self.values: dict[str, list[float]] = {}
        lines = self._lines(Path(path))
        time, columns = self._header(lines[0])
        stamp = None
        for k, cells in enumerate(lines[1:]):
            if time >= len(cells):
                raise Abort(f"SIGSEGV: {path}: a row ends before its time")
            stamp = parse_time(cells[time])
            if k == 0 and start < stamp:
                raise Abort(f"Error: Forcing data {path} begins after the model start time")
            if start <= stamp <= end:
                self._row(path, cells, time, columns)
        if stamp is None or stamp < end:
            print("WARNING: Forcing data ends before the model end time.")

    def _lines(self, path: Path) -> list[list[str]]:
        """Lines cut at commas alone: a quotation mark is a character as any other."""
        try:
            text = path.read_bytes().decode("latin-1")
        except OSError as problem:
            raise Abort(f"Error: failure opening {path}") from problem
        lines = text.removesuffix("\n").split("\n") if text else []
        if not lines:
            raise Abort(f"SIGSEGV: {path} has no header")
        return [line.removesuffix("\r").split(",") for line in lines]

    def _header(self, titles: list[str]) -> tuple[int, list[str]]:
        """Place of the time, the first where no column is called so, and the field of each column."""
        time, columns = 0, []
        for k, title in enumerate(titles):
            if title in ("time", "Time"):
                time = k
                columns.append("")
                continue
            name, units = title.strip(), ""
            opening = name.rfind("[" if name.endswith("]") else "(") if name.endswith(("]", ")")) else -1
            if opening >= 0:
                name, units = name[:opening].strip(), name[opening + 1 : -1]
            field, default = WELL_KNOWN.get(name, (name, ""))
            self.units[name] = self.units[field] = units or default
            self.values[field] = []
            columns.append(field)
        return time, columns

    def _row(self, path: str, cells: list[str], time: int, columns: list[str]) -> None:
        self.rows += 1
        for k, cell in enumerate(cells):
            if k == time:
                continue
            if k >= len(columns):
                raise Abort(f"SIGSEGV: {path}: a row is longer than the header")
            if not NUMBER.fullmatch(cell.strip()) or (
                math.isinf(float(cell.split("(")[0])) and "i" not in cell.lower()
            ):
                raise Abort(f"{path}: bad lexical cast: source type value could not be interpreted as target")
            # Two columns of one field fill one list in turn.
            self.values[columns[k]].append(float(cell.split("(")[0]))

    def names(self) -> set[str]:
        return {*self.units}

    def get(self, id_: str, name: str, time: float, step: int) -> tuple[float, str]:
        index = int((min(time, self.end) - self.start) // 3600)  # after the end the last hour goes on
        if index >= self.rows:
            raise Abort(f"Forcing had bad index {index} for value lookup of {name}")
        field = WELL_KNOWN.get(name, (name,))[0]
        if field not in self.values:
            raise Abort(f"Cannot get forcing value for unrecognized parameter name '{name}'.")
        if index >= len(self.values[field]):
            raise Abort(f"vector::_M_range_check: {id_}: {name}")
        return self.values[field][index], self.units.get(name, "")


class NetCdf:
    """One file of all; the value over a step is a sum, the first part of it weighted as ngen does."""

    SECONDS: ClassVar = {"s": 1, "m": 60, "h": 3600, "ms": 1e-3, "us": 1e-6, "ns": 1e-9} | {
        "seconds": 1, "minutes": 60, "hours": 3600,
        "milliseconds": 1e-3, "microseconds": 1e-6, "nanoseconds": 1e-9,
    }  # fmt: skip
    opened: ClassVar[dict[str, NetCdf]] = {}

    def __init__(self, path: str) -> None:
        import netCDF4

        with netCDF4.Dataset(path) as data:
            self.place = {str(name): k for k, name in enumerate(data["ids"][:])}
            scale, origin = self._time(data["Time"])
            self.times = np.asarray(data["Time"][0], dtype=float) * scale + origin
            self.stride = float(self.times[1] - self.times[0])
            self.units, self.values = {}, {}
            for name, variable in data.variables.items():
                field, default = WELL_KNOWN.get(name, (name, ""))
                self.units[name] = self.units[field] = getattr(variable, "units", "") or default
                if name not in ("ids", "Time") and variable.ndim == 2:
                    series = np.ma.filled(variable[:].astype(float), np.nan)
                    self.values[name] = self.values[field] = series

    def _time(self, variable) -> tuple[float, int]:
        units, _, epoch = getattr(variable, "units", "s").partition(" since ")
        if epoch and not re.match(r"\d{4}-\d{1,2}-\d{1,2}\s+\d{1,2}:\d{1,2}:\d{1,2}", epoch):
            raise Abort(f"Could not parse epoch '{epoch}' with format '%Y-%m-%d %H:%M:%S'")
        if units not in self.SECONDS:
            # The date is lost with the unit.
            units, epoch = "s", ""
        if not epoch and hasattr(variable, "epoch_start"):
            moment = datetime.strptime(variable.epoch_start, "%m/%d/%Y %H:%M:%S")  # as GNU's get_time
            return self.SECONDS[units], timegm(moment.timetuple())
        return self.SECONDS[units], parse_time(epoch) if epoch else 0

    def names(self) -> set[str]:
        return {*self.units}

    def get(self, id_: str, name: str, time: float, step: int) -> tuple[float, str]:
        if name not in self.values:
            raise Abort(f"the forcing file has no variable {name}")
        # An id that the file lacks gets the place that a map inserts by default: 0.
        series = self.values[name][self.place.get(id_, 0)]
        first = int((time - self.times[0]) // self.stride)
        last = int((time + step - 1 - self.times[0]) // self.stride)
        if first < 0 or last >= len(series):
            raise Abort(f"{id_}: the forcing file has no {name} at {time}")
        weight = 1.0 + (time - self.times[first]) / self.stride
        return float(series[first] * weight + series[first + 1 : last + 1].sum()), self.units[name]


class Null:
    """Forcing of models that take none."""

    def names(self) -> set[str]:
        return set()

    def get(self, id_: str, name: str, time: float, step: int) -> tuple[float, str]:
        raise Abort("NullForcingProvider has no values")


Provider = CsvPerFeature | NetCdf | Null


def make_provider(config: dict, id_: str, ids: list[str], start: int, end: int) -> Provider:
    """The provider of one catchment, from the block that is its own or from that of all."""
    path, kind = str(config.get("path", "")), config.get("provider", "CsvPerFeature")
    if "file_pattern" in config:
        if not path:
            raise Abort("Error with NGEN config - 'path' in forcing params must be set")
        wanted = re.compile(config["file_pattern"].replace("{{id}}", id_, 1))
        if not Path(path).is_dir():
            raise Abort(f"Error opening forcing data dir '{path}'")
        found = (p for p in sorted(Path(path).iterdir()) if wanted.fullmatch(p.name) and p.is_file())
        path = str(next(found, ""))
        if not path:
            raise Abort(f"Forcing data could not be found for '{id_}'")
    if kind == "NullForcingProvider":
        return Null()
    if kind == "CsvPerFeature":
        return CsvPerFeature(path, start, end)
    if kind != "NetCDF":
        raise Abort(f"Invalid formulation forcing provider configuration: {kind}")
    if path not in NetCdf.opened:
        NetCdf.opened[path] = NetCdf(path)
    if not {*ids} & {*NetCdf.opened[path].place}:
        raise Abort("no catchment of the simulation is in the forcing file")
    return NetCdf.opened[path]
