"""What a network does in a model, as plain data: the roles, and whether they fit together.

How each is carried out stands in :mod:`dmg_bmi.model.roles.bindings`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from inspect import signature
from typing import Any, ClassVar, Literal

from ...errors import ConfigError, there_is
from ...physics import Declaration, ProcessModel

Bounds = tuple[float, float]


@dataclass(frozen=True)
class Role:
    """Base of all roles.

    Parameters
    ----------
    inputs : tuple of str
        Forcings that the network sees at each step. Without any it runs once per row.
    attributes : tuple of str
        Static attributes that it sees.
    network : str
        Key in ``DeltaModel.nn``.
    """

    kind: ClassVar[str]

    inputs: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    network: str = field(default="nn", kw_only=True)

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.default in ((), None) and value is not None:
                if isinstance(value, str):
                    self._refuse(f"{f.name} must be a list of names")
                object.__setattr__(self, f.name, tuple(value))

    def _refuse(self, problem: str) -> None:
        raise ConfigError(f"role of network {self.network!r}: {problem}")

    @property
    def forcings(self) -> tuple[str, ...]:
        """Forcings that the network sees."""
        return self.inputs

    def describe(self) -> dict[str, Any]:
        """As plain data that :func:`from_plain` takes back."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"role": self.kind, **values}


@dataclass(frozen=True)
class _ModelRole(Role):
    model: str = field(default="phy", kw_only=True)


@dataclass(frozen=True)
class ParameterRole(_ModelRole):
    """A network supplies parameters of a process model.

    Its outputs pass a sigmoid and are scaled to the declared bounds.

    Parameters
    ----------
    inputs, attributes, network
        As of :class:`Role`.
    dynamic : tuple of str
        Parameters that take the network's value of each step.
    static : tuple of str, optional
        Parameters that are constant; by default all that nothing else supplies.
    freeze_after : int
        For static parameters of a network with inputs: they follow its current value for
        this many steps and are then held in the state. They never depend on the future.
    dropout : float
        In training, the probability that a dynamic parameter of a row is constant over the
        sequence, at its last value (Feng et al., 2022).
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "parameters"

    dynamic: tuple[str, ...] = ()
    static: tuple[str, ...] | None = None
    freeze_after: int = 365
    dropout: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dynamic and not self.inputs:
            self._refuse("dynamic parameters need inputs that change in time")
        if self.freeze_after < 1:
            self._refuse("freeze_after must be at least 1")
        if not 0.0 <= self.dropout <= 1.0:
            self._refuse(f"dropout is a probability, not {self.dropout}")

    @property
    def supplied(self) -> tuple[str, ...]:
        """Parameters in the order of the network's outputs: dynamic, then static."""
        return self.dynamic + (self.static or ())


@dataclass(frozen=True)
class ProcessRole(_ModelRole):
    """A network takes the place of a process inside the step of a process model.

    Its output passes a softplus, so it is not negative; the equations limit it to what a
    store holds. It is the amount of one step, in the units of the process. A recurrent
    network's state lies beside the model's own, under the name of the process.

    Parameters
    ----------
    inputs : tuple of str
        Of the quantities that the process model shows to this process; all by default.
        They are normalised by the statistics of these names.
    attributes, network
        As of :class:`Role`.
    process : str
        A name in ``Declaration.processes``.
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "process"

    process: str = ""

    @property
    def forcings(self) -> tuple[str, ...]:
        """None: what the network sees is inside the step."""
        return ()


@dataclass(frozen=True)
class CorrectInputRole(_ModelRole):
    """A network corrects forcings before a process model sees them.

    Networks see the forcing as given. What a correction adds to a conserved quantity is the
    flux ``<name>_correction``, a declared exchange.

    Parameters
    ----------
    inputs, attributes, network
        As of :class:`Role`.
    corrects : mapping of forcing to bounds
        Least and greatest factor or, with ``how="add"``, addition.
    how : {"multiply", "add"}
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "correct_input"

    corrects: Mapping[str, Bounds] = field(default_factory=dict)
    how: Literal["multiply", "add"] = "multiply"

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "corrects", _bounds(self))
        if self.how not in ("multiply", "add"):
            self._refuse(f"how is multiply or add, not {self.how!r}")


