"""Declarations of the HBV models: parameters with bounds, states, fluxes; variants as differences."""

from dataclasses import replace

from .contract import Attribute, Balance, Declaration, Flux, Parameter, StateVariable
from .fluxes import ET, EXCHANGE, GROUNDWATER, RECHARGE, SOIL_MOISTURE, SWE, Q
from .forcings import PET, P, T

SEIBERT = "Seibert & Vis (2012), https://doi.org/10.5194/hess-16-3315-2012"
FENG = "Feng et al. (2022), https://doi.org/10.1029/2022WR032404"
SONG_2026 = "Song et al. (2026), https://doi.org/10.1029/2025WR040414"
SONG_2025 = "Song et al. (2025), https://doi.org/10.1029/2024WR038928"
YANG = "Yang et al. (2026), https://arxiv.org/abs/2609.06794"

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
C = Parameter("C", 0.0, 1.0, "d-1", "capillary rise coefficient", SONG_2026)
EXCHANGE_PARAMETERS = (
    Parameter("RT", 0.0, 20.0, "mm d-1", "largest groundwater exchange", SONG_2025),
    Parameter("AC", 0.0, 2500.0, "km2", "upstream area where the exchange changes sign", SONG_2025),
)

STATES = (
    StateVariable("SNOWPACK", "mm", "frozen water of the snow pack"),
    StateVariable("MELTWATER", "mm", "liquid water held by the snow pack"),
    StateVariable("SM", "mm", "soil moisture"),
    StateVariable("SUZ", "mm", "upper groundwater zone"),
    StateVariable("SLZ", "mm", "lower groundwater zone"),
)

FLUXES = (
    Q,
    ET,
    Flux("Q0", "mm", "near-surface flow", aggregation="sum"),
    Flux("Q1", "mm", "interflow", aggregation="sum"),
    Flux("Q2", "mm", "baseflow", "land_surface_water__baseflow_depth", "sum"),
    RECHARGE,
    SWE,
    SOIL_MOISTURE,
    GROUNDWATER,
)

ATTRIBUTES = (
    Attribute("elevation", "m", "mean elevation", "basin__mean_of_elevation", lower=-500.0, upper=9000.0),
    Attribute(
        "upstream_area",
        "km2",
        "area that drains through the outlet, the row's own included",
        "basin_outlet__total_contributing_area",
        lower=0.0,
        upper=1e7,
    ),
)

HBV_1_0 = Declaration(
    name="hbv",
    forcings=(P, T, PET),
    parameters=PARAMETERS,
    states=STATES,
    fluxes=FLUXES,
    balances=(Balance("water", "mm", ("P",), ("Q", "ET"), tuple(s.name for s in STATES)),),
    processes={"ET": ("SM", "PET", "T"), "recharge": ("SM", "water"), "percolation": ("SUZ",)},
    source=f"{SEIBERT}; {FENG}",
)
HBV_1_0_BETAET = replace(HBV_1_0, parameters=(*PARAMETERS, BETAET))
HBV_1_1P = replace(
    HBV_1_0_BETAET,
    name="hbv_1_1p",
    parameters=(*HBV_1_0_BETAET.parameters, C),
    fluxes=(
        *FLUXES,
        Flux("capillary", "mm", "water from the lower zone back to the soil", aggregation="sum"),
    ),
    processes={**HBV_1_0.processes, "capillary": ("SM", "SLZ")},
    source=f"{HBV_1_0.source}; {SONG_2026}",
)
HBV_2 = replace(
    HBV_1_1P,
    name="hbv_2",
    attributes=ATTRIBUTES,
    parameters=HBV_1_1P.parameters + EXCHANGE_PARAMETERS,
    fluxes=(*HBV_1_1P.fluxes, EXCHANGE),
    balances=tuple(replace(b, exchange=("exchange",)) for b in HBV_1_1P.balances),
    processes={**HBV_1_1P.processes, "exchange": ("SLZ",)},
    source=f"{HBV_1_1P.source}; {SONG_2025}",
)

_INFILTRATION_EXCESS = Flux(
    "infiltration_excess", "mm", "water that does not enter the soil", aggregation="sum"
)
_F0 = Parameter("F0", 120.0, 2880.0, "mm d-1", "largest infiltration capacity", YANG)
HBV_2_HOURLY = replace(
    HBV_2,
    name="hbv_2_hourly",
    parameters=(
        *HBV_2.parameters,
        _F0,
        Parameter("FMIN", 0.0, 1.0, "1", "share of F0 that a wet soil still takes up", YANG),
        Parameter("ALPHA", 0.5, 5.0, "1", "shape of the infiltration capacity", YANG),
    ),
    fluxes=(*HBV_2.fluxes, _INFILTRATION_EXCESS),
    processes={**HBV_2.processes, "infiltration_excess": ("SM", "water")},
    source=f"{HBV_2.source}; {YANG}",
)
_OVERLAND = (
    StateVariable("SIE1", "mm", "infiltration excess in the first overland store"),
    StateVariable("SIE2", "mm", "infiltration excess in the second overland store"),
)
HBV_2_1_HOURLY = replace(
    HBV_2_HOURLY,
    name="hbv_2_1_hourly",
    parameters=(
        *(replace(p, upper=12.0) if p.name == "K0" else p for p in HBV_2.parameters),
        _F0,
        Parameter("ALPHA", 0.5, 1.0, "1", "shape of the distribution of infiltration capacity", YANG),
        Parameter("KS", 0.05, 10.0, "d-1", "half the rate at which the overland stores empty", YANG),
    ),
    states=(*HBV_2.states, *_OVERLAND),
    fluxes=(
        *HBV_2_HOURLY.fluxes,
        Flux("QIE", "mm", "infiltration excess that leaves the overland stores", aggregation="sum"),
    ),
    balances=tuple(
        replace(b, stored=(*b.stored, *(s.name for s in _OVERLAND))) for b in HBV_2_HOURLY.balances
    ),
)
