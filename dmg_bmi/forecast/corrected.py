"""What the learned error of a bundle makes of forecasts as they are issued: mean and quantiles by lead."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import Tensor

from ..arrays import FloatArray, TimeArray
from ..errors import ConfigError
from ..model.bundle import BundleInfo
from ..training.probabilistic import LEVELS
from . import stored_error
from .config import ForecastConfig
from .cycle import Cycle, Window
from .hindcast import of_block
from .learned_error import Distribution, LearnedError


def of_config(config: ForecastConfig, info: BundleInfo, ids: Sequence[str]) -> LearnedError | None:
    """Return the learned error that forecasts of some catchments are corrected by, if there is one.

    Raises
    ------
    BundleError
        If it is damaged.
    ConfigError
        If it was learned of other forecasts than those of the configuration.
    """
    error = stored_error.of_bundle(info) if config.learned_error else None
    if error is None:
        return None
    remedy = "learn it again with `dmg-bmi hindcast --save-bundle`, or write learned_error: false"
    if config.leads > error.leads:
        raise ConfigError(
            f"leads: the bundle's learned error looks {error.leads} steps ahead, not {config.leads}; {remedy}"
        )
    if config.assimilation not in (None, error.options):
        raise ConfigError(
            "assimilation: the bundle's learned error is of analyses with other options; without the "
            f"key those are taken: leave it out, {remedy}"
        )
    unknown = [f"{level:g}" for level in config.quantiles if level not in LEVELS]
    if unknown:
        raise ConfigError(
            f"quantiles: {', '.join(unknown)} not known; the learned error has "
            + ", ".join(f"{level:g}" for level in LEVELS)
        )
    return error.of_basins(ids)


def distribution(
    error: LearnedError,
    cycle: Cycle,
    issues: Tensor,
    issued: TimeArray,
    step: float,
    windows: tuple[Window, Window],
    flows: tuple[Tensor, Tensor],
    weather: Mapping[str, Tensor] | None,
) -> Distribution:
    """Return the distribution of flow of some issues, over all of its forecast weathers.

    Each weather has a distribution of its own, since the error was learned with the weather that came;
    they count alike.

    Parameters
    ----------
    error : LearnedError
        Of the catchments of the cycle.
    cycle, issues, issued, step, windows
        See :func:`~dmg_bmi.forecast.hindcast.of_block`.
    flows : pair of Tensor ``[issues, steps, realizations, catchments]``
        From the open loop and from the analyses, as far ahead as the error looks or less.
    weather : mapping of name to Tensor ``[issues, steps, realizations, catchments]``, optional
    """
    found = []
    for k in range(flows[0].shape[2]):
        own = None if weather is None else {n: v[:, : flows[0].shape[1], k] for n, v in weather.items()}
        pair = [flow[:, :, k] for flow in flows]
        found.append(error(of_block(cycle, error.ids, issued, step, issues, windows, pair, own)))
    mean = np.mean([one.mean for one in found], axis=0)
    return Distribution(mean, pooled(np.stack([one.quantiles for one in found])))


def pooled(quantiles: FloatArray) -> FloatArray:
    """Return the quantiles of a mixture of distributions, given theirs ``[members, levels, ...]``.

    Each quantile of a member stands for as much probability; those of one member alone stay as they are.
    """
    members, levels = quantiles.shape[:2]
    if members == 1:
        return quantiles[0]
    ordered = np.sort(quantiles.reshape(members * levels, *quantiles.shape[2:]), axis=0)
    # The middle of the place that the quantiles of a level take when all members are equal.
    place = members * np.arange(levels) + (members - 1) / 2
    below, share = np.floor(place).astype(int), (place % 1.0).reshape(-1, *[1] * (quantiles.ndim - 2))
    above = np.minimum(below + 1, len(ordered) - 1)
    return ordered[below] + share * (ordered[above] - ordered[below])
