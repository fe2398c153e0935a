"""Loss functions: what training makes small.

Each takes simulated and observed series ``[time, rows]``, observations with NaN where they are
missing, and the standard deviation of each row's training observations ``[rows]``; each returns one
number.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from ..errors import ConfigError

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
#: Added to a basin's standard deviation, so that a dry basin does not outweigh all others
#: (Kratzert et al., 2019).
EPSILON = 0.1


def mse(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
    """Mean squared error."""
    return _mean(_error(simulated, observed).square(), observed)


def rmse(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
    """Root mean squared error over all rows together."""
    return _root(mse(simulated, observed, spread))


def nse(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
    """Squared error over each basin's variance (Kratzert et al., 2019, eq. 11).

    https://doi.org/10.5194/hess-23-5089-2019
    """
    return _mean((_error(simulated, observed) / (spread + EPSILON)).square(), observed)


def kge(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
    """One less the Kling-Gupta efficiency of each row (Gupta et al., 2009, eq. 9), averaged.

    https://doi.org/10.1016/j.jhydrol.2009.08.003
    """
    there = ~observed.isnan()
    count = there.sum(0)
    sim = torch.where(there, simulated, 0.0)
    obs = torch.where(there, observed, 0.0)
    n = count.clamp(min=1)
    sim_mean, obs_mean = sim.sum(0) / n, obs.sum(0) / n
    sim_off = torch.where(there, sim - sim_mean, 0.0)
    obs_off = torch.where(there, obs - obs_mean, 0.0)
    sim_std, obs_std = _root(sim_off.square().sum(0) / n), _root(obs_off.square().sum(0) / n)
    # A window in which the observed flow does not vary has no KGE.
    usable = (count > 1) & (obs_std > 1e-4 * (obs_mean + EPSILON)) & (obs_mean > 0)
    correlation = (sim_off * obs_off).sum(0) / n / (sim_std * obs_std).clamp(min=1e-12)
    alpha = sim_std / torch.where(usable, obs_std, 1.0)
    beta = sim_mean / torch.where(usable, obs_mean, 1.0)
    distance = _root((correlation - 1).square() + (alpha - 1).square() + (beta - 1).square())
    return torch.where(usable, distance, 0.0).sum() / usable.sum().clamp(min=1)


def log_mse(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
    """Mean squared error of transformed flow, which weighs low flows."""
    return mse(_transformed(simulated), _transformed(observed), spread)


def log_rmse(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
    """Root mean squared error of transformed flow (Feng et al., 2022, eq. 8)."""
    return _root(log_mse(simulated, observed, spread))


LOSSES: Mapping[str, Loss] = {
    "mse": mse,
    "rmse": rmse,
    "nse": nse,
    "kge": kge,
    "log_mse": log_mse,
    "log_rmse": log_rmse,
}


def weighted(weights: Mapping[str, float]) -> Loss:
    """The sum of named losses, each times its weight."""
    for name in weights:
        if name not in LOSSES:
            raise ConfigError(f"there is no loss {name!r}; known are {', '.join(LOSSES)}")
    if not weights:
        raise ConfigError(f"no loss is named; known are {', '.join(LOSSES)}")

    def total(simulated: Tensor, observed: Tensor, spread: Tensor) -> Tensor:
        terms = [weight * LOSSES[name](simulated, observed, spread) for name, weight in weights.items()]
        return torch.stack(terms).sum()

    return total


def _error(simulated: Tensor, observed: Tensor) -> Tensor:
    """Simulated less observed, zero where nothing was observed."""
    return torch.where(observed.isnan(), 0.0, simulated - observed)


def _mean(values: Tensor, observed: Tensor) -> Tensor:
    return values.sum() / (~observed.isnan()).sum().clamp(min=1)


def _transformed(flow: Tensor) -> Tensor:
    """``log10(sqrt(q) + 0.1)`` (Feng et al., 2022)."""
    return torch.log10((flow.clamp(min=0) + 1e-6).sqrt() + 0.1)


def _root(x: Tensor) -> Tensor:
    """Square root whose slope stays finite at zero."""
    return (x + 1e-12).sqrt()
