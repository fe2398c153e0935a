"""Table of catchments: which rows a component has, their attributes, areas and network."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import BoolArray, FloatArray, FloatingArray
from ..errors import AttributeTableError, ForcingError, alternatives, repeated
from ..io.csv_table import CsvTable
from ..io.units import cf_units, conversion

if TYPE_CHECKING:
    from ..hydrofabric.reader import Hydrofabric
    from ..model.variables import Variable

AREA_COLUMN = "area_km2"
#: What files write where nothing is known, and no attribute or store ever is; greater ones are above 1e30.
FILLS = (-999.0, -9999.0, -99999.0, -999999.0, -32768.0, -2147483648.0, 1e20, float(np.float32(1e20)))


@dataclass(frozen=True)
class Catchments:
    """Choice of catchments, and their static attributes.

    Parameters
    ----------
    file : Path, optional
        CSV with a header; its first column holds the ids, the others numbers.
    ids : tuple of str
        With `file` a choice of its rows, in this order; without it names for the rows.
    attributes : mapping of str to number or list
        Attributes that `file` does not have; a number holds for all rows.
    area : number or list, optional
        km2; by default the column ``area_km2`` of `file`.
    hydrofabric : Path, optional
        GeoPackage, for a model of a river network: rows are the reaches of its network, in its order,
        with their channels as attributes. A `file` may add others.
    minimum_slope : float, optional
        Bed slope of reaches that have less; without it a slope of 0 is an error.
    """

    file: Path | None = None
    ids: tuple[str, ...] = ()
    attributes: dict[str, float | list[float]] = field(default_factory=dict)
    area: float | list[float] | None = None
    hydrofabric: Path | None = None
    minimum_slope: float | None = None


@dataclass(frozen=True)
class CatchmentTable:
    """Ids, attributes ``[rows]`` and areas of the rows of a component, and the network they may form."""

    ids: tuple[str, ...]
    attributes: Mapping[str, FloatArray]
    area: FloatArray
    fabric: Hydrofabric | None = None

    def repeated(self, members: int) -> CatchmentTable:
        """Return the table of the members of each catchment, side by side."""
        return CatchmentTable(
            tuple(f"{name}, member {k}" for name in self.ids for k in range(members)),
            {name: np.repeat(values, members) for name, values in self.attributes.items()},
            np.repeat(self.area, members),
        )

    @classmethod
    def load(cls, catchments: Catchments, names: Sequence[str]) -> CatchmentTable:
        """Gather the attributes `names`.

        Raises
        ------
        AttributeTableError
            Naming the attribute and the catchments for which it is missing or not a number.
        """
        fabric, ids, columns = _network(catchments, names)
        if catchments.file is not None:
            ids, from_file = _read_csv(catchments.file, ids, {*names, AREA_COLUMN})
            columns |= from_file
        ids = _complete_ids(catchments, ids)
        columns |= _configured(catchments, names, len(ids))
        for name in names:
            if name not in columns:
                raise AttributeTableError(
                    f"attribute {name!r} is missing: add it to the file of catchments or under "
                    "catchments.attributes"
                )
            check_attribute(name, columns[name], ids)
        area = columns.get(AREA_COLUMN, np.full(len(ids), np.nan))
        stated = ~np.isnan(area)  # a table may leave it open
        if catchments.area is not None:
            area, stated = _column("area", catchments.area, len(ids)), np.ones(len(ids), dtype=np.bool_)
        with_area = [name for name, is_stated in zip(ids, stated, strict=True) if is_stated]
        check_attribute("area", area[stated], with_area, float(np.finfo(np.float32).tiny))
        return cls(ids, {name: columns[name] for name in names}, area, fabric)


def _network(
    catchments: Catchments, names: Sequence[str]
) -> tuple[Hydrofabric | None, tuple[str, ...], dict[str, FloatArray]]:
    """Return the hydrofabric, if there is one, with the ids of its reaches and their channels."""
    if catchments.hydrofabric is None:
        return None, catchments.ids, {}
    from ..hydrofabric import reader as hydrofabric

    fabric = hydrofabric.read(catchments.hydrofabric)
    network = fabric.routable(catchments.minimum_slope)
    if catchments.ids:
        raise AttributeTableError(
            "catchments: ids and hydrofabric exclude each other: a network is routed whole"
        )
    channels = network.columns()
    columns = {AREA_COLUMN: channels["area"]} | {k: channels[k] for k in names if k in channels}
    return fabric, network.ids, columns


def _complete_ids(catchments: Catchments, ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the ids, numbered by the length of attributes where there are none."""
    lengths = [len(v) for v in catchments.attributes.values() if isinstance(v, list)]
    n = len(ids) or max(lengths, default=1)
    if n == 0:
        raise AttributeTableError("catchments.attributes: a list is empty; give a value per catchment")
    ids = ids or tuple(str(i) for i in range(n))
    if twice := repeated(ids):
        raise AttributeTableError(f"catchment {twice[0]!r} appears twice among the ids")
    return ids


