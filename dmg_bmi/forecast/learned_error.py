"""A learned error: from past forecasts a network learns how far the next is off, and how sure that is.

It is shared by all basins and leads. Its quantiles, which never cross, minimise the pinball loss over each
basin's standard deviation (Koenker & Bassett, 1978, https://doi.org/10.2307/1913643); their mean is the
expected flow. Half of what it learns from has no observations before the issue, so that it also holds where
a gauge is silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import BoolArray, FloatArray
from ..assimilation.options import Assimilation
from ..errors import ConfigError
from ..nn_models.mlp import MLP
from ..training.losses import EPSILON
from ..training.probabilistic import LEVELS
from .error_correction import ErrorCorrection
from .error_features import FLOOR, features, logarithm
from .hindcast import Hindcast

#: Outputs of the network that place the distribution; those of its steps from level to level follow.
OF_PLACE = 4
#: Largest factor on the forecast, as a logarithm; features beyond so many deviations count as there.
FARTHEST, CLIP = 2.0, 6.0
#: Networks of different first weights whose mean is taken.
NETWORKS = 4
HIDDEN, DROPOUT, WEIGHT_DECAY, LEARNING_RATE = (64, 64), 0.2, 1e-4, 3e-3
STEPS, BATCH = 2400, 4096
#: Most times that each forecast is learned from: few forecasts need no more steps than that.
EPOCHS = 400
#: Forecasts times leads times basins of which quantiles are made at once, and the most to learn from.
ROWS, MOST = 2**17, 2**20
#: Shares of a basin's forecasts below which flow counts as low, and as middle: each is calibrated apart.
REGIMES = (0.5, 0.95)


@dataclass(frozen=True)
class Distribution:
    """Forecasts that say how sure they are.

    Parameters
    ----------
    mean : ndarray ``[issues, leads, basins]``
        mm per step.
    quantiles : ndarray ``[levels, issues, leads, basins]``
    """

    mean: FloatArray
    quantiles: FloatArray


@dataclass(frozen=True)
class Calibration:
    """What makes quantiles hold as often as they say.

    Parameters
    ----------
    regimes : ndarray ``[regimes - 1, basins]``
        Median forecasts at which regimes end, as shares of the typical flow.
    offsets : ndarray ``[regimes, levels, leads]``
        That are added to the logarithms of quantiles.
    """

    regimes: FloatArray
    offsets: FloatArray

    @classmethod
    def fit(cls, raw: FloatArray, validation: Hindcast) -> Calibration:
        """Fit to quantiles ``[levels, issues, leads, basins]`` of forecasts that were observed."""
        typical = validation.typical
        median = raw[len(LEVELS) // 2] / typical
        regimes = np.quantile(median, REGIMES, axis=(0, 1))
        regime = _regime(median, regimes)
        off = logarithm(validation.observed, typical) - logarithm(raw, typical)
        offsets = np.zeros((len(REGIMES) + 1, len(LEVELS), raw.shape[2]))
        for k, lead in np.ndindex(offsets.shape[0], offsets.shape[2]):
            some = (regime[:, lead] == k) & np.isfinite(validation.observed[:, lead])
            for j, level in enumerate(LEVELS):
                if some.any():
                    offsets[k, j, lead] = np.quantile(off[j, :, lead][some], level)
        return cls(regimes, offsets)

    def __call__(self, quantiles: FloatArray, typical: FloatArray) -> FloatArray:
        """Return the quantiles, moved."""
        regime = _regime(quantiles[len(LEVELS) // 2] / typical, self.regimes)  # [issues, leads, basins]
        by_lead = self.offsets[regime, :, np.arange(regime.shape[1])[:, None]]
        moved = (quantiles / typical + FLOOR) * np.exp(np.moveaxis(by_lead, -1, 0)) - FLOOR
        return np.sort(np.maximum(moved, 0.0) * typical, axis=0)


def _regime(median: FloatArray, regimes: FloatArray) -> np.ndarray:
    return (median[None] > regimes[:, None, None]).sum(0)


@dataclass(frozen=True)
class LearnedError:
    """A learned error of forecasts from analyses, see the module.

    Parameters
    ----------
    networks : tuple of MLP
    centre, width : Tensor ``[features]``
        Mean and standard deviation of the features.
    correction : ErrorCorrection
        That the network begins from.
    ids : tuple of str
        Basins of which it was learned; others are taken for the mean of them.
    typical : ndarray ``[basins]``
        Their typical flow.
    options : Assimilation
        Of the analyses.
    calibrations : pair of Calibration, optional
        Of forecasts with and without observations before the issue.
    """

    networks: tuple[MLP, ...]
    centre: Tensor
    width: Tensor
    correction: ErrorCorrection
    ids: tuple[str, ...]
    typical: FloatArray
    options: Assimilation
    calibrations: tuple[Calibration, Calibration] | None = None

    @property
    def leads(self) -> int:
        """Return how many steps ahead it was learned."""
        return len(self.correction.shares)

    @classmethod
    def fit(cls, past: Hindcast, seed: int = 0) -> LearnedError:
        """Learn from past forecasts; of very many, from issues at even distances.

        Raises
        ------
        ConfigError
            If fewer than a hundred of them were observed.
        """
        past = past.some(slice(None, None, 1 + past.observed.size // MOST))
        known = np.isfinite(past.observed)
        if known.sum() < 100:
            raise ConfigError(
                f"an error can be learned from 100 forecasts or more; {known.sum()} were observed; "
                "choose a longer period or a smaller --fit-every"
            )
        correction = past.correction(past.analysed)
        count, flow = np.maximum(known.sum((0, 1)), 1), np.where(known, past.observed, 0.0)
        mean = flow.sum((0, 1)) / count
        deviation = np.sqrt((np.square(flow - mean) * known).sum((0, 1)) / count)
        rows = [_Rows(kind, correction) for kind in (past, past.blind())]
        seen = rows[0].features
        centre, width = seen.mean(0), seen.std(0).clamp(min=1e-6)
        weight = _flat(np.broadcast_to(1.0 / (deviation + EPSILON), known.shape))
        networks = tuple(
            _trained(rows, _flat(past.observed), weight, centre, width, seed=seed * NETWORKS + k)
            for k in range(NETWORKS)
        )
        return cls(networks, centre, width, correction, past.ids, past.typical, past.options)

    def __call__(self, forecasts: Hindcast) -> Distribution:
        """Return the distributions of forecasts.

        Raises
        ------
        ConfigError
            If they look further ahead than those it was learned from, or their analyses had other options.
        """
        leads = forecasts.observed.shape[1]
        if leads > self.leads or forecasts.options != self.options:
            raise ConfigError(
                f"an error that was learned of forecasts of {self.leads} steps cannot tell that of {leads}"
                if leads > self.leads
                else f"the error was learned of analyses with other options: {self.options}"
            )
        here = self.of_basins(forecasts.ids)
        raw = here._quantiles(forecasts)
        if here.calibrations is None:
            return Distribution(raw.mean(0), raw)
        seeing, blind = (
            replace(one, offsets=one.offsets[..., :leads])(raw, forecasts.typical)
            for one in here.calibrations
        )
        silent: BoolArray = np.asarray(np.isnan(forecasts.observed_recent).all(1))
        return Distribution(raw.mean(0), np.where(silent[:, None], blind, seeing))

    def of_basins(self, ids: Sequence[str]) -> LearnedError:
        """Return what was learned as it is for these basins; typical flow is NaN where it is not known."""
        if tuple(ids) == self.ids:
            return self
        number = {name: k for k, name in enumerate(self.ids)}
        columns = np.array([number.get(name, -1) for name in ids])

        def taken(values: FloatArray) -> FloatArray:
            return np.where(columns < 0, values.mean(-1, keepdims=True), values[..., columns])

        calibrations = self.calibrations
        if calibrations is not None:
            seeing, blind = (replace(one, regimes=taken(one.regimes)) for one in calibrations)
            calibrations = seeing, blind
        return replace(
            self,
            correction=ErrorCorrection(taken(self.correction.shares)),
            ids=tuple(ids),
            typical=np.where(columns < 0, np.nan, self.typical[columns]),
            calibrations=calibrations,
        )

    def _quantiles(self, forecasts: Hindcast) -> FloatArray:
        """Return the quantiles before any calibration; basins are those that it is for."""
        size = max(1, ROWS // forecasts.observed[0].size)
        parts = []
        for begin in range(0, len(forecasts.issued), size):
            some = forecasts.some(slice(begin, begin + size))
            rows = _Rows(some, self.correction)
            with torch.inference_mode():
                by_network = [
                    rows.quantiles(network, slice(None), self.centre, self.width) for network in self.networks
                ]
            mean = torch.stack(by_network).mean(0).double()
            parts.append(mean.reshape(len(LEVELS), *some.observed.shape).numpy())
        return np.concatenate(parts, axis=1)

    def calibrated(self, validation: Hindcast) -> LearnedError:
        """Return the error whose quantiles hold as often as they say in a period it has not seen.

        Conformalised quantile regression (Romano et al., 2019, https://arxiv.org/abs/1905.03222), of each
        level, lead and regime of flow apart, on the logarithm of flow; apart, too, with and without
        observations before the issue.

        Parameters
        ----------
        validation : Hindcast
            Of the basins that it was learned of.
        """
        seeing, blind = (
            Calibration.fit(self._quantiles(kind), validation) for kind in (validation, validation.blind())
        )
        return replace(self, calibrations=(seeing, blind))


class _Rows:
    """Forecasts as rows of a batch: a pair of lead and basin of an issue each."""

    def __init__(self, forecasts: Hindcast, correction: ErrorCorrection) -> None:
        shape = forecasts.observed.shape
        seen = features(forecasts)
        self.features = torch.from_numpy(seen.reshape(-1, seen.shape[-1]))
        latest = np.nan_to_num(forecasts.observed_before - forecasts.analysed.latest)[:, None]
        self.forecast, self.open_loop = _flat(forecasts.analysed.flow), _flat(forecasts.open_loop.flow)
        self.latest = _flat(np.broadcast_to(latest, shape))
        self.share = _flat(np.broadcast_to(correction.shares[: shape[1]], shape))
        self.typical = _flat(np.broadcast_to(forecasts.typical, shape))

    def quantiles(self, network: MLP, rows: Tensor | slice, centre: Tensor, width: Tensor) -> Tensor:
        """Return quantiles ``[levels, rows]``; outputs of zero place them around the corrected forecast."""
        shown = ((self.features[rows] - centre) / width).clamp(-CLIP, CLIP)
        outputs = network(shown, {})[0]
        forecast, typical = self.forecast[rows], self.typical[rows]
        factor, more, share, open_loop = outputs[:, :OF_PLACE].unbind(-1)
        mixed = forecast + torch.sigmoid(open_loop - 3) * (self.open_loop[rows] - forecast)
        place = mixed * factor.clamp(-FARTHEST, FARTHEST).exp() + more * typical
        place = torch.relu(place + (self.share[rows] + share) * self.latest[rows])
        steps = _rising(outputs[:, OF_PLACE:].T, len(LEVELS) // 2)
        return ((place / typical + FLOOR) * steps.exp() - FLOOR).clamp(min=0.0) * typical


def _rising(raw: Tensor, middle: int) -> Tensor:
    """Make numbers ``[levels, rows]`` that rise from level to level: the middle one, and steps from it."""
    step = nn.functional.softplus(raw - 2)
    below = -step[:middle].flip(0).cumsum(0).flip(0)
    return raw[middle] + torch.cat([below, torch.zeros_like(step[:1]), step[middle + 1 :].cumsum(0)])


def _trained(
    rows: list[_Rows],
    observed: Tensor,
    weight: Tensor,
    centre: Tensor,
    width: Tensor,
    seed: int,
) -> MLP:
    """Train a network on rows with and without observations, where `observed` is not NaN."""
    generator = torch.Generator().manual_seed(seed)
    count = min(STEPS, EPOCHS * ceil(int((~observed.isnan()).sum()) / BATCH))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP(len(centre), OF_PLACE + len(LEVELS), HIDDEN, DROPOUT)
        for parameter in network.layers[-1].parameters():
            nn.init.zeros_(parameter)
        optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, count)
        level = torch.tensor(LEVELS, dtype=torch.float32).unsqueeze(-1)
        for number, batch in zip(range(count), _batches(observed, generator), strict=False):
            quantiles = rows[number % len(rows)].quantiles(network, batch, centre, width)
            above = (observed[batch] - quantiles) * weight[batch]
            loss = torch.maximum(level * above, (level - 1) * above).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return network.eval()


def _batches(observed: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of observed rows without end."""
    places = (~observed.isnan()).nonzero().squeeze(-1)
    while True:
        yield from places[torch.randperm(len(places), generator=generator)].split(BATCH)


def _flat(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).reshape(-1)
