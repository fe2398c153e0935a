"""The declaration of a whole model, composed from those of its process models and roles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import inf

from ..errors import ConfigError, repeated
from ..physics import Attribute, Balance, Declaration, Forcing, ProcessModel, forcings
from .constants import Source, source_names
from .normalisation import FeatureStatistics, units_of
from .roles.base import ModelRole, Output, Role
from .roles.ensemble import WeightRole

Models = Mapping[str, ProcessModel]
Roles = Sequence[Role]
Statistics = Mapping[str, FeatureStatistics]


def compose_declaration(
    models: Models, roles: Roles, statistics: Statistics, fixed: Mapping[str, Source]
) -> tuple[Declaration, tuple[Output, ...]]:
    """Compose the declaration of the whole model; also return its outputs with their sources."""
    outputs = _outputs(models, roles, statistics)
    if twice := repeated(o.flux.name for o in outputs):
        raise ConfigError(f"outputs {', '.join(twice)} appear twice: a network and a process model give them")
    declaration = Declaration(
        name="+".join(m.declaration.name for m in models.values()) or "network",
        forcings=_forcings(models, roles, statistics),
        attributes=_attributes(models, roles, statistics, fixed),
        states=tuple(
            replace(s, name=f"{key}.{s.name}") for key, m in models.items() for s in m.declaration.states
        ),
        fluxes=tuple(o.flux for o in outputs),
        balances=_balances(models, roles),
        graph=tuple(dict.fromkeys(name for m in models.values() for name in m.declaration.graph)),
    )
    return declaration, outputs


# -- inputs -----------------------------------------------------------------


def _forcings(models: Models, roles: Roles, statistics: Statistics) -> tuple[Forcing, ...]:
    declared = [f for m in models.values() for f in m.declaration.forcings]
    declared += [f for role in roles for f in role.sources(models)]
    shared = [f for f in vars(forcings).values() if isinstance(f, Forcing)]
    # A process model's own declaration takes precedence over a shared one of the same name.
    by_name = {f.name: f for f in (*shared, *reversed(declared))}
    names = [f.name for f in declared] + [name for role in roles for name in role.forcings]
    return tuple(by_name.get(name) or _network_input(name, statistics) for name in dict.fromkeys(names))


def _network_input(name: str, statistics: Statistics) -> Forcing:
    # The transform takes the root.
    rooted = name in statistics and statistics[name].transform == "log_sqrt"
    lower = 0.0 if rooted else -inf
    return Forcing(name, units_of(name, statistics), f"network input {name}", lower=lower)


def _attributes(
    models: Models, roles: Roles, statistics: Statistics, fixed: Mapping[str, Source]
) -> tuple[Attribute, ...]:
    declared = [a for m in models.values() for a in m.declaration.attributes]
    declared += [
        Attribute(name, p.units, p.meaning, lower=p.lower, upper=p.upper)
        for m in models.values()
        for p in m.declaration.parameters
        for name in source_names(fixed.get(p.name, 0.0))
    ]
    by_name = {a.name: a for a in reversed(declared)}
    names = [a.name for a in declared] + [name for role in roles for name in role.attributes]
    return tuple(
        by_name.get(name) or Attribute(name, units_of(name, statistics), f"static attribute {name}")
        for name in dict.fromkeys(names)
    )


# -- outputs ---------------------------------------------------------------


def _outputs(models: Models, roles: Roles, statistics: Statistics) -> tuple[Output, ...]:
    by_model = _outputs_by_model(models, roles, statistics)
    several = len(models) > 1
    weighted = any(isinstance(role, WeightRole) for role in roles)
    outputs: list[Output] = []
    if weighted:
        outputs += _weighted_means(models, roles, by_model)
    for key, members in by_model.items():
        for output in members:
            flux = output.flux
            if several:
                rivals = sum(flux.name in {o.name for o in others} for others in by_model.values())
                standard = "" if weighted else flux.standard_name
                if standard and rivals > 1:
                    standard = f"{key}.{standard}"
                flux = replace(flux, name=f"{key}.{flux.name}", standard_name=standard)
            outputs.append(replace(output, flux=flux))
    of_networks = [o for role in roles for o in role.declares(models, statistics) if not o.key]
    return (*outputs, *dict.fromkeys(of_networks))


def _outputs_by_model(models: Models, roles: Roles, statistics: Statistics) -> dict[str, list[Output]]:
    """List the fluxes of each process model, and those that roles add to them."""
    by_model = {
        key: [Output(f, key, f.name, ((key, f.name),)) for f in model.declaration.fluxes]
        for key, model in models.items()
    }
    for role in roles:
        for output in role.declares(models, statistics):
            if output.key:
                by_model[output.key].append(output)
    return by_model


def _weighted_means(models: Models, roles: Roles, by_model: Mapping[str, list[Output]]) -> list[Output]:
    """List the fluxes that all models have, and all that are in a balance."""
    balanced = {
        n for key, m in models.items() for b in _model_balances(key, m, roles) for n in b.out + b.exchange
    }
    by_name: dict[str, list[Output]] = {}
    for members in by_model.values():
        for output in members:
            by_name.setdefault(output.name, []).append(output)
    return [
        Output(same[0].flux, "", name, tuple(need for output in same for need in output.needs))
        for name, same in by_name.items()
        if len(same) == len(models) or name in balanced
    ]


# -- balances ------------------------------------------------------------


def _model_balances(key: str, model: ProcessModel, roles: Roles) -> list[Balance]:
    """List the balances of one process model, with what roles add to the exchange."""
    of_model = [role for role in roles if isinstance(role, ModelRole) and role.model == key]
    return [
        replace(
            b,
            stored=tuple(f"{key}.{name}" for name in b.stored),
            exchange=(*b.exchange, *(name for role in of_model for name in role.exchanges(b))),
        )
        for b in model.declaration.balances
    ]


def _balances(models: Models, roles: Roles) -> tuple[Balance, ...]:
    by_model = {key: _model_balances(key, model, roles) for key, model in models.items()}
    conserved = any(isinstance(role, WeightRole) and role.conserves for role in roles)
    if len(models) == 1 or conserved:
        of_all = [role for role in roles if not isinstance(role, ModelRole)]
        (own, *others) = by_model.values()
        return tuple(
            replace(
                b, exchange=tuple(dict.fromkeys([*b.exchange, *(n for r in of_all for n in r.exchanges(b))]))
            )
            for b in (_ensemble_balances(by_model) if others else own)
        )
    return tuple(
        replace(
            b,
            out=tuple(f"{key}.{n}" for n in b.out),
            exchange=tuple(f"{key}.{n}" for n in b.exchange),
        )
        for key, balances in by_model.items()
        for b in balances
    )


def _ensemble_balances(by_model: Mapping[str, list[Balance]]) -> tuple[Balance, ...]:
    """Join the balances of a quantity that all models have, fed by the same forcings."""
    by_quantity: dict[str, list[Balance]] = {}
    for balances in by_model.values():
        for balance in balances:
            by_quantity.setdefault(balance.quantity, []).append(balance)
    return tuple(
        replace(
            same[0],
            out=tuple(dict.fromkeys(n for b in same for n in b.out)),
            stored=tuple(n for b in same for n in b.stored),
            exchange=tuple(dict.fromkeys(n for b in same for n in b.exchange)),
        )
        for same in by_quantity.values()
        if len(same) == len(by_model) and len({(b.into, b.units) for b in same}) == 1
    )
