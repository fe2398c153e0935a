"""Latitudes of divides, from the envelopes of their polygons in a GeoPackage."""

from __future__ import annotations

import struct
from math import asin, degrees, log, pi, radians, sin, sqrt
from pathlib import Path

from ..errors import NextGenError
from ..geopackage import GeoPackage

#: GRS 80, and the parallels of the Albers projection of the United States (EPSG:5070), degrees.
AXIS, FLATTENING = 6378137.0, 1 / 298.257222101
ORIGIN, FIRST, SECOND = 23.0, 29.5, 45.5
_E2 = FLATTENING * (2 - FLATTENING)
_E = sqrt(_E2)


def latitudes(path: Path) -> dict[str, float]:
    """Degrees north of the middle of each divide, by id.

    Raises
    ------
    NextGenError
        If the file uses other coordinates than EPSG:5070 or 4326.
    """
    with GeoPackage(path, {"geom": ("geom", "geometry")}) as file:
        table = file.columns(("divides",), ("divide_id", "geom"))
    return {
        name: _latitude(blob, path)
        for name, blob in zip(table["divide_id"], table["geom"], strict=True)
        if isinstance(blob, bytes)
    }


def _latitude(blob: bytes, path: Path) -> float:
    """From the header of a geometry: ``GP``, version, flags, reference system, envelope."""
    flags = blob[3]
    order = "<" if flags & 1 else ">"
    if blob[:2] != b"GP" or not (flags >> 1) & 7:
        raise NextGenError(f"{path}: divides have no envelopes; give a column latitude in --table")
    reference, low_x, high_x, low_y, high_y = struct.unpack_from(f"{order}i4d", blob, 4)
    x, y = (low_x + high_x) / 2, (low_y + high_y) / 2
    if reference == 4326:
        return y
    if reference == 5070:
        return albers_latitude(x, y)
    raise NextGenError(
        f"{path}: coordinates are EPSG:{reference}, not 5070 or 4326; give a column latitude in --table"
    )


def albers_latitude(x: float, y: float) -> float:
    """Degrees north of a point in m of EPSG:5070.

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
