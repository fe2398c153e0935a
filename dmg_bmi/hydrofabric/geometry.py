"""Positions of divides, from the envelopes of their polygons in a GeoPackage."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence
from math import asin, degrees, inf, log, pi, radians, sin, sqrt
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import FloatArray
from ..errors import NextGenError
from ..io.geopackage import GeoPackage, numbers

#: GRS 80, and the parallels of the Albers projection of the United States (EPSG:5070), degrees.
AXIS, FLATTENING = 6378137.0, 1 / 298.257222101
ORIGIN, FIRST, SECOND = 23.0, 29.5, 45.5
_E2 = FLATTENING * (2 - FLATTENING)
_E = sqrt(_E2)
#: Reference systems in degrees whatever the file says of them: WGS 84, NAD 83, and an undefined one.
GEOGRAPHIC = ("4326", "4269", "0")
#: A definition (WKT) in degrees begins with the first; the last unit of another one is that of its axes.
_DEGREES, _UNIT = (
    re.compile(r"\s*GEO(?:GCS|GCRS|DCRS)\b", re.IGNORECASE),
    re.compile(r'(?:LENGTH)?UNIT\[\s*"[^"]*"\s*,\s*([0-9.eE+-]+)', re.IGNORECASE),
)
#: Mean radius of the Earth, km.
RADIUS = 6371.0


def latitudes(path: Path) -> dict[str, float]:
    """Return degrees north of the middle of each divide, by id.

    Raises
    ------
    NextGenError
        If the file's coordinates are neither degrees nor EPSG:5070.
    """
    units = _units(path)
    return {name: _latitude(middle, units, path) for name, middle in _middles(path).items()}


def nearest(path: Path, ids: Sequence[str], candidates: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Return for each divide the nearest of `candidates`, and the km between their middles.

    Divides without an envelope are left out.
    """
    middles = _middles(path)
    donors = [name for name in candidates if middles.get(name)]
    if not donors:
        return {}
    units = _units(path)
    positions = np.array([middles[name] for name in donors])
    donor_of = {}
    for name in ids:
        middle = middles.get(name)
        if middle:
            km = _distances(middle, positions, units.get(str(middle[2]), 1.0))
            k = int(km.argmin())
            donor_of[name] = donors[k], float(km[k])
    return donor_of


def _units(path: Path) -> dict[str, float | None]:
    """Return the m of a unit of each reference system of a file; None where that is degrees."""
    units: dict[str, float | None] = {}
    with GeoPackage(path, {}) as file:
        if file.has("gpkg_spatial_ref_sys", "definition"):
            table = file.columns(("gpkg_spatial_ref_sys",), "srs_id", ("definition",))
            units = dict(zip(table["srs_id"], map(_unit, table["definition"]), strict=True))
    return units | dict.fromkeys(GEOGRAPHIC)


def _unit(definition: Any) -> float | None:
    if _DEGREES.match(str(definition)):
        return None
    factors = [*numbers(_UNIT.findall(str(definition)))]
    return float(factors[-1]) if factors and 0 < factors[-1] < inf else 1.0


def _distances(middle: tuple[float, float, int], positions: FloatArray, metres: float | None) -> FloatArray:
    """Return km from one position to others: along a great circle, or a line in a projection."""
    x, y, _ = middle
    across, along = positions[:, 0] - x, positions[:, 1] - y
    if metres is not None:
        return np.asarray(np.hypot(across, along) * metres / 1000.0)
    across, along = np.radians(across), np.radians(along)
    cosines = np.cos(np.radians(positions[:, 1])) * np.cos(radians(y))
    half = np.sin(along / 2) ** 2 + cosines * np.sin(across / 2) ** 2
    return np.asarray(2 * RADIUS * np.arcsin(np.sqrt(np.clip(half, 0.0, 1.0))))


def _middles(path: Path) -> dict[str, tuple[float, float, int] | None]:
    """Return middle and reference system of each divide; None for one without an envelope."""
    with GeoPackage(path, {"geom": ("geom", "geometry")}) as file:
        table = file.columns(("divides",), "divide_id", ("geom",))
    return {
        name: _middle(blob)
        for name, blob in zip(table["divide_id"], table["geom"], strict=True)
        if blob is not None
    }


def _middle(blob: Any) -> tuple[float, float, int] | None:
    """Read the header of a geometry: ``GP``, version, flags, reference system, envelope."""
    if not isinstance(blob, bytes) or len(blob) < 40 or blob[:2] != b"GP" or not (blob[3] >> 1) & 7:
        return None
    order = "<" if blob[3] & 1 else ">"
    reference, low_x, high_x, low_y, high_y = struct.unpack_from(f"{order}i4d", blob, 4)
    x, y = (low_x + high_x) / 2, (low_y + high_y) / 2
    return (x, y, reference) if np.isfinite([x, y]).all() else None


def _latitude(middle: tuple[float, float, int] | None, units: dict[str, float | None], path: Path) -> float:
    if middle is None:
        raise NextGenError(f"{path}: divides have no envelopes; give a column latitude in --table")
    x, y, reference = middle
    if units.get(str(reference), 1.0) is None:
        return y
    if reference == 5070:
        return albers_latitude(x, y)
    raise NextGenError(
        f"{path}: coordinates are EPSG:{reference}, neither degrees nor 5070; give a column latitude in "
        "--table"
    )


def albers_latitude(x: float, y: float) -> float:
    """Return degrees north of a point in m of EPSG:5070.

    Albers equal-area conic of an ellipsoid, inverse (Snyder, 1987, Map projections: a working
    manual, USGS Professional Paper 1395, eqs. 14-8 to 14-21, 3-16).
    """
    q0, q1, q2 = (_q(radians(p)) for p in (ORIGIN, FIRST, SECOND))
    m1, m2 = (_m(radians(p)) for p in (FIRST, SECOND))
    n = (m1**2 - m2**2) / (q2 - q1)
    c = m1**2 + n * q1
    rho0 = AXIS * sqrt(c - n * q0) / n
    rho = sqrt(x**2 + (rho0 - y) ** 2)
    q = (c - (rho * n / AXIS) ** 2) / n
    phi = asin(max(-1.0, min(1.0, q / 2)))
    for _ in range(5):
        s = sin(phi)
        k = 1 - _E2 * s * s
        phi += (
            k**2
            / (2 * sqrt(1 - s * s))
            * (q / (1 - _E2) - s / k + log((1 - _E * s) / (1 + _E * s)) / (2 * _E))
        )
    return degrees(min(phi, pi / 2))


def _q(phi: float) -> float:
    s = sin(phi)
    return (1 - _E2) * (s / (1 - _E2 * s * s) - log((1 - _E * s) / (1 + _E * s)) / (2 * _E))


def _m(phi: float) -> float:
    s = sin(phi)
    return sqrt(1 - s * s) / sqrt(1 - _E2 * s * s)
