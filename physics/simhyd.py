"""SIMHYD, the rainfall-runoff model with interception, infiltration excess, interflow and groundwater."""

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
from .fluxes import ET, GROUNDWATER, RECHARGE, SOIL_MOISTURE, Q, limited
from .forcings import PET, P

CHIEW = (
    "Chiew, Peel & Western (2002), in Singh & Frevert (eds.), Mathematical Models of Small Watershed "
    "Hydrology and Applications, 335-367"
)
USUAL = "range usual in calibrations of SIMHYD"
#: Evaporation from a full soil, mm d-1 (Chiew et al., 2002).
FULL_SOIL = 10.0

PARAMETERS = (
    Parameter("INSC", 0.5, 5.0, "mm d-1", "interception store, emptied each day", USUAL),
    Parameter("COEFF", 50.0, 400.0, "mm d-1", "maximum infiltration loss", USUAL),
    Parameter("SQ", 0.0, 6.0, "1", "infiltration loss exponent", USUAL),
    Parameter("SMSC", 50.0, 500.0, "mm", "soil moisture store capacity", USUAL),
    Parameter("SUB", 0.0, 1.0, "1", "interflow coefficient", USUAL),
    Parameter("CRAK", 0.0, 1.0, "1", "groundwater recharge coefficient", USUAL),
    Parameter("K", 0.003, 0.3, "d-1", "baseflow recession coefficient", USUAL),
)
STATES = (
    StateVariable("SMS", "mm", "soil moisture store"),
    StateVariable("GW", "mm", "groundwater store"),
)


class SIMHYD(ProcessModel):
    """SIMHYD (Chiew et al., 2002), in the order of its flow chart.

    Interception ``min(P, PET, INSC)`` evaporates within the step. Of the rest,
    ``COEFF exp(-SQ SMS/SMSC)`` can infiltrate; of this ``SUB SMS/SMSC`` is interflow, and of
    what is then left ``CRAK SMS/SMSC`` recharge. The soil evaporates
    ``min(10 SMS/SMSC, PET - interception)`` and passes what exceeds SMSC to the groundwater,
    whose outflow is ``K GW``. Rates act for `dt` days.

    Notes
    -----
    By these equations nothing flows in a dry spell where nothing recharged the groundwater:
    ``CRAK = 0`` and a soil that was never full.
    """

    declaration = Declaration(
        name="simhyd",
        forcings=(P, PET),
        parameters=PARAMETERS,
        states=STATES,
        fluxes=(
            Q,
            ET,
            Flux("infiltration_excess", "mm", "rain that does not infiltrate", aggregation="sum"),
            Flux("interflow", "mm", "lateral flow from the soil", aggregation="sum"),
            Flux("baseflow", "mm", "outflow of groundwater", "land_surface_water__baseflow_depth", "sum"),
            RECHARGE,
            SOIL_MOISTURE,
            GROUNDWATER,
        ),
        balances=(Balance("water", "mm", ("P",), ("Q", "ET"), tuple(s.name for s in STATES)),),
        processes={"soil_evaporation": ("SMS", "PET")},
        source=CHIEW,
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
        """Advance interception, infiltration, soil and groundwater; see the class for the equations."""
        p = parameters
        rain, demand = forcing["P"], forcing["PET"]
        interception = torch.minimum(torch.minimum(rain, demand), p["INSC"] * dt)
        reaching = rain - interception
        demand = demand - interception

        wetness = (state["SMS"] / p["SMSC"]).clamp(max=1.0)
        infiltration = torch.minimum(reaching, p["COEFF"] * dt * torch.exp(-p["SQ"] * wetness))
        interflow = p["SUB"] * wetness * infiltration
        recharge = p["CRAK"] * wetness * (infiltration - interflow)
        soil = state["SMS"] + (infiltration - interflow - recharge)
        process = Replaceable(state, processes)
        evaporated = process(
            "soil_evaporation",
            lambda: torch.minimum(FULL_SOIL * dt * wetness, demand),
            SMS=soil,
            PET=demand,
        )
        evaporated = limited(evaporated, soil)
        soil = soil - evaporated
        overflow = torch.relu(soil - p["SMSC"])
        soil = soil - overflow
        recharge = recharge + overflow
        groundwater = state["GW"]
        baseflow = p["K"] * dt * groundwater
        groundwater = groundwater - baseflow + recharge
        excess = reaching - infiltration
        return {"SMS": soil, "GW": groundwater, **process.renewed}, {
            "Q": excess + interflow + baseflow,
            "ET": interception + evaporated,
            "infiltration_excess": excess,
            "interflow": interflow,
            "baseflow": baseflow,
            "recharge": recharge,
            "soil_moisture": soil,
            "groundwater": groundwater,
        }
