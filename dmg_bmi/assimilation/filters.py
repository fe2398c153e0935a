"""Filters: stores of rows updated step by step by what was observed of their flow.

Members differ by random factors on rain and stores. Beside them runs one that is not perturbed, and sees
each observation as it is; it is the analysis. So nothing is moved where nothing was observed, or where the
model meets what was, and all that changes its water are the updates.

The ensemble Kalman filter moves each member by a gain that the members' covariance gives, and each sees the
observation with an error of its own (Evensen, 1994, https://doi.org/10.1029/94JC00572; Burgers et al., 1998,
https://doi.org/10.1175/1520-0493(1998)126<1719:ASITEK>2.0.CO;2). The particle filter draws members again as
often as they are likely (Gordon et al., 1993, https://doi.org/10.1049/ip-f-2.1993.0015), and moves the
analysis by what their mean is more than it would be, had the flow of the analysis been observed.
"""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor

from ..model.delta_model import DeltaModel
from ..model.roles.base import ForwardContext
from ..physics import State
from .options import Assimilation

FLOW = "Q"
#: Logarithm of the largest factor by which updates are said to have changed a store, either way; and
#: the water, mm, that is added to a store before they are.
FARTHEST, FLOOR = 3.0, 1e-3


def filtered(
    model: DeltaModel,
    prepared: ForwardContext,
    observed: Tensor,
    error: Tensor,
    options: Assimilation,
    outputs: Collection[str] | None = None,
) -> tuple[dict[str, Tensor], State, dict[str, Tensor], Tensor]:
    """Run a window of steps, stores updated by the observations in it.

    Parameters
    ----------
    model : DeltaModel
    prepared : ForwardContext
        Of the window, networks run.
    observed, error : Tensor ``[time, rows]``
        Flow in mm per step, NaN where missing, and its standard deviation.
    options : Assimilation
    outputs : collection of str, optional
        Fluxes to keep, the flow among them; all by default.

    Returns
    -------
    fluxes, state, factors, added
        Of an :class:`~dmg_bmi.assimilation.analysis.Analysis`.
    """
    steps, rows = observed.shape
    balance = model.declaration.balances[0]
    ensemble = _Ensemble(model, options, steps)
    members = prepared.repeat(1 + options.members)
    ensemble.perturb_forcing(members)
    state, new, parts = members.state, dict[str, Tensor](), list[dict[str, Tensor]]()
    control = prepared.constants
    added = torch.zeros(rows, dtype=observed.dtype)
    moved = {name: torch.zeros(rows, dtype=observed.dtype) for name in ensemble.spreads}
    for k in range(steps):
        part = members.part(slice(k, k + 1), ensemble.perturbed(state, k))
        fluxes, new = model.finish(part, outputs)
        parts.append({name: v[:, :rows] for name, v in fluxes.items()})
        state = {**state, **new}
        if observed[k].isnan().all():
            continue
        flow = fluxes[FLOW].reshape(1 + options.members, rows)
        updated = ensemble.updated(state, flow, observed[k], error[k], k)
        before, state = _first(state, rows), {**state, **updated}
        after = _first(state, rows)
        added += model.storage(balance, after, control) - model.storage(balance, before, control)
        for name in moved:
            moved[name] += (_total(after, name) + FLOOR).log() - (_total(before, name) + FLOOR).log()
    factors = {name: value.clamp(-FARTHEST, FARTHEST).exp() for name, value in moved.items()}
    joined = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    after = _first({name: state[name] for name in new}, rows)
    # Of rows that were never observed every bit is that of one run of the whole window.
    plain, plain_after = model.finish(prepared.repeat(1), outputs)
    seen = ~observed.isnan().all(0)
    chosen = {name: torch.where(_rows(seen, v, 1), joined[name], v) for name, v in plain.items()}
    found = {
        name: torch.where(_rows(seen, v, 0), after[name], v) if name in after else v
        for name, v in plain_after.items()
    }
    return chosen, found, factors, added


class _Kalman:
    """The update of an ensemble Kalman filter.

    Parameters
    ----------
    flow : Tensor ``[members, rows]``
        The first is that of the analysis.
    observed, error : Tensor ``[rows]``
        NaN is missing.
    drawn : Tensor ``[members, 1]``
        From a normal distribution; zero for the analysis.
    """

    def __init__(self, flow: Tensor, observed: Tensor, error: Tensor, drawn: Tensor) -> None:
        seen = ~observed.isnan()
        self.innovation = torch.where(seen, observed + error * drawn - flow, 0.0)
        self.moved = self.innovation != 0
        self.deviation = flow[1:] - flow[1:].mean(0)
        self.variance = self.deviation.square().sum(0) / (len(self.deviation) - 1) + error.square()

    def __call__(self, value: Tensor) -> Tensor:
        """Return what becomes of values ``[members, rows, values]``."""
        others = value[1:] - value[1:].mean(0)
        covariance = (others * self.deviation.unsqueeze(-1)).sum(0) / (len(others) - 1)
        return value + covariance / self.variance.unsqueeze(-1) * self.innovation.unsqueeze(-1)


