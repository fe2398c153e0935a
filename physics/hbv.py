"""HBV, the conceptual rainfall-runoff model with a snow, a soil and two groundwater stores."""

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
    State,
    StateVariable,
    replaceable,
)
from .forcings import PET, P, T

SEIBERT = "Seibert & Vis (2012), https://doi.org/10.5194/hess-16-3315-2012"
FENG = "Feng et al. (2022), https://doi.org/10.1029/2022WR032404"
#: Arguments of powers are kept this far above zero, where the slope of x**a (a < 1) is infinite.
TINY = 1e-8

PARAMETERS = (
    Parameter("BETA", 1.0, 6.0, "1", "shape of the recharge function", FENG),
    Parameter("FC", 50.0, 1000.0, "mm", "maximum soil moisture storage", FENG),
    Parameter("K0", 0.05, 0.9, "d-1", "near-surface recession coefficient", FENG),
    Parameter("K1", 0.01, 0.5, "d-1", "interflow recession coefficient", FENG),
    Parameter("K2", 0.001, 0.2, "d-1", "baseflow recession coefficient", FENG),
    Parameter("LP", 0.2, 1.0, "1", "share of FC above which evaporation is potential", FENG),
    Parameter("PERC", 0.0, 10.0, "mm d-1", "maximum percolation to the lower zone", FENG),
    Parameter("UZL", 0.0, 100.0, "mm", "upper-zone threshold of near-surface flow", FENG),
    Parameter("TT", -2.5, 2.5, "degC", "threshold between snow and rain", FENG),
    Parameter("CFMAX", 0.5, 10.0, "mm d-1 K-1", "degree-day factor", FENG),
    Parameter("CFR", 0.0, 0.1, "1", "refreezing coefficient", FENG),
    Parameter("CWH", 0.0, 0.2, "1", "share of the snow pack that holds liquid water", FENG),
)
BETAET = Parameter("BETAET", 0.3, 5.0, "1", "shape of the evaporation function", FENG)

STATES = (
    StateVariable("SNOWPACK", "mm", "frozen water of the snow pack"),
    StateVariable("MELTWATER", "mm", "liquid water held by the snow pack"),
    StateVariable("SM", "mm", "soil moisture"),
    StateVariable("SUZ", "mm", "upper groundwater zone"),
    StateVariable("SLZ", "mm", "lower groundwater zone"),
)

FLUXES = (
    Flux("Q", "mm", "runoff", "land_surface_water__runoff_depth", "sum"),
    Flux("ET", "mm", "evapotranspiration", "land_surface_water__evapotranspiration_depth", "sum"),
    Flux("Q0", "mm", "near-surface flow", aggregation="sum"),
    Flux("Q1", "mm", "interflow", aggregation="sum"),
    Flux("Q2", "mm", "baseflow", "land_surface_water__baseflow_depth", "sum"),
    Flux("recharge", "mm", "water from soil to the upper zone", "soil_water__recharge_depth", "sum"),
    Flux("SWE", "mm", "snow water equivalent", "snowpack__liquid-equivalent_depth", "last"),
    Flux("soil_moisture", "mm", "soil moisture", "soil_water__liquid-equivalent_depth", "last"),
    Flux("groundwater", "mm", "both groundwater zones", "groundwater__liquid-equivalent_depth", "last"),
)


