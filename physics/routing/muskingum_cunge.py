"""Muskingum-Cunge routing through a river network."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ...arrays import DAY
from ..contract import NO_PROCESSES, Balance, Declaration, Flux, Forcing, ProcessFunction, ProcessModel, State
from . import channel
from . import conservative as conservative_routing
from . import nwm as nwm_routing
from .channel import Section
from .network import GRAPH, River

KERNELS = {"conservative": conservative_routing, "nwm": nwm_routing}
#: Minutes of a day.
MAX_SUBSTEPS = 1440

LATERAL_INFLOW = Forcing(
    "lateral_inflow",
    "m3 s-1",
    "water that enters the reach along its length",
    "land_surface_water_source__volume_flow_rate",
    "mean",
    lower=0.0,
)
FLUXES = (
    Flux(
        "discharge",
        "m3 s-1",
        "flow out of the reach in the last sub-step",
        "channel_exit_water_x-section__volume_flow_rate",
        "last",
    ),
    Flux("velocity", "m s-1", "velocity of the water in the reach", "channel_water_flow__speed", "last"),
    Flux("depth", "m", "depth of the water in the reach", "channel_water__mean_depth", "last"),
    Flux("volume", "m3", "water in the reach", "channel_water__volume", "last"),
    Flux("lateral", "m3", "water that entered the reach along its length", aggregation="sum"),
    Flux("upstream", "m3", "water that entered the reach from those above it", aggregation="sum"),
    Flux("outflow", "m3", "water that left the reach", aggregation="sum"),
)
#: The forcing is a rate; the volume that it brings in a step is the flux ``lateral``.
WATER = Balance(
    "water", "m3", into=(), out=("outflow",), stored=("storage",), exchange=("lateral", "upstream")
)


class MuskingumCunge(ProcessModel):
    """Muskingum-Cunge routing with variable parameters; rows are reaches.

    The network is in `static` (:func:`~dmg_bmi.physics.routing.network.river_static`); without it
    every reach stands alone. A reach that is marked as a lake passes its inflow at once.

    Parameters
    ----------
    kernel : {"conservative", "nwm"}
        ``conservative`` (:mod:`.conservative`) keeps the water of each reach as its
        state, closes its volume to rounding and returns no negative flow. ``nwm``
        (:mod:`.nwm`) is the National Water Model's kernel as t-route runs it,
        which closes no volume and therefore declares no balance.
    substeps : int
        Equal parts of a step, 1 to 1440; 12 of an hourly step are the National Water Model's 300 s.
        The conservative kernel is stable with any.
    """

    def __init__(self, *, kernel: str = "conservative", substeps: int = 12) -> None:
        super().__init__()
        if kernel not in KERNELS:
            raise TypeError(f"kernel must be one of {', '.join(KERNELS)}, not {kernel!r}")
        if type(substeps) is not int or not 1 <= substeps <= MAX_SUBSTEPS:
            raise TypeError(f"substeps must be a whole number from 1 to {MAX_SUBSTEPS}, not {substeps!r}")
        self.kernel = kernel
        self.substeps = substeps
        self.route = KERNELS[kernel].route
        self.declaration = Declaration(
            name="muskingum_cunge",
            forcings=(LATERAL_INFLOW,),
            attributes=channel.ATTRIBUTES,
            parameters=channel.PARAMETERS,
            states=KERNELS[kernel].STATES,
            fluxes=FLUXES,
            balances=(WATER,) if kernel == "conservative" else (),
            graph=GRAPH,
            rate_form=True,
            source=KERNELS[kernel].SOURCE,
        )

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Route a step's lateral inflow, which is constant over its sub-steps."""
        discharge = state["discharge"]
        section = Section.from_columns(parameters, static)
        length = static["Length_m"]
        river = River.from_static(static, discharge.shape[0], discharge.device)
        lateral = forcing["lateral_inflow"].expand_as(discharge)
        seconds = dt * DAY / self.substeps

        inflow_sum = torch.zeros_like(discharge)
        outflow_sum = torch.zeros_like(discharge)
        for _ in range(self.substeps):
            state, inflow = self.route(state, lateral, section, length, river, seconds)
            inflow_sum = inflow_sum + inflow
            outflow_sum = outflow_sum + state["discharge"]
        velocity, depth, volume = KERNELS[self.kernel].observe(state, section, length)
        return state, {
            "discharge": state["discharge"],
            "velocity": velocity,
            "depth": depth,
            "volume": volume,
            "lateral": lateral * (dt * DAY),
            "upstream": inflow_sum * seconds,
            "outflow": outflow_sum * seconds,
        }
