"""Forecasts: states brought in line with gauges, errors corrected, and skill by lead time."""

from .analysis import Analysis, analyse
from .error_correction import ErrorCorrection
from .hindcast import Hindcast, hindcast
from .options import Assimilation

__all__ = ["Analysis", "Assimilation", "ErrorCorrection", "Hindcast", "analyse", "hindcast"]