@dataclass(frozen=True)
class CorrectOutputRole(_ModelRole):
    """A network multiplies fluxes of a process model.

    What that adds to a conserved quantity is the flux ``<name>_correction``, a declared
    exchange: positive where water was added to what leaves.

    Parameters
    ----------
    inputs, attributes, network
        As of :class:`Role`.
    corrects : mapping of flux to bounds
        Least and greatest factor.
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "correct_output"

    corrects: Mapping[str, Bounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "corrects", _bounds(self))


@dataclass(frozen=True)
class WeightRole(Role):
    """A network weighs the process models of an ensemble.

    Its outputs pass a softmax. Fluxes that all models have come out as their weighted mean;
    of a flux in a balance, a model without it has none. Each model's own fluxes come out as
    ``<model>.<flux>``.

    Weights of a network without inputs are constant, and the mean has a balance whose store
    is the weighted store. Weights that change in time mix runoff of models with different
    stores; then only the balance of each model holds, and that is what is declared.
    """

    kind = "weights"


@dataclass(frozen=True)
class OutputRole(Role):
    """A network's outputs are outputs of the model, with no process model behind them.

    Each is scaled back by the statistic of its name. Nothing is conserved.

    Parameters
    ----------
    inputs, attributes, network
        As of :class:`Role`.
    outputs : tuple of str
    nonnegative : bool
        Cut off what is below zero.
    """

    kind = "output"

    outputs: tuple[str, ...] = ()
    nonnegative: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.inputs or not self.outputs:
            self._refuse("needs inputs and outputs")


KINDS = {
    role.kind: role
    for role in (
        ParameterRole,
        ProcessRole,
        CorrectInputRole,
        CorrectOutputRole,
        WeightRole,
        OutputRole,
    )
}


def from_plain(description: Mapping[str, Any] | Role) -> Role:
    """A role from plain data, whose key ``role`` is ``parameters`` by default."""
    if isinstance(description, Role):
        return description
    options = dict(description)
    kind = options.pop("role", ParameterRole.kind)
    if kind not in KINDS:
        raise ConfigError(f"roles: there is no role {kind!r}; there are {', '.join(KINDS)}")
    known = signature(KINDS[kind]).parameters
    odd = [name for name in options if name not in known]
    if odd:
        raise ConfigError(f"roles: {kind} has no key {odd[0]!r}; {there_is(odd[0], known)}")
    try:
        return KINDS[kind](**options)
    except TypeError as error:
        raise ConfigError(f"roles: {error}") from error


def resolve_roles(
    roles: Sequence[Role],
    networks: Mapping[str, object],
    models: Mapping[str, ProcessModel],
    fixed: Mapping[str, float | str],
) -> tuple[Role, ...]:
    """Check that roles, networks and process models fit; spell out what they leave to defaults."""
    for role in roles:
        _check_key("network", role.network, networks)
        if isinstance(role, _ModelRole):
            _check_key("process model", role.model, models)
    for key in networks:
        count = sum(r.network == key for r in roles)
        if count != 1:
            raise ConfigError(f"network {key!r} has {count} roles; it needs exactly one")
    if sum(isinstance(r, WeightRole) for r in roles) > 1:
        raise ConfigError("only one network can weigh the process models")
    if any(isinstance(r, WeightRole) for r in roles) and len(models) < 2:
        raise ConfigError("weights need at least two process models")
    known = {p.name for m in models.values() for p in m.declaration.parameters}
    unknown = [name for name in fixed if name not in known]
    if unknown:
        raise ConfigError(f"fixed: no process model has a parameter {', '.join(unknown)}")
    resolved = [_resolve(role, models) for role in roles]
    for key, model in models.items():
        resolved = _share_out(resolved, key, model.declaration, fixed)
    return tuple(resolved)


def _resolve(role: Role, models: Mapping[str, ProcessModel]) -> Role:
    if isinstance(role, ProcessRole):
        declared = models[role.model].declaration
        _check_names(declared, "replaceable process", (role.process,), declared.processes)
        shown = declared.processes[role.process]
        _check_names(declared, f"{role.process} input", role.inputs, shown)
        return replace(role, inputs=role.inputs or shown)
    if isinstance(role, CorrectInputRole):
        declared = models[role.model].declaration
        _check_names(declared, "forcing", role.corrects, [f.name for f in declared.forcings])
    if isinstance(role, CorrectOutputRole):
        declared = models[role.model].declaration
        taken = [name for balance in declared.balances for name in balance.exchange]
        _check_names(
            declared,
            "correctable flux",
            role.corrects,
            [f.name for f in declared.fluxes if f.name not in taken],
        )
    if not role.inputs and not role.attributes:
        raise ConfigError(f"role of network {role.network!r}: needs inputs or attributes to see")
    return role


def _share_out(
    roles: list[Role], key: str, declaration: Declaration, fixed: Mapping[str, float | str]
) -> list[Role]:
    """Give what nothing supplies to the first role that leaves `static` open."""
    declared = [p.name for p in declaration.parameters]

    def given() -> list[str]:
        own = [r for r in roles if isinstance(r, ParameterRole) and r.model == key]
        return [*fixed, *(name for role in own for name in role.supplied)]

    unknown = [name for name in given() if name not in declared and name not in fixed]
    if unknown:
        raise ConfigError(
            f"{declaration.name} has no parameter {', '.join(unknown)}; it has {', '.join(declared)}"
        )
    rest = tuple(name for name in declared if name not in given())
    roles = list(roles)
    for i, role in enumerate(roles):
        if isinstance(role, ParameterRole) and role.model == key and role.static is None:
            roles[i] = replace(role, static=rest)
            rest = ()
    if rest:
        raise ConfigError(
            f"{declaration.name}: nothing supplies {', '.join(rest)}; name them in a role or under fixed"
        )
    twice = sorted({name for name in given() if given().count(name) > 1})
    if twice:
        raise ConfigError(f"{declaration.name}: {', '.join(twice)} supplied more than once")
    return roles


def _check_key(kind: str, key: str, known: Mapping[str, object]) -> None:
    if key not in known:
        raise ConfigError(f"a role names the {kind} {key!r}; there is {', '.join(known) or 'none'}")


def _check_names(
    declaration: Declaration, kind: str, names: Sequence[str] | Mapping[str, object], known: Any
) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ConfigError(
            f"{declaration.name} has no {kind} {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(known) or 'none'}"
        )


def _bounds(role: CorrectInputRole | CorrectOutputRole) -> dict[str, Bounds]:
    where = f"role of network {role.network!r}: corrects"
    try:
        bounds = {name: (float(low), float(high)) for name, (low, high) in role.corrects.items()}
    except (AttributeError, TypeError, ValueError) as error:
        raise ConfigError(f"{where} needs names with two bounds, such as {{P: [0.7, 1.3]}}") from error
    lowest = -float("inf") if getattr(role, "how", "") == "add" else 0.0
    bad = [name for name, (low, high) in bounds.items() if not lowest <= low < high]
    if bad or not bounds:
        raise ConfigError(
            f"{where}: the bounds of {', '.join(bad) or 'nothing'} are not in order or negative"
        )
    return bounds


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
