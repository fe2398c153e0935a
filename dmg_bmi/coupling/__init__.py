"""BMI components stepped together: exchanges between them, one clock, one restart file."""

from .config import CouplingConfig
from .coupling import Coupling

__all__ = ["Coupling", "CouplingConfig"]
