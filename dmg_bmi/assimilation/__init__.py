"""Assimilation: states brought in line with observations."""

from .analysis import Analysis, analyse
from .options import Assimilation

__all__ = ["Analysis", "Assimilation", "analyse"]
