"""The role of a network that weighs the process models of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import ProcessModel, State
from ..normalisation import FeatureStatistics
from .base import ForwardContext, Role, RoleBinding


@dataclass(frozen=True)
class WeightRole(Role):
    """A role in which a network weighs the process models of an ensemble.

    Its outputs pass a softmax. Outputs are the weighted means of fluxes that all models have,
    and of fluxes in a balance, which are zero in models without them; and each model's own
    fluxes, named ``<model>.<flux>``.

    Weights of a network without inputs are constant, and the mean has a balance whose store
    is the weighted store. Weights that change in time mix runoff of models with different
    stores; then only the balance of each model holds, and that is what is declared.
    """

    kind = "weights"

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> EnsembleWeighting:
        """Bind the role, see :meth:`Role.bind`."""
        return EnsembleWeighting(self, models, statistics)


class EnsembleWeighting(RoleBinding):
    """A bound :class:`WeightRole`."""

    def __init__(
        self,
        role: WeightRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.n_outputs = len(models)
        self._models = tuple(models)

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn outputs into weights that are not negative and add up to one."""
        return torch.softmax(raw.to(dtype), dim=-1)

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        return [f"weight of {key} = softmax(y) over all of them" for key in self._models]

    def by_model(self, constants: State) -> dict[str, Tensor]:
        """Return the constant weight of each process model, ``[rows]``."""
        return dict(zip(self._models, constants[f"{self.key}.values"].unbind(-1), strict=True))

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Add up the weighted fluxes of each name."""
        weights = self.outputs(network, context).unbind(-1)
        mean = context.fluxes[""]
        for key, weight in zip(self._models, weights, strict=True):
            for name, series in context.fluxes[key].items():
                part = weight * series
                mean[name] = mean[name] + part if name in mean else part
