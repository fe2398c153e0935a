"""The base of all roles: their data, what their network sees, how its outputs are scaled."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import log
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from ...errors import ConfigError
from ...nn_models import Network
from ...physics import Balance, Declaration, Flux, Forcing, ProcessModel, State
from ...physics.contract import ProcessFunction
from ..normalisation import Constants, FeatureStatistics, Normaliser

Bounds = tuple[float, float]
#: Rows of attributes that a network sees together, where no gradient is kept and no program is traced.
ROWS_AT_ONCE = 8192
ALL_ROWS = slice(None)


@dataclass
class ForwardContext:
    """The data of a block of steps on its way through a model.

    Parameters
    ----------
    forcing : mapping of name to Tensor ``[time, rows]``
        Before any correction; networks see it.
    constants, state : State
        Constants over steps, and the state before the block.
    driving, dynamic, processes, fluxes : by process model
        Corrected forcing, parameters of each step, networks inside the step, and fluxes.
        The key "" of `fluxes` holds fluxes of the whole model.
    new : State
        The state after the block, as far as it is computed.
    given : dict of name to int
        How many networks have given an output of the whole model so far.
    """

    forcing: Mapping[str, Tensor]
    constants: State
    state: State
    driving: dict[str, dict[str, Tensor]]
    dynamic: dict[str, dict[str, Tensor]]
    processes: dict[str, dict[str, ProcessFunction]]
    fluxes: dict[str, dict[str, Tensor]]
    new: State = field(default_factory=dict)
    given: dict[str, int] = field(default_factory=dict)

    @classmethod
    def start(
        cls,
        models: Mapping[str, ProcessModel],
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
    ) -> ForwardContext:
        """Make the context of a block before any network has run."""
        return cls(
            forcing,
            constants,
            state,
            driving={
                key: {f.name: forcing[f.name] for f in m.declaration.forcings} for key, m in models.items()
            },
            dynamic={key: {} for key in models},
            processes={key: {} for key in models},
            fluxes={key: {} for key in ("", *models)},
        )

    def repeat(self, count: int) -> ForwardContext:
        """Return a context whose rows are `count` times these, member after member.

        Raises
        ------
        ConfigError
            If a network is inside the step, or rows act on each other.
        """
        if any(self.processes.values()):
            raise ConfigError("rows of a model with a network inside its step cannot be repeated")
        first = next(iter(self.forcing.values()))

        def by_step(part: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: v.repeat(1, count, *[1] * (v.ndim - 2)) for name, v in part.items()}

        def by_row(part: Mapping[str, Tensor]) -> dict[str, Tensor]:
            if any(v.shape[0] != first.shape[1] for v in part.values()):
                raise ConfigError("rows of a model that act on each other cannot be repeated")
            return {name: v.repeat(count, *[1] * (v.ndim - 1)) for name, v in part.items()}

        return ForwardContext(
            by_step(self.forcing),
            by_row(self.constants),
            by_row(self.state),
            {key: by_step(part) for key, part in self.driving.items()},
            {key: by_step(part) for key, part in self.dynamic.items()},
            {key: {} for key in self.processes},
            {key: by_step(part) for key, part in self.fluxes.items()},
            by_row(self.new),
            dict(self.given),
        )

    def part(self, steps: slice, state: State, rows: slice = ALL_ROWS) -> ForwardContext:
        """Return the context of some steps and rows of the block, whose process models begin from a state."""

        def of(part: Mapping[str, Tensor]) -> dict[str, Tensor]:
            return {name: v[steps, rows] for name, v in part.items()}

        return ForwardContext(
            of(self.forcing),
            {name: v[rows] for name, v in self.constants.items()},
            state,
            {key: of(part) for key, part in self.driving.items()},
            {key: of(part) for key, part in self.dynamic.items()},
            self.processes,
            {key: of(part) for key, part in self.fluxes.items()},
            {},
            dict(self.given),
        )

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of the equations."""
        return next(iter(self.forcing.values())).dtype


