"""The role of a network that replaces a process inside the step of a process model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from math import prod

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import ProcessModel, State
from ..normalisation import FeatureStatistics
from .base import ForwardContext, ModelRole, RoleBinding, check_names, with_prefix


@dataclass(frozen=True)
class ProcessRole(ModelRole):
    """A role in which a network replaces a process inside the step of a process model.

    Its output passes a softplus, so it is not negative; the equations limit it to what a
    store holds. It is the amount of one step, in the units of the process. A recurrent
    network's state is part of the model's, under the name of the process.

    Parameters
    ----------
    inputs : tuple of str
        Quantities, of those that the process model shows to this process; all by default.
        They are normalised by the statistics of these names.
    attributes, network
        As for :class:`Role`.
    process : str
        A name in ``Declaration.processes``.
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "process"

    process: str = ""

    @property
    def forcings(self) -> tuple[str, ...]:
        """Return no forcings: the network sees quantities inside the step."""
        return ()

    def resolve(self, models: Mapping[str, ProcessModel]) -> ProcessRole:
        """Check the names, see :meth:`Role.resolve`; by default the network sees all that is shown."""
        declared = models[self.model].declaration
        check_names(declared, "replaceable process", (self.process,), declared.processes)
        shown = declared.processes[self.process]
        check_names(declared, f"{self.process} input", self.inputs, shown)
        return replace(self, inputs=self.inputs or shown)

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> ProcessBinding:
        """Bind the role, see :meth:`Role.bind`."""
        return ProcessBinding(self, models, statistics)


class ProcessBinding(RoleBinding):
    """A bound :class:`ProcessRole`."""

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

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Make outputs nonnegative."""
        return torch.nn.functional.softplus(raw).to(dtype)

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        return [f"{self.role.process} of one step = softplus(y), limited to what the store holds"]

    def init_state(
        self, network: Network, n: int, dtype: torch.dtype, device: torch.device | str | None
    ) -> State:
        """Return one state per row and component: ``phy.ET.h``."""
        flat = network.init_state(n * prod(self._components))
        prefix = f"{self.role.model}.{self.role.process}"
        return {f"{prefix}.{name}": v.reshape(n, *self._components, *v.shape[1:]) for name, v in flat.items()}

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Put the network into the step."""
        shown = context.constants.get(f"{self.key}.attributes")
        context.processes[self.role.model][self.role.process] = partial(self._run_step, network, shown)

    def _run_step(
        self, network: Network, attributes: Tensor | None, quantities: Mapping[str, Tensor], state: State
    ) -> tuple[Tensor, State]:
        """Run one step of all rows and components, a :data:`~dmg_bmi.physics.contract.ProcessFunction`."""
        names = self.role.inputs
        values = torch.broadcast_tensors(*(quantities[name] for name in names))
        x = self._inputs(dict(zip(names, values, strict=True)))
        lead, dtype = x.shape[:-1], x.dtype
        x = x.to(network.dtype)
        if attributes is not None:
            components = (1,) * (len(lead) - 1)
            expanded = attributes.reshape(lead[0], *components, -1).expand(*lead, -1)
            x = torch.cat([x, expanded], dim=-1)
        memory = {
            name: v.flatten(0, len(lead) - 1) for name, v in with_prefix(state, self.role.process).items()
        }
        raw, renewed = network(x.reshape(1, -1, self.n_inputs), memory)
        return self.to_physical(raw.reshape(lead), dtype), {
            f"{self.role.process}.{name}": v.reshape(*lead, *v.shape[1:]) for name, v in renewed.items()
        }
