"""What every role of a network has in common: what it shows the network, and how answers are scaled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import log

import torch
from torch import Tensor

from ...errors import ConfigError
from ...nn_models import Network
from ...physics import ProcessModel, State
from ...physics.contract import ProcessFunction
from ..normalisation import Constants, FeatureStatistics, Normaliser
from .resolve import Bounds, Role


@dataclass
class ForwardContext:
    """A block of steps on its way through a model.

    Parameters
    ----------
    forcing : mapping of name to Tensor ``[time, rows]``
        As given; networks see it.
    constants, state : State
        What is constant, and the state before the block.
    driving, dynamic, processes, fluxes : by process model
        Forcing after correction, parameters of each step, networks inside the step, and what
        came out. Under the key "" of `fluxes` stands what is no process model's own.
    new : State
        The state after the block, as far as it is known.
    """

    forcing: Mapping[str, Tensor]
    constants: State
    state: State
    driving: dict[str, dict[str, Tensor]]
    dynamic: dict[str, dict[str, Tensor]]
    processes: dict[str, dict[str, ProcessFunction]]
    fluxes: dict[str, dict[str, Tensor]]
    new: State = field(default_factory=dict)

    @property
    def dtype(self) -> torch.dtype:
        """Of the equations."""
        return next(iter(self.forcing.values())).dtype


class Scale:
    """From unbounded network outputs to values within bounds, along the last axis.

    Parameters
    ----------
    bounds : sequence of (lower, upper)
    logarithmic : sequence of bool, optional
        Whose logarithm lies between the bounds' logarithms.
    """

    def __init__(self, bounds: Sequence[Bounds], logarithmic: Sequence[bool] = ()) -> None:
        flags = logarithmic or [False] * len(bounds)
        edges = [(log(a), log(b)) if flag else (a, b) for (a, b), flag in zip(bounds, flags, strict=True)]
        self._lower = Constants([lower for lower, _ in edges])
        self._upper = Constants([upper for _, upper in edges])
        self._logarithmic = Constants([float(flag) for flag in flags]) if any(flags) else None

    def __call__(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Sigmoid, in the dtype of the network, scaled in `dtype`."""
        unit = torch.sigmoid(raw).to(dtype)
        value = torch.lerp(self._lower.like(unit), self._upper.like(unit), unit)
        if self._logarithmic is None:
            return value
        flag = self._logarithmic.like(unit) > 0
        return torch.where(flag, torch.where(flag, value, 0.0).exp(), value)


class RoleBinding:
    """Base: a role bound to what it needs to know of models and statistics.

    Parameters
    ----------
    role : Role
        Resolved.
    models : mapping of key to ProcessModel
    statistics : mapping of name to Statistic
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
        """Refuse a network of other sizes, or one whose memory nothing would move."""
        if (network.n_inputs, network.n_outputs) != (self.n_inputs, self.n_outputs):
            raise ConfigError(
                f"network {self.key!r} has {network.n_inputs} inputs and {network.n_outputs} outputs; "
                f"its role needs {self.n_inputs} and {self.n_outputs}"
            )
        if network.recurrent and self.constant:
            raise ConfigError(
                f"network {self.key!r} is recurrent, but its role has no inputs that change in time; "
                "give it inputs, or another network"
            )

    def scaled(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """What the network's outputs mean, in `dtype`."""
        raise NotImplementedError

    def precompute(self, network: Network, attributes: Mapping[str, Tensor], dtype: torch.dtype) -> State:
        """What is constant: normalised attributes, or the values of a network without inputs."""
        if not self._sees_attributes:
            return {}
        shown = self._attributes(attributes).to(network.dtype)
        if not self.constant:
            return {f"{self.key}.attributes": shown}
        return self.prepare_values(self.scaled(network(shown, {})[0], dtype))

    def prepare_values(self, values: Tensor) -> State:
        """Where the values ``[rows, n_outputs]`` of a network without inputs are kept."""
        return {f"{self.key}.values": values}

    def init_state(
        self, network: Network, n: int, dtype: torch.dtype, device: torch.device | str | None
    ) -> State:
        """State of `n` rows before the first step."""
        return {f"{self.key}.{name}": v for name, v in network.init_state(n).items()}

    def before(self, network: Network, block: ForwardContext) -> None:
        """Act before the process models run."""

    def after(self, network: Network, block: ForwardContext) -> None:
        """Act on what came out of the process models."""

    def values(self, network: Network, block: ForwardContext) -> Tensor:
        """What the network says, ``[time, rows, n_outputs]`` (one step if it is constant)."""
        if self.constant:
            return block.constants[f"{self.key}.values"].unsqueeze(0)
        return self.scaled(self.raw(network, block), block.dtype)

    def raw(self, network: Network, block: ForwardContext) -> Tensor:
        """What a network with inputs says, before it is scaled."""
        x = self._inputs(block.forcing).to(network.dtype)
        if self._sees_attributes:
            shown = block.constants[f"{self.key}.attributes"]
            x = torch.cat([x, shown.expand(x.shape[0], *shown.shape)], dim=-1)
        raw, renewed = network(x, with_prefix(block.state, self.key))
        block.new |= {f"{self.key}.{name}": value for name, value in renewed.items()}
        return raw


def with_prefix(mapping: Mapping[str, Tensor], prefix: str) -> State:
    """Entries under ``prefix.``, without it."""
    start = len(prefix) + 1
    return {key[start:]: value for key, value in mapping.items() if key.startswith(f"{prefix}.")}
