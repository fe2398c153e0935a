"""Trained differentiable models as Basic Model Interface components.

Names are imported when they are first used, so that ``import dmg_bmi`` costs nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "DeltaModel": "delta_model",
    "ParameterRole": "delta_model",
    "Statistic": "normalisation",
    "Bundle": "bundle",
    "DeltaModelBmi": "bmi",
    "bundle_component": "bmi",
    "RoutingBmi": "routing",
    "routing_model": "routing",
    "RoutedModel": "routed_model",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