def _configured(catchments: Catchments, names: Sequence[str], n: int) -> dict[str, FloatArray]:
    """Return the attributes that the configuration itself gives."""
    unknown = sorted(catchments.attributes.keys() - set(names))
    if unknown:
        raise AttributeTableError(
            f"catchments.attributes: this bundle has no attribute {', '.join(unknown)}; "
            f"it uses {', '.join(names) or 'none'}"
        )
    return {name: _column(name, value, n) for name, value in catchments.attributes.items()}


def attributes_of(
    variables: Iterable[Variable],
    attributes: Mapping[str, FloatingArray],
    units: Mapping[str, str],
    source: str,
) -> dict[str, FloatArray]:
    """Take the attributes of a variable table from those that came with series, in the table's units.

    Parameters
    ----------
    variables : iterable of Variable
        Those of other kinds than attributes count for nothing.
    attributes : mapping of name to array ``[rows]``
    units : mapping of name to str
        Where one is empty or missing its attribute counts as being in the table's.
    source : str
        What they came from, for messages.

    Returns
    -------
    dict of symbol to array

    Raises
    ------
    ForcingError
        Naming the attribute that is missing.
    """
    found: dict[str, FloatArray] = {}
    for v in (v for v in variables if v.kind == "attribute"):
        name = next((n for n in (v.symbol, v.name) if n in attributes), None)
        if name is None:
            what = alternatives(v.symbol, [*attributes])
            raise ForcingError(f"{source}: has no attribute {v.symbol!r}; {what}")
        scale, offset = 1.0, 0.0
        given = units.get(name)
        # The same, and what files have in the place of a logarithm's units, need not be understood: d yr-1.
        if given and v.units and given not in (v.units, cf_units(v.units)):
            scale, offset = conversion(given, v.units)
        found[v.symbol] = attributes[name].astype(np.float64) * scale + offset
    return found


def implausible(values: FloatArray) -> BoolArray:
    """Find values that are not finite, mark what is missing, or look like memory that nobody set."""
    size = np.abs(values)
    return ~(size < 1e30) | ((values != 0) & (size < 1e-200)) | np.isin(values, FILLS)


def check_attribute(
    name: str,
    values: FloatArray,
    ids: Sequence[str],
    lower: float = -inf,
    upper: float = inf,
    kind: str = "attribute",
) -> None:
    """Refuse what is not a plausible number, or lies outside its limits."""
    bad = implausible(values) | (values < lower) | (values > upper)
    if bad.any():
        first = int(np.argmax(bad))
        count = int(bad.sum())
        more = f" and {count - 1} more" if count > 1 else ""
        raise AttributeTableError(
            f"{kind} {name!r} of catchment {ids[first]!r}{more} is {values[first]}; give it a finite value"
            + (f" from {lower:g} to {upper:g}" if lower > -inf or upper < inf else "")
        )


def _column(name: str, value: float | list[float], n: int) -> FloatArray:
    if isinstance(value, list) and len(value) != n:
        raise AttributeTableError(f"catchments: {name} has {len(value)} values for {n} catchments")
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))


def _read_csv(
    path: Path, ids: Sequence[str], names: set[str]
) -> tuple[tuple[str, ...], dict[str, FloatArray]]:
    """Return ids, all by default, and the columns `names` that the file has."""
    table = CsvTable.read(path, AttributeTableError)
    row_of = table.rows()
    absent = [i for i in ids if i not in row_of]
    if absent:
        raise AttributeTableError(
            f"{path}: has no catchment {', '.join(absent[:5])}; {alternatives(absent[0], row_of)}"
        )
    ids = tuple(ids) or tuple(row_of)
    rows = [row_of[i] for i in ids]
    return ids, {name: table.numbers(name, rows) for name in [*table.columns][1:] if name in names}
