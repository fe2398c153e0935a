"""The registry of roles, and the check that those of a model fit together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import signature
from typing import Any

from ...errors import ConfigError, alternatives, repeated
from ...physics import Declaration, ProcessModel
from .base import ModelRole, Role
from .corrections import CorrectInputRole, CorrectOutputRole
from .ensemble import WeightRole
from .mixing import MixInputRole
from .network_output import OutputRole
from .output_mixing import MixOutputRole
from .parameters import ParameterRole
from .process import ProcessRole

KINDS = {
    role.kind: role
    for role in (
        ParameterRole,
        ProcessRole,
        MixInputRole,
        CorrectInputRole,
        CorrectOutputRole,
        WeightRole,
        OutputRole,
        MixOutputRole,
    )
}


def from_plain(description: Mapping[str, Any] | Role) -> Role:
    """Build a role from plain data, whose key ``role`` is ``parameters`` by default."""
    if isinstance(description, Role):
        return description
    options = dict(description)
    kind = options.pop("role", ParameterRole.kind)
    if kind not in KINDS:
        raise ConfigError(f"roles: unknown role {kind!r}; available: {', '.join(KINDS)}")
    keys = signature(KINDS[kind]).parameters
    unknown = [name for name in options if name not in keys]
    if unknown:
        raise ConfigError(f"roles: {kind} has no key {unknown[0]!r}; {alternatives(unknown[0], keys)}")
    try:
        return KINDS[kind](**options)
    except TypeError as error:
        raise ConfigError(f"roles: {error}") from error


def resolve_roles(
    roles: Sequence[Role],
    networks: Mapping[str, object],
    models: Mapping[str, ProcessModel],
    fixed: Mapping[str, object],
) -> tuple[Role, ...]:
    """Check that roles, networks and process models fit together, and fill in defaults."""
    for role in roles:
        _check_key("network", role.network, networks)
        if isinstance(role, ModelRole):
            _check_key("process model", role.model, models)
    for key in networks:
        count = sum(r.network == key for r in roles)
        if count != 1:
            raise ConfigError(f"network {key!r} has {count} roles; it requires exactly one")
    if sum(isinstance(r, WeightRole) for r in roles) > 1:
        raise ConfigError("only one network can weigh the process models")
    if any(isinstance(r, WeightRole) for r in roles) and len(models) < 2:
        raise ConfigError("weights require at least two process models")
    _check_mixing(roles, models)
    declared = {p.name for m in models.values() for p in m.declaration.parameters}
    unknown = [name for name in fixed if name not in declared]
    if unknown:
        raise ConfigError(f"fixed: no process model has a parameter {', '.join(unknown)}")
    resolved = [role.resolve(models) for role in roles]
    for key, model in models.items():
        resolved = _assign_static(resolved, key, model.declaration, fixed)
    return tuple(resolved)


def _check_mixing(roles: Sequence[Role], models: Mapping[str, ProcessModel]) -> None:
    """Check that there is one flux for networks to be mixed with, and that they leave some of it."""
    mixing = [role for role in roles if isinstance(role, MixOutputRole)]
    earlier = roles[: roles.index(mixing[0])] if mixing else ()
    if mixing and len(models) > 1 and not any(isinstance(role, WeightRole) for role in earlier):
        raise ConfigError(
            f"role of network {mixing[0].network!r}: mix_output with several process models mixes with their "
            "mean: a role weights must stand before it"
        )
    if sum(role.share for role in mixing) >= 1:
        names = ", ".join(role.network for role in mixing)
        raise ConfigError(f"mix_output: the shares of {names} leave nothing to the process models")


def _assign_static(
    roles: list[Role], key: str, declaration: Declaration, fixed: Mapping[str, object]
) -> list[Role]:
    """Assign parameters that nothing supplies to the first role that leaves `static` open."""
    declared = [p.name for p in declaration.parameters]

    def supplied() -> list[str]:
        suppliers = [r for r in roles if isinstance(r, ParameterRole) and r.model == key]
        return [*fixed, *(name for role in suppliers for name in role.supplied)]

    unknown = [name for name in supplied() if name not in declared and name not in fixed]
    if unknown:
        raise ConfigError(
            f"{declaration.name} has no parameter {', '.join(unknown)}; it has {', '.join(declared)}"
        )
    rest = tuple(name for name in declared if name not in supplied())
    roles = list(roles)
    for i, role in enumerate(roles):
        if isinstance(role, ParameterRole) and role.model == key and role.static is None:
            roles[i] = replace(role, static=rest)
            rest = ()
    if rest:
        raise ConfigError(
            f"{declaration.name}: nothing supplies {', '.join(rest)}; name them in a role or under fixed"
        )
    if twice := repeated(supplied()):
        raise ConfigError(f"{declaration.name}: {', '.join(twice)} supplied more than once")
    return roles


def _check_key(kind: str, key: str, available: Mapping[str, object]) -> None:
    if key not in available:
        names = ", ".join(available) or "none"
        raise ConfigError(f"a role names the {kind} {key!r}, which does not exist; available: {names}")
