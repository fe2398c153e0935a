"""How networks carry out each of their roles: what is done with what they say."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from math import prod

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import Parameter, ProcessModel, State
from ..normalisation import FeatureStatistics, Normaliser
from .base import ForwardContext, RoleBinding, Scale, with_prefix
from .resolve import (
    CorrectInputRole,
    CorrectOutputRole,
    OutputRole,
    ParameterRole,
    ProcessRole,
    Role,
    WeightRole,
)


class ParameterBinding(RoleBinding):
    """See :class:`~dmg_bmi.model.roles.resolve.ParameterRole`."""

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
        every = [p for p in self._supplied for _ in range(p.size)]
        self._scale = Scale([(p.lower, p.upper) for p in every], [p.logarithmic for p in every])

    def scaled(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Within the declared bounds."""
        return self._scale(raw, dtype)

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Values ``[..., n_outputs]`` to name: ``[..., *shape]``."""
        parts = values.split(self._sizes, dim=-1)
        return {
            p.name: part.reshape(*part.shape[:-1], *p.shape)
            for p, part in zip(self._supplied, parts, strict=True)
        }

    def prepare_values(self, values: Tensor) -> State:
        """By name: ``phy.BETA``."""
        return {f"{self.role.model}.{name}": v for name, v in self.split(values).items()}

    def init_state(
        self, network: Network, n: int, dtype: torch.dtype, device: torch.device | str | None
    ) -> State:
        """The network's own; what it said of static parameters, not yet scaled, and steps seen."""
        state = super().init_state(network, n, dtype, device)
        if self._n_static and not self.constant:
            state[f"{self.key}.frozen"] = torch.zeros(n, self._n_static, dtype=network.dtype, device=device)
            state[f"{self.key}.seen"] = torch.zeros(n, dtype=torch.int64, device=device)
        return state

    def before(self, network: Network, block: ForwardContext) -> None:
        """Parameters of each step, static ones held."""
        if self.constant:
            return
        raw = self.raw(network, block)
        if self._n_static:
            raw = self._hold(raw, block)
        values = self.scaled(raw, block.dtype)
        if network.training and self.role.dropout:
            values = self._drop(values)
        parts = self.split(values)
        for p in self._supplied:
            factor = block.constants.get(f"{self.role.model}.multiplier.{p.name}")
            if factor is not None:
                parts[p.name] = multiplied(parts[p.name], factor, p)
        block.dynamic[self.role.model] |= parts

    def freeze(self, network: Network, block: ForwardContext) -> None:
        """Hold from the start what the network says at the end of the block."""
        if not self._n_static or self.constant:
            return
        block.state[f"{self.key}.frozen"] = self.raw(network, block)[-1, :, -self._n_static :]
        block.state[f"{self.key}.seen"] += self.role.freeze_after

    def _hold(self, raw: Tensor, block: ForwardContext) -> Tensor:
        """Follow the network's answer until a row has seen `freeze_after` steps, then hold it."""
        frozen, seen = block.state[f"{self.key}.frozen"], block.state[f"{self.key}.seen"]
        time, after = raw.shape[0], self.role.freeze_after
        moving, static = raw.split([raw.shape[-1] - self._n_static, self._n_static], dim=-1)
        last = after - 1 - seen
        step = torch.arange(time, device=seen.device).unsqueeze(-1)
        source = torch.minimum(step, last.clamp(min=0)).unsqueeze(-1).expand_as(static)
        static = torch.where((last < 0).unsqueeze(-1), frozen, static.gather(0, source))
        block.new[f"{self.key}.frozen"] = static[-1]
        block.new[f"{self.key}.seen"] = (seen + time).clamp(max=after)
        return torch.cat([moving, static], dim=-1)

    def _drop(self, values: Tensor) -> Tensor:
        """Make some parameters of some rows constant, all their components together."""
        dropped = torch.rand(values.shape[1], len(self._sizes), device=values.device) < self.role.dropout
        sizes = torch.tensor(self._sizes, device=values.device)
        return torch.where(dropped.repeat_interleave(sizes, dim=1), values[-1:], values)


