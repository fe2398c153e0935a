"""Trained models: networks, process models and roles in one module, and bundles of it on disk."""

from .bundle import Bundle, BundleInfo
from .delta_model import DeltaModel
from .multi_timescale import MultiTimescale
from .normalisation import FeatureStatistics
from .roles import (
    CorrectInputRole,
    CorrectOutputRole,
    OutputRole,
    ParameterRole,
    ProcessRole,
    Role,
    WeightRole,
)

__all__ = [
    "Bundle",
    "BundleInfo",
    "CorrectInputRole",
    "CorrectOutputRole",
    "DeltaModel",
    "FeatureStatistics",
    "MultiTimescale",
    "OutputRole",
    "ParameterRole",
    "ProcessRole",
    "Role",
    "WeightRole",
]
