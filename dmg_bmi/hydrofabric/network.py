"""A river network, the divides that drain into it, and what keeps water from being routed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import BoolArray, FloatArray
from ..findings import Findings
from ..io.geopackage import Columns, numbers
from ..physics.routing import channel
from ..physics.routing.network import river_static

PARAMETERS = tuple(p.name for p in channel.PARAMETERS)
CHANNEL = (*PARAMETERS, *(a.name for a in channel.ATTRIBUTES))
#: Names that the table of channels has had; the first is used in messages.
CHANNEL_TABLE = ("flowpath-attributes", "flowpath_attributes")
#: Types of divides that drain to no river by nature.
WITHOUT_RIVER = ("coastal", "internal")


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
        """Return `channel`, `area` and ``upstream_area``: km2 of all that drains to a reach."""
        return {**self.channel, "area": self.area, "upstream_area": self.drained(self.area)}

    def drained(self, values: FloatArray) -> FloatArray:
        """Sum `values` over each reach and all those above it."""
        sums = np.append(values, 0.0)
        by_level = np.argsort(self.level, kind="stable")
        for rows in np.split(by_level, np.cumsum(np.bincount(self.level))[:-1]):
            np.add.at(sums, self.downstream[rows], sums[rows])
        return sums[:-1]

    def graph(self) -> dict[str, Tensor]:
        """Return which reach flows into which, as static inputs of a river model.

        They are those of :func:`~dmg_bmi.physics.routing.network.river_static`.
        """
        lake = torch.from_numpy(self.lake) if self.lake.any() else None
        return river_static(torch.from_numpy(self.downstream), lake)

    def attributes(self) -> dict[str, Tensor]:
        """Return `columns` and `graph` as tensors, for a :class:`~dmg_bmi.DeltaModel` that routes."""
        return {name: torch.from_numpy(values) for name, values in self.columns().items()} | self.graph()

    def tensors(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return parameters and static inputs of a Muskingum-Cunge model.

        They are those of :class:`~dmg_bmi.physics.routing.muskingum_cunge.MuskingumCunge`.
        """
        parameters = {name: torch.from_numpy(self.channel[name]) for name in PARAMETERS}
        static = {a.name: torch.from_numpy(self.channel[a.name]) for a in channel.ATTRIBUTES}
        return parameters, {**static, **self.graph()}


