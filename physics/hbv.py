"""HBV, the conceptual rainfall-runoff model with a snow, a soil and two groundwater stores."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .contract import NO_PROCESSES, ProcessFunction, ProcessModel, Replaceable, State
from .fluxes import limited
from .hbv_tables import HBV_1_0, HBV_1_0_BETAET, HBV_1_1P, HBV_2

#: The argument of a power is kept this far above zero, where its logarithm, or its slope, is infinite.
TINY = 1e-8
#: From this elevation on snow falls and stays below `HIGH_TT` (HBV 2.0, Song et al., 2025).
HIGH = 2000.0
HIGH_TT = 4.0
#: Upstream area from which groundwater exchange no longer depends on AC (HBV 2.0).
LARGE = 2500.0


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

    Notes
    -----
    By these equations runoff can rise in a dry spell: while percolation lasts, where the lower
    zone is the faster of the two (``K2 > K1``).
    """

    def __init__(self, *, betaet: bool = False) -> None:
        super().__init__()
        self.betaet = betaet
        self.declaration = HBV_1_0_BETAET if betaet else HBV_1_0

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Advance snow, soil and response; see the class for the equations."""
        p = self.site_parameters(parameters, static)
        process = Replaceable(state, processes)
        snowpack, meltwater, water = snow(forcing, state["SNOWPACK"], state["MELTWATER"], p, dt)
        water, recharge, rejected = self.infiltration(state["SM"], water, p, dt, process)
        soil, excess, evaporated = self.soil(forcing, state["SM"], water, recharge, p, process)
        soil, lower, rise = self.rise(soil, state["SLZ"], p, dt, process)
        upper = state["SUZ"] + recharge + excess
        upper, lower, response = self.response(upper, lower, p, static, dt, process)
        overland, surface = self.overland(state, rejected, response, p, dt)
        return {
            "SNOWPACK": snowpack,
            "MELTWATER": meltwater,
            "SM": soil,
            "SUZ": upper,
            "SLZ": lower,
            **overland,
            **process.renewed,
        }, {
            "ET": evaporated,
            "recharge": recharge + excess,
            **rise,
            **response,
            **surface,
            "SWE": snowpack + meltwater,
            "soil_moisture": soil,
            "groundwater": upper + lower,
        }

    def site_parameters(self, p: Mapping[str, Tensor], static: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the parameters as they apply at each site."""
        return p

    def infiltration(
        self, soil: Tensor, water: Tensor, p: Mapping[str, Tensor], dt: float, process: Replaceable
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Divide the water on the ground; here all of it enters the soil, which passes some on.

        Returns
        -------
        water, recharge : Tensor
            What enters the soil, and what of it goes on to the upper zone, in mm.
        rejected : dict of name to Tensor
            Flux of what does not enter; empty where all does.
        """
        recharge = process(
            "recharge", lambda: water * power(filled(soil, p["FC"]), p["BETA"]), SM=soil, water=water
        )
        return water, limited(recharge, water), {}

    def soil(
        self,
        forcing: Mapping[str, Tensor],
        soil: Tensor,
        water: Tensor,
        recharge: Tensor,
        p: Mapping[str, Tensor],
        process: Replaceable,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Advance the soil: water in, recharge out, excess above ``FC``, evaporation.

        Returns
        -------
        soil, excess, evaporated : Tensor
            In mm.
        """
        soil = soil + water - recharge
        excess = torch.relu(soil - p["FC"])
        soil = soil - excess
        wet = soil

        def evaporation() -> Tensor:
            share = filled(wet, p["LP"] * p["FC"])
            return forcing["PET"] * (power(share, p["BETAET"]) if "BETAET" in p else share)

        evaporated = limited(process("ET", evaporation, SM=soil, PET=forcing["PET"], T=forcing["T"]), soil)
        return soil - evaporated, excess, evaporated

    def rise(
        self, soil: Tensor, lower: Tensor, p: Mapping[str, Tensor], dt: float, process: Replaceable
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Return soil, lower zone and fluxes after capillary rise; here there is none."""
        return soil, lower, {}

    def response(
        self,
        upper: Tensor,
        lower: Tensor,
        p: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        process: Replaceable,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Advance the two groundwater zones: percolation, exchange, three outflows."""
        percolation = limited(process("percolation", lambda: p["PERC"] * dt, SUZ=upper), upper)
        upper = upper - percolation
        q0 = p["K0"] * dt * torch.relu(upper - p["UZL"])
        upper = upper - q0
        q1 = p["K1"] * dt * upper
        upper = upper - q1
        lower, exchanged = self.exchange(lower + percolation, p, static, dt, process)
        q2 = p["K2"] * dt * lower
        return upper, lower - q2, {**exchanged, "Q": q0 + q1 + q2, "Q0": q0, "Q1": q1, "Q2": q2}

    def exchange(
        self,
        lower: Tensor,
        p: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        process: Replaceable,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Return lower zone and fluxes after exchange with other catchments; here there is none."""
        return lower, {}

    def overland(
        self,
        state: State,
        rejected: Mapping[str, Tensor],
        response: Mapping[str, Tensor],
        p: Mapping[str, Tensor],
        dt: float,
    ) -> tuple[State, dict[str, Tensor]]:
        """Return stores and fluxes of water that did not enter the soil; here there is none."""
        return {}, {}


class HBV11p(HBV):
    """HBV 1.1p (Song et al., 2026): HBV with ``BETAET`` and capillary rise.

    After evaporation the lower zone gives ``min(SLZ, C SLZ (1 - min(SM/FC, 1)))`` back to
    the soil, which may then hold more than ``FC`` until the next step.

    Notes
    -----
    By these equations runoff can rise in a dry spell: what capillary rise lifts above ``FC`` is
    excess in the next step and leaves by the faster zone.
    """

    def __init__(self) -> None:
        super().__init__(betaet=True)
        self.declaration = HBV_1_1P

    def rise(
        self, soil: Tensor, lower: Tensor, p: Mapping[str, Tensor], dt: float, process: Replaceable
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Lift water from the lower zone into the soil."""
        rise = process("capillary", lambda: capillary_rise(soil, lower, p, dt), SM=soil, SLZ=lower)
        rise = limited(rise, lower)
        return soil + rise, lower - rise, {"capillary": rise}


class HBV2(HBV11p):
    """HBV 2.0 (Song et al., 2025): HBV 1.1p with site-dependent snow and groundwater exchange.

    From 2000 m mean elevation on, the snow threshold is 4 degC. Before baseflow the lower
    zone exchanges groundwater with other catchments, at a rate that the upstream area A sets:
    ``RT clip((A - AC) / 1000, -1, 1)`` below 2500 km2, ``RT exp(-min((A - 2500) / 50, 10))``
    from there on. The flux ``exchange`` is what was applied: never more than the zone held.

    Notes
    -----
    Exchange does not depend on the weather: it can feed runoff through any dry spell, or take
    all baseflow.
    """

    def __init__(self) -> None:
        super().__init__()
        self.declaration = HBV_2

    def site_parameters(self, p: Mapping[str, Tensor], static: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the parameters with the snow threshold of high sites."""
        return {**p, "TT": torch.where(static["elevation"] >= HIGH, HIGH_TT, p["TT"])}

    def exchange(
        self,
        lower: Tensor,
        p: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        process: Replaceable,
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Exchange groundwater with other catchments, by upstream area."""
        gain = process("exchange", lambda: groundwater_exchange(static["upstream_area"], p, dt), SLZ=lower)
        gain = torch.maximum(gain, -lower)
        return lower + gain, {"exchange": gain}


def snow(
    forcing: Mapping[str, Tensor],
    snowpack: Tensor,
    meltwater: Tensor,
    p: Mapping[str, Tensor],
    dt: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Advance the snow pack by a degree-day routine (Seibert & Vis, 2012, eqs. 1-2).

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


def power(x: Tensor, exponent: Tensor) -> Tensor:
    """Raise a share to a power, by logarithms: exact to rounding, in a third of the time of ``pow``."""
    return torch.exp(exponent * torch.log(x.clamp(min=TINY)))


def filled(soil: Tensor, capacity: Tensor) -> Tensor:
    """Compute the filled share of a capacity, at most one."""
    return (soil / capacity).clamp(max=1.0)


def capillary_rise(soil: Tensor, lower: Tensor, p: Mapping[str, Tensor], dt: float) -> Tensor:
    """Compute the water that the soil draws from the lower zone (Song et al., 2026), mm."""
    return p["C"] * dt * lower * (1.0 - filled(soil, p["FC"]))


def groundwater_exchange(area: Tensor, p: Mapping[str, Tensor], dt: float) -> Tensor:
    """Compute the groundwater from other catchments by upstream area in km2 (Song et al., 2025), mm."""
    small = ((area - p["AC"]) / 1000.0).clamp(-1.0, 1.0)
    large = torch.exp(-((area - LARGE) / 50.0).clamp(0.0, 10.0))
    return p["RT"] * dt * torch.where(area < LARGE, small, large)
