"""Static attributes of divides: where they are found, and what is done where one is missing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...arrays import BoolArray, FloatArray
from ...errors import ConfigError, NextGenError, alternatives
from ...findings import Findings
from ...hydrofabric.geometry import latitudes, nearest
from ...hydrofabric.reader import ALIASES, Hydrofabric
from ...io.csv_table import write_csv
from ...io.geopackage import GeoPackage, numbers
from ...io.units import conversion
from ...model.normalisation import FeatureStatistics
from ...model.training_range import describe_range, outside
from ...model.variables import Variable
from ...runtime.catchments import implausible
from .plan import MissingAttributes
from .tables import Table

Columns = dict[str, FloatArray]


def gather(
    required: Sequence[Variable],
    fabric: Hydrofabric,
    table: Table | None = None,
    columns: Mapping[str, str] | None = None,
) -> Columns:
    """Gather attributes of all divides, in the units of the model, NaN where missing.

    Each is looked for by its name, or by the name in `columns`, first in `table`, then in the
    hydrofabric's divide-attributes, then among what is derived from the hydrofabric itself:
    ``area`` and ``upstream_area`` (km2), ``latitude`` (degrees north).

    Raises
    ------
    NextGenError
        Naming the attributes that are nowhere, or come in units that cannot be converted.
    """
    divides, gathered = fabric.divides, Columns()
    absent: dict[str, str] = {}
    if table is not None:
        table.require_any(divides.ids)
    listed = fabric.attributes
    for variable in required:
        name = (columns or {}).get(variable.name, variable.name)
        if table is not None and name in table.columns:
            values, units = table.column(name, divides.ids), table.units.get(name, "")
        elif listed is not None and name in listed.values:
            values, units = listed.values[name], listed.units.get(name, "")
        elif name in _DERIVED:
            values, units = _DERIVED[name](fabric)
        else:
            absent[name] = f"{variable.name} ({variable.units}: {variable.meaning})"
            continue
        gathered[variable.name] = _converted(variable, values, units)
    if absent:
        has = "" if table is None else f"; {table.path}: {alternatives(next(iter(absent)), table.columns)}"
        raise NextGenError(
            f"{fabric.path}: not found: {'; '.join(absent.values())}. Give --table with these columns, or "
            f"--columns NAME=COLUMN for those of another name{has}"
        )
    return gathered


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
            f"attribute {variable.name} is in {units}, which cannot become {variable.units}, the unit of the "
            "bundle; give --table in that unit"
        ) from problem
    return values * scale + offset


def complete(
    columns: Columns,
    required: Sequence[Variable],
    fabric: Hydrofabric,
    missing: MissingAttributes,
    findings: Findings,
) -> BoolArray:
    """Deal with missing attributes; fill `columns` in place and return which divides stay.

    Parameters
    ----------
    missing : {"error", "drop", "neighbours"}
        Report an error; leave out the divide; take the mean of the divides next to it in the
        network, from there outwards, or, where the network leads to none, as on coasts, the
        value of the nearest divide.
    """
    ids = fabric.divides.ids
    limits = {v.name: (v.lower, v.upper) for v in required}
    keep = np.ones(len(ids), dtype=np.bool_)
    for name, values in columns.items():
        low, high = limits[name]
        empty = np.isnan(values)
        wrong = ~empty & (implausible(values) | (values < low) | (values > high))
        limits_text = f"outside {low:g} to {high:g}, or " if np.isfinite([low, high]).any() else ""
        _error(
            findings, name, ids, wrong, f"{limits_text}not a number, or one that stands for a missing value"
        )
        if not empty.any():
            continue
        if missing == "error":
            _error(findings, name, ids, empty, "missing; choose --missing-attributes drop or neighbours")
        elif missing == "drop":
            keep &= ~empty
        else:
            columns[name] = _fill(name, values, fabric, findings)
    if not keep.all():
        dropped = [ids[k] for k in np.flatnonzero(~keep).tolist()]
        findings.warning(
            "attributes", "divides without all attributes are left out; their water is missing", dropped
        )
    return keep


def compare(
    columns: Mapping[str, FloatArray],
    statistics: Mapping[str, FeatureStatistics],
    ids: Sequence[str],
    findings: Findings,
) -> None:
    """Report attributes outside the range of training: an error far outside, a warning a little."""
    for name in columns.keys() & statistics.keys():
        # What is missing or marks that is reported as such.
        known = ~(np.isnan(columns[name]) | implausible(columns[name]))
        little, far = (known & marked for marked in outside(statistics[name], columns[name]))
        what = f"outside {describe_range(statistics[name])}, the range of training"
        _error(findings, name, ids, far, f"far {what}; check its units, or leave these divides out")
        if little.any():
            findings.warning(
                f"attribute {name}", f"a little {what}", [ids[k] for k in np.flatnonzero(little).tolist()]
            )


def _error(findings: Findings, name: str, ids: Sequence[str], bad: BoolArray, message: str) -> None:
    if bad.any():
        findings.error(f"attribute {name}", message, (ids[k] for k in np.flatnonzero(bad).tolist()))


def _fill(name: str, values: FloatArray, fabric: Hydrofabric, findings: Findings) -> FloatArray:
    """Fill missing values from the network, else from the nearest divide, with a warning."""
    ids, present = fabric.divides.ids, ~np.isnan(values)
    filled = _from_neighbours(values, fabric)
    averaged = [ids[k] for k in np.flatnonzero(~present & ~np.isnan(filled)).tolist()]
    if averaged:
        findings.warning(f"attribute {name}", "was missing and is the mean of neighbours", averaged)
    lonely = np.flatnonzero(np.isnan(filled)).tolist()
    if lonely:
        donors = [ids[k] for k in np.flatnonzero(present).tolist()]
        donor_of = nearest(fabric.path, [ids[k] for k in lonely], donors)
        place = {divide: k for k, divide in enumerate(ids)}
        for divide, (donor, _) in donor_of.items():
            filled[place[divide]] = values[place[donor]]
        if donor_of:
            farthest = max(km for _, km in donor_of.values())
            message = (
                f"was missing and is that of the nearest divide for {len(donor_of)} without neighbours in "
                f"the network, at most {farthest:.3g} km away"
            )
            findings.warning(f"attribute {name}", message, [*donor_of])
    _error(findings, name, ids, np.isnan(filled), "missing there and all around")
    return filled


def _from_neighbours(values: FloatArray, fabric: Hydrofabric) -> FloatArray:
    """Fill missing values with means of the divides upstream, downstream and beside."""
    ends, starts = _edges(fabric)
    filled = values.copy()
    while True:
        present = ~np.isnan(filled)
        use = present[starts] & ~present[ends]
        if not use.any():
            return filled
        total, count = np.zeros(len(values)), np.zeros(len(values))
        np.add.at(total, ends[use], filled[starts[use]])
        np.add.at(count, ends[use], 1.0)
        reached = count > 0
        filled[reached] = total[reached] / count[reached]


def _edges(fabric: Hydrofabric) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pairs of divides that are next to each other, both ways."""
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
    """Write the table of catchments that a run configuration names."""
    names = [*columns]
    rows = ([name, *(float(columns[n][k]) for n in names), float(area[k])] for k, name in enumerate(ids))
    write_csv(path, ["id", *names, "area_km2"], rows)
