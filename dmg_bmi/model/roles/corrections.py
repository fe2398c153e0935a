"""Roles of networks that correct forcings or fluxes of a process model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, Self

import torch
from torch import Tensor

from ...errors import ConfigError
from ...nn_models import Network
from ...physics import Balance, Flux, ProcessModel, Quantity
from ..normalisation import FeatureStatistics
from .base import Bounds, ForwardContext, ModelRole, Output, RoleBinding, Scale, check_names, explain_scale


@dataclass(frozen=True)
class _CorrectionRole(ModelRole):
    """Base of corrections: corrected quantities with bounds, declared as exchange in the balances."""

    corrects: Mapping[str, Bounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "corrects", self._checked_bounds())

    @property
    def _lowest(self) -> float:
        """Return the least permitted bound."""
        return 0.0

    def _checked_bounds(self) -> dict[str, Bounds]:
        where = f"role of network {self.network!r}: corrects"
        try:
            bounds = {name: (float(low), float(high)) for name, (low, high) in self.corrects.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"{where} requires names with two bounds, such as {{P: [0.7, 1.3]}}") from error
        bad = [name for name, (low, high) in bounds.items() if not self._lowest <= low < high]
        if bad or not bounds:
            raise ConfigError(
                f"{where}: the bounds of {', '.join(bad) or 'nothing'} are out of order or negative"
            )
        return bounds


@dataclass(frozen=True)
class CorrectInputRole(_CorrectionRole):
    """A role in which a network corrects forcings before a process model sees them.

    Networks see the uncorrected forcing. The amount that a correction adds to a conserved
    quantity is the flux ``<name>_correction``, a declared exchange.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    corrects : mapping of forcing to bounds
        Least and greatest factor or, with ``how="add"``, addition.
    how : {"multiply", "add"}
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "correct_input"

    how: Literal["multiply", "add"] = "multiply"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.how not in ("multiply", "add"):
            self._refuse(f"how must be multiply or add, not {self.how!r}")

    @property
    def _lowest(self) -> float:
        return -inf if self.how == "add" else 0.0

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """Check the corrected names, see :meth:`Role.resolve`."""
        declared = models[self.model].declaration
        check_names(declared, "forcing", self.corrects, [f.name for f in declared.forcings])
        return super().resolve(models)

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """List the correction fluxes, see :meth:`Role.declares`."""
        corrected = {f.name: f for f in models[self.model].declaration.forcings}
        return [
            Output(_correction_flux(corrected[name]), self.model, correction(name)) for name in self.corrects
        ]

    def exchanges(self, balance: Balance) -> list[str]:
        """List corrections in the exchange, see :meth:`Role.exchanges`."""
        return [correction(name) for name in self.corrects if name in balance.into]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> InputCorrection:
        """Bind the role, see :meth:`Role.bind`."""
        return InputCorrection(self, models, statistics)


@dataclass(frozen=True)
class CorrectOutputRole(_CorrectionRole):
    """A role in which a network multiplies fluxes of a process model.

    The amount that this adds to a conserved quantity is the flux ``<name>_correction``, a
    declared exchange: positive where outflow was increased.

    Parameters
    ----------
    inputs, attributes, network
        As for :class:`Role`.
    corrects : mapping of flux to bounds
        Least and greatest factor.
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "correct_output"

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """Check the corrected names, see :meth:`Role.resolve`."""
        declared = models[self.model].declaration
        exchanges = [name for balance in declared.balances for name in balance.exchange]
        correctable = [f.name for f in declared.fluxes if f.name not in exchanges]
        check_names(declared, "correctable flux", self.corrects, correctable)
        return super().resolve(models)

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """List the correction fluxes, see :meth:`Role.declares`."""
        corrected = {f.name: f for f in models[self.model].declaration.fluxes}
        return [
            Output(_correction_flux(corrected[name]), self.model, correction(name), ((self.model, name),))
            for name in self.corrects
        ]

    def exchanges(self, balance: Balance) -> list[str]:
        """List corrections in the exchange, see :meth:`Role.exchanges`."""
        return [correction(name) for name in self.corrects if name in balance.out]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> OutputCorrection:
        """Bind the role, see :meth:`Role.bind`."""
        return OutputCorrection(self, models, statistics)


class _CorrectionBinding(RoleBinding):
    """Base of bound corrections: one value for each corrected quantity."""

    def __init__(
        self,
        role: _CorrectionRole,
        models: Mapping[str, ProcessModel],
        statistics: Mapping[str, FeatureStatistics],
    ) -> None:
        super().__init__(role, models, statistics)
        self.model = role.model
        self.n_outputs = len(role.corrects)
        self._scale = Scale([*role.corrects.values()])
        self._corrects = dict(role.corrects)

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Scale outputs to the bounds of the role."""
        return self._scale(raw, dtype)

    def explain_outputs(self) -> list[str]:
        """Say what each output is, see :meth:`RoleBinding.explain_outputs`."""
        return [f"correction of {name} = {explain_scale(*bounds)}" for name, bounds in self._corrects.items()]

    def by_name(self, network: Network, context: ForwardContext) -> dict[str, Tensor]:
        """Return the factor or addition ``[time, rows]`` of each corrected quantity."""
        return dict(zip(self._corrects, self.outputs(network, context).unbind(-1), strict=True))


class InputCorrection(_CorrectionBinding):
    """A bound :class:`CorrectInputRole`."""

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

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Correct the forcing of the model, within its physical limits."""
        driving = context.driving[self.model]
        for name, value in self.by_name(network, context).items():
            measured = driving[name]
            corrected = (measured + value) if self._adds else measured * value
            driving[name] = corrected.clamp(*self._limits[name])
            context.fluxes[self.model][correction(name)] = driving[name] - measured


class OutputCorrection(_CorrectionBinding):
    """A bound :class:`CorrectOutputRole`."""

    def before_physics(self, network: Network, context: ForwardContext) -> None:
        """Run the network: before, since an analysis changes what the process models see, and not this."""
        context.fluxes[""] |= {
            self._factor(name): value for name, value in self.by_name(network, context).items()
        }

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Multiply those of the fluxes that were computed."""
        fluxes = context.fluxes[self.model]
        for name in self._corrects:
            if name in fluxes:
                simulated = fluxes[name]
                fluxes[name] = simulated * context.fluxes[""][self._factor(name)]
                fluxes[correction(name)] = fluxes[name] - simulated

    def _factor(self, name: str) -> str:
        return f"{self.key}.{name}"


def correction(name: str) -> str:
    """Name the flux that records the correction of a forcing or flux."""
    return f"{name}_correction"


def _correction_flux(quantity: Quantity) -> Flux:
    return Flux(
        correction(quantity.name),
        quantity.units,
        f"correction of {quantity.meaning}",
        aggregation=quantity.aggregation,
    )
