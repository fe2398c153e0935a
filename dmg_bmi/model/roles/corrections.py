"""A network corrects what drives a process model, or what comes out of it."""

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
from .base import Bounds, ForwardContext, ModelRole, Output, RoleBinding, Scale, check_names


@dataclass(frozen=True)
class _CorrectionRole(ModelRole):
    """Base: a mapping of corrected quantities to bounds, booked as an exchange of the balances."""

    corrects: Mapping[str, Bounds] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "corrects", self._checked_bounds())

    @property
    def _lowest(self) -> float:
        """The least bound that there may be."""
        return 0.0

    def _checked_bounds(self) -> dict[str, Bounds]:
        where = f"role of network {self.network!r}: corrects"
        try:
            bounds = {name: (float(low), float(high)) for name, (low, high) in self.corrects.items()}
        except (AttributeError, TypeError, ValueError) as error:
            raise ConfigError(f"{where} needs names with two bounds, such as {{P: [0.7, 1.3]}}") from error
        bad = [name for name, (low, high) in bounds.items() if not self._lowest <= low < high]
        if bad or not bounds:
            raise ConfigError(
                f"{where}: the bounds of {', '.join(bad) or 'nothing'} are not in order or negative"
            )
        return bounds


@dataclass(frozen=True)
class CorrectInputRole(_CorrectionRole):
    """A network corrects forcings before a process model sees them.

    Networks see the forcing as given. What a correction adds to a conserved quantity is the
    flux ``<name>_correction``, a declared exchange.

    Parameters
    ----------
    inputs, attributes, network
        As of :class:`Role`.
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
            self._refuse(f"how is multiply or add, not {self.how!r}")

    @property
    def _lowest(self) -> float:
        return -inf if self.how == "add" else 0.0

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """See :meth:`Role.resolve`."""
        declared = models[self.model].declaration
        check_names(declared, "forcing", self.corrects, [f.name for f in declared.forcings])
        return super().resolve(models)

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """See :meth:`Role.declares`."""
        corrected = {f.name: f for f in models[self.model].declaration.forcings}
        return [Output(_booking(corrected[name]), self.model, correction(name)) for name in self.corrects]

    def exchanges(self, balance: Balance) -> list[str]:
        """See :meth:`Role.exchanges`."""
        return [correction(name) for name in self.corrects if name in balance.into]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> InputCorrection:
        """See :meth:`Role.bind`."""
        return InputCorrection(self, models, statistics)


@dataclass(frozen=True)
class CorrectOutputRole(_CorrectionRole):
    """A network multiplies fluxes of a process model.

    What that adds to a conserved quantity is the flux ``<name>_correction``, a declared
    exchange: positive where water was added to what leaves.

    Parameters
    ----------
    inputs, attributes, network
        As of :class:`Role`.
    corrects : mapping of flux to bounds
        Least and greatest factor.
    model : str
        Key in ``DeltaModel.phy_model``.
    """

    kind = "correct_output"

    def resolve(self, models: Mapping[str, ProcessModel]) -> Self:
        """See :meth:`Role.resolve`."""
        declared = models[self.model].declaration
        taken = [name for balance in declared.balances for name in balance.exchange]
        correctable = [f.name for f in declared.fluxes if f.name not in taken]
        check_names(declared, "correctable flux", self.corrects, correctable)
        return super().resolve(models)

    def declares(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> list[Output]:
        """See :meth:`Role.declares`."""
        corrected = {f.name: f for f in models[self.model].declaration.fluxes}
        return [
            Output(_booking(corrected[name]), self.model, correction(name), ((self.model, name),))
            for name in self.corrects
        ]

    def exchanges(self, balance: Balance) -> list[str]:
        """See :meth:`Role.exchanges`."""
        return [correction(name) for name in self.corrects if name in balance.out]

    def bind(
        self, models: Mapping[str, ProcessModel], statistics: Mapping[str, FeatureStatistics]
    ) -> OutputCorrection:
        """See :meth:`Role.bind`."""
        return OutputCorrection(self, models, statistics)


class _CorrectionBinding(RoleBinding):
    """What corrections of inputs and outputs share: a value for each corrected quantity."""

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
        self._corrects = tuple(role.corrects)

    def to_physical(self, raw: Tensor, dtype: torch.dtype) -> Tensor:
        """Within the bounds of the role."""
        return self._scale(raw, dtype)

    def by_name(self, network: Network, context: ForwardContext) -> dict[str, Tensor]:
        """Factor or addition ``[time, rows]`` of each corrected quantity."""
        return dict(zip(self._corrects, self.outputs(network, context).unbind(-1), strict=True))


class InputCorrection(_CorrectionBinding):
    """What carries out a :class:`CorrectInputRole`."""

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
        """Correct what drives the model, within the limits of what is legal."""
        driving = context.driving[self.model]
        for name, value in self.by_name(network, context).items():
            measured = driving[name]
            corrected = (measured + value) if self._adds else measured * value
            driving[name] = corrected.clamp(*self._limits[name])
            context.fluxes[self.model][correction(name)] = driving[name] - measured


class OutputCorrection(_CorrectionBinding):
    """What carries out a :class:`CorrectOutputRole`."""

    def after_physics(self, network: Network, context: ForwardContext) -> None:
        """Multiply what was kept of the fluxes."""
        fluxes = context.fluxes[self.model]
        for name, factor in self.by_name(network, context).items():
            if name in fluxes:
                simulated = fluxes[name]
                fluxes[name] = simulated * factor
                fluxes[correction(name)] = fluxes[name] - simulated


def correction(name: str) -> str:
    """Name the flux that books the correction of a forcing or flux."""
    return f"{name}_correction"


def _booking(quantity: Quantity) -> Flux:
    return Flux(
        correction(quantity.name),
        quantity.units,
        f"correction of {quantity.meaning}",
        aggregation=quantity.aggregation,
    )
