"""Analysis of a basin: stores, rain and rivers brought in line with the gauges inside a network.

What a gauge saw came from all divides above it, some time ago; gradients through rivers and runoff say from
which. Of the factors on rain and stores of each divide and on the water of each reach those are sought, by
L-BFGS (Liu & Nocedal, 1989, https://doi.org/10.1007/BF01589116), that minimise

    sum over controls (x / spread)^2  +  sum over gauges and steps ((q(x) - observed) / error)^2

A part of each factor is common to all divides, since weather that is wrong is wrong beyond a divide.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..errors import ConfigError
from ..model.roles.base import ForwardContext
from ..model.routed_model import RoutedModel, RoutedState
from ..physics import State
from .analysis import FARTHEST, FLOW, Controls, check_observed, water_given
from .options import Assimilation

#: Spread of the logarithm of the factor on the water in a reach.
RIVER_SPREAD = 0.25
#: Share of the variance of a factor that is common to all divides.
COMMON = 0.5
#: Of L-BFGS: its most steps, and the gradient, in spreads, at which it ends.
STEPS, FLAT = 40, 1e-6


@dataclass(frozen=True)
class RoutedAnalysis:
    """The result of an analysis of a basin.

    Parameters
    ----------
    flow : Tensor ``[time, reaches]``
        m3 s-1, of the window, with the factors found.
    fluxes : dict of name to Tensor ``[time, divides]``
        Of the runoff.
    state : RoutedState
        At the end of the window.
    factors : dict of name to Tensor
        As of an :class:`~dmg_bmi.assimilation.analysis.Analysis`, of divides; and ``river`` ``[reaches]``.
    added : Tensor ``[divides]``
        Water that rain and stores were given, mm; negative where it was taken.
    added_to_rivers : Tensor ``[reaches]``
        Water that the reaches were given at the begin of the window, m3. With both as exchange the balance of
        the window closes.
    used : Tensor ``[gauges]``
        Number of observations.
    """

    flow: Tensor
    fluxes: dict[str, Tensor]
    state: RoutedState
    factors: dict[str, Tensor]
    added: Tensor
    added_to_rivers: Tensor
    used: Tensor


def analyse_routed(
    model: RoutedModel,
    forcing: Mapping[str, Tensor],
    attributes: Mapping[str, Tensor],
    network: Mapping[str, Tensor],
    state: RoutedState,
    observed: Tensor,
    gauges: Sequence[int],
    typical: Tensor,
    options: Assimilation | None = None,
    error: Tensor | None = None,
) -> RoutedAnalysis:
    """Adjust rain, stores and rivers of a basin to the flow that gauges inside it observed.

    Parameters
    ----------
    model : RoutedModel
        Rivers of the conservative kernel are adjusted, too.
    forcing : mapping of name to Tensor ``[time, divides]``
        Of the window of `options`.
    attributes, network : mapping of name to Tensor
        As for :class:`~dmg_bmi.model.routed_model.RoutedModel`; `network` with ``upstream_area``.
    state : RoutedState
        Before the window.
    observed : Tensor ``[time, gauges]``
        Mean flow of each step of the runoff, m3 s-1; NaN is missing.
    gauges : sequence of int
        The reach of each, as ``Network.gages`` tells.
    typical : Tensor ``[gauges]``
        Typical flow, m3 s-1: the scale of errors.
    options : Assimilation, optional
        Variational; `iterations` is not used.
    error : Tensor ``[time, gauges]``, optional
        Standard deviations of the errors of model and gauge, m3 s-1; where NaN, those of `options`.

    Raises
    ------
    ConfigError
        If the method is another one, or the model has no such stores.
    ForcingError
        If an observation is negative, infinite or larger than any flow.
    """
    options = options or Assimilation()
    if options.method != "variational":
        raise ConfigError(f"a basin has no analysis with method {options.method}; leave the key out")
    reaches = torch.as_tensor(gauges)
    check_observed(observed * (model.runoff.step / 1e3) / network["upstream_area"][reaches])
    basin = _Basin(model, forcing, attributes, network, state, options)
    weight = options.weights(observed, options.errors(observed, typical, error))
    target = observed.nan_to_num()

    def cost(places: Sequence[Tensor]) -> Tensor:
        misfit = (basin.flow(places)[:, reaches] - target) * weight
        return 0.5 * sum((z.square().sum() for z in places), misfit.square().sum())

    with torch.inference_mode(False):
        places = _least(cost, basin.start())
        with torch.no_grad():
            return basin.result(places, (~observed.isnan()).sum(0))


class _Basin:
    """A window of a basin, and its controls, in spreads."""

    def __init__(
        self,
        model: RoutedModel,
        forcing: Mapping[str, Tensor],
        attributes: Mapping[str, Tensor],
        network: Mapping[str, Tensor],
        state: RoutedState,
        options: Assimilation,
    ) -> None:
        self._model, self._network, self._rivers = model, network, state.routing
        self._controls = Controls(model.runoff, options)
        self._stored = [name for b in model.routing.declaration.balances for name in b.stored]
        self._divides, self._reaches = len(model.area), len(network["downstream"])
        with torch.no_grad():
            constants = model.runoff.precompute(attributes, self._divides)
            # Networks see the weather as it was measured, so they run once.
            self._prepared = model.runoff.prepare(forcing, constants, state.runoff)

    def start(self) -> list[Tensor]:
        """Return controls that change nothing: common to all divides, of divides, of reaches."""
        count = self._controls.count
        shapes = [(1, count), (self._divides, count)] + [(self._reaches,)] * bool(self._stored)
        return [torch.zeros(shape, dtype=torch.float64) for shape in shapes]

    def factors(self, places: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the logarithms of factors on divides ``[divides, controls]`` and reaches."""
        common, own, *rivers = places
        on_divides = _bounded(COMMON**0.5 * common + (1 - COMMON) ** 0.5 * own) * self._controls.spread
        none = torch.zeros(self._reaches, dtype=torch.float64)
        return on_divides, _bounded(rivers[0]) * RIVER_SPREAD if rivers else none

    def changed(self, factors: tuple[Tensor, Tensor]) -> tuple[ForwardContext, State]:
        """Return the window, and the rivers before it, with factors."""
        context = self._prepared.repeat(1)
        self._controls.apply(context, factors[0])
        by_reach = {name: self._rivers[name] * factors[1].exp() for name in self._stored}
        return context, {**self._rivers, **by_reach}

    def flow(self, places: Sequence[Tensor]) -> Tensor:
        """Return the flow ``[time, reaches]`` of controls."""
        context, rivers = self.changed(self.factors(places))
        depth = self._model.runoff.finish(context, (FLOW,))[0][FLOW]
        return self._model.route(depth, self._network, rivers)[0]

    def result(self, places: Sequence[Tensor], used: Tensor) -> RoutedAnalysis:
        """Run the window with the controls found, and add up the water that they gave."""
        factors = self.factors(places)
        context, rivers = self.changed(factors)
        added = water_given(self._model.runoff, self._prepared, context)
        to_rivers = torch.zeros(self._reaches, dtype=torch.float64)
        for name in self._stored:
            to_rivers = to_rivers + rivers[name] - self._rivers[name]
        named = self._controls.named(factors[0]) | {"river": factors[1].exp()}
        fluxes, runoff = self._model.runoff.finish(context)
        flow, routing = self._model.route(fluxes[FLOW], self._network, rivers)
        return RoutedAnalysis(flow, fluxes, RoutedState(runoff, routing), named, added, to_rivers, used)


def _bounded(places: Tensor) -> Tensor:
    """Keep controls within :data:`FARTHEST` spreads, softly."""
    return FARTHEST * torch.tanh(places / FARTHEST)


def _least(cost: Callable[[Sequence[Tensor]], Tensor], places: list[Tensor]) -> list[Tensor]:
    """Return the places where the cost is least; where it is flat, those given."""
    for values in places:
        values.requires_grad_()
    search = torch.optim.LBFGS(
        places, max_iter=STEPS, tolerance_grad=FLAT, line_search_fn="strong_wolfe", history_size=STEPS
    )

    def evaluate() -> Tensor:
        search.zero_grad()
        value = cost(places)
        value.backward()
        return value

    with torch.enable_grad():
        search.step(evaluate)
    return [values.detach() for values in places]
