"""Units and forcing as ngen handles them; used by the stand-in alone."""

from __future__ import annotations

import csv
import re
import sys
from calendar import timegm
from pathlib import Path
from time import strptime
from typing import ClassVar

import numpy as np

#: Column (or its other name): CSDMS name, unit by default (AorcForcing.hpp).
WELL_KNOWN = {
    "precip_rate": ("atmosphere_water__liquid_equivalent_precipitation_rate", "mm s^-1"),
    "RAINRATE": ("atmosphere_water__liquid_equivalent_precipitation_rate", "mm s^-1"),
    "APCP_surface": ("atmosphere_water__rainfall_volume_flux", "kg m^-2"),
    "DLWRF_surface": ("land_surface_radiation~incoming~longwave__energy_flux", "W m-2"),
    "DSWRF_surface": ("land_surface_radiation~incoming~shortwave__energy_flux", "W m-2"),
    "PRES_surface": ("land_surface_air__pressure", "Pa"),
    "SPFH_2maboveground": ("atmosphere_air_water~vapor__relative_saturation", "kg kg-1"),
    "TMP_2maboveground": ("land_surface_air__temperature", "K"),
    "UGRD_10maboveground": ("land_surface_wind__x_component_of_velocity", "m s-1"),
    "VGRD_10maboveground": ("land_surface_wind__y_component_of_velocity", "m s-1"),
}


class Abort(Exception):
    """ngen ends here."""


def parse_time(text: str) -> int:
    """Seconds since 1970, UTC."""
    try:
        return timegm(strptime(text, "%Y-%m-%d %H:%M:%S"))
    except ValueError:
        # The time of day behind a T is dropped.
        return timegm(strptime(text[:10], "%Y-%m-%d"))


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


class Provider:
    """Base: names by which fields are known."""

    columns: dict[str, str]  # column: units

    def names(self) -> set[str]:
        return {*self.columns} | {WELL_KNOWN[c][0] for c in self.columns if c in WELL_KNOWN}

    def column(self, name: str) -> str:
        if name in self.columns:
            return name
        return next(c for c in self.columns if WELL_KNOWN.get(c, ("",))[0] == name)


class CsvPerFeature(Provider):
    """Rows are hours, whatever their time stamps say."""

    def __init__(self, config: dict, ids: list[str], start: int, end: int) -> None:
        self.start = start
        self.rows: dict[str, np.ndarray] = {}
        self.columns = {}
        folder, pattern = Path(config["path"]), config.get("file_pattern")
        for id_ in ids:
            path = folder
            if pattern:
                wanted = re.compile(pattern.replace("{{id}}", id_))
                path = next((p for p in sorted(folder.iterdir()) if wanted.fullmatch(p.name)), None)
                if path is None:
                    raise Abort(f"no forcing file for {id_} in {folder}")
            self._read(id_, path, start, end)

    def _read(self, id_: str, path: Path, start: int, end: int) -> None:
        with open(path) as file:
            lines = list(csv.reader(file))
        header = [h.strip() for h in lines[0]]
        time = next(k for k, h in enumerate(header) if h in ("time", "Time"))
        names = []
        for k, h in enumerate(header):
            if k == time:
                continue
            match = re.fullmatch(r"(\S+)\s*[\[(](.*)[\])]", h)
            name, units = match.groups() if match else (h, WELL_KNOWN.get(h, ("", ""))[1])
            self.columns[name] = units
            names.append((name, k))
        stamps = [parse_time(line[time].strip()) for line in lines[1:]]
        if stamps[0] > start:
            raise Abort(f"{path}: forcing starts after the simulation")
        if stamps[-1] < end:
            print("Forcing data ends before the model end time", file=sys.stderr)
        kept = [line for line, stamp in zip(lines[1:], stamps, strict=True) if start <= stamp <= end]
        try:
            self.rows[id_] = {name: np.array([float(line[k]) for line in kept]) for name, k in names}
        except ValueError as problem:
            raise Abort(f"{path}: {problem}") from problem

    def get(self, id_: str, name: str, time: float, step: int) -> tuple[float, str]:
        column = self.column(name)
        index = int((time - self.start) // 3600)
        if index >= len(self.rows[id_][column]):
            raise Abort(f"{id_}: forcing has no row {index}")
        return float(self.rows[id_][column][index]), self.columns[column]


class NetCdf(Provider):
    """One file; the value over a step is a sum, the first part of it weighted as ngen does."""

    SECONDS: ClassVar = {"s": 1, "m": 60, "h": 3600, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}

    def __init__(self, config: dict, ids: list[str], start: int, end: int) -> None:
        import netCDF4

        with netCDF4.Dataset(config["path"]) as data:
            file_ids = [str(i) for i in data["ids"][:]]
            position = {name: k for k, name in enumerate(file_ids)}
            if not set(ids) & set(position):
                raise Abort("no catchment of the simulation is in the forcing file")
            # An id that the file lacks gets the place that a map inserts by default: 0.
            self.place = {name: position.get(name, 0) for name in ids}
            time = data["Time"]
            times = np.asarray(time[:], dtype=float)[0]
            self.times = times * self.SECONDS[getattr(time, "units", "s")]
            self.stride = float(self.times[1] - self.times[0])
            self.columns, self.values = {}, {}
            for name, variable in data.variables.items():
                if name in ("ids", "Time") or variable.ndim != 2:
                    continue
                self.columns[name] = getattr(variable, "units", WELL_KNOWN.get(name, ("", ""))[1])
                self.values[name] = np.ma.filled(variable[:].astype(float), np.nan)

    def get(self, id_: str, name: str, time: float, step: int) -> tuple[float, str]:
        column = self.column(name)
        series = self.values[column][self.place[id_]]
        first = int((time - self.times[0]) // self.stride)
        last = int((time + step - 1 - self.times[0]) // self.stride)
        if first < 0 or last >= len(series):
            raise Abort(f"{id_}: the forcing file has no {column} at {time}")
        weight = 1.0 + (time - self.times[first]) / self.stride
        return float(series[first] * weight + series[first + 1 : last + 1].sum()), self.columns[column]


class Null(Provider):
    """Forcing of models that take none."""

    columns: ClassVar[dict[str, str]] = {}

    def get(self, id_: str, name: str, time: float, step: int) -> tuple[float, str]:
        raise Abort("NullForcingProvider has no values")


def make_provider(config: dict, ids: list[str], start: int, end: int) -> Provider:
    kinds = {"CsvPerFeature": CsvPerFeature, "NetCDF": NetCdf, "NullForcingProvider": Null}
    kind = kinds[config.get("provider", "CsvPerFeature")]
    return kind() if kind is Null else kind(config, ids, start, end)
