"""The role of a network that mixes several sources of a forcing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from ...errors import ConfigError
from ...nn_models import Network
from ...physics import Balance, Flux, Forcing, ProcessModel
from ..normalisation import FeatureStatistics
from .base import ForwardContext, ModelRole, Output, RoleBinding, check_names


@dataclass(frozen=True)
class MixInputRole(ModelRole):
    """A role in which a network weighs several sources of a forcing, step by step.

    The process model sees their weighted mean; the weights of a softmax are not negative and add
    up to one. Sources may be measurements of others, or the same measurement of the next day,
    since gauges that are read in the morning date much of a day's rain to the next. The amount
    that mixing adds to the forcing's own source is the flux ``<name>_mixing``, a declared exchange.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    mixes : mapping of forcing to sequence of str
        Further sources of each mixed forcing, in its units.
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "mix_input"

    mixes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            mixes = {name: tuple(sources) for name, sources in self.mixes.items()}
        except (AttributeError, TypeError) as error:
            raise ConfigError(
                f"role of network {self.network!r}: mixes requires names with lists of sources, "
                "such as {P: [P_next]}"
            ) from error
        bad = [name for name, sources in mixes.items() if not sources or isinstance(self.mixes[name], str)]
        if bad or not mixes:
            self._refuse(f"mixes: {bad[0] if bad else 'no forcing'} has no list of sources")
        object.__setattr__(self, "mixes", mixes)

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """Check the mixed names, see :meth:`Role.resolve`."""
        declared = models[self.model].declaration
        check_names(declared, "forcing", self.mixes, [f.name for f in declared.forcings])
        return super().resolve(models)

    def sources(self, models: Mapping[str, ProcessModel]) -> list[Forcing]:
        """List the sources, declared like what they are mixed into, see :meth:`Role.sources`."""
        mixed = {f.name: f for f in models[self.model].declaration.forcings}
        return [
            replace(mixed[name], name=source, meaning=f"{mixed[name].meaning}, {source}", standard_name="")
            for name, sources in self.mixes.items()
            for source in sources
        ]

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """List the mixing fluxes, see :meth:`Role.declares`."""
        mixed = {f.name: f for f in models[self.model].declaration.forcings}
        return [
            Output(
                Flux(
                    mixing(name),
                    mixed[name].units,
                    f"what other sources add to {mixed[name].meaning}",
                    aggregation=mixed[name].aggregation,
                ),
                self.model,
                mixing(name),
            )
            for name in self.mixes
        ]

    def exchanges(self, balance: Balance) -> list[str]:
        """List mixing in the exchange, see :meth:`Role.exchanges`."""
        return [mixing(name) for name in self.mixes if name in balance.into]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> InputMixing:
        """Bind the role, see :meth:`Role.bind`."""
        return InputMixing(self, models, statistics)


class InputMixing(RoleBinding):
    """A bound :class:`MixInputRole`."""

    def __init__(
        self,
        role: MixInputRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.model = role.model
        self._mixes = {name: tuple(sources) for name, sources in role.mixes.items()}
        self._counts = [1 + len(sources) for sources in self._mixes.values()]
        self.n_outputs = sum(self._counts)

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Turn outputs into weights of each forcing's sources that add up to one."""
        parts = raw.to(dtype).split(self._counts, dim=-1)
        return torch.cat([torch.softmax(part, dim=-1) for part in parts], dim=-1)

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        return [
            f"weight of {source} in {name} = softmax(y) over its sources"
            for name, sources in self._mixes.items()
            for source in (name, *sources)
        ]

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Mix the sources into the forcing of the model."""
        driving = context.driving[self.model]
        weights = self.outputs(network, context).split(self._counts, dim=-1)
        for (name, sources), weight in zip(self._mixes.items(), weights, strict=True):
            own = driving[name]
            added = sum(
                w * (context.forcing[source] - own)
                for source, w in zip(sources, weight.unbind(-1)[1:], strict=True)
            )
            driving[name] = own + added
            context.fluxes[self.model][mixing(name)] = added


def mixing(name: str) -> str:
    """Name the flux that records what mixing adds to a forcing."""
    return f"{name}_mixing"
