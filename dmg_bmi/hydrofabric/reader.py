"""A hydrofabric GeoPackage: divides, the river network that drains them, and what is wrong with it.

Reads the tables of hydrofabric v2.2 (``flowpath-attributes``) and of the layout before it
(``flowpath_attributes``, ``length_m``, ``rl_gages``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..errors import HydrofabricError
from ..io.geopackage import Columns, GeoPackage, numbers
from ..physics.routing import channel
from ..physics.routing.network import river_static

PARAMETERS = tuple(p.name for p in channel.PARAMETERS)
CHANNEL = (*PARAMETERS, *(a.name for a in channel.ATTRIBUTES))
CHANNEL_TABLE = ("flowpath-attributes", "flowpath_attributes")
ATTRIBUTE_TABLE = ("divide-attributes", "divide_attributes")
#: Names that a column has had, in lower case.
ALIASES = {
    "area": ("areasqkm", "area_sqkm"),
    "flowpath": ("id", "link"),
    "gage": ("gage", "rl_gages"),
    "waterbody": ("waterbodyid", "rl_nhdwaterbodycomid"),
    "total": ("tot_drainage_areasqkm",),
}
#: Types of divides that drain to no river by nature.
WITHOUT_RIVER = ("coastal", "internal")
#: Columns of divide-attributes in other units than anyone expects: name here, units, scale, offset.
CONVERTED = {"mean.elevation": ("elevation", "m", 0.01, 0.0), "mean.slope": ("slope", "degree", -1.0, 90.0)}
TWI = "dist_4.twi"
#: Ids in a message; the finding has them all.
SHOWN = 10


@dataclass(frozen=True)
class Finding:
    """Something in a hydrofabric that its user should know.

    Parameters
    ----------
    kind : str
        duplicate, orphan, loop, outlet, lake, drainage area, missing attributes, zero
        area, zero length, zero slope, channel.
    ids : tuple of str
        All that it is about.
    message : str
    fatal : bool
        Whether it keeps water from being routed.
    """

    kind: str
    ids: tuple[str, ...]
    message: str
    fatal: bool = False


@dataclass(frozen=True)
class Divides:
    """Catchments, in the order of the table ``divides``.

    Parameters
    ----------
    ids : tuple of str
        ``cat-...``
    toid : tuple of str
        The nexus that each drains to.
    area : ndarray
        km2.
    reach : ndarray of int64
        Row of the network that takes the runoff of each, -1 where there is none.
    """

    ids: tuple[str, ...]
    toid: tuple[str, ...]
    area: FloatArray
    reach: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Network:
    """Reaches, in the order of the table ``flowpaths``.

    Parameters
    ----------
    ids : tuple of str
        ``wb-...``
    toid : tuple of str
        The nexus that each flows to.
    downstream : ndarray of int64
        Row that each flows into; the number of rows where water leaves the network.
    level : ndarray of int64
        Reaches above each on the longest way from a source.
    area : ndarray
        Of the divides whose runoff each takes, km2.
    channel : dict of name to ndarray
        n, nCC, BtmWdth, TopWdth, TopWdthCC, ChSlp, Length_m, So; NaN where missing.
    lake : ndarray of bool
        Reaches that belong to a lake.
    gages : dict of gage id to row
        A gage measures what leaves its reach.
    """

    ids: tuple[str, ...]
    toid: tuple[str, ...]
    downstream: NDArray[np.int64]
    level: NDArray[np.int64]
    area: FloatArray
    channel: dict[str, FloatArray]
    lake: BoolArray
    gages: dict[str, int]

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"<Network of {len(self)} reaches>"

    def columns(self) -> dict[str, FloatArray]:
        """Columns of `channel`, `area`, and ``upstream_area``: km2 of all that drains to a reach."""
        return {**self.channel, "area": self.area, "upstream_area": self.drained(self.area)}

    def drained(self, values: FloatArray) -> FloatArray:
        """Sums of `values` over each reach and all those above it."""
        sums = np.append(values, 0.0)
        by_level = np.argsort(self.level, kind="stable")
        for rows in np.split(by_level, np.cumsum(np.bincount(self.level))[:-1]):
            np.add.at(sums, self.downstream[rows], sums[rows])
        return sums[:-1]

    def graph(self) -> dict[str, Tensor]:
        """Which reach flows into which, as :func:`~dmg_bmi.physics.routing.network.river_static` wants it."""
        lake = torch.from_numpy(self.lake) if self.lake.any() else None
        return river_static(torch.from_numpy(self.downstream), lake)

    def attributes(self) -> dict[str, Tensor]:
        """`columns` and `graph` as tensors: the attributes of a :class:`~dmg_bmi.DeltaModel` that routes."""
        return {name: torch.from_numpy(values) for name, values in self.columns().items()} | self.graph()

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """`parameters` and `static` of :class:`~dmg_bmi.physics.routing.muskingum_cunge.MuskingumCunge`."""
        parameters = {name: torch.from_numpy(self.channel[name]) for name in PARAMETERS}
        static = {a.name: torch.from_numpy(self.channel[a.name]) for a in channel.ATTRIBUTES}
        return parameters, {**static, **self.graph()}


@dataclass(frozen=True)
class DivideAttributes:
    """The table ``divide-attributes``, in the order of the divides.

    Parameters
    ----------
    values : dict of name to ndarray
        Numbers, NaN where missing. Under names of their own stand ``elevation`` (in the
        file centimetres), ``slope`` from the horizontal (in the file 90 is flat) and
        ``twi``, the mean of the file's four classes; all others are as in the file.
    units : dict of name to str
        Of those with a name of their own.
    """

    values: dict[str, FloatArray]
    units: dict[str, str]


@dataclass(frozen=True)
class Hydrofabric:
    """What :func:`read` found in a GeoPackage; `attributes` is None where it has none."""

    path: Path
    divides: Divides
    network: Network
    attributes: DivideAttributes | None
    findings: tuple[Finding, ...]

    def routable(self, minimum_slope: float | None = None) -> Network:
        """The network, if water can be routed through it.

        Parameters
        ----------
        minimum_slope : float, optional
            Bed slope given to reaches with less. Without it a slope of zero is an error.

        Raises
        ------
        HydrofabricError
            Naming all that is wrong.
        """
        fatal = [f for f in self.findings if f.fatal]
        network = self.network
        if minimum_slope is not None:
            if not minimum_slope > 0:
                raise HydrofabricError(f"minimum_slope must be above 0, not {minimum_slope}")
            fatal = [f for f in fatal if f.kind != "zero slope"]
            slope = np.fmax(network.channel["So"], minimum_slope)
            network = replace(network, channel={**network.channel, "So": slope})
        if fatal:
            listed = "\n".join(f"  {f.kind}: {f.message}" for f in fatal)
            raise HydrofabricError(f"{self.path}: water cannot be routed through this network:\n{listed}")
        return network


def read(path: str | Path) -> Hydrofabric:
    """Read a hydrofabric GeoPackage.

    Raises
    ------
    HydrofabricError
        If the file cannot be read or lacks a table or a column. What is wrong with the
        network is in the findings, and raised by :meth:`Hydrofabric.routable`.
    """
    path = Path(path)
    with GeoPackage(path, ALIASES) as file:
        require_layout(file)
        divides = file.columns(("divides",), "divide_id", ("toid", "area"), ("type",), ("toid",))
        to = ("toid", "divide_id")
        flowpaths = file.columns(("flowpaths",), "id", to, ("total",), to)
        nexuses = file.columns(("nexus",), "id", ("toid",), (), ("toid",))
        marks = ("gage", "waterbody")
        reaches = file.columns(CHANNEL_TABLE, "flowpath", CHANNEL, marks, marks)
        attributes = file.everything(ATTRIBUTE_TABLE, "divide_id")

    report = _Report()
    divides = report.unique("divides", divides, "divide_id")
    flowpaths = report.unique("flowpaths", flowpaths, "id")
    nexuses = report.unique("nexus", nexuses, "id")
    row = {name: i for i, name in enumerate(flowpaths["id"])}
    gages = {
        gage.strip(): row[name]
        for name, listed in zip(reaches["flowpath"], reaches.pop("gage"), strict=True)
        for gage in listed.split(",")
        if name in row and gage.strip()
    }
    reaches = report.unique(CHANNEL_TABLE[0], reaches, "flowpath")

    network = _network(flowpaths, nexuses, reaches, gages, row, report)
    reach_of = {divide: i for i, divide in enumerate(flowpaths["divide_id"])}
    reach = np.array([reach_of.get(name, -1) for name in divides["divide_id"]], dtype=np.int64)
    catchments = Divides(tuple(divides["divide_id"]), tuple(divides["toid"]), numbers(divides["area"]), reach)
    drained = reach >= 0
    np.add.at(network.area, reach[drained], catchments.area[drained])
    _check_areas(catchments, divides["type"], network, numbers(flowpaths["total"]), report)
    table = None
    if attributes is not None:
        attributes = report.unique(ATTRIBUTE_TABLE[0], attributes, "divide_id")
        table = _divide_attributes(attributes, catchments.ids, report)
    return Hydrofabric(path, catchments, network, table, tuple(report.findings))


def require_layout(file: GeoPackage) -> None:
    """Refuse, by its name, the layout that is to come, in which everything has another name."""
    if file.has("divides", "div_id"):
        raise HydrofabricError(
            f"{file.path}: is of NOAA's next layout (div_id, fp_id, dn_nex_id), which is not read yet; "
            "use version 2.2 or 2.0.1 (divide_id, id, toid)"
        )


class _Report:
    """Collects findings."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def add(self, kind: str, ids: Iterable[str], what: str, *, fatal: bool = False) -> None:
        """Add a finding about these ids, if there are any."""
        ids = tuple(map(str, ids))
        if ids:
            more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
            self.findings.append(Finding(kind, ids, f"{', '.join(ids[:SHOWN])}{more} {what}", fatal))

    def unique(self, table: str, columns: Columns, key: str) -> Columns:
        """The first row of each key. Rows that repeat one are reported; fatal where they differ."""
        first: dict[Any, int] = {}
        rows = list(zip(*columns.values(), strict=True))
        again: dict[Any, None] = {}
        different: dict[Any, None] = {}
        for i, name in enumerate(columns[key]):
            kept = first.setdefault(name, i)
            if kept != i:
                (again if rows[i] == rows[kept] else different)[name] = None
        self.add("duplicate", again, f"repeated in the table {table}; the first row is used")
        self.add("duplicate", different, f"in several rows of the table {table} that differ", fatal=True)
        if len(first) == len(rows):
            return columns
        return {name: [values[i] for i in first.values()] for name, values in columns.items()}


