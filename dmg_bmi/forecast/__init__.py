"""Forecasts: states brought in line with gauges, errors corrected, and skill by lead time."""

from ..assimilation.analysis import Analysis, analyse
from ..assimilation.options import Assimilation
from ..assimilation.routed import RoutedAnalysis, analyse_routed
from .error_correction import ErrorCorrection
from .hindcast import Hindcast, hindcast
from .learned_error import Distribution, LearnedError

__all__ = [
    "Analysis",
    "Assimilation",
    "Distribution",
    "ErrorCorrection",
    "Hindcast",
    "LearnedError",
    "RoutedAnalysis",
    "analyse",
    "analyse_routed",
    "hindcast",
]
