"""Process models in PyTorch: equations, parameter tables, states. No networks, no BMI, no files."""

from .balance import mass_in, mass_out, residual, storage
from .catchment import Catchment
from .contract import (
    Attribute,
    Balance,
    Declaration,
    Flux,
    Forcing,
    Parameter,
    ProcessModel,
    Quantity,
    State,
    StateVariable,
)
from .exphydro import ExpHydro
from .gr4j import GR4J
from .hbv import HBV, HBV2, HBV11p
from .photosynthesis import Photosynthesis
from .run import run
from .simhyd import SIMHYD

__all__ = [
    "GR4J",
    "HBV",
    "HBV2",
    "SIMHYD",
    "Attribute",
    "Balance",
    "Catchment",
    "Declaration",
    "ExpHydro",
    "Flux",
    "Forcing",
    "HBV11p",
    "Parameter",
    "Photosynthesis",
    "ProcessModel",
    "Quantity",
    "State",
    "StateVariable",
    "mass_in",
    "mass_out",
    "residual",
    "run",
    "storage",
]
