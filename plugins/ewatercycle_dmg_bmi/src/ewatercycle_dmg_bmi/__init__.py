"""Trained differentiable models of dmg_bmi as a model of eWaterCycle."""

from .bmi import DatedBmi
from .model import DmgBmi

__version__ = "0.1.0"
__all__ = ["DatedBmi", "DmgBmi"]
