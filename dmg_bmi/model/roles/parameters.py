"""The role of a network that supplies parameters of a process model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import Parameter, ProcessModel, State
from ..normalisation import FeatureStatistics
from .base import ForwardContext, ModelRole, RoleBinding, Scale, explain_scale


@dataclass(frozen=True)
class ParameterRole(ModelRole):
    """A role in which a network supplies parameters of a process model.

    Its outputs pass a sigmoid and are scaled to the declared bounds.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    dynamic : tuple of str
        Parameters with a value for each step.
    static : tuple of str, optional
        Constant parameters; by default all that nothing else supplies.
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
            self._refuse("dynamic parameters require inputs that change in time")
        if self.freeze_after < 1:
            self._refuse("freeze_after must be at least 1")
        if not 0.0 <= self.dropout <= 1.0:
            self._refuse(f"dropout must be a probability, not {self.dropout}")

    @property
    def supplied(self) -> tuple[str, ...]:
        """Return the parameters in the order of the network's outputs: dynamic, then static."""
        return self.dynamic + (self.static or ())

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> ParameterBinding:
        """Bind the role, see :meth:`Role.bind`."""
        return ParameterBinding(self, models, statistics)


class ParameterBinding(RoleBinding):
    """A bound :class:`ParameterRole`."""

    def __init__(
        self,
        role: ParameterRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        declaration = models[role.model].declaration
        self.role = role
        self._supplied = [declaration.parameter(name) for name in role.supplied]
        self._sizes = [p.size for p in self._supplied]
        self._n_static = sum(self._sizes[len(role.dynamic) :])
        self.n_outputs = sum(self._sizes)
        by_output = [p for p in self._supplied for _ in range(p.size)]
        self._scale = Scale([(p.lower, p.upper) for p in by_output], [p.logarithmic for p in by_output])

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Scale outputs to the declared bounds."""
        return self._scale(raw, dtype)

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        explained = []
        for p in self._supplied:
            scale = f"{explain_scale(p.lower, p.upper, p.logarithmic)} {p.units}"
            names = [f"{p.name}[{k}]" for k in range(p.size)] if p.shape else [p.name]
            explained += [f"{name} = {scale}" for name in names]
        return explained

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Split values ``[..., n_outputs]`` into parameters ``[..., *shape]`` by name."""
        parts = values.split(self._sizes, dim=-1)
        return {
            p.name: part.reshape(*part.shape[:-1], *p.shape)
            for p, part in zip(self._supplied, parts, strict=True)
        }

    def name_constants(self, values: Tensor) -> State:
        """Name the parameters: ``phy.BETA``."""
        return {f"{self.role.model}.{name}": v for name, v in self.split(values).items()}

    def init_state(
        self, network: Network, n: int, dtype: torch.dtype, device: torch.device | str | None
    ) -> State:
        """Return the network's state, the unscaled static parameters, and the count of steps seen."""
        state = super().init_state(network, n, dtype, device)
        if self._n_static and not self.constant:
            state[f"{self.key}.frozen"] = torch.zeros(n, self._n_static, dtype=network.dtype, device=device)
            state[f"{self.key}.seen"] = torch.zeros(n, dtype=torch.int64, device=device)
        return state

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Compute the parameters of each step, and hold static ones."""
        if self.constant:
            return
        raw = self.raw_outputs(network, context)
        if self._n_static:
            raw = self._hold(raw, context)
        values = self.to_physical(raw, context.dtype)
        if network.training and self.role.dropout:
            values = self._drop(values)
        parts = self.split(values)
        for p in self._supplied:
            factor = context.constants.get(f"{self.role.model}.multiplier.{p.name}")
            if factor is not None:
                parts[p.name] = multiply(parts[p.name], factor, p)
        context.dynamic[self.role.model] |= parts

    def freeze(self, network: Network, context: ForwardContext) -> None:
        """Hold the static parameters that the network gives at the end of the block."""
        if not self._n_static or self.constant:
            return
        context.state[f"{self.key}.frozen"] = self.raw_outputs(network, context)[-1, :, -self._n_static :]
        context.state[f"{self.key}.seen"] += self.role.freeze_after

    def _hold(self, raw: Tensor, context: ForwardContext) -> Tensor:
        """Let static parameters follow the network until a row has seen `freeze_after` steps."""
        frozen, seen = context.state[f"{self.key}.frozen"], context.state[f"{self.key}.seen"]
        time, after = raw.shape[0], self.role.freeze_after
        moving, static = raw.split([raw.shape[-1] - self._n_static, self._n_static], dim=-1)
        last = after - 1 - seen
        step = torch.arange(time, device=seen.device).unsqueeze(-1)
        source = torch.minimum(step, last.clamp(min=0)).unsqueeze(-1).expand_as(static)
        static = torch.where((last < 0).unsqueeze(-1), frozen, static.gather(0, source))
        context.new[f"{self.key}.frozen"] = static[-1]
        context.new[f"{self.key}.seen"] = (seen + time).clamp(max=after)
        return torch.cat([moving, static], dim=-1)

    def _drop(self, values: Tensor) -> Tensor:
        """Make some parameters of some rows constant, all their components together."""
        dropped = torch.rand(values.shape[1], len(self._sizes), device=values.device) < self.role.dropout
        sizes = torch.tensor(self._sizes, device=values.device)
        return torch.where(dropped.repeat_interleave(sizes, dim=1), values[-1:], values)


def multiply(values: Tensor, factor: Tensor, parameter: Parameter) -> Tensor:
    """Multiply values ``[..., rows, *shape]`` of a parameter by a factor ``[rows]``, within its bounds."""
    factor = factor.reshape(-1, *(1 for _ in parameter.shape))
    return (values * factor).clamp(parameter.lower, parameter.upper)
