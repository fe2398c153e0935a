"""The role of a network whose outputs are outputs of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import Flux, ProcessModel, fluxes
from ..normalisation import Constants, FeatureStatistics, Normaliser, build_statistics, units_of
from .base import ForwardContext, Output, Role, RoleBinding


@dataclass(frozen=True)
class OutputRole(Role):
    """A role in which a network's outputs are outputs of the model, without a process model.

    Each is scaled back by the statistics of its name. Nothing is conserved. What several networks
    give under one name is their mean.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    outputs : tuple of str
    nonnegative : bool or tuple of str
        Raise negative values to zero: of all outputs, or of those named.
    statistics : mapping of str to FeatureStatistics
        Of inputs, attributes and outputs that this network was trained with other statistics of than
        those of the model.
    """

    kind = "output"

    outputs: tuple[str, ...] = ()
    nonnegative: bool | tuple[str, ...] = True
    statistics: Mapping[str, FeatureStatistics] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "statistics", build_statistics(self.statistics))
        if not self.inputs or not self.outputs:
            self._refuse("requires inputs and outputs")
        if not isinstance(self.nonnegative, bool):
            object.__setattr__(self, "nonnegative", tuple(self.nonnegative))
            unknown = [name for name in self.nonnegative if name not in self.outputs]
            if unknown:
                self._refuse(f"nonnegative names {', '.join(unknown)}, which is none of its outputs")

    def describe(self) -> dict[str, Any]:
        """Return the role as plain data, see :meth:`Role.describe`."""
        plain = super().describe()
        plain["statistics"] = {name: s.describe() for name, s in self.statistics.items()}
        return plain if self.statistics else {k: v for k, v in plain.items() if k != "statistics"}

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """List the outputs, see :meth:`Role.declares`; fluxes of process models keep their declaration."""
        shared = {f.name: f for f in vars(fluxes).values() if isinstance(f, Flux)}
        return [
            Output(
                shared.get(name) or Flux(name, units_of(name, statistics), f"network output {name}"), "", name
            )
            for name in self.outputs
        ]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> NetworkOutput:
        """Bind the role, see :meth:`Role.bind`."""
        return NetworkOutput(self, models, {**statistics, **self.statistics})


class NetworkOutput(RoleBinding):
    """A bound :class:`OutputRole`."""

    def __init__(
        self,
        role: OutputRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.role = role
        self.n_outputs = len(role.outputs)
        self._targets = Normaliser(role.outputs, statistics)
        named = role.nonnegative
        self._signs = [name in named if isinstance(named, tuple) else named for name in role.outputs]
        #: Zero where an output cannot be negative.
        self._lowest = Constants([0.0 if sign else -inf for sign in self._signs])

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Scale outputs back to the units of the statistics."""
        values = self._targets.inverse(raw.to(dtype))
        return torch.maximum(values, self._lowest.like(values))

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        floor = {True: ", raised to zero where it is below", False: ""}
        return [
            f"{name}, normalised as in the statistics{floor[sign]}"
            for name, sign in zip(self.role.outputs, self._signs, strict=True)
        ]

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Make the network's outputs those of the model."""
        means = context.fluxes[""]
        for name, series in zip(self.role.outputs, self.outputs(network, context).unbind(-1), strict=True):
            count = context.given[name] = context.given.get(name, 0) + 1
            means[name] = series if count == 1 else torch.lerp(means[name], series, 1 / count)
