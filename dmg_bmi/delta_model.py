"""A differentiable model: networks, process models, and how they meet."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from . import physics
from .errors import ConfigError
from .nn_models import Network
from .normalisation import Constants, Normaliser, Statistic
from .physics import ProcessModel, State
from .registry import build_network, build_process_model

DAY = 86400.0
Modules = nn.Module | Mapping[str, nn.Module] | None


@dataclass(frozen=True)
class ParameterRole:
    """A network supplies parameters of a process model.

    Its outputs pass a sigmoid and are scaled to the declared bounds.

    Parameters
    ----------
    inputs : tuple of str
        Forcings that the network sees at each step. Without any it runs once per row.
    attributes : tuple of str
        Static attributes that it sees.
    dynamic : tuple of str
        Parameters that take the network's value of each step.
    static : tuple of str, optional
        Parameters that are constant; by default all that nothing else supplies.
    freeze_after : int
        For static parameters of a network with inputs: they follow its current value for
        this many steps and are then held in the state. They never depend on the future.
    network, model : str
        Keys in ``DeltaModel.nn`` and ``.phy_model``.
    """

    inputs: tuple[str, ...] = ()
    attributes: tuple[str, ...] = ()
    dynamic: tuple[str, ...] = ()
    static: tuple[str, ...] | None = None
    freeze_after: int = 365
    network: str = "nn"
    model: str = "phy"

    def __post_init__(self) -> None:
        for name in ("inputs", "attributes", "dynamic", "static"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ConfigError(f"role of network {self.network!r}: {name} must be a list of names")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if self.dynamic and not self.inputs:
            raise ConfigError(
                f"role of network {self.network!r}: dynamic parameters need inputs that change in time"
            )
        if self.freeze_after < 1:
            raise ConfigError(f"role of network {self.network!r}: freeze_after must be at least 1")

    @property
    def supplied(self) -> tuple[str, ...]:
        """Parameters in the order of the network's outputs: dynamic, then static."""
        return self.dynamic + (self.static or ())