class ProcessBinding(RoleBinding):
    """See :class:`~dmg_bmi.model.roles.resolve.ProcessRole`."""

    def __init__(
        self,
        role: ProcessRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.role = role
        self.n_outputs = 1
        states = models[role.model].declaration.states
        #: Parallel components, each of which has a state of the network.
        self._components = max((s.shape[: s.components] for s in states), key=len, default=())

    def scaled(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Not negative."""
        return torch.nn.functional.softplus(raw).to(dtype)

    def init_state(
        self, network: Network, n: int, dtype: torch.dtype, device: torch.device | str | None
    ) -> State:
        """One state per row and component: ``phy.ET.h``."""
        own = network.init_state(n * prod(self._components))
        start = f"{self.role.model}.{self.role.process}"
        return {f"{start}.{name}": v.reshape(n, *self._components, *v.shape[1:]) for name, v in own.items()}

    def before(self, network: Network, block: ForwardContext) -> None:
        """Put the network into the step."""
        shown = block.constants.get(f"{self.key}.attributes")
        block.processes[self.role.model][self.role.process] = partial(self._answer, network, shown)

    def _answer(
        self, network: Network, attributes: Tensor | None, quantities: Mapping[str, Tensor], state: State
    ) -> tuple[Tensor, State]:
        """A :data:`~dmg_bmi.physics.contract.ProcessFunction`: one step of all rows and components."""
        names = self.role.inputs
        together = torch.broadcast_tensors(*(quantities[name] for name in names))
        x = self._inputs(dict(zip(names, together, strict=True)))
        lead, dtype = x.shape[:-1], x.dtype
        x = x.to(network.dtype)
        if attributes is not None:
            between = (1,) * (len(lead) - 1)
            beside = attributes.reshape(lead[0], *between, -1).expand(*lead, -1)
            x = torch.cat([x, beside], dim=-1)
        own = {name: v.flatten(0, len(lead) - 1) for name, v in with_prefix(state, self.role.process).items()}
        raw, renewed = network(x.reshape(1, -1, self.n_inputs), own)
        return self.scaled(raw.reshape(lead), dtype), {
            f"{self.role.process}.{name}": v.reshape(*lead, *v.shape[1:]) for name, v in renewed.items()
        }


class CorrectionBinding(RoleBinding):
    """What corrections of inputs and outputs share: a value for each corrected quantity."""

    def __init__(
        self,
        role: CorrectInputRole | CorrectOutputRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.model = role.model
        self.n_outputs = len(role.corrects)
        self._scale = Scale([*role.corrects.values()])
        self._corrects = tuple(role.corrects)

    def scaled(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Within the bounds of the role."""
        return self._scale(raw, dtype)

    def by_name(self, network: Network, block: ForwardContext) -> dict[str, Tensor]:
        """Factor or addition ``[time, rows]`` of each corrected quantity."""
        return dict(zip(self._corrects, self.values(network, block).unbind(-1), strict=True))


class InputCorrection(CorrectionBinding):
    """See :class:`~dmg_bmi.model.roles.resolve.CorrectInputRole`."""

    def __init__(
        self,
        role: CorrectInputRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self._adds = role.how == "add"
        forcings = models[role.model].declaration.forcings
        self._limits = {f.name: (f.lower, f.upper) for f in forcings}

    def before(self, network: Network, block: ForwardContext) -> None:
        """Correct what drives the model, within the limits of what is legal."""
        driving = block.driving[self.model]
        for name, value in self.by_name(network, block).items():
            given = driving[name]
            corrected = (given + value) if self._adds else given * value
            driving[name] = corrected.clamp(*self._limits[name])
            block.fluxes[self.model][correction(name)] = driving[name] - given


class OutputCorrection(CorrectionBinding):
    """See :class:`~dmg_bmi.model.roles.resolve.CorrectOutputRole`."""

    def after(self, network: Network, block: ForwardContext) -> None:
        """Multiply what was kept of the fluxes."""
        fluxes = block.fluxes[self.model]
        for name, factor in self.by_name(network, block).items():
            if name in fluxes:
                simulated = fluxes[name]
                fluxes[name] = simulated * factor
                fluxes[correction(name)] = fluxes[name] - simulated


class EnsembleWeighting(RoleBinding):
    """See :class:`~dmg_bmi.model.roles.resolve.WeightRole`."""

    def __init__(
        self,
        role: WeightRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.n_outputs = len(models)
        self._models = tuple(models)

    def scaled(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Not negative, and one in sum."""
        return torch.softmax(raw.to(dtype), dim=-1)

    def by_model(self, constants: State) -> dict[str, Tensor]:
        """The weight of each process model, ``[rows]``, where weights are constant."""
        return dict(zip(self._models, constants[f"{self.key}.values"].unbind(-1), strict=True))

    def after(self, network: Network, block: ForwardContext) -> None:
        """Add up the weighted fluxes of each name."""
        weights = self.values(network, block).unbind(-1)
        mean = block.fluxes[""]
        for key, weight in zip(self._models, weights, strict=True):
            for name, series in block.fluxes[key].items():
                part = weight * series
                mean[name] = mean[name] + part if name in mean else part


class NetworkOutput(RoleBinding):
    """See :class:`~dmg_bmi.model.roles.resolve.OutputRole`."""

    def __init__(
        self,
        role: OutputRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.role = role
        self.n_outputs = len(role.outputs)
        self._targets = Normaliser(role.outputs, statistics)

    def scaled(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """In the units of the statistics."""
        values = self._targets.inverse(raw.to(dtype))
        return torch.relu(values) if self.role.nonnegative else values

    def after(self, network: Network, block: ForwardContext) -> None:
        """The network's answer is the model's."""
        series = self.values(network, block).unbind(-1)
        block.fluxes[""] |= dict(zip(self.role.outputs, series, strict=True))


_ACTS: Mapping[type[Role], type[RoleBinding]] = {
    ParameterRole: ParameterBinding,
    ProcessRole: ProcessBinding,
    CorrectInputRole: InputCorrection,
    CorrectOutputRole: OutputCorrection,
    WeightRole: EnsembleWeighting,
    OutputRole: NetworkOutput,
}


def bind(
    role: Role, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
) -> RoleBinding:
    """What carries out a resolved role."""
    return _ACTS[type(role)](role, models, statistics)


def multiplied(values: Tensor, factor: Tensor, parameter: Parameter) -> Tensor:
    """Values ``[..., rows, *shape]`` of a parameter times a factor ``[rows]``, within its bounds."""
    factor = factor.reshape(-1, *(1 for _ in parameter.shape))
    return (values * factor).clamp(parameter.lower, parameter.upper)


def correction(name: str) -> str:
    """The flux that books the correction of a forcing or flux."""
    return f"{name}_correction"
