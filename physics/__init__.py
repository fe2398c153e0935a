"""Process models in PyTorch: equations, parameter tables, states; no networks, no BMI, no files."""

from .balance import mass_in, mass_out, residual, storage
from .catchment import Catchment
from .contract import (
    NO_PROCESSES,
    Attribute,
    Balance,
    Declaration,
    Flux,
    Forcing,
    Parameter,
    ProcessFunction,
    ProcessModel,
    Quantity,
    Replaceable,
    State,
    StateVariable,
)
from .exphydro import ExpHydro
from .gr4j import GR4J
from .hbv import HBV, HBV2, HBV11p
from .hbv_hourly import HBV2Hourly, HBV21Hourly
from .photosynthesis import Photosynthesis
from .routing.muskingum_cunge import MuskingumCunge
from .run import run
from .simhyd import SIMHYD

__all__ = [
    "GR4J",
    "HBV",
    "HBV2",
    "NO_PROCESSES",
    "SIMHYD",
    "Attribute",
    "Balance",
    "Catchment",
    "Declaration",
    "ExpHydro",
    "Flux",
    "Forcing",
    "HBV2Hourly",
    "HBV11p",
    "HBV21Hourly",
    "MuskingumCunge",
    "Parameter",
    "Photosynthesis",
    "ProcessFunction",
    "ProcessModel",
    "Quantity",
    "Replaceable",
    "State",
    "StateVariable",
    "mass_in",
    "mass_out",
    "residual",
    "run",
    "storage",
]
