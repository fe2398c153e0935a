"""Loss functions, which training minimises.

A measure takes simulated and observed series ``[time, rows]``, observations with NaN where they
are missing, and a statistic of each row's training observations ``[rows]``; it returns one number. A
loss is a measure, of the series themselves or of a transform of them, and the statistic that it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from ..errors import ConfigError
from ..model.delta_model import DeltaModel
from ..model.registry import load_registered, registered_names
from ..model.roles import ParameterRole

Measure = Callable[[Tensor, Tensor, Tensor], Tensor]
#: As in a configuration: loss to weight, of the flow; or target to such a mapping.
Weights = Mapping[str, float | Mapping[str, float]]
FLOW = "Q"
#: Added to a basin's standard deviation, so that a dry basin does not outweigh all others
#: (Kratzert et al., 2019).
EPSILON = 0.1
#: How near to a bound a parameter is penalised, as a share of its range.
MARGIN = 0.05


def mse(simulated: Tensor, observed: Tensor, observed_std: Tensor) -> Tensor:
    """Mean squared error."""
    return _mean(_error(simulated, observed).square(), observed)


def rmse(simulated: Tensor, observed: Tensor, observed_std: Tensor) -> Tensor:
    """Root mean squared error over all rows together."""
    return _root(mse(simulated, observed, observed_std))


def nse(simulated: Tensor, observed: Tensor, observed_std: Tensor) -> Tensor:
    """Squared error over each basin's variance (Kratzert et al., 2019, eq. 11).

    https://doi.org/10.5194/hess-23-5089-2019
    """
    return _mean((_error(simulated, observed) / (observed_std + EPSILON)).square(), observed)


def kge(simulated: Tensor, observed: Tensor, observed_std: Tensor) -> Tensor:
    """One less the Kling-Gupta efficiency of each row (Gupta et al., 2009, eq. 9), averaged.

    https://doi.org/10.1016/j.jhydrol.2009.08.003
    """
    present = ~observed.isnan()
    count = present.sum(0)
    sim = torch.where(present, simulated, 0.0)
    obs = torch.where(present, observed, 0.0)
    n = count.clamp(min=1)
    sim_mean, obs_mean = sim.sum(0) / n, obs.sum(0) / n
    sim_off = torch.where(present, sim - sim_mean, 0.0)
    obs_off = torch.where(present, obs - obs_mean, 0.0)
    sim_std, obs_std = _root(sim_off.square().sum(0) / n), _root(obs_off.square().sum(0) / n)
    # A window in which the observed flow does not vary has no KGE.
    usable = (count > 1) & (obs_std > 1e-4 * (obs_mean + EPSILON)) & (obs_mean > 0)
    correlation = (sim_off * obs_off).sum(0) / n / (sim_std * obs_std).clamp(min=1e-12)
    alpha = sim_std / torch.where(usable, obs_std, 1.0)
    beta = sim_mean / torch.where(usable, obs_mean, 1.0)
    distance = _root((correlation - 1).square() + (alpha - 1).square() + (beta - 1).square())
    return torch.where(usable, distance, 0.0).sum() / usable.sum().clamp(min=1)


def log_sqrt(flow: Tensor) -> Tensor:
    """``log10(sqrt(q) + 0.1)``, which weighs low flows (Feng et al., 2022, eq. 8)."""
    return torch.log10((flow.clamp(min=0) + 1e-6).sqrt() + 0.1)


def _same(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True)
class Loss:
    """A measure of transformed series.

    Parameters
    ----------
    measure : callable
    transform : callable
        Applied to simulated and observed series.
    statistic : callable, optional
        From transformed training observations ``[time, basins]``, NaN where they are missing, to the
        statistic that the measure takes, ``[basins]``. Without it the measure gets zeros.
    """

    measure: Measure
    transform: Callable[[Tensor], Tensor] = _same
    statistic: Callable[[Tensor], Tensor] | None = None

    def fit(self, observed: Tensor) -> Tensor:
        """Return the statistic of each basin's training observations, ``[basins]``."""
        result = observed.new_zeros(observed.shape[1])
        if self.statistic is None:
            return result
        for part, into in zip(observed.split(64, dim=1), result.split(64), strict=True):
            # A few basins at a time: the series may be larger than memory.
            into.copy_(self.statistic(self.transform(part)))
        return result

    def __call__(self, simulated: Tensor, observed: Tensor, statistic: Tensor) -> Tensor:
        """Compute the loss of series ``[time, rows]``, with the rows' statistics as of :meth:`fit`."""
        return self.measure(self.transform(simulated), self.transform(observed), statistic)


def standard_deviation(observed: Tensor) -> Tensor:
    """Return the standard deviation of each basin's observations, ``[basins]``; 1 if fewer than two."""
    present = ~observed.isnan()
    n = present.sum(0).clamp(min=1)
    mean = observed.nansum(0) / n
    variance = torch.where(present, (observed - mean).square(), 0.0).sum(0) / n
    return torch.where(present.sum(0) > 1, variance.sqrt(), 1.0)


