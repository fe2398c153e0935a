"""EXP-HYDRO: a snow and a soil bucket as differential equations, with smooth thresholds of temperature."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .contract import (
    NO_PROCESSES,
    Balance,
    Declaration,
    Flux,
    Parameter,
    ProcessFunction,
    ProcessModel,
    Replaceable,
    State,
    StateVariable,
)
from .fluxes import ET, SOIL_MOISTURE, SWE, Q, limited
from .forcings import PET, P, T

PATIL = "Patil & Stieglitz (2014), https://doi.org/10.1002/hyp.9660"
JIANG = "Jiang et al. (2020), https://doi.org/10.1029/2020GL088229"
HOEGE = "Höge et al. (2022), https://doi.org/10.5194/hess-26-5085-2022"
#: The solution for the outflow divides by f; from this, in mm-1, down it is the same to five digits.
MIN_F = 1e-6

PARAMETERS = (
    Parameter("f", 0.0, 0.1, "mm-1", "decline of baseflow with the soil's deficit", PATIL),
    Parameter("Smax", 100.0, 1500.0, "mm", "capacity of the soil", PATIL),
    Parameter("Qmax", 10.0, 50.0, "mm d-1", "baseflow of the full soil", PATIL),
    Parameter("Df", 0.0, 5.0, "mm d-1 K-1", "degree-day factor", PATIL),
    Parameter("Tmax", 0.0, 3.0, "degC", "temperature above which snow melts", PATIL),
    Parameter("Tmin", -3.0, 0.0, "degC", "temperature below which snow falls", PATIL),
)
STATES = (
    StateVariable("S0", "mm", "snow"),
    StateVariable("S1", "mm", "soil water"),
)


class ExpHydro(ProcessModel):
    """EXP-HYDRO (Patil & Stieglitz, 2014) with the smooth steps of Jiang et al. (2020).

    The rates of Höge et al. (2022), each applied to what the one before it left: snowfall and
    rain by a smooth step at ``Tmin``; melt ``min(S0, Df (T - Tmax))`` with a smooth step at
    ``Tmax``; evaporation ``PET min(S1/Smax, 1)``; baseflow ``Qmax exp(-f (Smax - S1))``, and
    ``Qmax`` above Smax, where ``S1 - Smax`` spills per day. Baseflow and spill are taken from
    their exact solution over the step, so that no step is too long for a steep recession;
    both are continuous at Smax and need no smoothing there.

    Notes
    -----
    By these equations baseflow of the empty soil is ``Qmax exp(-f Smax)``, not zero: where
    ``f Smax`` is small, a dry spell empties the soil and ends runoff.
    """

    declaration = Declaration(
        name="exphydro",
        forcings=(P, T, PET),
        parameters=PARAMETERS,
        states=STATES,
        fluxes=(
            Q,
            ET,
            Flux("baseflow", "mm", "flow from the soil", "land_surface_water__baseflow_depth", "sum"),
            Flux("spill", "mm", "flow of what the soil cannot hold", aggregation="sum"),
            SWE,
            SOIL_MOISTURE,
        ),
        balances=(Balance("water", "mm", ("P",), ("Q", "ET"), ("S0", "S1")),),
        processes={"ET": ("S1", "PET", "T"), "melt": ("S0", "T")},
        rate_form=True,
        source=f"{PATIL}; {JIANG}; {HOEGE}",
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
        """Advance snow, evaporation and outflow; see the class for the equations."""
        p = parameters
        temperature = forcing["T"]
        rain = forcing["P"] * smooth_step(temperature - p["Tmin"])
        snow = state["S0"] + (forcing["P"] - rain)

        def melting() -> Tensor:
            warmth = temperature - p["Tmax"]
            return torch.minimum(snow, p["Df"] * warmth) * smooth_step(warmth) * dt

        process = Replaceable(state, processes)
        melt = limited(process("melt", melting, S0=snow, T=temperature), snow)
        snow = snow - melt

        # Half of the step's water before the outflow and half after, as if it came evenly (Strang, 1968).
        half = 0.5 * (rain + melt)
        soil = state["S1"] + half
        evaporated = process(
            "ET",
            lambda: forcing["PET"] * (soil / p["Smax"]).clamp(max=1.0),
            S1=soil,
            PET=forcing["PET"],
            T=temperature,
        )
        evaporated = limited(evaporated, soil)
        soil = soil - evaporated
        baseflow, spill = outflow(soil, p, dt)
        soil = soil - (baseflow + spill) + half
        return {"S0": snow, "S1": soil, **process.renewed}, {
            "Q": baseflow + spill,
            "ET": evaporated,
            "baseflow": baseflow,
            "spill": spill,
            "SWE": snow,
            "soil_moisture": soil,
        }


def smooth_step(x: Tensor) -> Tensor:
    """Step smoothly from 0 below zero to 1 above, ``(tanh(5 x) + 1) / 2`` (Jiang et al., 2020)."""
    return torch.sigmoid(10.0 * x)


def outflow(soil: Tensor, p: Mapping[str, Tensor], dt: float) -> tuple[Tensor, Tensor]:
    """Compute baseflow and spill in mm: ``dS/dt = -Qb(S) - max(S - Smax, 0)`` solved over the step.

    Above Smax the solution is ``(x + Qmax) exp(-t) - Qmax`` with x = S - Smax, until x is
    zero; from there on, and below, S declines by ``log(1 + f Qb t) / f``.
    """
    over = torch.relu(soil - p["Smax"])
    above = torch.log1p(over / p["Qmax"]).clamp(max=dt)
    spill = -torch.expm1(-above) * (over + p["Qmax"]) - p["Qmax"] * above
    rate = p["Qmax"] * torch.exp(-p["f"] * torch.relu(p["Smax"] - soil))
    f = p["f"].clamp(min=MIN_F)
    baseflow = p["Qmax"] * above + torch.log1p(f * rate * (dt - above)) / f
    baseflow = torch.minimum(baseflow, soil)
    return baseflow, limited(spill, soil - baseflow)
