"""The role of a network that weighs the process models of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from ...nn_models import Network
from ...physics import ProcessModel, State
from ..normalisation import FeatureStatistics
from .base import ForwardContext, Role, RoleBinding

Scaling = Literal["softmax", "sigmoid"]


@dataclass(frozen=True)
class WeightRole(Role):
    """A role in which a network weighs the process models of an ensemble.

    By default its outputs pass a softmax. Outputs are the weighted means of fluxes that all models have,
    and of fluxes in a balance, which are zero in models without them; and each model's own
    fluxes, named ``<model>.<flux>``.

    Weights of a network without inputs are constant, and the mean has a balance whose store
    is the weighted store. Weights that change in time mix runoff of models with different
    stores; then only the balance of each model holds, and that is what is declared. So it is
    with weights that do not add up to one.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    scaling : {"softmax", "sigmoid"}
        With ``sigmoid`` each weight is between zero and one by itself, as in ensembles of dmg.
    """

    kind = "weights"

    scaling: Scaling = "softmax"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scaling not in get_args(Scaling):
            self._refuse(f"scaling is {self.scaling!r}; it must be one of {', '.join(get_args(Scaling))}")

    @property
    def conserves(self) -> bool:
        """Tell whether the weighted mean conserves what every model does."""
        return not self.inputs and self.scaling == "softmax"

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
        self._scaling = role.scaling
        self._models = tuple(models)

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn outputs into weights that are not negative, and by a softmax add up to one."""
        values = raw.to(dtype)
        return torch.sigmoid(values) if self._scaling == "sigmoid" else torch.softmax(values, dim=-1)

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        how = "sigmoid(y)" if self._scaling == "sigmoid" else "softmax(y) over all of them"
        return [f"weight of {key} = {how}" for key in self._models]

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