def _network(
    flowpaths: Columns,
    nexuses: Columns,
    reaches: Columns,
    gages: dict[str, int],
    row: dict[str, int],
    report: _Report,
) -> Network:
    ids = tuple(row)
    downstream = _downstream(flowpaths, nexuses, row, report)
    level, in_circle = _levels(downstream)
    report.add("loop", _chosen(ids, in_circle), "flow in a circle", fatal=True)

    source = np.full(len(ids), -1)
    for i, name in enumerate(reaches["flowpath"]):
        if name in row:
            source[row[name]] = i
    table = CHANNEL_TABLE[0]
    report.add("missing attributes", _chosen(ids, source < 0), f"not in the table {table}", fatal=True)
    shape = {name: np.append(numbers(reaches[name]), np.nan)[source] for name in CHANNEL}
    for name, values in shape.items():
        empty = np.isnan(values) & (source >= 0)
        report.add(
            "missing attributes", _chosen(ids, empty), f"without {name} in the table {table}", fatal=True
        )
        kind = {"Length_m": "zero length", "So": "zero slope"}.get(name, "channel")
        if name != "TopWdthCC":
            report.add(kind, _chosen(ids, values <= 0), f"with {name} of 0 or less", fatal=True)
    narrow = shape["TopWdthCC"] <= shape["TopWdth"]
    report.add("channel", _chosen(ids, narrow), "without flood plains: TopWdthCC is no more than TopWdth")

    waterbody = [*reaches["waterbody"], ""]
    lake = np.array([waterbody[i] not in ("", "0", "-9999") for i in source], dtype=np.bool_)
    report.add("lake", _chosen(ids, lake), "in lakes, which water passes at once")
    return Network(ids, tuple(flowpaths["toid"]), downstream, level, np.zeros(len(ids)), shape, lake, gages)


