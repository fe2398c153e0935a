"""Roles of networks: what a network does in a model, one file per role."""

from .base import Role
from .corrections import CorrectInputRole, CorrectOutputRole
from .ensemble import WeightRole
from .mixing import MixInputRole
from .network_output import OutputRole
from .output_mixing import MixOutputRole
from .parameters import ParameterRole
from .process import ProcessRole
from .resolve import KINDS, from_plain, resolve_roles

__all__ = [
    "KINDS",
    "CorrectInputRole",
    "CorrectOutputRole",
    "MixInputRole",
    "MixOutputRole",
    "OutputRole",
    "ParameterRole",
    "ProcessRole",
    "Role",
    "WeightRole",
    "from_plain",
    "resolve_roles",
]
