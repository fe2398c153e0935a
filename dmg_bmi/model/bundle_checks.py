"""What a bundle must be: weights of the sizes described, finite, and of a model that steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from ..errors import BundleError, ConfigError
from ..physics import ProcessModel
from .delta_model import DeltaModel
from .spin_up import build_model


def check_sizes(description: Mapping[str, Any], weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse a description that does not fit the weights, before memory is allocated for it."""
    try:
        with torch.device("meta"):
            described = build_model(description).state_dict()
    except Exception:  # what cannot be built without memory is checked when it is built with it
        return
    differing = [
        k
        for k in {*described, *weights}
        if k not in described or k not in weights or described[k].shape != weights[k].shape
    ]
    if differing:
        raise ConfigError(f"other names or sizes: {', '.join(sorted(differing)[:3])}")


def check_finite(weights: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights that are not finite, naming the first such tensor."""
    for name, values in weights.items():
        # The sum is one pass; since it may also overflow, only then is each number checked.
        if values.is_floating_point() and not values.sum().isfinite():
            bad = int((~values.isfinite()).sum())
            if bad:
                raise ConfigError(
                    f"tensor {name!r} has {bad} of {values.numel()} values that are NaN or infinite; "
                    "train the model again, or take an earlier bundle of it"
                )


def check_steps(model: DeltaModel, name: str) -> None:
    """Refuse a model that the BMI, which steps, could not run."""
    for part in model.modules():
        if isinstance(part, ProcessModel) and part.sequence_only:
            raise BundleError(
                f"{name}: process model {part.declaration.name!r} trains and runs forward, but a bundle "
                f"and the BMI require one that steps: {part.sequence_only}"
            )


def round_networks(model: DeltaModel, name: str) -> None:
    """Round the weights of networks to bfloat16."""
    if not model.networks:
        raise ConfigError(f"network_precision: {name} has no networks; leave it out")
    for key, network in model.networks.items():
        if not network.takes_bfloat16:
            raise ConfigError(
                f"network_precision: network {key!r} ({type(network).__name__}) runs only in its training "
                "precision; leave it out"
            )
        network.to(torch.bfloat16)
