"""From the equations of one column to a catchment: parallel components and routing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from . import unit_hydrograph
from .contract import NO_PROCESSES, Flux, ProcessFunction, ProcessModel, State, StateVariable

GENERATED = "Q_generated"
QUEUE = "queue"
ORDINATES = "ordinates"


class Catchment(ProcessModel):
    """Several parallel columns per catchment, averaged, and a unit hydrograph behind them.

    Parameters
    ----------
    column : ProcessModel
        Equations of one column; its tensors gain a last axis of `nmul` components, each
        with its own parameters and stores (Feng et al., 2022, call them multi-component).
    nmul : int
        Parallel components.
    routing : int, optional
        Ordinates of the gamma unit hydrograph that the flux ``Q`` goes through; None
        leaves ``Q`` as generated.
    """

    def __init__(self, column: ProcessModel, nmul: int = 1, routing: int | None = None) -> None:
        super().__init__()
        self.column = column
        self.nmul = nmul
        self.routing = routing
        inner = column.declaration.with_shape((nmul,))
        if routing is not None:
            inner = replace(
                inner,
                parameters=inner.parameters + unit_hydrograph.PARAMETERS,
                states=(
                    *inner.states,
                    StateVariable(QUEUE, "mm", "runoff on its way to the outlet", (routing,), "sum"),
                ),
                fluxes=(
                    *inner.fluxes,
                    Flux(GENERATED, "mm", "runoff before in-catchment routing", aggregation="sum"),
                ),
                balances=tuple(
                    replace(b, stored=(*b.stored, QUEUE)) if "Q" in b.out else b for b in inner.balances
                ),
                derived={**inner.derived, ORDINATES: ("route_a", "route_b")},
            )
        self.declaration = inner

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Step every component, average their fluxes, route ``Q``."""
        new, by_component = self.column.step(
            {name: value.unsqueeze(-1) for name, value in forcing.items()},
            state,
            parameters,
            {a.name: static[a.name].unsqueeze(-1) for a in self.column.declaration.attributes},
            dt,
            processes,
        )
        values = torch.broadcast_tensors(*by_component.values())
        mean = torch.stack(values).mean(-1).unbind(0)
        fluxes = dict(zip(by_component, mean, strict=True))
        if self.routing is not None:
            ordinates = parameters.get(ORDINATES)
            if ordinates is None:
                ordinates = self.derive(parameters, dt)[ORDINATES]
            fluxes[GENERATED] = fluxes["Q"]
            fluxes["Q"], new[QUEUE] = unit_hydrograph.release(state[QUEUE], fluxes["Q"], ordinates)
        return new, fluxes

    def derive(self, parameters: Mapping[str, Tensor], dt: float) -> dict[str, Tensor]:
        """Ordinates of the unit hydrograph, and what the column derives."""
        derived = self.column.derive(parameters, dt)
        if self.routing is not None:
            derived[ORDINATES] = unit_hydrograph.gamma_ordinates(
                parameters["route_a"], parameters["route_b"], self.routing, dt
            )
        return derived

    def describe(self) -> dict[str, object]:
        """The column's description with `nmul` and `routing`."""
        return {**self.column.describe(), "nmul": self.nmul, "routing": self.routing}
