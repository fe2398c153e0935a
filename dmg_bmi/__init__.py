"""Trained differentiable models as Basic Model Interface components.

Names are imported when they are first used, so that ``import dmg_bmi`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .lazy import make_lazy

__version__ = "0.1.0"

_HOMES = {
    "DeltaModel": "model.delta_model",
    "ParameterRole": "model.roles",
    "FeatureStatistics": "model.normalisation",
    "Bundle": "model.bundle",
    "DeltaModelBmi": "bmi",
    "bundle_component": "bmi",
    "RoutingBmi": "routing_bmi",
    "routing_model": "routing_bmi",
    "NoaaLstmBmi": "noaa_lstm_bmi",
    "RoutedModel": "model.routed_model",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)


make_lazy(__name__)
