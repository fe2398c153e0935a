"""Catchments made of the equations of one column: parallel components and routing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import repeat

import torch
from torch import Tensor

from .contract import NO_PROCESSES, Flux, ProcessFunction, ProcessModel, State, StateVariable
from .unit_hydrograph import SHAPES, release

GENERATED = "Q_generated"
QUEUE = "queue"
#: Most components or ordinates: more would exhaust memory first.
MAX_COUNT = 10_000
ORDINATES = "ordinates"


class Catchment(ProcessModel):
    """Parallel columns of one catchment, averaged, followed by a unit hydrograph.

    Parameters
    ----------
    column : ProcessModel
        Equations of one column; its tensors gain a last axis of `nmul` components, each
        with its own parameters and stores (Feng et al., 2022, call them multi-component).
    nmul : int
        Parallel components.
    routing : int, optional
        Ordinates of the unit hydrograph of the column that the flux ``Q`` goes through; None
        leaves ``Q`` as generated.
    """

    def __init__(self, column: ProcessModel, nmul: int = 1, routing: int | None = None) -> None:
        super().__init__()
        for name, count in (("nmul", nmul), ("routing", routing)):
            if count is not None and not (type(count) is int and 1 <= count <= MAX_COUNT):
                raise ValueError(f"{name} must be a whole number from 1 to {MAX_COUNT}, not {count!r}")
        self.column = column
        self.nmul = nmul
        self.routing = routing
        inner = replace(column.declaration.with_shape((nmul,)), graph=())
        parameters, self._ordinates = SHAPES[column.unit_hydrograph]
        self._shape_of = tuple(p.name for p in parameters)
        if routing is not None:
            inner = replace(
                inner,
                parameters=inner.parameters + parameters,
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
                derived={**inner.derived, ORDINATES: self._shape_of},
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
        """Advance one step, as :meth:`run` does."""
        outputs = [flux.name for flux in self.declaration.fluxes]
        now = {name: value.unsqueeze(0) for name, value in forcing.items()}
        if self.routing is not None and ORDINATES not in parameters:
            parameters = {**parameters, **self.derive(parameters, dt)}
        fluxes, state = self.run(now, state, parameters, static, dt, {}, processes, outputs)
        return state, {name: series.squeeze(0) for name, series in fluxes.items()}

    def run(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        dynamic: Mapping[str, Tensor],
        processes: Mapping[str, ProcessFunction],
        outputs: Collection[str],
    ) -> tuple[dict[str, Tensor], State]:
        """Step every component through the block, average their fluxes, route ``Q``."""
        # In a fixed order, since compiled code is found again by the order of its operations.
        needed = [f.name for f in self.column.declaration.fluxes if f.name in outputs]
        if self.routing is not None and "Q" not in needed:
            needed.append("Q")
        series, new = ProcessModel.run(
            self.column,
            {name: values.unsqueeze(-1) for name, values in forcing.items()},
            state,
            parameters,
            {a.name: static[a.name].unsqueeze(-1) for a in self.column.declaration.attributes},
            dt,
            dynamic,
            processes,
            needed,
        )
        fluxes = {name: values.mean(-1) for name, values in series.items()}
        if self.routing is not None:
            fluxes[GENERATED] = fluxes["Q"]
            ordinates = (
                dynamic[ORDINATES].unbind(0) if ORDINATES in dynamic else repeat(parameters[ORDINATES])
            )
            queue, routed = state[QUEUE], []
            for generated, spread in zip(fluxes["Q"].unbind(0), ordinates, strict=False):
                outflow, queue = release(queue, generated, spread)
                routed.append(outflow)
            fluxes["Q"], new[QUEUE] = torch.stack(routed), queue
        return {name: fluxes[name] for name in outputs}, new

    def derive(self, parameters: Mapping[str, Tensor], dt: float) -> dict[str, Tensor]:
        """Compute the ordinates of the unit hydrograph, and what the column derives."""
        derived = self.column.derive(parameters, dt)
        if self.routing is not None:
            shape = [parameters[name] for name in self._shape_of]
            derived[ORDINATES] = self._ordinates(*shape, self.routing, dt)
        return derived

    def describe(self) -> dict[str, object]:
        """Return the column's description with `nmul` and `routing`."""
        return {**self.column.describe(), "nmul": self.nmul, "routing": self.routing}
