"""Analysis: stores and recent rain of rows brought in line with their observed flow.

Four-dimensional variational assimilation with the model as a strong constraint (Le Dimet & Talagrand, 1986,
https://doi.org/10.3402/tellusa.v38i2.11706): of the factors on rain and stores those are sought that minimise

    sum over controls (x / spread)^2  +  sum over observed steps ((q(x) - observed) / error)^2

The few controls of a row make a small least-squares problem of its own, which Gauss-Newton solves: the
Jacobian comes from one perturbed member per control, and all members of all rows step in one batch.

With `method: ensemble` or `particles` a filter does it instead, see :mod:`dmg_bmi.assimilation.filters`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from ..errors import ForcingError
from ..model.delta_model import DeltaModel
from ..model.roles.base import ForwardContext
from ..physics import State
from .filters import filtered
from .options import FILTERS, Assimilation

FLOW = "Q"
#: Largest depth of a step that counts as flow, mm; the most rain ever measured in a day is 1,825 mm.
LARGEST = 3000.0
#: Perturbation of a control, as a share of its spread, and how many spreads it may move.
EPSILON, FARTHEST = 0.01, 3.0
#: Values of one store (rows times members times components) that run at once: what does not fit the cache
#: takes half as long again.
BATCH = 2**18


@dataclass(frozen=True)
class Analysis:
    """The result of an analysis.

    Parameters
    ----------
    fluxes : dict of name to Tensor ``[time, rows]``
        Of the window, with the factors found.
    state : State
        At the end of the window.
    factors : dict of name to Tensor
        On forcing, ``P`` ``[pieces, rows]``, the latest piece first, and on stores, ``SM`` ``[rows]``; of a
        filter on stores alone, all updates together.
    added : Tensor ``[rows]``
        Water that rain and stores were given, mm; negative where it was taken. With it as exchange the
        balance of the window closes.
    used : Tensor ``[rows]``
        Number of observations; where there is none nothing has changed.
    """

    fluxes: dict[str, Tensor]
    state: State
    factors: dict[str, Tensor]
    added: Tensor
    used: Tensor


def analyse(
    model: DeltaModel,
    forcing: Mapping[str, Tensor],
    constants: State,
    state: State,
    observed: Tensor,
    typical: Tensor,
    options: Assimilation | None = None,
    error: Tensor | None = None,
    outputs: Collection[str] | None = None,
) -> Analysis:
    """Adjust rain and stores of a window of steps to the flow that was observed in it.

    Parameters
    ----------
    model : DeltaModel
        With at least one process model; rows must not act on each other.
    forcing : mapping of name to Tensor ``[time, rows]``
        Of the window of `options`.
    constants : State
        Of :meth:`DeltaModel.precompute`.
    state : State
        Before the window.
    observed : Tensor ``[time, rows]``
        Flow in mm per step; NaN is missing.
    typical : Tensor ``[rows]``
        Typical flow, mm per step, such as its mean over the training period: the scale of errors.
    options : Assimilation, optional
    error : Tensor ``[time, rows]``, optional
        Standard deviations of the errors of model and gauge, mm; where NaN, those of `options`.
    outputs : collection of str, optional
        Fluxes to keep, the flow among them; all by default.

    Raises
    ------
    ConfigError
        If the model has no such stores, or rows act on each other.
    ForcingError
        If an observation is negative, infinite or larger than any flow.
    """
    options = options or Assimilation()
    check_observed(observed)
    rows = observed.shape[1]
    members = options.members if options.method in FILTERS else Controls(model, options).count
    store = next(iter(options.stores(model)))
    width = sum(v.numel() for n, v in state.items() if n.partition(".")[2] == store) / max(1, rows)
    count = max(1, int(BATCH / max(1.0, width * (1 + members))))
    parts = [
        _analyse(
            model,
            {name: v[:, some] for name, v in forcing.items()},
            {name: v[some] for name, v in constants.items()},
            {name: v[some] for name, v in state.items()},
            observed[:, some],
            typical[some],
            options,
            None if error is None else error[:, some],
            outputs,
        )
        for some in (slice(start, start + count) for start in range(0, rows, count))
    ]
    return parts[0] if len(parts) == 1 else _concatenate(parts)


def check_observed(observed: Tensor, first: int = 0) -> None:
    """Refuse observations from step `first` on that no river can have; NaN is missing."""
    wrong = (observed < 0) | (observed > LARGEST) | observed.isinf()
    if wrong.any():
        step, row = (int(k) for k in wrong.nonzero()[0])
        raise ForcingError(
            f"observed flow of row {row} in step {first + step} is {float(observed[step, row]):g} mm; it "
            f"must lie between 0 and {LARGEST:g} mm or be NaN: is the unit right? "
            f"({int(wrong.sum())} such values)"
        )


class Controls:
    """The controls of a row, and what they change."""

    def __init__(self, model: DeltaModel, options: Assimilation) -> None:
        self.pieces, self.stores = options.pieces, options.stores(model)
        self.forcings = [name for name in options.forcing if name in model.forcing_names]
        spreads = [options.forcing[name] for name in self.forcings for _ in self.pieces]
        self.spread = torch.tensor([*spreads, *self.stores.values()], dtype=torch.float64)
        self.count = len(self.spread)
        begins = [piece.start for _ in self.forcings for piece in self.pieces] + [0] * len(self.stores)
        #: Step from which each member differs: the one that is not perturbed, then one per control.
        self.begins = torch.tensor([0, *begins])

    def named(self, x: Tensor) -> dict[str, Tensor]:
        """Return the factors of controls ``[rows, controls]`` by forcing and store."""
        factors = x.exp().unbind(-1)
        pieces = len(self.pieces)
        of_forcing = {
            name: torch.stack(factors[k * pieces : (k + 1) * pieces]) for k, name in enumerate(self.forcings)
        }
        return of_forcing | dict(zip(self.stores, factors[len(self.forcings) * pieces :], strict=True))

    def apply(self, context: ForwardContext, x: Tensor) -> None:
        """Change forcing and state of a context by controls ``[rows, controls]``."""
        factors = self.named(x.to(context.dtype))
        for driving in context.driving.values():
            for name in self.forcings:
                if name in driving:
                    series = driving[name].clone()
                    for piece, factor in zip(self.pieces, factors[name], strict=True):
                        series[piece] *= factor
                    driving[name] = series
        for key in context.driving:
            for name in self.stores:
                if (store := context.state.get(f"{key}.{name}")) is not None:
                    by_row = factors[name].reshape(-1, *[1] * (store.ndim - 1))
                    context.state[f"{key}.{name}"] = store * by_row


def _analyse(
    model: DeltaModel,
    forcing: Mapping[str, Tensor],
    constants: State,
    state: State,
    observed: Tensor,
    typical: Tensor,
    options: Assimilation,
    known_error: Tensor | None,
    outputs: Collection[str] | None,
) -> Analysis:
    with torch.inference_mode():
        prepared = model.prepare(forcing, constants, state)
        seen = ~observed.isnan()
        target = torch.where(seen, observed, 0.0)
        error = options.errors(observed, typical, known_error)
        if options.method in FILTERS:
            return Analysis(*filtered(model, prepared, observed, error, options, outputs), seen.sum(0))
        controls = Controls(model, options)
        weight = options.weights(observed, error)

        x = torch.zeros(observed.shape[1], controls.count, dtype=torch.float64)
        steps = EPSILON * torch.diag(controls.spread)
        for _ in range(options.iterations if seen.any() and options.method != "none" else 0):
            members = torch.cat([x.unsqueeze(0), x + steps.unsqueeze(1)])
            flow = _flow(model, prepared, controls, members) * weight.unsqueeze(1)
            slope = ((flow[:, 1:] - flow[:, :1]) / (EPSILON * controls.spread).unsqueeze(-1)).movedim(1, -1)
            x = _improve(x, slope, target * weight - flow[:, 0], controls.spread)
        x = torch.where(seen.any(0).unsqueeze(-1), x, 0.0)
        return _apply(model, prepared, controls, x, seen.sum(0), outputs)


def _flow(model: DeltaModel, prepared: ForwardContext, controls: Controls, members: Tensor) -> Tensor:
    """Return the flow ``[time, members, rows]`` of controls ``[members, rows, controls]``.

    A member runs from the step on at which it differs; before, its flow and state are those of the first.
    """
    begins, order = controls.begins.sort(stable=True)
    count, rows = members.shape[:2]
    context = prepared.repeat(count)
    controls.apply(context, members[order].flatten(0, 1))
    first = begins.tolist().count(0)
    state = {name: v[: first * rows] for name, v in context.state.items()}
    cuts = [*begins.unique().tolist(), len(next(iter(prepared.forcing.values())))]
    series = []
    for begin, end in pairwise(cuts):
        active = int((begins <= begin).sum())
        state = {n: torch.cat([v, *[v[:rows]] * (active - len(v) // rows)]) for n, v in state.items()}
        part = context.part(slice(begin, end), state, slice(0, active * rows))
        fluxes, new = model.finish(part, (FLOW,))
        state = {**state, **new}
        flow = fluxes[FLOW].reshape(end - begin, active, rows)
        series.append(torch.cat([flow, flow[:, :1].expand(-1, count - active, -1)], dim=1))
    return torch.cat(series)[:, order.argsort()]


def _improve(x: Tensor, slope: Tensor, misfit: Tensor, spread: Tensor) -> Tensor:
    """Take one Gauss-Newton step, within :data:`FARTHEST` spreads of the prior.

    Parameters
    ----------
    x : Tensor ``[rows, controls]``
    slope : Tensor ``[time, rows, controls]``
        Of the flow over its error.
    misfit : Tensor ``[time, rows]``
        Observed less simulated flow, over its error.
    spread : Tensor ``[controls]``
    """
    prior = 1.0 / spread.square()
    curvature = torch.einsum("trk,trl->rkl", slope, slope) + torch.diag(prior)
    descent = torch.einsum("trk,tr->rk", slope, misfit) - prior * x
    moved = x + torch.linalg.solve(curvature, descent.unsqueeze(-1)).squeeze(-1)
    return torch.maximum(torch.minimum(moved, FARTHEST * spread), -FARTHEST * spread)


def _apply(
    model: DeltaModel,
    prepared: ForwardContext,
    controls: Controls,
    x: Tensor,
    used: Tensor,
    outputs: Collection[str] | None,
) -> Analysis:
    """Run the window with the controls found, and add up the water that they gave."""
    context = prepared.repeat(1)
    controls.apply(context, x)
    added = water_given(model, prepared, context)
    fluxes, state = model.finish(context, outputs)
    return Analysis(fluxes, state, controls.named(x), added, used)


def water_given(model: DeltaModel, before: ForwardContext, changed: ForwardContext) -> Tensor:
    """Add up the water that a change of rain and stores gave to rows, mm ``[rows]``."""
    balance = model.declaration.balances[0]
    given = {
        key: torch.stack(
            [(driving[n] - before.driving[key][n]).sum(0) for n in balance.into if n in driving]
        ).sum(0)
        for key, driving in changed.driving.items()
    }
    stored, after = (model.storage(balance, c.state, c.constants) for c in (before, changed))
    return model.weigh(given, changed.constants) + after - stored


def _concatenate(parts: list[Analysis]) -> Analysis:
    """Join the analyses of blocks of rows."""
    first = parts[0]
    return Analysis(
        {name: torch.cat([p.fluxes[name] for p in parts], dim=1) for name in first.fluxes},
        {name: torch.cat([p.state[name] for p in parts]) for name in first.state},
        {name: torch.cat([p.factors[name] for p in parts], dim=-1) for name in first.factors},
        torch.cat([p.added for p in parts]),
        torch.cat([p.used for p in parts]),
    )
