"""Forecasts: states brought in line with gauges, errors corrected, and skill by lead time."""

from ..assimilation import Analysis, Assimilation, analyse
from .error_correction import ErrorCorrection
from .hindcast import Hindcast, hindcast

__all__ = ["Analysis", "Assimilation", "ErrorCorrection", "Hindcast", "analyse", "hindcast"]