@dataclass(frozen=True)
class Output:
    """An output of the model and its source.

    Parameters
    ----------
    flux : Flux
        With its name in the whole model.
    key, name : str
        Key of the process model ("" for none) and name of the flux there.
    needs : tuple of (key, name)
        Fluxes of process models from which it is computed.
    """

    flux: Flux
    key: str
    name: str
    needs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Role:
    """Base of all roles.

    Parameters
    ----------
    inputs : tuple of str
        Forcings that the network sees at each step; without any it runs once per row.
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
        """Return the forcings that the network sees."""
        return self.inputs

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """Check the role against the process models, and fill in its defaults.

        Raises
        ------
        ConfigError
            If it names something that a model does not have, or sees nothing.
        """
        if not self.inputs and not self.attributes:
            self._refuse("requires inputs or attributes")
        return self

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> RoleBinding:
        """Bind the resolved role to models and statistics."""
        raise NotImplementedError

    def sources(self, models: Mapping[str, ProcessModel]) -> list[Forcing]:
        """List forcings that the role takes beside the inputs of its network."""
        return []

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """List the fluxes that the role adds to those of the process models."""
        return []

    def exchanges(self, balance: Balance) -> list[str]:
        """List the fluxes that the role adds to the exchange of a balance, its process model's or of all."""
        return []

    def describe(self) -> dict[str, Any]:
        """Return the role as plain data that :func:`from_plain` accepts."""
        values = {f.name: _plain(getattr(self, f.name)) for f in fields(self)}
        return {"role": self.kind, **values}


@dataclass(frozen=True)
class ModelRole(Role):
    """Base of roles for one process model: `model` is its key in ``DeltaModel.phy_model``."""

    model: str = field(default="phy", kw_only=True)


