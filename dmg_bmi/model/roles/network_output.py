"""The role of a network whose outputs are outputs of the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import Flux, ProcessModel, fluxes
from ..normalisation import FeatureStatistics, Normaliser, units_of
from .base import ForwardContext, Output, Role, RoleBinding


@dataclass(frozen=True)
class OutputRole(Role):
    """A role in which a network's outputs are outputs of the model, without a process model.

    Each is scaled back by the statistics of its name. Nothing is conserved.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    outputs : tuple of str
    nonnegative : bool
        Raise negative values to zero.
    """

    kind = "output"

    outputs: tuple[str, ...] = ()
    nonnegative: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs or not self.outputs:
            self._refuse("requires inputs and outputs")

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
        return NetworkOutput(self, models, statistics)


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

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Scale outputs back to the units of the statistics."""
        values = self._targets.inverse(raw.to(dtype))
        return torch.relu(values) if self.role.nonnegative else values

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        floor = ", raised to zero where it is below" if self.role.nonnegative else ""
        return [f"{name}, normalised as in the statistics{floor}" for name in self.role.outputs]

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Make the network's outputs those of the model."""
        series = self.outputs(network, context).unbind(-1)
        context.fluxes[""] |= dict(zip(self.role.outputs, series, strict=True))
