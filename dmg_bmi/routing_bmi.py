"""A river network as a BMI component, under the names of NextGen's routing components."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray
from .bmi import DeltaModelBmi
from .errors import ConfigError, ForcingError, ValueShapeError, VariableError
from .hydrofabric.network import PARAMETERS
from .hydrofabric.reader import Hydrofabric
from .model.delta_model import DeltaModel
from .model.variables import FLOW, unknown_variable
from .runtime.component import Component
from .runtime.config import RunConfig
from .runtime.metadata import Reserved, id_number

SOURCE_IDS = "land_surface_water_source__id"
COUNTS = (f"{FLOW}__count", f"{SOURCE_IDS}__count")
REACH_IDS = "channel_water__id"
LATERAL = "lateral_inflow"
#: Variables beyond those of the component.
TABLE = {
    FLOW: Reserved("m3 s-1", "float64"),
    LATERAL: Reserved("m3 s-1", "float64"),
    SOURCE_IDS: Reserved("1", "int32"),
    REACH_IDS: Reserved("1", "int64"),
    **dict.fromkeys(COUNTS, Reserved("1", "int64")),
}


def routing_model(
    *,
    kernel: str = "conservative",
    substeps: int = 12,
    step: float = 3600.0,
    nn: dict[str, Any] | None = None,
    roles: Sequence[dict[str, Any]] = (),
    **options: Any,
) -> DeltaModel:
    """Build Muskingum-Cunge as a DeltaModel; what no network supplies comes from the hydrofabric's columns.

    Parameters
    ----------
    kernel, substeps
        See :class:`~dmg_bmi.physics.routing.muskingum_cunge.MuskingumCunge`.
    step : float
        Seconds.
    nn, roles
        Networks that supply some of the parameters, as for :meth:`.DeltaModel.build`; a role names
        them under ``static``.
    **options
        Further options of :meth:`.DeltaModel.build`, such as ``statistics``.
    """
    learned = {name for role in roles for name in (*role.get("static", ()), *role.get("dynamic", ()))}
    return DeltaModel.build(
        nn=nn,
        phy_model={"name": "muskingum_cunge", "kernel": kernel, "substeps": substeps},
        roles=roles,
        fixed={name: name for name in PARAMETERS if name not in learned},
        step=step,
        **options,
    )


@dataclass(frozen=True)
class RoutingConfig(RunConfig):
    """Keys of a routing component's configuration: those of every component, and `sources`.

    Parameters
    ----------
    sources : {"reach", "divide", "nexus"}
        What gives water to the network: the items of ``land_surface_water_source__volume_flow_rate``
        are its reaches, the divides of the hydrofabric, or its nexuses, as NextGen hands them over. The
        water of a nexus is shared out among the reaches that drain to it, by the area of their divides.
    """

    sources: Literal["reach", "divide", "nexus"] = "reach"


class RoutingBmi(DeltaModelBmi):
    """Flow through a river network as a BMI component; rows are reaches.

    It is a :class:`DeltaModelBmi` of a bundle that routes (``muskingum_cunge``,
    ``muskingum_cunge_nwm``, or one whose channels are learned) over the network of a hydrofabric, and
    knows NextGen's names for handing water over besides: ``land_surface_water_source__id`` (int32, the
    digits of the ids of the sources) and the counts ``..__id__count`` and
    ``land_surface_water_source__volume_flow_rate__count`` (int64), all unpublished. From the start they
    say all sources of the kind that the configuration names, in the hydrofabric's order. A
    framework may set counts, then ids, to hand over some of them, in its own order; the flow
    then has an item for each, and sources that are not among them give nothing.
    ``channel_water__id`` (int64) has the digits of the reaches.
    """

    configuration: ClassVar[type[RunConfig]] = RoutingConfig

    @property
    def _sources(self) -> Sources | None:
        return self._extra if isinstance(self._extra, Sources) else None

    def _extra_variables(self, component: Component) -> Sources | None:
        """Return the sources of a network, unless its inflow is stored forcing."""
        fabric, config = component.group.table.fabric, component.config
        if fabric is None or LATERAL not in component.about.by_name:
            raise ConfigError(
                "a routing component requires catchments.hydrofabric and a bundle that routes, "
                "such as muskingum_cunge"
            )
        assert isinstance(config, RoutingConfig)  # noqa: S101  `configuration` says so
        return Sources(component, fabric, config.sources) if component.about.inputs else None

    def _before_update(self) -> None:
        """Hand water of the sources over to the reaches; inflow stays as it was set."""
        if self._sources is not None:
            self._sources.give()

    def item_ids(self, name: str) -> tuple[str, ...]:
        """Return the ids of the sources for what they give, else of the reaches."""
        self._require(name)
        if self._sources is not None and name in (FLOW, LATERAL, SOURCE_IDS):
            return self._sources.names
        return super().item_ids(name)


class Sources:
    """Sources of water of a network, by id, and what each gives.

    Parameters
    ----------
    component : Component
        Of the network.
    fabric : Hydrofabric
    kind : {"reach", "divide", "nexus"}

    Attributes
    ----------
    names : tuple of str
        Sources in the order of the flow's items.
    """

    def __init__(self, component: Component, fabric: Hydrofabric, kind: str) -> None:
        self.table: Mapping[str, Reserved] = TABLE
        self._kind, self._path = kind, fabric.path
        self._inflow: Any = component.array(LATERAL)
        self._reaches = np.array([id_number(name, k) for k, name in enumerate(component.ids)], dtype=np.int64)
        #: Of each way into the network: the source, the reach, and the share of the source's water.
        self._all, self._from, self._row, self._share = _sources(fabric, kind)
        self._source_of = {id_number(name, k): k for k, name in enumerate(self._all)}
        if len(self._source_of) != len(self._all):
            raise ConfigError(f"{fabric.path}: two of the sources ({kind}) have the same digits in their ids")
        self.names = self._all
        self._counts = {name: np.array([len(self._all)], dtype=np.int64) for name in COUNTS}
        if max(self._source_of) > np.iinfo(np.int32).max:
            raise ConfigError(f"{fabric.path}: ids of the sources ({kind}) have too many digits for int32")
        self._ids = np.array([*self._source_of], dtype=np.int32)
        self._chosen: NDArray[np.int64] | None = np.arange(len(self._all))
        # Reaches give to themselves: their array is the component's own.
        self._flow: Any = self._inflow if kind == "reach" else np.full(len(self._all), np.nan)

    def find(self, name: str) -> Reserved:
        """Return metadata of a variable."""
        if name not in self.table:
            raise unknown_variable(name)
        return self.table[name]

    def array(self, name: str) -> NDArray[np.generic]:
        """Return the one array of a variable, until a count is set."""
        if name in (FLOW, LATERAL):
            return self._flow
        if name in COUNTS:
            return self._counts[name]
        return self._ids if name == SOURCE_IDS else self._reaches

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Set flows, counts or ids.

        Raises
        ------
        VariableError, ValueShapeError, ForcingError
        """
        if name == REACH_IDS:
            raise VariableError(f"{name!r} is given by the component and cannot be set")
        if name in COUNTS:
            self._count(name, values)
            return
        target = self.array(name)
        if values.size != target.size:
            raise ValueShapeError(
                f"{name!r} has {target.size} values, not {values.size}; a count is set before ids and flows"
            )
        if name == SOURCE_IDS:
            self._choose(values.reshape(-1))
        else:
            target[...] = values.reshape(-1)

    def _count(self, name: str, values: NDArray[np.generic]) -> None:
        most = len(self._all)
        if values.size != 1 or not 1 <= float(values.flat[0]) <= most:
            raise ValueShapeError(
                f"{name!r} must be set to one number from 1 to {most}, the sources there are"
            )
        count = int(values.flat[0])
        self._counts[name][0] = count
        if name == COUNTS[1] and count != self._ids.size:
            self._ids, self._chosen = np.zeros(count, dtype=np.int32), None
        elif name == COUNTS[0] and count != self._flow.size:
            self._flow = np.full(count, np.nan)

    def _choose(self, ids: NDArray[Any]) -> None:
        unknown = [str(i) for i in ids.tolist() if i not in self._source_of]
        if unknown:
            more = f" and {len(unknown) - 5} more" if len(unknown) > 5 else ""
            raise ForcingError(
                f"{SOURCE_IDS}: {self._path} has no {self._kind} {', '.join(unknown[:5])}{more}; "
                "`sources` in the configuration says what the ids are of"
            )
        if len(set(ids.tolist())) != ids.size:
            raise ForcingError(f"{SOURCE_IDS}: an id appears twice")
        self._ids[...] = ids
        self._chosen = np.array([self._source_of[int(i)] for i in ids.tolist()], dtype=np.int64)
        self.names = tuple(self._all[k] for k in self._chosen)
        if self._flow is self._inflow and self.names != self._all:
            self._flow = np.full(ids.size, np.nan)

    def give(self) -> None:
        """Hand what was set over to the reaches.

        Raises
        ------
        ForcingError
            If a source that gives water drains to no reach, or ids were counted but never set.
        """
        if self._flow is self._inflow:
            return
        if self._chosen is None or self._chosen.size != self._flow.size:
            raise ForcingError(f"{SOURCE_IDS}: set the ids of the {self._flow.size} sources before flows")
        flow = np.zeros(len(self._all))
        flow[self._chosen] = self._flow
        lost = (flow != 0) & ~np.isin(np.arange(flow.size), self._from)
        if lost.any():
            raise ForcingError(
                f"{FLOW}: {self._kind} {self._all[int(lost.argmax())]} gives water but drains to no reach"
            )
        self._inflow[...] = 0.0
        np.add.at(self._inflow, self._row, self._share * flow[self._from])


def _sources(
    fabric: Hydrofabric, kind: str
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int64], FloatArray]:
    """Return ids of the sources; then which source gives to which reach, and which share of its water."""
    network, divides = fabric.network, fabric.divides
    if kind == "reach":
        reaches = np.arange(len(network))
        return network.ids, reaches, reaches, np.ones(len(reaches))
    drained = np.flatnonzero(divides.reach >= 0)
    row = divides.reach[drained]
    if kind == "divide":
        return divides.ids, drained, row, np.ones(len(row))
    names = tuple(dict.fromkeys((*network.toid, *divides.toid)))
    index = {name: k for k, name in enumerate(names)}
    nexus = np.array([index[divides.toid[k]] for k in drained.tolist()], dtype=np.int64)
    area = divides.area[drained]
    return names, nexus, row, area / np.bincount(nexus, area, len(names))[nexus]