#: Losses of this package; those of others join by an entry point in the group :data:`GROUP`.
LOSSES: Mapping[str, Loss] = {
    "mse": Loss(mse),
    "rmse": Loss(rmse),
    "nse": Loss(nse, statistic=standard_deviation),
    "kge": Loss(kge),
    "log_mse": Loss(mse, log_sqrt),
    "log_rmse": Loss(rmse, log_sqrt),
    "log_nse": Loss(nse, log_sqrt, standard_deviation),
}
GROUP = "dmg_bmi.losses"


def find_loss(name: str) -> Loss:
    """Return the loss that is registered under a name.

    Raises
    ------
    ConfigError
        If there is none, or an entry point of that name is not a :class:`Loss`.
    """
    loss = load_registered("loss", LOSSES, GROUP, name)
    if not isinstance(loss, Loss):
        raise ConfigError(f"loss {name!r} is not a dmg_bmi.training.losses.Loss")
    return loss


def by_target(weights: Weights) -> dict[str, dict[str, float]]:
    """Return target to loss to weight; a number is the weight of a loss of the flow.

    Raises
    ------
    ConfigError
        If a loss is not registered, a weight is below zero, or there is no loss.
    """
    result: dict[str, dict[str, float]] = {}
    for name, item in weights.items():
        if isinstance(item, Mapping):
            result.setdefault(name, {}).update(item)
        else:
            result.setdefault(FLOW, {})[name] = item
    for losses in result.values():
        for name, weight in losses.items():
            find_loss(name)
            if not 0.0 <= weight < inf:
                raise ConfigError(f"the weight of loss {name} must be a number from 0, it is {weight}")
    if not any(result.values()):
        names = ", ".join(registered_names(LOSSES, GROUP))
        raise ConfigError(f"no loss is named; registered: {names}")
    return {target: losses for target, losses in result.items() if losses}


class Objective:
    """The sum of named losses of each target, each times its weight.

    Parameters
    ----------
    weights : mapping
        See :func:`by_target`.
    observed : mapping of target to Tensor ``[time, basins]``
        The training split.
    """

    def __init__(self, weights: Weights, observed: Mapping[str, Tensor]) -> None:
        self._terms = [
            (target, loss, weight, loss.fit(observed[target]))
            for target, losses in by_target(weights).items()
            for loss, weight in ((find_loss(name), weight) for name, weight in losses.items())
        ]

    def __call__(
        self, simulated: Mapping[str, Tensor], observed: Mapping[str, Tensor], basins: Tensor
    ) -> Tensor:
        """Compute the sum for series ``[time, rows]``; `basins` ``[rows]`` are the basins of the rows.

        A target that is not simulated does not count: a network that is a member may give the flow alone.
        """
        terms = []
        for target, loss, weight, statistic in self._terms:
            if target not in simulated:
                continue
            rows = statistic[basins.to(statistic.device)].to(simulated[target].device)
            terms.append(weight * loss(simulated[target], observed[target], rows))
        return torch.stack(terms).sum()


# -- of the parameters ------------------------------------------------------------


@contextmanager
def normalized_parameters(model: DeltaModel) -> Iterator[list[Tensor]]:
    """Collect the parameters that networks supply, normalised to 0 to 1 between their bounds."""
    normalized: list[Tensor] = []
    networks = {role.network for role in model.roles if isinstance(role, ParameterRole)}
    hooks = [
        model.networks[key].register_forward_hook(
            lambda network, inputs, output: normalized.append(torch.sigmoid(output[0]))
        )
        for key in networks
    ]
    try:
        yield normalized
    finally:
        for hook in hooks:
            hook.remove()


def range_penalty(normalized: list[Tensor]) -> Tensor:
    """Return the share of parameters that crowd at their bounds: 1 if all lie on one, 0 if none is near.

    A range-bound loss (Bindas et al., 2024, https://doi.org/10.1029/2023WR035337) punishes
    parameters outside a range. Here none can be outside its bounds, so the range excludes
    the outer :data:`MARGIN`, where the sigmoid goes flat and learning stops.
    """
    learning = [values for values in normalized if values.requires_grad]
    if not learning:
        return torch.zeros(())
    each = [torch.relu(MARGIN - p) + torch.relu(p - (1.0 - MARGIN)) for p in learning]
    return torch.stack([values.mean() for values in each]).mean() / MARGIN


def _error(simulated: Tensor, observed: Tensor) -> Tensor:
    """Return simulated less observed, zero where nothing was observed."""
    return torch.where(observed.isnan(), 0.0, simulated - observed)


def _mean(values: Tensor, observed: Tensor) -> Tensor:
    return values.sum() / (~observed.isnan()).sum().clamp(min=1)


def _root(x: Tensor) -> Tensor:
    """Square root whose slope stays finite at zero."""
    return (x + 1e-12).sqrt()
