"""Ensembles in one bundle: copies of a model that are trained side by side and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..model.delta_model import DeltaModel
from ..model.registry import descriptions
from ..model.roles import WeightRole
from .config import Model

#: The network of the shares, which are equal.
MEAN = "mean"


def replicate(spec: Model, count: int, attributes: Sequence[str]) -> Model:
    """Describe a model of `count` copies of each process model of another, and their mean.

    Networks and process models are named ``static_1``, ``phy_1``, ``static_2``, ...

    Raises
    ------
    ConfigError
        If the model has no process model, or its flow is already a mean or a network's.
    """
    networks, models = descriptions(spec.nn, "nn"), descriptions(spec.phy_model, "phy")
    kinds = {role.get("role", "parameters") for role in spec.roles}
    if not models or kinds & {"weights", "output"}:
        raise ConfigError(
            f"training.ensemble is {count}: it copies process models and what acts on each; this model has "
            f"{', '.join(models) or 'no process model'} and roles {', '.join(sorted(kinds))}"
        )
    if not attributes:
        raise ConfigError(f"training.ensemble is {count}: it needs data.attributes, and there are none")
    numbers = range(1, count + 1)
    roles: list[dict[str, Any]] = [
        {**role, "network": f"{role.get('network', 'nn')}_{i}", "model": f"{_model(role, models)}_{i}"}
        for i in numbers
        for role in spec.roles
    ]
    share = {"role": WeightRole.kind, "network": MEAN, "attributes": attributes[:1]}
    return replace(
        spec,
        nn={f"{name}_{i}": d for i in numbers for name, d in networks.items()}
        | {MEAN: {"name": "mlp", "hidden_sizes": []}},
        phy_model={f"{key}_{i}": d for i in numbers for key, d in models.items()},
        roles=[*roles, share],
    )


def _model(role: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Return the process model that a role acts on: the one it names, or the only one."""
    if "model" not in role and len(models) > 1:
        raise ConfigError(f"a role does not name the model that it acts on; available: {', '.join(models)}")
    return str(role.get("model", next(iter(models))))


def equalize(model: DeltaModel) -> None:
    """Give every member of a model of :func:`replicate` the same share, which training does not change."""
    shares = model.networks[MEAN].requires_grad_(False)
    with torch.no_grad():
        for weight in shares.parameters():
            weight.zero_()


def split_members(model: DeltaModel, fluxes: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the fluxes of each member that `fluxes` has, without the member's key."""
    return [
        {name.removeprefix(f"{key}."): v for name, v in fluxes.items() if name.startswith(f"{key}.")}
        for key in model.process_models
    ]
