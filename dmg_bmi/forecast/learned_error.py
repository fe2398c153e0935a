"""A learned error: from past forecasts a network learns how far the next is off, and how sure that is.

It is shared by all basins and leads. Its expected flow minimises the squared error over each basin's
variance, as an NSE does; its quantiles, which never cross, minimise the pinball loss over each basin's
standard deviation (Koenker & Bassett, 1978, https://doi.org/10.2307/1913643). Half of what it learns from
has no observations before the issue, so that it also holds where a gauge is silent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from ..arrays import FloatArray
from ..errors import ConfigError
from ..nn_models.mlp import MLP
from ..training.losses import EPSILON
from ..training.probabilistic import LEVELS
from .error_correction import ErrorCorrection
from .error_features import FLOOR, features, logarithm
from .hindcast import Hindcast

#: Outputs of the network that make the expected flow; those of the quantiles follow.
OF_MEAN = 4
#: Largest factor on the forecast, as a logarithm; features beyond so many deviations count as there.
FARTHEST, CLIP = 2.0, 6.0
#: Networks of different first weights whose mean is taken.
NETWORKS = 2
HIDDEN, DROPOUT, WEIGHT_DECAY, LEARNING_RATE = (64, 64), 0.2, 1e-4, 3e-3
STEPS, BATCH = 1200, 4096
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
class LearnedError:
    """A learned error of forecasts from analyses, see the module.

    Parameters
    ----------
    networks : tuple of MLP
    centre, width : Tensor ``[features]``
        Mean and standard deviation of the features.
    correction : ErrorCorrection
        That the network begins from.
    levels : tuple of float
        Of the quantiles.
    regimes : ndarray ``[regimes - 1, basins]``, optional
        Median forecasts at which regimes end.
    offsets : ndarray ``[regimes, levels, leads]``, optional
        That a calibration adds to the logarithms of quantiles.
    """

    networks: tuple[MLP, ...]
    centre: Tensor
    width: Tensor
    correction: ErrorCorrection
    levels: tuple[float, ...] = LEVELS
    regimes: FloatArray | None = None
    offsets: FloatArray | None = None

    @classmethod
    def fit(cls, past: Hindcast, seed: int = 0) -> LearnedError:
        """Learn from past forecasts.

        Raises
        ------
        ConfigError
            If fewer than a hundred of them were observed.
        """
        known = np.isfinite(past.observed)
        if known.sum() < 100:
            raise ConfigError(
                f"an error can be learned from 100 forecasts or more; {known.sum()} were observed; "
                "choose a longer period or a smaller --fit-every"
            )
        correction = past.correction(past.analysed)
        deviation = np.nanstd(past.observed[:, 0], axis=0)
        rows = [_Rows(kind, correction) for kind in (past, past.blind())]
        seen = rows[0].features
        centre, width = seen.mean(0), seen.std(0).clamp(min=1e-6)
        weight = np.broadcast_to(1.0 / (deviation + EPSILON), known.shape)
        target = _flat(past.observed), _flat(weight), torch.from_numpy(known.reshape(-1))
        networks = tuple(
            _trained(rows, target, centre, width, LEVELS, seed=seed * NETWORKS + k) for k in range(NETWORKS)
        )
        return cls(networks, centre, width, correction)

    def __call__(self, forecasts: Hindcast) -> Distribution:
        """Return the distributions of forecasts."""
        rows, shape = _Rows(forecasts, self.correction), forecasts.observed.shape
        means, quantiles = [], []
        with torch.inference_mode():
            for network in self.networks:
                parts = [
                    rows.distribution(network, part, self.centre, self.width, self.levels)
                    for part in torch.arange(len(rows.features)).split(2**16)
                ]
                means.append(torch.cat([mean for mean, _ in parts]))
                quantiles.append(torch.cat([q for _, q in parts], dim=-1))
        mean = torch.stack(means).mean(0).double().numpy().reshape(shape)
        among = torch.stack(quantiles).mean(0).double().numpy().reshape(len(self.levels), *shape)
        return Distribution(mean, self._calibrate(among, forecasts.typical))

    def calibrated(self, validation: Hindcast) -> LearnedError:
        """Return the error whose quantiles hold as often as they say in a period it has not seen.

        Conformalised quantile regression (Romano et al., 2019, https://arxiv.org/abs/1905.03222), of each
        level, lead and regime of flow apart, on the logarithm of flow.
        """
        raw = replace(self, regimes=None, offsets=None)(validation).quantiles
        median, typical = raw[len(self.levels) // 2], validation.typical
        regimes = np.quantile(median, REGIMES, axis=(0, 1))
        regime = _regime(median, regimes)
        off = logarithm(validation.observed, typical) - logarithm(raw, typical)
        offsets = np.zeros((len(REGIMES) + 1, len(self.levels), raw.shape[2]))
        for k, lead in np.ndindex(offsets.shape[0], offsets.shape[2]):
            some = (regime[:, lead] == k) & np.isfinite(validation.observed[:, lead])
            for j, level in enumerate(self.levels):
                if some.any():
                    offsets[k, j, lead] = np.quantile(off[j, :, lead][some], level)
        return replace(self, regimes=regimes, offsets=offsets)

    def _calibrate(self, quantiles: FloatArray, typical: FloatArray) -> FloatArray:
        if self.offsets is None or self.regimes is None:
            return quantiles
        regime = _regime(quantiles[len(self.levels) // 2], self.regimes)  # [issues, leads, basins]
        by_lead = self.offsets[regime, :, np.arange(regime.shape[1])[:, None]]
        moved = (quantiles / typical + FLOOR) * np.exp(np.moveaxis(by_lead, -1, 0)) - FLOOR
        return np.sort(np.maximum(moved, 0.0) * typical, axis=0)


def _regime(median: FloatArray, regimes: FloatArray) -> np.ndarray:
    return (median[None] > regimes[:, None, None]).sum(0)


class _Rows:
    """Forecasts as rows of a batch: a pair of lead and basin of an issue each."""

    def __init__(self, forecasts: Hindcast, correction: ErrorCorrection) -> None:
        shape = forecasts.observed.shape
        seen = features(forecasts)
        self.features = torch.from_numpy(seen.reshape(-1, seen.shape[-1]))
        latest = np.nan_to_num(forecasts.observed_before - forecasts.analysed.latest)[:, None]
        self.forecast, self.open_loop = _flat(forecasts.analysed.flow), _flat(forecasts.open_loop.flow)
        self.latest = _flat(np.broadcast_to(latest, shape))
        self.share = _flat(np.broadcast_to(correction.shares, shape))
        self.typical = _flat(np.broadcast_to(forecasts.typical, shape))

    def distribution(
        self, network: MLP, rows: Tensor, centre: Tensor, width: Tensor, levels: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Return the expected flow ``[rows]`` and the quantiles ``[levels, rows]``.

        Without outputs of the network the first is the corrected forecast.
        """
        shown = ((self.features[rows] - centre) / width).clamp(-CLIP, CLIP)
        outputs = network(shown, {})[0]
        forecast, typical = self.forecast[rows], self.typical[rows]
        factor, more, share, open_loop = outputs[:, :OF_MEAN].unbind(-1)
        mixed = forecast + torch.sigmoid(open_loop - 3) * (self.open_loop[rows] - forecast)
        mean = mixed * factor.clamp(-FARTHEST, FARTHEST).exp() + more * typical
        mean = torch.relu(mean + (self.share[rows] + share) * self.latest[rows])
        steps = _rising(outputs[:, OF_MEAN:].T, len(levels) // 2)
        quantiles = (mean.detach() / typical + FLOOR) * steps.exp() - FLOOR
        return mean, quantiles.clamp(min=0.0) * typical


def _rising(raw: Tensor, middle: int) -> Tensor:
    """Make numbers ``[levels, rows]`` that rise from level to level: the middle one, and steps from it."""
    step = nn.functional.softplus(raw - 2)
    below = -step[:middle].flip(0).cumsum(0).flip(0)
    return raw[middle] + torch.cat([below, torch.zeros_like(step[:1]), step[middle + 1 :].cumsum(0)])


def _trained(
    rows: list[_Rows],
    target: tuple[Tensor, Tensor, Tensor],
    centre: Tensor,
    width: Tensor,
    levels: Sequence[float],
    seed: int,
) -> MLP:
    """Train a network on rows with and without observations."""
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MLP(len(centre), OF_MEAN + len(levels), HIDDEN, DROPOUT)
        nn.init.zeros_(network.layers[-1].weight)
        nn.init.zeros_(network.layers[-1].bias)
        observed, weight, known = target
        optimiser = torch.optim.AdamW(network.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, STEPS)
        level = torch.tensor(levels, dtype=torch.float32).unsqueeze(-1)
        for number, batch in zip(range(STEPS), _batches(known, generator), strict=False):
            mean, quantiles = rows[number % len(rows)].distribution(network, batch, centre, width, levels)
            off = (observed[batch] - mean) * weight[batch]
            above = (observed[batch] - quantiles) * weight[batch]
            loss = off.square().mean() + 2 * torch.maximum(level * above, (level - 1) * above).mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
    return network.eval()


def _batches(known: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield batches of observed rows without end."""
    places = known.nonzero().squeeze(-1)
    while True:
        yield from places[torch.randperm(len(places), generator=generator)].split(BATCH)


def _flat(values: FloatArray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).reshape(-1)