def _downstream(
    flowpaths: Columns, nexuses: Columns, row: dict[str, int], report: _Report
) -> NDArray[np.int64]:
    """Row below each flowpath, by way of its nexus; the number of rows where there is none."""
    beyond = dict(zip(nexuses["id"], nexuses["toid"], strict=True))
    downstream = np.full(len(row), len(row))
    lost, outlets = [], []
    for i, (name, toid) in enumerate(zip(flowpaths["id"], flowpaths["toid"], strict=True)):
        if toid not in beyond and toid not in row:
            lost.append(f"{name} (to {toid or 'nothing'})")
            continue
        below = beyond.get(toid, toid)
        if below in row:
            downstream[i] = row[below]
        else:
            outlets.append(name)
    report.add("orphan", lost, "flow to what is in neither the table nexus nor flowpaths", fatal=True)
    report.add("outlet", outlets, "flow out of the network")
    fed = set(flowpaths["toid"])
    report.add("orphan", (n for n in nexuses["id"] if n not in fed), "are nexuses that nothing flows to")
    return downstream


def _levels(downstream: NDArray[np.int64]) -> tuple[NDArray[np.int64], BoolArray]:
    """Reaches above each on the longest way from a source, and whether each is in a circle."""
    n = len(downstream)
    above = np.bincount(downstream, minlength=n + 1)[:n]
    level = np.zeros(n, dtype=np.int64)
    in_circle = np.ones(n, dtype=np.bool_)
    ready = np.flatnonzero(above == 0)
    steps = 0
    while len(ready):
        level[ready] = steps
        in_circle[ready] = False
        # With one way down, what lies below a circle is in it: nothing else is left over.
        below, count = np.unique(downstream[ready], return_counts=True)
        below, count = below[below < n], count[below < n]
        above[below] -= count
        ready = below[above[below] == 0]
        steps += 1
    return level, in_circle