class HBV(ProcessModel):
    """HBV of one column, after Seibert & Vis (2012) in the order of Feng et al. (2022).

    Snow or rain by ``T >= TT``; melt, refreezing, outflow of melt water; recharge
    ``(SM/FC)**BETA`` from the soil's wetness before the day's water; evaporation
    ``min(SM, PET * (SM/(LP FC))**BETAET)``; two groundwater zones with three outlets.
    Rates act for `dt` days, of which at most one in a step. No store has a floor.

    Parameters
    ----------
    betaet : bool
        Let ``BETAET`` shape evaporation (Feng et al., 2022); without it the exponent is 1.
    """

    def __init__(self, *, betaet: bool = False) -> None:
        super().__init__()
        self.betaet = betaet
        self.declaration = Declaration(
            name="hbv",
            forcings=(P, T, PET),
            parameters=PARAMETERS + ((BETAET,) if betaet else ()),
            states=STATES,
            fluxes=FLUXES,
            balances=(Balance("water", "mm", ("P",), ("Q", "ET"), tuple(s.name for s in STATES)),),
            processes={"ET": ("SM", "PET", "T"), "recharge": ("SM", "water"), "percolation": ("SUZ",)},
            source=f"{SEIBERT}; {FENG}",
        )

    def describe(self) -> dict[str, object]:
        """Name and options."""
        return {"name": "hbv", "betaet": self.betaet}

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Snow, soil, groundwater; see the class for the equations."""
        p = parameters
        snowpack, meltwater, to_soil = snow(forcing, state["SNOWPACK"], state["MELTWATER"], p, dt)

        soil, renewed = state["SM"], {}
        recharge, new = replaceable(
            "recharge",
            lambda: to_soil * (soil / p["FC"]).clamp(TINY, 1.0) ** p["BETA"],
            {"SM": soil, "water": to_soil},
            state,
            processes,
        )
        recharge = limited(recharge, to_soil)
        renewed |= new
        soil = soil + to_soil - recharge
        excess = torch.relu(soil - p["FC"])
        soil = soil - excess

        def evaporation() -> Tensor:
            wetness = (soil / (p["LP"] * p["FC"])).clamp(TINY, 1.0)
            return forcing["PET"] * (wetness ** p["BETAET"] if self.betaet else wetness)

        shown = {"SM": soil, "PET": forcing["PET"], "T": forcing["T"]}
        evaporated, new = replaceable("ET", evaporation, shown, state, processes)
        evaporated = limited(evaporated, soil)
        renewed |= new
        soil = soil - evaporated

        upper = state["SUZ"] + recharge + excess
        percolation, new = replaceable(
            "percolation", lambda: p["PERC"] * dt, {"SUZ": upper}, state, processes
        )
        percolation = limited(percolation, upper)
        renewed |= new
        upper = upper - percolation
        q0 = p["K0"] * dt * torch.relu(upper - p["UZL"])
        upper = upper - q0
        q1 = p["K1"] * dt * upper
        upper = upper - q1
        lower = state["SLZ"] + percolation
        q2 = p["K2"] * dt * lower
        lower = lower - q2

        return {
            "SNOWPACK": snowpack,
            "MELTWATER": meltwater,
            "SM": soil,
            "SUZ": upper,
            "SLZ": lower,
            **renewed,
        }, {
            "Q": q0 + q1 + q2,
            "ET": evaporated,
            "Q0": q0,
            "Q1": q1,
            "Q2": q2,
            "recharge": recharge + excess,
            "SWE": snowpack + meltwater,
            "soil_moisture": soil,
            "groundwater": upper + lower,
        }


def limited(flux: Tensor, supply: Tensor) -> Tensor:
    """A flux out of a store: not negative, and no more than there is."""
    return torch.minimum(torch.relu(flux), supply)


def snow(
    forcing: Mapping[str, Tensor],
    snowpack: Tensor,
    meltwater: Tensor,
    p: Mapping[str, Tensor],
    dt: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Degree-day snow routine (Seibert & Vis, 2012, eqs. 1-2).

    Returns
    -------
    snowpack, meltwater, to_soil : Tensor
        The two stores, and rain plus the melt water that the pack no longer holds, in mm.
    """
    warmth = forcing["T"] - p["TT"]
    rain = torch.where(warmth >= 0, forcing["P"], 0.0)
    snowpack = snowpack + (forcing["P"] - rain)
    melt = torch.minimum(p["CFMAX"] * torch.relu(warmth) * dt, snowpack)
    snowpack = snowpack - melt
    meltwater = meltwater + melt
    refreezing = torch.minimum(p["CFR"] * p["CFMAX"] * torch.relu(-warmth) * dt, meltwater)
    snowpack = snowpack + refreezing
    meltwater = meltwater - refreezing
    outflow = torch.relu(meltwater - p["CWH"] * snowpack)
    return snowpack, meltwater - outflow, rain + outflow
