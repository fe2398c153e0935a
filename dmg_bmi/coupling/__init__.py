"""Any BMI components stepped together: exchanges between them, one clock, one restart file."""

from .components import Coupling
from .config import CouplingConfig

__all__ = ["Coupling", "CouplingConfig"]
