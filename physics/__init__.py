"""Process models in PyTorch: equations, parameter tables, states. No networks, no BMI, no files."""

from .balance import residual, storage, supplied, withdrawn
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
from .hbv import HBV
from .run import run

__all__ = [
    "HBV",
    "Attribute",
    "Balance",
    "Catchment",
    "Declaration",
    "Flux",
    "Forcing",
    "Parameter",
    "ProcessModel",
    "Quantity",
    "State",
    "StateVariable",
    "residual",
    "run",
    "storage",
    "supplied",
    "withdrawn",
]