class _Particles:
    """The update of a particle filter, of the same parameters.

    Members are drawn at even distances along their likelihoods (Kitagawa, 1996,
    https://doi.org/10.2307/1390750), each a whole one, so that none has a state which no model has reached.
    """

    def __init__(self, flow: Tensor, observed: Tensor, error: Tensor, drawn: Tensor) -> None:
        seen = ~observed.isnan()
        likely, expected = (
            (-0.5 * ((flow[1:] - target) / error).square()).softmax(0)
            for target in (torch.where(seen, observed, flow[0]), flow[0])
        )
        self.moved = seen.expand_as(flow)
        self.more = (likely - expected).unsqueeze(-1)
        begin = torch.special.ndtr(drawn[1])
        places = (torch.arange(len(likely), dtype=flow.dtype) + begin) / len(likely)
        reached = likely.cumsum(0).T.contiguous()
        drawn_again = torch.searchsorted(reached, places.expand_as(reached).contiguous())
        self.members = drawn_again.T.clamp(max=len(likely) - 1).unsqueeze(-1)

    def __call__(self, value: Tensor) -> Tensor:
        """Return what becomes of values ``[members, rows, values]``."""
        analysis = value[0] + (self.more * value[1:]).sum(0)
        again = value[1:].gather(0, self.members.expand(-1, -1, value.shape[-1]))
        return torch.cat([analysis.unsqueeze(0), again])


class _Ensemble:
    """Members of all rows: the one that is not perturbed, then the others, as rows of a batch.

    Random factors are the same in all rows, which never see each other: so a row has the same analysis alone
    and beside others.
    """

    def __init__(self, model: DeltaModel, options: Assimilation, steps: int) -> None:
        self._model, self._options, self.spreads = model, options, options.stores(model)
        self._stored = [name for balance in model.declaration.balances for name in balance.stored]
        count = len(options.forcing) + len(self.spreads) + 1
        generator = torch.Generator().manual_seed(options.seed)
        shape = (count, options.window, 1 + options.members)
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        drawn[..., 0] = 0.0
        # A window that is not yet full has the factors of its latest steps.
        self._drawn = drawn[:, options.window - steps :]

    def perturb_forcing(self, members: ForwardContext) -> None:
        """Multiply forcing by a factor of each member and step."""
        for number, (name, spread) in enumerate(self._options.forcing.items()):
            factor = self._factor(number, spread)
            for driving in members.driving.values():
                if name in driving:
                    driving[name] = driving[name] * self._by_row(factor, driving[name].shape[1])

    def perturbed(self, state: State, step: int) -> State:
        """Return a state whose stores are multiplied by a factor of each member."""
        changed = dict(state)
        for number, (name, spread) in enumerate(self.spreads.items(), len(self._options.forcing)):
            factor = self._factor(number, spread)[step]
            for full in (f"{key}.{name}" for key in self._model.process_models):
                if full in state:
                    by_row = self._by_row(factor, len(state[full]))
                    changed[full] = state[full] * by_row.reshape(-1, *[1] * (state[full].ndim - 1))
        return changed

    def updated(self, state: State, flow: Tensor, observed: Tensor, error: Tensor, step: int) -> State:
        """Return what an observation makes of all that holds water; what is not observed stays as it is.

        Parameters
        ----------
        state : State
        flow : Tensor ``[members, rows]``
        observed, error : Tensor ``[rows]``
        step : int
        """
        update = _Particles if self._options.method == "particles" else _Kalman
        rule = update(flow, observed, error, self._drawn[-1, step].unsqueeze(-1))
        found = {}
        for name in self._stored:
            old = state[name]
            value = old.reshape(*flow.shape, -1)
            new = torch.where(rule.moved.unsqueeze(-1), rule(value).clamp(min=0.0), value)
            found[name] = new.reshape(old.shape).to(old.dtype)
        return found

    def _factor(self, number: int, spread: float) -> Tensor:
        """Return factors ``[time, members]`` whose mean is one; that of the first member is one."""
        drawn = self._drawn[number]
        factor = (spread * drawn - spread**2 / 2).exp()
        factor[:, 0] = 1.0
        return factor

    def _by_row(self, factor: Tensor, rows: int) -> Tensor:
        """Return factors ``[..., members]`` as those of rows, member after member."""
        return factor.repeat_interleave(rows // factor.shape[-1], dim=-1)


def _rows(seen: Tensor, like: Tensor, axis: int) -> Tensor:
    """Return a mask of rows in the shape of a tensor that has them along an axis."""
    return seen.reshape(-1, *[1] * (like.ndim - 1 - axis))


def _first(state: State, rows: int) -> State:
    """Return the state of the member that is not perturbed."""
    return {name: value[:rows] for name, value in state.items()}


def _total(state: State, name: str) -> Tensor:
    """Return what a store holds in all process models that have it, ``[rows]``."""
    stores = [v for full, v in state.items() if full.partition(".")[2] == name]
    return torch.stack([v.reshape(len(v), -1).sum(-1) for v in stores]).sum(0)
