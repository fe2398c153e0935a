"""GR4J, the daily rainfall-runoff model with four parameters and two unit hydrographs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil

import torch
from torch import Tensor

from .contract import (
    NO_PROCESSES,
    Balance,
    Declaration,
    Parameter,
    ProcessFunction,
    ProcessModel,
    State,
    StateVariable,
)
from .fluxes import ET, EXCHANGE, GROUNDWATER, SOIL_MOISTURE, Q
from .forcings import PET, P
from .unit_hydrograph import release

PERRIN = "Perrin et al. (2003), https://doi.org/10.1016/S0022-1694(03)00225-7"
SANTOS = "Santos et al. (2018), https://doi.org/10.5194/gmd-11-1591-2018"
#: Range of four in five catchments that the authors calibrated.
INTERVAL = f"80 % interval of {PERRIN}"

PARAMETERS = (
    Parameter("X1", 100.0, 1200.0, "mm", "capacity of the production store", INTERVAL),
    Parameter("X2", -5.0, 3.0, "mm d-1", "groundwater exchange, positive into the catchment", INTERVAL),
    Parameter("X3", 20.0, 300.0, "mm", "capacity of the routing store", INTERVAL),
    Parameter("X4", 1.1, 2.9, "d", "time base of the first unit hydrograph", INTERVAL),
)
#: Percolation empties the production store as if its capacity were this times X1 (Perrin et al., eq. 6).
PERCOLATION = 9.0 / 4.0
#: Share of the water that goes through the first unit hydrograph and the routing store.
ROUTED = 0.9


class GR4J(ProcessModel):
    """GR4J (Perrin et al., 2003).

    A production store, two unit hydrographs and a routing store. Percolation and outflow of
    the routing store are the solutions over the step of the rates that Santos et al. (2018)
    give, so that `dt` need not be a day; at one day they are the published equations. The
    exchange is what was applied: a store or branch gives no more than it holds.

    Parameters
    ----------
    queue : int
        Steps that the longer unit hydrograph can last. The default holds the largest X4 at a
        daily step; an hourly step needs 24 times as many. What a hydrograph has left at the
        end of its queue leaves in its last step.

    Notes
    -----
    By these equations runoff can rise in a dry spell, as long as percolation and a positive
    exchange bring the routing store more than ``R**5 / (4 X3**4)`` a day. A negative exchange
    can take all runoff; one that would empty a small store acts every second step.
    """

    def __init__(self, *, queue: int = 2 * ceil(PARAMETERS[3].upper)) -> None:
        super().__init__()
        self.queue = queue
        states = (
            StateVariable("S", "mm", "production store"),
            StateVariable("R", "mm", "routing store"),
            StateVariable("UH1", "mm", "water on its way to the routing store", (ceil(queue / 2),), "sum"),
            StateVariable("UH2", "mm", "water on its way to the outlet", (queue,), "sum"),
        )
        self.declaration = Declaration(
            name="gr4j",
            forcings=(P, PET),
            parameters=PARAMETERS,
            states=states,
            fluxes=(Q, ET, EXCHANGE, SOIL_MOISTURE, GROUNDWATER),
            balances=(
                Balance("water", "mm", ("P",), ("Q", "ET"), tuple(s.name for s in states), ("exchange",)),
            ),
            derived={"ordinates1": ("X4",), "ordinates2": ("X4",)},
            source=f"{PERRIN}; {SANTOS}",
        )

    def derive(self, parameters: Mapping[str, Tensor], dt: float) -> dict[str, Tensor]:
        """Compute the ordinates ``[..., steps]`` of the two unit hydrographs."""
        first, second = (s.shape[-1] for s in self.declaration.states[2:])
        x4 = parameters["X4"]
        return {
            "ordinates1": ordinates(s_curve_1, x4, first, dt),
            "ordinates2": ordinates(s_curve_2, x4, second, dt),
        }

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Advance stores and unit hydrographs; equation numbers are those of Perrin et al. (2003)."""
        p = parameters if "ordinates1" in parameters else {**parameters, **self.derive(parameters, dt)}
        rain, demand = forcing["P"], forcing["PET"]
        surplus, deficit = torch.relu(rain - demand), torch.relu(demand - rain)  # 1, 2
        filled = (state["S"] / p["X1"]).clamp(max=1.0)
        wetting = torch.tanh(surplus / p["X1"])
        stored = p["X1"] * (1.0 - filled**2) * wetting / (1.0 + filled * wetting)  # 3
        drying = torch.tanh(deficit / p["X1"])
        evaporated = p["X1"] * filled * (2.0 - filled) * drying / (1.0 + (1.0 - filled) * drying)  # 4
        evaporated = torch.minimum(evaporated, state["S"])
        production = state["S"] - evaporated + stored  # 5
        stored_after = production * remaining(production / (PERCOLATION * p["X1"]), dt)
        effective = surplus - stored + (production - stored_after)  # 6 to 8

        routed, queue1 = release(state["UH1"], ROUTED * effective, p["ordinates1"])
        direct, queue2 = release(state["UH2"], (1.0 - ROUTED) * effective, p["ordinates2"])
        # No step ends with a fuller routing store, unless X3 has changed since.
        level = (state["R"] / p["X3"]).clamp(max=dt**-0.25)
        exchange = p["X2"] * dt * level**3.5  # 18
        into_store = torch.maximum(exchange, -(state["R"] + routed))
        into_outlet = torch.maximum(exchange, -direct)
        routing = state["R"] + routed + into_store  # 19
        routing_after = routing * remaining(routing / p["X3"], dt)  # 20, 21
        return {"S": stored_after, "R": routing_after, "UH1": queue1, "UH2": queue2}, {
            "Q": routing - routing_after + direct + into_outlet,  # 22, 23
            "ET": evaporated + torch.minimum(rain, demand),
            "exchange": into_store + into_outlet,
            "soil_moisture": stored_after,
            "groundwater": routing_after,
        }


def remaining(filled: Tensor, dt: float) -> Tensor:
    """Compute the share that a store keeps over `dt` days of an outflow ``filled**5 / 4`` of capacity."""
    return (1.0 + dt * filled**4) ** -0.25


def ordinates(s_curve: Callable[[Tensor], Tensor], x4: Tensor, length: int, dt: float) -> Tensor:
    """Compute the ordinates of a unit hydrograph, the increments of its S-curve; they add up to one."""
    t = torch.arange(1, length, dtype=x4.dtype, device=x4.device) * dt
    curve = s_curve(t / x4.unsqueeze(-1))
    ends = torch.zeros_like(x4).unsqueeze(-1)
    return torch.diff(torch.cat([ends, curve, ends + 1.0], dim=-1))


def s_curve_1(t: Tensor) -> Tensor:
    """Compute the share of the first unit hydrograph that has left by `t`, in X4 (eqs. 9 to 11)."""
    return t.clamp(max=1.0) ** 2.5


def s_curve_2(t: Tensor) -> Tensor:
    """Compute the share of the second unit hydrograph that has left by `t`, in X4 (eqs. 12 to 15)."""
    return 0.5 * (t.clamp(max=1.0) ** 2.5 + 1.0 - (2.0 - t).clamp(0.0, 1.0) ** 2.5)
