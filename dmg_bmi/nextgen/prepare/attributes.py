"""Static attributes of divides: gathered from where they are, and what to do about holes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ...errors import ConfigError, NextGenError
from ...hydrofabric.geometry import latitudes, nearest
from ...hydrofabric.reader import ALIASES, Hydrofabric
from ...io.csv_table import write_csv
from ...io.geopackage import GeoPackage, numbers
from ...io.units import conversion
from ...model.normalisation import FeatureStatistics
from ...model.training_range import outside, seen
from ...model.variables import Variable
from ...runtime.config import implausible
from ..check.findings import Findings
from .tables import Table

Columns = dict[str, FloatArray]
Holes = Literal["stop", "drop", "neighbours"]


def gather(
    wanted: Sequence[Variable],
    fabric: Hydrofabric,
    table: Table | None = None,
    columns: Mapping[str, str] | None = None,
) -> Columns:
    """Attributes of all divides, in the units the model wants, NaN where missing.

    Each is looked for by its name, or by the name in `columns`, first in `table`, then in the
    hydrofabric's divide-attributes, then among what follows from the hydrofabric itself:
    ``area`` and ``upstream_area`` (km2), ``latitude`` (degrees north).

    Raises
    ------
    NextGenError
        Naming the attributes that are nowhere, or come in units that cannot be converted.
    """
    divides, found, absent = fabric.divides, {}, []
    own = fabric.attributes
    for variable in wanted:
        name = (columns or {}).get(variable.name, variable.name)
        if table is not None and name in table.columns:
            values, units = table.of(name, divides.ids), table.units.get(name, "")
        elif own is not None and name in own.values:
            values, units = own.values[name], own.units.get(name, "")
        elif name in _DERIVED:
            values, units = _DERIVED[name](fabric)
        else:
            absent.append(f"{variable.name} ({variable.units}: {variable.meaning})")
            continue
        found[variable.name] = _converted(variable, values, units)
    if absent:
        raise NextGenError(
            f"{fabric.path}: nothing gives {'; '.join(absent)}. Give --table with these columns, or say "
            "--attribute NAME=COLUMN for those that are called otherwise"
        )
    return found


def _area(fabric: Hydrofabric) -> tuple[FloatArray, str]:
    return fabric.divides.area.copy(), "km2"


def _upstream_area(fabric: Hydrofabric) -> tuple[FloatArray, str]:
    with GeoPackage(fabric.path, ALIASES) as file:
        table = file.columns(("divides",), "divide_id", ("total",))
    by_id = dict(zip(table["divide_id"], numbers(table["total"]), strict=True))
    return np.array([by_id[i] for i in fabric.divides.ids]), "km2"


def _latitude(fabric: Hydrofabric) -> tuple[FloatArray, str]:
    by_id = latitudes(fabric.path)
    return np.array([by_id.get(i, np.nan) for i in fabric.divides.ids]), "degree_north"


_DERIVED = {"area": _area, "upstream_area": _upstream_area, "latitude": _latitude}


def _converted(variable: Variable, values: FloatArray, units: str) -> FloatArray:
    if not units or units == variable.units or "1" in (units, variable.units):
        return values
    try:
        scale, offset = conversion(units, variable.units)
    except ConfigError as problem:
        raise NextGenError(
            f"attribute {variable.name} is in {units}, the bundle was trained with {variable.units}; "
            "give --table with the latter"
        ) from problem
    return values * scale + offset


def complete(
    columns: Columns, wanted: Sequence[Variable], fabric: Hydrofabric, holes: Holes, findings: Findings
) -> BoolArray:
    """See to holes; which divides stay comes back, and `columns` is filled in place.

    Parameters
    ----------
    holes : {"stop", "drop", "neighbours"}
        Report and stop; leave out divides with a hole; take the mean of the divides next to
        them in the network, from there outwards, or, where the network leads to none, as on
        coasts, what the nearest divide has.
    """
    ids = fabric.divides.ids
    limits = {v.name: (v.lower, v.upper) for v in wanted}
    keep = np.ones(len(ids), dtype=np.bool_)
    for name, values in columns.items():
        low, high = limits[name]
        empty = np.isnan(values)
        wrong = ~empty & (implausible(values) | (values < low) | (values > high))
        _stop(findings, name, ids, wrong, f"outside {low:g} to {high:g}, or no number")
        if not empty.any():
            continue
        if holes == "stop":
            _stop(findings, name, ids, empty, "missing; choose --holes drop or neighbours to go on")
        elif holes == "drop":
            keep &= ~empty
        else:
            columns[name] = _fill(name, values, fabric, findings)
    if not keep.all():
        dropped = [ids[k] for k in np.flatnonzero(~keep).tolist()]
        findings.note("attributes", "divides with holes are left out; their water is missing", dropped)
    return keep


def compare(
    columns: Mapping[str, FloatArray],
    statistics: Mapping[str, FeatureStatistics],
    ids: Sequence[str],
    findings: Findings,
) -> None:
    """Stop at attributes far outside of the range in training, and note those a little outside."""
    for name in columns.keys() & statistics.keys():
        little, far = outside(statistics[name], columns[name])
        what = f"outside of {seen(statistics[name])}, with which the model was trained"
        _stop(findings, name, ids, far, f"far {what}; look at its units, or leave these divides out")
        if little.any():
            findings.note(
                f"attribute {name}", f"a little {what}", [ids[k] for k in np.flatnonzero(little).tolist()]
            )


def _stop(findings: Findings, name: str, ids: Sequence[str], bad: BoolArray, what: str) -> None:
    if bad.any():
        findings.stop(f"attribute {name}", what, (ids[k] for k in np.flatnonzero(bad).tolist()))


def _fill(name: str, values: FloatArray, fabric: Hydrofabric, findings: Findings) -> FloatArray:
    """Holes filled from the network, else from the nearest divide; what was done is noted."""
    ids, known = fabric.divides.ids, ~np.isnan(values)
    filled = _from_neighbours(values, fabric)
    given = [ids[k] for k in np.flatnonzero(~known & ~np.isnan(filled)).tolist()]
    if given:
        findings.note(f"attribute {name}", "was missing and is the mean of neighbours", given)
    lonely = np.flatnonzero(np.isnan(filled)).tolist()
    if lonely:
        donors = [ids[k] for k in np.flatnonzero(known).tolist()]
        found = nearest(fabric.path, [ids[k] for k in lonely], donors)
        place = {divide: k for k, divide in enumerate(ids)}
        for divide, (donor, _) in found.items():
            filled[place[divide]] = values[place[donor]]
        if found:
            farthest = max(km for _, km in found.values())
            what = (
                f"was missing and is that of the nearest divide for {len(found)} without neighbours in the "
                f"network, at most {farthest:.3g} km away"
            )
            findings.note(f"attribute {name}", what, [*found])
    _stop(findings, name, ids, np.isnan(filled), "missing there and all around")
    return filled


def _from_neighbours(values: FloatArray, fabric: Hydrofabric) -> FloatArray:
    """Holes as means of the divides upstream, downstream and draining to the same place."""
    ends, starts = _edges(fabric)
    filled = values.copy()
    while True:
        known = ~np.isnan(filled)
        use = known[starts] & ~known[ends]
        if not use.any():
            return filled
        total, count = np.zeros(len(values)), np.zeros(len(values))
        np.add.at(total, ends[use], filled[starts[use]])
        np.add.at(count, ends[use], 1.0)
        reached = count > 0
        filled[reached] = total[reached] / count[reached]


def _edges(fabric: Hydrofabric) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of divides that are next to each other, both ways."""
    divides, network = fabric.divides, fabric.network
    of_reach = np.full(len(network) + 1, -1)
    has = divides.reach >= 0
    of_reach[divides.reach[has]] = np.flatnonzero(has)
    below = np.where(has, of_reach[np.append(network.downstream, len(network))[divides.reach]], -1)
    pairs = [(k, int(d)) for k, d in enumerate(below) if d >= 0]
    to: dict[str, list[int]] = {}
    for k, nexus in enumerate(divides.toid):
        if nexus:
            to.setdefault(nexus, []).append(k)
    pairs += [(a, b) for together in to.values() for a, b in pairwise(together)]
    both = np.array([*pairs, *((b, a) for a, b in pairs)], dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


def write(path: Path, ids: Sequence[str], columns: Columns, area: FloatArray) -> None:
    """The table of catchments that a run configuration names."""
    names = [*columns]
    rows = ([name, *(float(columns[n][k]) for n in names), float(area[k])] for k, name in enumerate(ids))
    write_csv(path, ["id", *names, "area_km2"], rows)