def _check_areas(
    divides: Divides, types: Sequence[Any], network: Network, total: FloatArray, report: _Report
) -> None:
    without = ~(divides.area > 0)
    report.add(
        "zero area", _chosen(divides.ids, without), "without an area that is a number above 0", fatal=True
    )
    dry = np.array([kind in WITHOUT_RIVER for kind in types], dtype=np.bool_)
    orphan = divides.reach < 0
    report.add("orphan", _chosen(divides.ids, orphan & dry), "drain to no flowpath, and are not routed")
    report.add("orphan", _chosen(divides.ids, orphan & ~dry), "drain to no flowpath", fatal=True)

    off = np.abs(network.drained(network.area) - total) > 0.01 * total
    report.add(
        "drainage area",
        _chosen(network.ids, off),
        "with a tot_drainage_areasqkm that is not, within 1 %, the area of the divides above",
    )


def _divide_attributes(table: Columns, ids: Sequence[str], report: _Report) -> DivideAttributes:
    place = {name: i for i, name in enumerate(table.pop("divide_id"))}
    source = np.array([place.get(name, -1) for name in ids], dtype=np.int64)
    table_name = ATTRIBUTE_TABLE[0]
    report.add("missing attributes", _chosen(ids, source < 0), f"not in the table {table_name}")
    values: dict[str, FloatArray] = {}
    units: dict[str, str] = {}
    for column, entries in table.items():
        name, unit, scale, offset = CONVERTED.get(column, (column, "", 1.0, 0.0))
        if column == TWI:
            name, unit, entries = "twi", "1", [_mean_of_classes(entry) for entry in entries]
        elif any(isinstance(entry, str) for entry in entries):
            continue
        values[name] = np.append(numbers(entries) * scale + offset, np.nan)[source]
        if unit:
            units[name] = unit
        empty = np.isnan(values[name]) & (source >= 0)
        report.add("missing attributes", _chosen(ids, empty), f"without {column} in the table {table_name}")
    return DivideAttributes(values, units)


def _mean_of_classes(text: str | None) -> float:
    """Mean of a distribution as hydrofabrics write it: ``[{"v": value, "frequency": share}, ...]``."""
    try:
        classes = [(float(c["v"]), float(c["frequency"])) for c in json.loads(text or "")]
        return sum(v * f for v, f in classes) / sum(f for _, f in classes)
    except (ValueError, TypeError, KeyError, ZeroDivisionError):
        return np.nan


def _chosen(ids: Sequence[str], mask: BoolArray) -> list[str]:
    return [ids[i] for i in np.flatnonzero(mask).tolist()]
