"""What a model of networks and process models declares, from what its parts declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

from ..errors import ConfigError
from ..physics import Attribute, Balance, Declaration, Flux, Forcing, ProcessModel, Quantity, fluxes, forcings
from .normalisation import FeatureStatistics
from .roles.bindings import correction
from .roles.resolve import CorrectInputRole, CorrectOutputRole, OutputRole, Role, WeightRole

Models = Mapping[str, ProcessModel]
Roles = Sequence[Role]
Statistics = Mapping[str, FeatureStatistics]


@dataclass(frozen=True)
class Output:
    """A flux that comes out, and where from.

    Parameters
    ----------
    flux : Flux
        Under the name that it has outside.
    key, name : str
        Of the process model, "" where it is no process model's own, and its name there.
    needs : tuple of (key, name)
        Fluxes of process models that it is made of.
    """

    flux: Flux
    key: str
    name: str
    needs: tuple[tuple[str, str], ...] = ()


def compose_declaration(
    models: Models, roles: Roles, statistics: Statistics, fixed: Mapping[str, float | str]
) -> tuple[Declaration, tuple[Output, ...]]:
    """Inputs, attributes, states, outputs and balances of the whole, and where outputs come from."""
    outputs = _outputs(models, roles, statistics)
    names = [o.flux.name for o in outputs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(f"outputs {', '.join(twice)} stand twice: a network and a process model give them")
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


# -- what goes in -----------------------------------------------------------------


def _forcings(models: Models, roles: Roles, statistics: Statistics) -> tuple[Forcing, ...]:
    declared = [f for m in models.values() for f in m.declaration.forcings]
    # A process model's own declaration goes before a shared one of the same name.
    known = {f.name: f for f in (*_shared(forcings, Forcing), *reversed(declared))}
    names = [f.name for f in declared] + [name for role in roles for name in role.forcings]
    return tuple(known.get(name) or _network_input(name, statistics) for name in dict.fromkeys(names))


def _network_input(name: str, statistics: Statistics) -> Forcing:
    # A negative value has no root.
    rooted = name in statistics and statistics[name].transform == "log_sqrt"
    lower = 0.0 if rooted else -inf
    return Forcing(name, _units(name, statistics), f"network input {name}", lower=lower)


def _attributes(
    models: Models, roles: Roles, statistics: Statistics, fixed: Mapping[str, float | str]
) -> tuple[Attribute, ...]:
    declared = [a for m in models.values() for a in m.declaration.attributes]
    declared += [
        Attribute(held, p.units, p.meaning, lower=p.lower, upper=p.upper)
        for m in models.values()
        for p in m.declaration.parameters
        if isinstance(held := fixed.get(p.name), str)
    ]
    known = {a.name: a for a in reversed(declared)}
    names = [a.name for a in declared] + [name for role in roles for name in role.attributes]
    return tuple(
        known.get(name) or Attribute(name, _units(name, statistics), f"static attribute {name}")
        for name in dict.fromkeys(names)
    )


def _units(name: str, statistics: Statistics) -> str:
    return (statistics[name].units if name in statistics else "") or "1"


def _shared(module: object, kind: type[Quantity]) -> list:
    return [value for value in vars(module).values() if isinstance(value, kind)]


# -- what comes out ---------------------------------------------------------------


def _outputs(models: Models, roles: Roles, statistics: Statistics) -> tuple[Output, ...]:
    own = {key: _own(key, model, roles) for key, model in models.items()}
    several = len(models) > 1
    weighted = any(isinstance(role, WeightRole) for role in roles)
    outputs: list[Output] = []
    if weighted:
        outputs += _mean(models, roles, own)
    for key, members in own.items():
        for output in members:
            flux = output.flux
            if several:
                rivals = sum(flux.name in {o.name for o in others} for others in own.values())
                standard = "" if weighted else flux.standard_name
                if standard and rivals > 1:
                    standard = f"{key}.{standard}"
                flux = replace(flux, name=f"{key}.{flux.name}", standard_name=standard)
            outputs.append(replace(output, flux=flux))
    known = {f.name: f for f in _shared(fluxes, Flux)}
    for role in roles:
        if isinstance(role, OutputRole):
            for name in role.outputs:
                flux = known.get(name) or Flux(name, _units(name, statistics), f"network output {name}")
                outputs.append(Output(flux, "", name))
    return tuple(outputs)


def _own(key: str, model: ProcessModel, roles: Roles) -> list[Output]:
    """Fluxes of one process model, and those that book its corrections."""
    declaration = model.declaration
    outputs = [Output(f, key, f.name, ((key, f.name),)) for f in declaration.fluxes]
    given: dict[str, Quantity] = {f.name: f for f in declaration.forcings}
    simulated: dict[str, Quantity] = {f.name: f for f in declaration.fluxes}
    for name in _corrected(CorrectInputRole, key, roles):
        outputs.append(Output(_booking(given[name]), key, correction(name)))
    for name in _corrected(CorrectOutputRole, key, roles):
        outputs.append(Output(_booking(simulated[name]), key, correction(name), ((key, name),)))
    return outputs


def _booking(quantity: Quantity) -> Flux:
    return Flux(
        correction(quantity.name),
        quantity.units,
        f"correction of {quantity.meaning}",
        aggregation=quantity.aggregation,
    )


def _corrected(kind: type[CorrectInputRole] | type[CorrectOutputRole], key: str, roles: Roles) -> list[str]:
    return [name for r in roles if isinstance(r, kind) and r.model == key for name in r.corrects]


def _mean(models: Models, roles: Roles, own: Mapping[str, list[Output]]) -> list[Output]:
    """Fluxes that all models have, and all that a balance holds."""
    booked = {n for key, m in models.items() for b in _booked(key, m, roles) for n in b.out + b.exchange}
    by_name: dict[str, list[Output]] = {}
    for members in own.values():
        for output in members:
            by_name.setdefault(output.name, []).append(output)
    return [
        Output(same[0].flux, "", name, tuple(need for output in same for need in output.needs))
        for name, same in by_name.items()
        if len(same) == len(models) or name in booked
    ]


# -- what is conserved ------------------------------------------------------------


def _booked(key: str, model: ProcessModel, roles: Roles) -> list[Balance]:
    """The balances of one process model, its corrections among the exchange."""
    inputs, outputs = (_corrected(kind, key, roles) for kind in (CorrectInputRole, CorrectOutputRole))
    return [
        replace(
            b,
            stored=tuple(f"{key}.{name}" for name in b.stored),
            exchange=(
                *b.exchange,
                *(correction(name) for name in inputs if name in b.into),
                *(correction(name) for name in outputs if name in b.out),
            ),
        )
        for b in model.declaration.balances
    ]


def _balances(models: Models, roles: Roles) -> tuple[Balance, ...]:
    own = {key: _booked(key, model, roles) for key, model in models.items()}
    if len(models) == 1:
        return tuple(b for balances in own.values() for b in balances)
    if any(isinstance(role, WeightRole) and not role.inputs for role in roles):
        together = {
            b.quantity: [c for cs in own.values() for c in cs if c.quantity == b.quantity]
            for balances in own.values()
            for b in balances
        }
        return tuple(
            replace(
                same[0],
                out=tuple(dict.fromkeys(n for b in same for n in b.out)),
                stored=tuple(n for b in same for n in b.stored),
                exchange=tuple(dict.fromkeys(n for b in same for n in b.exchange)),
            )
            for same in together.values()
            if len(same) == len(models) and len({(b.into, b.units) for b in same}) == 1
        )
    return tuple(
        replace(
            b,
            out=tuple(f"{key}.{n}" for n in b.out),
            exchange=tuple(f"{key}.{n}" for n in b.exchange),
        )
        for key, balances in own.items()
        for b in balances
    )
