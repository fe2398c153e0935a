"""The hourly HBV variants: rain that comes faster than the soil takes it up runs off overland."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .contract import Replaceable, State
from .fluxes import limited
from .hbv import HBV2, filled, power
from .hbv_tables import HBV_2_1_HOURLY, HBV_2_HOURLY

#: Fullest soil that infiltration is computed for: of 2.0, and of 2.1, which also shapes its recharge.
FULLEST_2_0, FULLEST_2_1 = 0.99, 0.9999


class HBV2Hourly(HBV2):
    """Hourly HBV 2.0 (Yang et al., 2026): HBV 2.0 with infiltration excess.

    The soil takes up ``F0 (FMIN + (1 - FMIN) (1 - SM/FC)**ALPHA)`` of rain and melt water, at
    most; the rest runs off in the same step. ``SM/FC`` counts as at most 0.99 there. The unit
    hydrograph has a lag, and its parameters are in hours.

    Notes
    -----
    Exchange does not depend on the weather: it can feed runoff through any dry spell, or take
    all baseflow.
    """

    unit_hydrograph = "lagged_gamma"

    def __init__(self) -> None:
        super().__init__()
        self.declaration = HBV_2_HOURLY

    def infiltration(
        self, soil: Tensor, water: Tensor, p: Mapping[str, Tensor], dt: float, process: Replaceable
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Divide the water on the ground, by the rate that the soil can take up at most."""
        dryness = 1.0 - (soil / p["FC"]).clamp(max=FULLEST_2_0)
        capacity = p["F0"] * dt * (p["FMIN"] + (1.0 - p["FMIN"]) * power(dryness, p["ALPHA"]))
        rejected = process("infiltration_excess", lambda: torch.relu(water - capacity), SM=soil, water=water)
        rejected = limited(rejected, water)
        entering, recharge, _ = super().infiltration(soil, water - rejected, p, dt, process)
        return entering, recharge, {"infiltration_excess": rejected}

    def overland(
        self,
        state: State,
        rejected: Mapping[str, Tensor],
        response: Mapping[str, Tensor],
        p: Mapping[str, Tensor],
        dt: float,
    ) -> tuple[State, dict[str, Tensor]]:
        """Let the water run off that did not enter the soil."""
        return {}, {**rejected, "Q": response["Q"] + rejected["infiltration_excess"]}


class HBV21Hourly(HBV2):
    """Hourly HBV 2.1 (Yang et al., 2026): HBV 2.0 with infiltration excess by a distributed capacity.

    The capacity of the soil to take up water varies within the site: it is below ``f`` on the
    share ``(f / F0)**(1 / ALPHA)``, up to ``F0`` (the distribution of Zhao's Xinanjiang model). What
    exceeds it, on the part ``1 - (SM/FC)**BETA`` that does not recharge the upper zone at once,
    runs off through two equal linear stores that empty at the rate ``2 KS`` (Nash, 1957). ``SM/FC``
    counts as at most 0.9999 there. The unit hydrograph has a lag, and its parameters are in hours.

    Notes
    -----
    Exchange does not depend on the weather: it can feed runoff through any dry spell, or take
    all baseflow.
    """

    unit_hydrograph = "lagged_gamma"

    def __init__(self) -> None:
        super().__init__()
        self.declaration = HBV_2_1_HOURLY

    def infiltration(
        self, soil: Tensor, water: Tensor, p: Mapping[str, Tensor], dt: float, process: Replaceable
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Divide the water on the ground, by a capacity to take it up that varies within the site."""
        saturated = power((soil / p["FC"]).clamp(max=FULLEST_2_1), p["BETA"])
        recharge = limited(process("recharge", lambda: water * saturated, SM=soil, water=water), water)

        def excess() -> Tensor:
            return (1.0 - saturated) * distributed_excess(water, p["F0"] * dt, p["ALPHA"])

        rejected = process("infiltration_excess", excess, SM=soil, water=water)
        rejected = limited(rejected, water - recharge)
        return water - rejected, recharge, {"infiltration_excess": rejected}

    def response(
        self,
        upper: Tensor,
        lower: Tensor,
        p: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        process: Replaceable,
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Advance the two groundwater zones; in a long step no more leaves than there is."""
        p = {**p, "K0": p["K0"].clamp(max=1.0 / dt)}
        return super().response(upper, lower, p, static, dt, process)

    def overland(
        self,
        state: State,
        rejected: Mapping[str, Tensor],
        response: Mapping[str, Tensor],
        p: Mapping[str, Tensor],
        dt: float,
    ) -> tuple[State, dict[str, Tensor]]:
        """Pass the water that did not enter the soil through two linear stores."""
        share = (2.0 * p["KS"] * dt).clamp(max=1.0)
        first = state["SIE1"] + rejected["infiltration_excess"]
        between = share * first
        second = state["SIE2"] + between
        outflow = share * second
        stores = {"SIE1": first - between, "SIE2": second - outflow}
        return stores, {**rejected, "QIE": outflow, "Q": response["Q"] + outflow}


def distributed_excess(water: Tensor, largest: Tensor, alpha: Tensor) -> Tensor:
    """Compute what exceeds an infiltration capacity that varies within a site, mm.

    The share of the site with a capacity below ``f`` is ``(f / largest)**(1 / alpha)`` (Zhao, 1992,
    https://doi.org/10.1016/0022-1694(92)90096-E); its integral over the water is the excess.

    Parameters
    ----------
    water, largest : Tensor
        Water on the ground and largest capacity of a step, mm.
    alpha : Tensor
        Shape.
    """
    exponent = 1.0 / alpha + 1.0
    within = largest * power(filled(water, largest), exponent) / exponent
    return within + torch.relu(water - largest)
