"""Ensembles in one bundle: process models trained side by side, each by its own loss, and averaged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..model.delta_model import DeltaModel
from ..model.registry import descriptions
from ..model.roles import MixOutputRole, OutputRole, ParameterRole, WeightRole
from .config import Model

#: The network of the shares, which are equal.
MEAN = "mean"
#: Roles by which a flow is no process model's alone.
COMBINING = frozenset({WeightRole.kind, OutputRole.kind})


def is_ensemble(spec: Model, count: int) -> bool:
    """Tell whether a model has members: copies, or process models whose flows nothing else combines."""
    return count > 1 or (len(descriptions(spec.phy_model, "phy")) > 1 and not _kinds(spec) & COMBINING)


def replicate(spec: Model, count: int, attributes: Sequence[str]) -> Model:
    """Describe a model of `count` copies of each process model of another, and their mean.

    The networks and process models of copies are named ``static_1``, ``phy_1``, ``static_2``, ...

    Raises
    ------
    ConfigError
        If the model has no process model, or its flow is already a mean or a network's.
    """
    networks, models = descriptions(spec.nn, "nn"), descriptions(spec.phy_model, "phy")
    kinds = _kinds(spec)
    if not models or kinds & COMBINING:
        raise ConfigError(
            f"training.ensemble is {count}: it copies process models and what acts on each; this model has "
            f"{', '.join(models) or 'no process model'} and roles {', '.join(sorted(kinds))}"
        )
    if not attributes:
        raise ConfigError("the mean of an ensemble needs data.attributes, and there are none")
    if MEAN in networks:
        raise ConfigError(f"model.nn.{MEAN}: an ensemble gives this name to its shares; choose another")
    numbers = [f"_{i}" for i in range(1, count + 1)] if count > 1 else [""]
    mean = {"role": WeightRole.kind, "network": MEAN, "attributes": attributes[:1]}
    roles: list[dict[str, Any]] = [
        {**role, "network": role.get("network", "nn") + number, "model": _model(role, models) + number}
        for number in numbers
        for role in spec.roles
        if role.get("role") != MixOutputRole.kind
    ]
    mixed: list[dict[str, Any]] = [
        {**role, "network": role.get("network", "nn") + number, "share": _part(role, count)}
        for number in numbers
        for role in spec.roles
        if role.get("role") == MixOutputRole.kind
    ]
    return replace(
        spec,
        nn={name + number: d for number in numbers for name, d in networks.items()}
        | {MEAN: {"name": "mlp", "hidden_sizes": []}},
        phy_model={key + number: d for number in numbers for key, d in models.items()},
        roles=[*roles, mean, *mixed],
    )


def _kinds(spec: Model) -> set[str]:
    return {role.get("role", ParameterRole.kind) for role in spec.roles}


def _model(role: Mapping[str, Any], models: Mapping[str, Any]) -> str:
    """Return the process model that a role acts on: the one it names, or the only one."""
    if "model" not in role and len(models) > 1:
        raise ConfigError(f"a role does not name the model that it acts on; available: {', '.join(models)}")
    return str(role.get("model", next(iter(models))))


def _part(role: Mapping[str, Any], count: int) -> Any:
    """Return what each copy of a network has of its share; the role refuses what is no number."""
    share = role.get("share", MixOutputRole.share)
    return share / count if isinstance(share, int | float) else share


def equalize(model: DeltaModel) -> None:
    """Give every member of a model of :func:`replicate` the same share, which training does not change."""
    shares = model.networks[MEAN].requires_grad_(False)
    with torch.no_grad():
        for weight in shares.parameters():
            weight.zero_()


def members(model: DeltaModel) -> list[str]:
    """Return the keys of members that learn each by its own loss: all, if nothing trains their shares."""
    shares = [model.networks[role.network] for role in model.roles if isinstance(role, WeightRole)]
    fixed = shares and not any(weight.requires_grad for network in shares for weight in network.parameters())
    return [*model.members] if fixed else []


def require_learning(model: DeltaModel, targets: Sequence[str]) -> None:
    """Refuse a network that learns by its own loss, but gives none of the targets."""
    for role in model.roles:
        if isinstance(role, MixOutputRole) and set(role.outputs).isdisjoint(targets):
            raise ConfigError(
                f"role of network {role.network!r}: it gives {', '.join(role.outputs)}, of which "
                "training.loss has none; it would learn nothing"
            )


def split_members(model: DeltaModel, fluxes: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Return the fluxes of each member, without its key; of a model without members all as they are."""
    return [
        {name.removeprefix(f"{key}."): v for name, v in fluxes.items() if name.startswith(f"{key}.")}
        for key in members(model)
    ] or [{**fluxes}]