class Scale:
    """Scaling of unbounded network outputs to values within bounds, along the last axis.

    Parameters
    ----------
    bounds : sequence of (lower, upper)
    logarithmic : sequence of bool, optional
        Whether the logarithm is scaled, between the logarithms of the bounds.
    """

    def __init__(self, bounds: Sequence[Bounds], logarithmic: Sequence[bool] = ()) -> None:
        flags = logarithmic or [False] * len(bounds)
        edges = [(log(a), log(b)) if flag else (a, b) for (a, b), flag in zip(bounds, flags, strict=True)]
        self._lower = Constants([lower for lower, _ in edges])
        self._upper = Constants([upper for _, upper in edges])
        self._logarithmic = Constants([float(flag) for flag in flags]) if any(flags) else None

    def __call__(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Apply a sigmoid in the dtype of the network, and scale in `dtype`."""
        unit = torch.sigmoid(raw).to(dtype)
        value = torch.lerp(self._lower.like(unit), self._upper.like(unit), unit)
        if self._logarithmic is None:
            return value
        flag = self._logarithmic.like(unit) > 0
        return torch.where(flag, torch.where(flag, value, 0.0).exp(), value)


class RoleBinding:
    """Base of what carries out a role, bound to models and statistics.

    Parameters
    ----------
    role : Role
        Resolved.
    models : mapping of key to ProcessModel
    statistics : mapping of name to FeatureStatistics
    """

    def __init__(
        self, role: Role, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> None:
        self.key = role.network
        self.n_inputs = len(role.inputs) + len(role.attributes)
        self.constant = not role.inputs
        self.n_outputs = 0
        self._sees_attributes = bool(role.attributes)
        self._inputs = Normaliser(role.inputs, statistics)
        self._attributes = Normaliser(role.attributes, statistics)

    def check(self, network: Network) -> None:
        """Refuse a network of other sizes, or a recurrent one without inputs."""
        if (network.n_inputs, network.n_outputs) != (self.n_inputs, self.n_outputs):
            raise ConfigError(
                f"network {self.key!r} has {network.n_inputs} inputs and {network.n_outputs} outputs; "
                f"its role requires {self.n_inputs} and {self.n_outputs}"
            )
        if network.recurrent and self.constant:
            raise ConfigError(
                f"network {self.key!r} is recurrent, but its role has no inputs that change in time; "
                "give it inputs, or another network"
            )

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Convert network outputs into physical values, in `dtype`."""
        raise NotImplementedError

    def explain_outputs(self) -> list[str]:
        """Say of each output of the network, in order, what it is and how it is scaled."""
        raise NotImplementedError

    def precompute(self, network: Network, attributes: Mapping[str, Tensor], dtype: torch.dtype) -> State:
        """Compute the constants: normalised attributes, or the outputs of a network without inputs."""
        if not self._sees_attributes:
            return {}
        shown = self._attributes(attributes).to(network.dtype)
        if not self.constant:
            return {f"{self.key}.attributes": shown}
        # A wide network of a continent's rows at once would take more memory than all else; a traced
        # program, on the other hand, would be one for so many pieces.
        whole = torch.is_grad_enabled() or torch.compiler.is_compiling()
        pieces = (shown,) if whole else shown.split(ROWS_AT_ONCE)
        raw = torch.cat([network(piece, {})[0] for piece in pieces])
        return self.name_constants(self.to_physical(raw, dtype))

    def name_constants(self, values: Tensor) -> State:
        """Name the values ``[rows, n_outputs]`` of a network without inputs."""
        return {f"{self.key}.values": values}

    def init_state(
        self, network: Network, n: int, dtype: torch.dtype, device: torch.device | str | None
    ) -> State:
        """Return the state of `n` rows before the first step."""
        return {f"{self.key}.{name}": v for name, v in network.init_state(n).items()}

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Act before the process models run."""

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Act on the fluxes of the process models."""

    def freeze(self, network: Network, context: ForwardContext) -> None:
        """Hold in the state the static parameters at the end of the block."""

    def outputs(self, network: Network, context: ForwardContext) -> Tensor:
        """Return physical values ``[time, rows, n_outputs]``."""
        if self.constant:
            steps = len(next(iter(context.forcing.values())))
            return context.constants[f"{self.key}.values"].expand(steps, -1, -1)
        return self.to_physical(self.raw_outputs(network, context), context.dtype)

    def raw_outputs(self, network: Network, context: ForwardContext) -> Tensor:
        """Run a network with inputs and return its unscaled outputs, ``[time, rows, n_outputs]``."""
        x = self._inputs(context.forcing).to(network.dtype)
        if self._sees_attributes:
            shown = context.constants[f"{self.key}.attributes"]
            x = torch.cat([x, shown.expand(x.shape[0], *shown.shape)], dim=-1)
        raw, renewed = network(x, with_prefix(context.state, self.key))
        context.new |= {f"{self.key}.{name}": value for name, value in renewed.items()}
        return raw


def explain_scale(lower: float, upper: float, logarithmic: bool = False) -> str:
    """Say how :class:`Scale` scales an output between two bounds."""
    if logarithmic:
        return f"exp({log(lower):g} + {log(upper) - log(lower):g} * sigmoid(y))"
    return f"{lower:g} + {upper - lower:g} * sigmoid(y)"


def with_prefix(mapping: Mapping[str, Tensor], prefix: str) -> State:
    """Select the entries under ``prefix.``, named without it."""
    start = len(prefix) + 1
    return {key[start:]: value for key, value in mapping.items() if key.startswith(f"{prefix}.")}


def split_by_key(mapping: Mapping[str, Tensor], keys: Iterable[str]) -> dict[str, State]:
    """Split entries named ``key.name`` by these keys, each named without its key."""
    parts: dict[str, State] = {key: {} for key in keys}
    for name, value in mapping.items():
        key, _, local = name.partition(".")
        if key in parts:
            parts[key][local] = value
    return parts


def check_names(
    declaration: Declaration, kind: str, names: Iterable[str], available: Collection[str]
) -> None:
    """Refuse names that a process model does not declare, listing those it does."""
    unknown = [name for name in names if name not in available]
    if unknown:
        raise ConfigError(
            f"{declaration.name} has no {kind} {', '.join(map(repr, unknown))}; "
            f"it has {', '.join(available) or 'none'}"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value