class NetworkReport:
    """Findings about the tables of one hydrofabric.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.findings = Findings()

    def error(self, kind: str, ids: Iterable[str], message: str) -> None:
        """Report ids that keep water from being routed, if there are any."""
        if ids := tuple(map(str, ids)):
            self.findings.error(self.path, message, ids, kind)

    def warning(self, kind: str, ids: Iterable[str], message: str) -> None:
        """Report ids that a user should know, if there are any."""
        if ids := tuple(map(str, ids)):
            self.findings.warning(self.path, message, ids, kind)

    def unique(self, table: str, columns: Columns, key: str) -> Columns:
        """Keep the first row of each key, and report repeated ones: an error where they differ."""
        first: dict[Any, int] = {}
        rows = list(zip(*columns.values(), strict=True))
        repeated: dict[Any, None] = {}
        different: dict[Any, None] = {}
        for i, name in enumerate(columns[key]):
            k = first.setdefault(name, i)
            if k != i:
                (repeated if rows[i] == rows[k] else different)[name] = None
        self.warning("duplicate", repeated, f"repeated in the table {table}; the first row is used")
        self.error("duplicate", different, f"repeated in the table {table}, in rows that differ")
        if len(first) == len(rows):
            return columns
        return {name: [values[i] for i in first.values()] for name, values in columns.items()}


def build_network(
    flowpaths: Columns, nexuses: Columns, reaches: Columns, gages: dict[str, int], report: NetworkReport
) -> Network:
    """Link flowpaths by their nexuses, and look up their channels.

    Parameters
    ----------
    flowpaths, nexuses, reaches : dict of name to list
        Columns of the tables flowpaths, nexus and flowpath-attributes; no key is repeated.
    gages : dict of gage id to row of `flowpaths`
    report : NetworkReport
        Takes what is wrong.

    Returns
    -------
    Network
        Without areas, which the divides give.
    """
    row = {name: i for i, name in enumerate(flowpaths["id"])}
    ids = tuple(row)
    downstream = _downstream(flowpaths, nexuses, row, report)
    level, in_circle = _levels(downstream)
    report.error("loop", select(ids, in_circle), "water flows in a circle")

    source = np.full(len(ids), -1)
    for i, name in enumerate(reaches["flowpath"]):
        if name in row:
            source[row[name]] = i
    values = {name: np.append(numbers(reaches[name]), np.nan)[source] for name in CHANNEL}
    _check_channel(ids, values, source, report)

    waterbody = [*reaches["waterbody"], ""]
    lake = np.array([waterbody[i] not in ("", "0", "-9999") for i in source], dtype=np.bool_)
    report.warning("lake", select(ids, lake), "reaches in a lake, which water passes at once")
    area = np.zeros(len(ids))
    return Network(ids, tuple(flowpaths["toid"]), downstream, level, area, values, lake, gages)


def _check_channel(
    ids: Sequence[str], channels: dict[str, FloatArray], source: NDArray[np.int64], report: NetworkReport
) -> None:
    table = CHANNEL_TABLE[0]
    report.error("missing attributes", select(ids, source < 0), f"not in the table {table}")
    for name, values in channels.items():
        empty = np.isnan(values) & (source >= 0)
        report.error("missing attributes", select(ids, empty), f"no {name} in the table {table}")
        kind = {"Length_m": "zero length", "So": "zero slope"}.get(name, "channel")
        if name != "TopWdthCC":
            report.error(kind, select(ids, values <= 0), f"{name} is 0 or less")
        report.error("channel", select(ids, np.isposinf(values)), f"{name} is infinite")
    narrow = channels["TopWdthCC"] <= channels["TopWdth"]
    report.warning("channel", select(ids, narrow), "no flood plain: TopWdthCC is not above TopWdth")


def _downstream(
    flowpaths: Columns, nexuses: Columns, row: dict[str, int], report: NetworkReport
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
    report.error("orphan", lost, "flow to an id that is in neither of the tables nexus and flowpaths")
    report.warning("outlet", outlets, "flow out of the network")
    fed = set(flowpaths["toid"])
    report.warning("orphan", (n for n in nexuses["id"] if n not in fed), "nexuses that nothing flows to")
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


def add_areas(
    network: Network, divides: Divides, types: Sequence[Any], total: FloatArray, report: NetworkReport
) -> None:
    """Add the areas of divides to their reaches, in place, and check them.

    Parameters
    ----------
    network : Network
    divides : Divides
    types : sequence
        Of the divides, such as coastal.
    total : ndarray
        Drainage area of each reach by the table, km2.
    report : NetworkReport
    """
    orphan = divides.reach < 0
    np.add.at(network.area, divides.reach[~orphan], divides.area[~orphan])
    report.error(
        "zero area",
        select(divides.ids, ~((divides.area > 0) & (divides.area < np.inf))),
        "area is missing, infinite or not above 0",
    )
    dry = np.array([kind in WITHOUT_RIVER for kind in types], dtype=np.bool_)
    report.warning("orphan", select(divides.ids, orphan & dry), "drain to no flowpath, and are not routed")
    report.error("orphan", select(divides.ids, orphan & ~dry), "drain to no flowpath")
    off = np.abs(network.drained(network.area) - total) > 0.01 * total
    report.warning(
        "drainage area",
        select(network.ids, off),
        "tot_drainage_areasqkm differs from the area of the divides above by more than 1 %",
    )


def select(ids: Sequence[str], mask: BoolArray) -> list[str]:
    """Return the ids whose entry of `mask` is true."""
    return [ids[i] for i in np.flatnonzero(mask).tolist()]
