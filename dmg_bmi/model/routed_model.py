"""A differentiable model of runoff and rivers, to be trained against gauges inside the network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..errors import ConfigError
from ..hydrofabric.network import Divides
from ..physics import State
from .delta_model import DeltaModel


class RoutedState(NamedTuple):
    """The states of the two parts."""

    runoff: State
    routing: State


class RoutedModel(nn.Module):
    """A model of runoff routed through a model of rivers (Song et al., 2025).

    Song et al. (2025, https://doi.org/10.1029/2024WR038928) train a hybrid runoff model with
    differentiable routing. Here each part may have networks, and one loss reaches both.

    Parameters
    ----------
    runoff : DeltaModel
        Its flux ``Q`` is the depth in mm of each step; rows are divides.
    routing : DeltaModel
        As :func:`~dmg_bmi.routing_bmi.routing_model` makes it; rows are reaches. Its step divides that
        of `runoff`.
    divides : Divides
        Areas, and the reach that receives the runoff of each.

    Attributes
    ----------
    ratio : int
        Steps of `routing` in one of `runoff`.
    """

    area: Tensor
    reach: Tensor

    def __init__(self, runoff: DeltaModel, routing: DeltaModel, divides: Divides) -> None:
        super().__init__()
        self.runoff, self.routing = runoff, routing
        self.ratio = round(runoff.step / routing.step)
        if self.ratio < 1 or self.ratio * routing.step != runoff.step:
            raise ConfigError(
                f"the step of routing, {routing.step:g} s, does not divide that of runoff, {runoff.step:g} s"
            )
        unrouted = [name for name, row in zip(divides.ids, divides.reach.tolist(), strict=True) if row < 0]
        if unrouted:
            raise ConfigError(f"divides without a reach cannot be routed: {', '.join(unrouted[:10])}")
        self.register_buffer("area", torch.from_numpy(divides.area), persistent=False)
        self.register_buffer("reach", torch.from_numpy(divides.reach), persistent=False)

    def lateral_inflow(self, depth: Tensor, reaches: int) -> Tensor:
        """Convert runoff ``[time, divides]`` in mm per step to inflow ``[time, reaches]`` in m3 s-1."""
        flow = depth * (self.area.to(depth.dtype) * (1e3 / self.runoff.step))
        return flow.new_zeros(len(flow), reaches).index_add(1, self.reach, flow)

    def forward(
        self,
        forcing: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor],
        network: Mapping[str, Tensor],
        state: RoutedState | None = None,
    ) -> tuple[Tensor, RoutedState]:
        """Compute the mean flow out of each reach in each step of `runoff`.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, divides]``
        attributes : mapping of name to Tensor ``[divides]``
        network : mapping of name to Tensor
            Those of :meth:`~dmg_bmi.hydrofabric.Network.attributes`, and what networks see;
            ``[reaches]``.
        state : RoutedState, optional

        Returns
        -------
        flow : Tensor ``[time, reaches]``
            m3 s-1. A gauge measures the flow of its reach: index with ``Network.gages``.
        state : RoutedState
        """
        before = state or RoutedState({}, {})
        fluxes, runoff = self.runoff(forcing, attributes, before.runoff or None, outputs=("Q",))
        flow, routing = self.route(fluxes["Q"], network, before.routing)
        return flow, RoutedState(runoff, routing)

    def route(self, depth: Tensor, network: Mapping[str, Tensor], state: State) -> tuple[Tensor, State]:
        """Route runoff ``[time, divides]`` in mm per step; return flow and state as :meth:`forward` does.

        An empty state is that of dry rivers.
        """
        lateral = self.lateral_inflow(depth, len(network["downstream"])).repeat_interleave(self.ratio, 0)
        series, after = self.routing(
            {"lateral_inflow": lateral},
            {k: v.to(depth.dtype) if v.is_floating_point() else v for k, v in network.items()},
            state or None,
            outputs=("outflow",),
        )
        volume = series["outflow"].unflatten(0, (-1, self.ratio)).sum(1)
        return volume / self.runoff.step, after
