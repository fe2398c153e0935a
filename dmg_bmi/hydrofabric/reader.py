"""Hydrofabric GeoPackages, read into divides, their river network and their attributes.

Tables are those of hydrofabric v2.2 (``flowpath-attributes``) or of the layout before it
(``flowpath_attributes``, ``length_m``, ``rl_gages``).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..arrays import FloatArray
from ..errors import HydrofabricError
from ..findings import Findings
from ..io.geopackage import Columns, GeoPackage, numbers
from .network import (
    CHANNEL,
    CHANNEL_TABLE,
    Divides,
    Network,
    NetworkReport,
    add_areas,
    build_network,
    select,
)

ATTRIBUTE_TABLE = ("divide-attributes", "divide_attributes")
#: Names that a column has had, in lower case.
ALIASES = {
    "area": ("areasqkm", "area_sqkm"),
    "flowpath": ("id", "link"),
    "gage": ("gage", "rl_gages"),
    "waterbody": ("waterbodyid", "rl_nhdwaterbodycomid"),
    "total": ("tot_drainage_areasqkm",),
}
#: Columns of divide-attributes in other units than anyone expects: name here, units, scale, offset.
CONVERTED = {"mean.elevation": ("elevation", "m", 0.01, 0.0), "mean.slope": ("slope", "degree", -1.0, 90.0)}
TWI = "dist_4.twi"
#: Other layouts by a table and a column that they alone have.
_NEXT = "NOAA's next layout (div_id, fp_id, dn_nex_id)"
_REFERENCE = "the reference fabric"
LAYOUTS = (
    ("divides", "div_id", _NEXT),
    ("flowpaths", "fp_id", _NEXT),
    ("nexus", "nex_id", _NEXT),
    ("divides", "comid", _REFERENCE),
    ("reference_catchments", "featureid", _REFERENCE),
    ("reconciled_divides", "id", _REFERENCE),
    ("refactored_divides", "id", _REFERENCE),
    ("catchments", "toid", "hydrofabric 1.0 (catchments in place of divides)"),
    ("divides", "id", "hydrofabric 1.2 (divides without divide_id)"),
    ("nhdflowline_network", "comid", "NHDPlus"),
    ("nhdflowline", "comid", "NHDPlus"),
    ("catchmentsp", "featureid", "NHDPlus"),
)


@dataclass(frozen=True)
class DivideAttributes:
    """The table ``divide-attributes``, in the order of the divides.

    Parameters
    ----------
    values : dict of name to ndarray
        Numbers, NaN where missing. Renamed are ``elevation`` (in the file centimetres),
        ``slope`` from the horizontal (in the file 90 is flat) and ``twi``, the mean of the
        file's four classes; all others are as in the file.
    units : dict of name to str
        Of the renamed.
    """

    values: dict[str, FloatArray]
    units: dict[str, str]


@dataclass(frozen=True)
class Hydrofabric:
    """The content of a GeoPackage; `attributes` is None where it has none."""

    path: Path
    divides: Divides
    network: Network
    attributes: DivideAttributes | None
    findings: Findings

    def routable(self, minimum_slope: float | None = None) -> Network:
        """Return the network, if water can be routed through it.

        Parameters
        ----------
        minimum_slope : float, optional
            Bed slope given to reaches with less. Without it a slope of zero is an error.

        Raises
        ------
        HydrofabricError
            Naming all that is wrong.
        """
        findings, network = self.findings, self.network
        if minimum_slope is not None:
            if not minimum_slope > 0:
                raise HydrofabricError(f"minimum_slope must be above 0, not {minimum_slope}")
            findings = Findings(f for f in findings if f.kind != "zero slope")
            slope = np.fmax(network.channel["So"], minimum_slope)
            network = replace(network, channel={**network.channel, "So": slope})
        findings.raise_errors(HydrofabricError, "water cannot be routed through this network:")
        return network


def read(path: str | Path) -> Hydrofabric:
    """Read a hydrofabric GeoPackage.

    Raises
    ------
    HydrofabricError
        If the file cannot be read, or a table or column is missing. What is wrong with the
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

    report = NetworkReport(path)
    divides = report.unique("divides", divides, "divide_id")
    flowpaths = report.unique("flowpaths", flowpaths, "id")
    nexuses = report.unique("nexus", nexuses, "id")
    gages = _gages(flowpaths, reaches)
    reaches = report.unique(CHANNEL_TABLE[0], reaches, "flowpath")

    network = build_network(flowpaths, nexuses, reaches, gages, report)
    reach_of = {divide: i for i, divide in enumerate(flowpaths["divide_id"])}
    reach = np.array([reach_of.get(name, -1) for name in divides["divide_id"]], dtype=np.int64)
    catchments = Divides(tuple(divides["divide_id"]), tuple(divides["toid"]), numbers(divides["area"]), reach)
    add_areas(network, catchments, divides["type"], numbers(flowpaths["total"]), report)
    table = None
    if attributes is not None:
        attributes = report.unique(ATTRIBUTE_TABLE[0], attributes, "divide_id")
        table = _divide_attributes(attributes, catchments.ids, report)
    return Hydrofabric(path, catchments, network, table, report.findings)


def _gages(flowpaths: Columns, reaches: Columns) -> dict[str, int]:
    """Take gages out of `reaches`, where rows that repeat a flowpath may each name others."""
    row = {name: i for i, name in enumerate(flowpaths["id"])}
    return {
        gage.strip(): row[name]
        for name, gages in zip(reaches["flowpath"], reaches.pop("gage"), strict=True)
        for gage in gages.split(",")
        if name in row and gage.strip()
    }


def require_layout(file: GeoPackage) -> None:
    """Refuse by its name a layout whose tables and columns are called otherwise."""
    if file.has("divides", "divide_id"):
        return
    for table, column, layout in LAYOUTS:
        if file.has(table, column):
            raise HydrofabricError(
                f"{file.path}: is of {layout}, which is not read; use version 2.2 or 2.0.1 (tables divides, "
                "flowpaths, nexus and flowpath-attributes; divide_id, id, toid)"
            )


def _divide_attributes(table: Columns, ids: Sequence[str], report: NetworkReport) -> DivideAttributes:
    place = {name: i for i, name in enumerate(table.pop("divide_id"))}
    source = np.array([place.get(name, -1) for name in ids], dtype=np.int64)
    table_name = ATTRIBUTE_TABLE[0]
    report.warning("missing attributes", select(ids, source < 0), f"not in the table {table_name}")
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
        report.warning("missing attributes", select(ids, empty), f"no {column} in the table {table_name}")
    return DivideAttributes(values, units)


def _mean_of_classes(text: str | None) -> float:
    """Mean of a distribution as hydrofabrics write it: ``[{"v": value, "frequency": share}, ...]``."""
    try:
        classes = [(float(c["v"]), float(c["frequency"])) for c in json.loads(text or "")]
        return sum(v * f for v, f in classes) / sum(f for _, f in classes)
    except (ValueError, TypeError, KeyError, ZeroDivisionError):
        return np.nan
