"""The role of a network that gives outputs beside those of process models, and is mixed with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Self

from ...nn_models import Network
from ...physics import Balance, Flux, ProcessModel
from ..normalisation import FeatureStatistics
from .base import ForwardContext, Output, check_names
from .mixing import mixing
from .network_output import NetworkOutput, OutputRole


@dataclass(frozen=True)
class MixOutputRole(OutputRole):
    """A role in which a network gives fluxes that process models give too, and both are mixed.

    The model's flux is a mean of the network's, with the weight `share`, and that of the process model, or
    that of several which a role ``weights`` before this one weighs. Equations and networks err
    differently, so that it is often better than both (Li et al., 2025,
    https://doi.org/10.5194/hess-29-6829-2025). What the network gives is the flux
    ``<network>.<name>``; the amount that mixing adds is the flux ``<name>_mixing``, a declared
    exchange: positive where outflow was increased.

    Parameters
    ----------
    inputs, attributes, network, outputs, nonnegative, statistics
        As for :class:`OutputRole`.
    share : float
        Of the network, between 0 and 1. Shares of several networks add up.
    half_at : float
        Size of the equations' flux at which the network has half of its share, which it nears
        above and loses below: where a network knows high flow, and equations how stores run dry.
        With 0 it has all of it throughout.
    """

    kind = "mix_output"

    share: float = 0.5
    half_at: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for key, highest, asked in (("share", 1.0, "between 0 and 1"), ("half_at", inf, "from 0")):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < highest:
                self._refuse(f"{key} is {value!r}; it must be a number {asked}")
        if not self.share:
            self._refuse("share is 0; the network would take no part")

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """Check the names, see :meth:`Role.resolve`."""
        if not models:
            self._refuse(
                "mixes with the outputs of process models, and there are none; output takes its place"
            )
        for model in models.values():
            check_names(model.declaration, "flux", self.outputs, [f.name for f in model.declaration.fluxes])
        return super().resolve(models)

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """List the network's fluxes and the mixing fluxes, see :meth:`Role.declares`."""
        given = {f.name: f for model in reversed([*models.values()]) for f in model.declaration.fluxes}
        result = []
        for name in self.outputs:
            like, own = given[name], f"{self.network}.{name}"
            meanings = {
                own: f"{like.meaning}, by a network alone",
                mixing(name): f"what networks add to {like.meaning}",
            }
            needs = {own: (), mixing(name): tuple((key, name) for key in models)}
            result += [
                Output(Flux(n, like.units, m, aggregation=like.aggregation), "", n, needs[n])
                for n, m in meanings.items()
            ]
        return result

    def exchanges(self, balance: Balance) -> list[str]:
        """List mixing in the exchange, see :meth:`Role.exchanges`."""
        return [mixing(name) for name in self.outputs if name in balance.out]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> OutputMixing:
        """Bind the role, see :meth:`Role.bind`."""
        return OutputMixing(self, models, {**statistics, **self.statistics})


class OutputMixing(NetworkOutput):
    """A bound :class:`MixOutputRole`."""

    def __init__(
        self,
        role: MixOutputRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self._share, self._half_at = role.share, role.half_at
        # The fluxes of an ensemble's mean are those of the whole model.
        self._mixed = next(iter(models)) if len(models) == 1 else ""

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        how = f" * q / (q + {self._half_at:g}) with q of the equations" if self._half_at else ""
        return [f"{line}, with the weight {self._share:g}{how}" for line in super().explain_outputs()]

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Run the network: before, since an analysis changes what the process models see, and not this."""
        series = self.outputs(network, context).unbind(-1)
        context.fluxes[""] |= {
            f"{self.key}.{name}": s for name, s in zip(self.role.outputs, series, strict=True)
        }

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Mix the network's outputs into those of the fluxes that were computed."""
        whole, fluxes = context.fluxes[""], context.fluxes[self._mixed]
        for name in self.role.outputs:
            if name in fluxes:
                before = whole.get(mixing(name))
                own = fluxes[name] if before is None else fluxes[name] - before
                share = (
                    self._share * own.abs() / (own.abs() + self._half_at) if self._half_at else self._share
                )
                added = share * (whole[f"{self.key}.{name}"] - own)
                fluxes[name] = fluxes[name] + added
                whole[mixing(name)] = added if before is None else before + added