class _Scaler:
    """From a network's last axis to named parameters within their bounds."""

    def __init__(self, parameters: Sequence[physics.Parameter]) -> None:
        self.parameters = tuple(parameters)
        self.sizes = [p.size for p in parameters]
        self._lower = Constants([p.lower for p in parameters for _ in range(p.size)])
        self._range = Constants([p.upper - p.lower for p in parameters for _ in range(p.size)])

    @property
    def size(self) -> int:
        return sum(self.sizes)

    def scale(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Raw network outputs ``[..., size]`` to parameter values ``[..., size]``."""
        unit = torch.sigmoid(raw).to(dtype)
        return torch.addcmul(self._lower.like(unit), unit, self._range.like(unit))

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Parameter values ``[..., size]`` to name: ``[..., *shape]``."""
        parts = values.split(self.sizes, dim=-1)
        return {
            p.name: part.reshape(*part.shape[:-1], *p.shape)
            for p, part in zip(self.parameters, parts, strict=True)
        }


class DeltaModel(nn.Module):
    """Networks and process equations in one ``nn.Module``.

    Parameters
    ----------
    nn, phy_model : module, mapping of str to module, or None
        A single module gets the key ``"nn"`` or ``"phy"``.
    roles : ParameterRole or sequence of ParameterRole
        How they meet. A network has one role.
    fixed : mapping of str to float
        Parameters held at one value in all rows.
    statistics : mapping of str to Statistic
        Normalisation of network inputs; a name without one passes unchanged.
    step : float
        Seconds.

    Notes
    -----
    Networks run in the dtype of their weights, physics in the dtype of the forcing.
    """

    def __init__(
        self,
        nn: Modules = None,
        phy_model: Modules = None,
        roles: ParameterRole | Sequence[ParameterRole] = (),
        fixed: Mapping[str, float] | None = None,
        statistics: Mapping[str, Statistic] | None = None,
        step: float = DAY,
    ) -> None:
        super().__init__()
        self.nn = _as_module(nn)
        self.phy_model = _as_module(phy_model)
        self.step = float(step)
        self.fixed = dict(fixed or {})
        self.statistics = dict(statistics or {})
        roles = (roles,) if isinstance(roles, ParameterRole) else tuple(roles)
        self.roles = resolve_roles(roles, self.networks, self.process_models, self.fixed)
        self._scalers = {r.network: self._scaler(r, r.supplied) for r in self.roles}
        self._normalise_inputs = {r.network: Normaliser(r.inputs, self.statistics) for r in self.roles}
        self._normalise_attributes = {
            r.network: Normaliser(r.attributes, self.statistics) for r in self.roles
        }
        for role in self.roles:
            _check_sizes(role, self.networks[role.network], self._scalers[role.network].size)

    # -- what it is ---------------------------------------------------------------

    @property
    def networks(self) -> dict[str, Network]:
        """Networks by key."""
        return _by_key(self.nn, "nn")

    @property
    def process_models(self) -> dict[str, ProcessModel]:
        """Process models by key."""
        return _by_key(self.phy_model, "phy")

    @property
    def dt(self) -> float:
        """The step in days."""
        return self.step / DAY

    @property
    def forcing_names(self) -> tuple[str, ...]:
        """All that forward needs in `forcing`: of the equations, then of the networks."""
        names = [f.name for m in self.process_models.values() for f in m.declaration.forcings]
        names += [name for role in self.roles for name in role.inputs]
        return tuple(dict.fromkeys(names))

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """All that forward needs in `attributes`: of the equations, then of the networks."""
        names = [a.name for m in self.process_models.values() for a in m.declaration.attributes]
        names += [name for role in self.roles for name in role.attributes]
        return tuple(dict.fromkeys(names))

    def describe(self) -> dict[str, Any]:
        """Everything but the weights, as plain data that :meth:`build` takes back."""
        return {
            "step": self.step,
            "nn": {key: network.describe() for key, network in self.networks.items()},
            "phy_model": {key: model.describe() for key, model in self.process_models.items()},
            "roles": [
                {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(r).items()} for r in self.roles
            ],
            "fixed": dict(self.fixed),
            "statistics": {name: asdict(s) for name, s in self.statistics.items()},
        }

    @classmethod
    def build(
        cls,
        *,
        nn: Mapping[str, Any] | None = None,
        phy_model: Mapping[str, Any] | None = None,
        roles: Sequence[Mapping[str, Any] | ParameterRole] = (),
        fixed: Mapping[str, float] | None = None,
        statistics: Mapping[str, Mapping[str, Any] | Statistic] | None = None,
        step: float = DAY,
    ) -> Self:
        """A new model from plain data; sizes of the networks follow from their roles.

        Parameters
        ----------
        nn, phy_model : mapping
            One description (it has a key ``name``), or one per key.
        roles, fixed, statistics, step
            As for the constructor, each item plain or typed.
        """
        models = {k: build_process_model(d) for k, d in _descriptions(phy_model, "phy").items()}
        described = _descriptions(nn, "nn")
        typed = resolve_roles(
            tuple(_typed(ParameterRole, r, "roles") for r in roles), described, models, fixed or {}
        )
        networks = {}
        for role in typed:
            declaration = models[role.model].declaration
            networks[role.network] = build_network(
                described[role.network],
                n_inputs=len(role.inputs) + len(role.attributes),
                n_outputs=sum(declaration.parameter(name).size for name in role.supplied),
            )
        stats = {n: _typed(Statistic, s, f"statistics.{n}") for n, s in (statistics or {}).items()}
        return cls(networks or None, models or None, typed, fixed, stats, step)

    # -- running it ---------------------------------------------------------------

    def forward(
        self,
        forcing: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor] | None = None,
        state: State | None = None,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """Run a sequence.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, rows]``
        attributes : mapping of name to Tensor ``[rows]``
        state : State, optional
            Before the first step; :meth:`init_state` by default.
        outputs : collection of str, optional
            Fluxes to keep; all by default.

        Returns
        -------
        fluxes : dict of name to Tensor ``[time, rows]``
            With several process models the names are ``model.flux``.
        state : State
            After the last step. A sequence cut in two goes on from it unchanged.
        """
        first = next(iter(forcing.values()))
        n = first.shape[1]
        prepared = self.prepare(attributes or {}, n, dtype=first.dtype)
        if state is None:
            state = self.init_state(n, dtype=first.dtype, device=first.device)
        return self.run(forcing, prepared, state, outputs)

    def prepare(self, attributes: Mapping[str, Tensor], n: int, dtype: torch.dtype = torch.float64) -> State:
        """What is constant over steps, computed once: tensors with rows first.

        Parameters that come from attributes alone or are fixed (``phy.BETA``), what is
        derived from them, attributes of the equations (``phy.static.elevation``) and
        normalised attributes of recurrent networks (``nn.attributes``).
        """
        device = next((t.device for t in attributes.values()), torch.device("cpu"))
        prepared: State = {}
        for role in self.roles:
            shown = None
            if role.attributes:
                shown = self._normalise_attributes[role.network](attributes)
                shown = shown.to(self.networks[role.network].dtype)
                prepared[f"{role.network}.attributes"] = shown
            if not role.inputs:
                prepared.pop(f"{role.network}.attributes")
                raw, _ = self.networks[role.network](shown, {})
                scaler = self._scalers[role.network]
                named = scaler.split(scaler.scale(raw, dtype))
                prepared |= {f"{role.model}.{k}": v for k, v in named.items()}
        for key, model in self.process_models.items():
            declaration = model.declaration
            for attribute in declaration.attributes:
                prepared[f"{key}.static.{attribute.name}"] = attributes[attribute.name]
            for parameter in declaration.parameters:
                if parameter.name in self.fixed:
                    prepared[f"{key}.{parameter.name}"] = torch.full(
                        (n, *parameter.shape), self.fixed[parameter.name], dtype=dtype, device=device
                    )
            known = _below(prepared, key)
            if declaration.derived and all(p in known for ps in declaration.derived.values() for p in ps):
                derived = model.derive(known, self.dt)
                prepared |= {f"{key}.{name}": value for name, value in derived.items()}
        return prepared

    def init_state(
        self, n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> State:
        """State of `n` rows before the first step: ``phy.SM``, ``nn.h``, ``nn.frozen``, ..."""
        state: State = {}
        for key, model in self.process_models.items():
            own = model.init_state(n, dtype=dtype, device=device)
            state |= {f"{key}.{name}": value for name, value in own.items()}
        for role in self.roles:
            if not role.inputs:
                continue
            key = role.network
            state |= {f"{key}.{name}": v for name, v in self.networks[key].init_state(n).items()}
            if role.static:
                size = self._scaler(role, role.static).size
                state[f"{key}.frozen"] = torch.zeros(n, size, dtype=dtype, device=device)
                state[f"{key}.seen"] = torch.zeros(n, dtype=torch.int64, device=device)
        return state

    def freeze(self, forcing: Mapping[str, Tensor], attributes: Mapping[str, Tensor]) -> State:
        """An initial state whose static parameters are those at the end of a given window.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[time, rows]``
            The window. The networks run over it from rest; nothing else of it is kept.
        attributes : mapping of name to Tensor ``[rows]``
        """
        first = next(iter(forcing.values()))
        n = first.shape[1]
        state = self.init_state(n, dtype=first.dtype, device=first.device)
        prepared = self.prepare(attributes, n, dtype=first.dtype)
        for role in self.roles:
            if role.inputs and role.static:
                values, _ = self._network_outputs(role, forcing, prepared, state)
                size = state[f"{role.network}.frozen"].shape[-1]
                state[f"{role.network}.frozen"] = values[-1, :, values.shape[-1] - size :]
                state[f"{role.network}.seen"] += role.freeze_after
        return state

    def run(
        self,
        forcing: Mapping[str, Tensor],
        prepared: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """As :meth:`forward`, from what :meth:`prepare` made of the attributes."""
        new: State = {}
        dynamic: dict[str, dict[str, Tensor]] = {key: {} for key in self.process_models}
        for role in self.roles:
            if not role.inputs:
                continue
            values, renewed = self._network_outputs(role, forcing, prepared, state)
            if role.static:
                values, held = _hold(values, role, state)
                renewed |= held
            new |= {f"{role.network}.{name}": value for name, value in renewed.items()}
            dynamic[role.model] |= self._scalers[role.network].split(values)
        fluxes: dict[str, Tensor] = {}
        several = len(self.process_models) > 1
        for key, model in self.process_models.items():
            known = _below(prepared, key)
            series, own = physics.run(
                model,
                {f.name: forcing[f.name] for f in model.declaration.forcings},
                _below(state, key),
                known,
                _below(known, "static"),
                self.dt,
                dynamic=dynamic[key],
                outputs=outputs,
            )
            new |= {f"{key}.{name}": value for name, value in own.items()}
            fluxes |= {f"{key}.{name}": v for name, v in series.items()} if several else series
        return fluxes, new

    def _network_outputs(
        self, role: ParameterRole, forcing: Mapping[str, Tensor], prepared: State, state: State
    ) -> tuple[Tensor, State]:
        """Parameter values ``[time, rows, size]`` of a role with inputs, and the network's new state."""
        network = self.networks[role.network]
        x = self._normalise_inputs[role.network](forcing)
        dtype = x.dtype
        x = x.to(network.dtype)
        if role.attributes:
            shown = prepared[f"{role.network}.attributes"]
            x = torch.cat([x, shown.expand(x.shape[0], *shown.shape)], dim=-1)
        raw, renewed = network(x, _below(state, role.network))
        return self._scalers[role.network].scale(raw, dtype), renewed

    def _scaler(self, role: ParameterRole, names: Sequence[str]) -> _Scaler:
        declaration = self.process_models[role.model].declaration
        return _Scaler([declaration.parameter(name) for name in names])


def _hold(values: Tensor, role: ParameterRole, state: State) -> tuple[Tensor, State]:
    """Follow the network's value until a row has seen `freeze_after` steps, then hold it.

    Parameters
    ----------
    values : Tensor ``[time, rows, size]``
        Dynamic, then static parameters, as :attr:`ParameterRole.supplied`.
    """
    frozen, seen = state[f"{role.network}.frozen"], state[f"{role.network}.seen"]
    time = values.shape[0]
    moving, static = values.split([values.shape[-1] - frozen.shape[-1], frozen.shape[-1]], dim=-1)
    last = role.freeze_after - 1 - seen
    step = torch.arange(time, device=seen.device).unsqueeze(-1)
    source = torch.minimum(step, last.clamp(min=0)).unsqueeze(-1).expand_as(static)
    static = torch.where((last < 0).unsqueeze(-1), frozen, static.gather(0, source))
    held = {"frozen": static[-1], "seen": (seen + time).clamp(max=role.freeze_after)}
    return torch.cat([moving, static], dim=-1), held


def resolve_roles(
    roles: Sequence[ParameterRole],
    networks: Mapping[str, object],
    models: Mapping[str, ProcessModel],
    fixed: Mapping[str, float],
) -> tuple[ParameterRole, ...]:
    """Check that roles, networks and process models fit; spell out which parameters are static."""
    resolved = list(roles)
    for kind, keys, known in (
        ("network", [r.network for r in roles], networks),
        ("process model", [r.model for r in roles], models),
    ):
        for key in keys:
            if key not in known:
                raise ConfigError(f"a role names the {kind} {key!r}; there is {', '.join(known) or 'none'}")
    for key in networks:
        count = sum(r.network == key for r in roles)
        if count != 1:
            raise ConfigError(f"network {key!r} has {count} roles; it needs exactly one")
    for key, model in models.items():
        declared = [p.name for p in model.declaration.parameters]
        given = [*fixed, *(n for r in roles if r.model == key for n in r.supplied)]
        unknown = [name for name in given if name not in declared and name not in fixed]
        if unknown:
            raise ConfigError(
                f"{model.declaration.name} has no parameter {', '.join(unknown)}; it has {', '.join(declared)}"
            )
        rest = tuple(name for name in declared if name not in given)
        for i, role in enumerate(resolved):
            if role.model == key and role.static is None:
                resolved[i] = replace(role, static=rest)
                rest = ()
        if rest:
            raise ConfigError(
                f"{model.declaration.name}: nothing supplies {', '.join(rest)}; "
                "name them in a role or under fixed"
            )
        final = [*fixed, *(n for r in resolved if r.model == key for n in r.supplied)]
        twice = sorted({name for name in final if final.count(name) > 1})
        if twice:
            raise ConfigError(f"{model.declaration.name}: {', '.join(twice)} supplied more than once")
    return tuple(resolved)


def _check_sizes(role: ParameterRole, network: Network, size: int) -> None:
    n_inputs = len(role.inputs) + len(role.attributes)
    if (network.n_inputs, network.n_outputs) != (n_inputs, size):
        raise ConfigError(
            f"network {role.network!r} has {network.n_inputs} inputs and {network.n_outputs} outputs; "
            f"its role needs {n_inputs} and {size}"
        )


def _below(mapping: Mapping[str, Tensor], prefix: str) -> State:
    """Entries under ``prefix.``, without it."""
    start = len(prefix) + 1
    return {key[start:]: value for key, value in mapping.items() if key.startswith(f"{prefix}.")}


def _as_module(modules: Modules) -> nn.Module | None:
    return nn.ModuleDict(modules) if isinstance(modules, Mapping) else modules


def _by_key(module: nn.Module | None, default: str) -> dict[str, Any]:
    if module is None:
        return {}
    return dict(module.items()) if isinstance(module, nn.ModuleDict) else {default: module}


def _descriptions(given: Mapping[str, Any] | None, default: str) -> dict[str, Mapping[str, Any]]:
    if not given:
        return {}
    return {default: given} if "name" in given else dict(given)


def _typed(kind: type, value: Any, where: str) -> Any:
    if isinstance(value, kind):
        return value
    try:
        return kind(**value)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
