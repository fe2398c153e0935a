"""The training loop: random windows, spin-up, one optimiser, the best weights kept."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import islice
from math import cos, pi

import torch
from torch import Tensor, nn
from tqdm import tqdm

from ..delta_model import DeltaModel
from ..errors import TrainingError
from .config import Training
from .data import Batch, Tensors, Windows
from .losses import Loss, weighted


@dataclass
class History:
    """What happened: losses of every step, scores of every validation."""

    loss: list[float] = field(default_factory=list)
    scores: list[tuple[int, float]] = field(default_factory=list)
    best: tuple[int, float] | None = None


def fit(
    model: DeltaModel,
    data: Tensors,
    options: Training,
    *,
    window: int,
    spin_up: int,
    target: str = "Q",
    label: Callable[[int, int], str] = "basin {}, step {}".format,
    validate: Callable[[DeltaModel], float] | None = None,
    keep: Callable[[DeltaModel], None] = lambda model: None,
) -> History:
    """Train a model in place.

    Parameters
    ----------
    model : DeltaModel
    data : Tensors
        The training split.
    options : Training
    window, spin_up : int
        Steps of a window, and how many of them come before the loss.
    target : str
        The flux that `data.target` observes.
    label : callable
        Name of a window, from the indices of its basin and first step, for messages.
    validate : callable, optional
        Score of a model, higher is better.
    keep : callable
        Called with a model worth keeping: the best so far by `validate`, or without that the
        latest, every `options.check_every` steps.

    Returns
    -------
    History

    Raises
    ------
    TrainingError
        When a loss or gradient is not finite, naming the windows; what was kept stays.
    """
    generator = torch.Generator().manual_seed(options.seed)
    windows = Windows(data, window, spin_up, options.batch, generator)
    loss_of, spread = weighted(options.loss), standard_deviation(data.target)
    optimiser = torch.optim.AdamW(
        model.parameters(), options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = _schedule(optimiser, options)
    averaged = deepcopy(model) if options.average else None
    history = History()
    model.train()
    progress = tqdm(islice(windows, options.steps), "training", options.steps, unit="step", disable=None)
    for step, batch in enumerate(progress, start=1):
        loss = _step(model, batch, spin_up, target, loss_of, spread, options, label)
        optimiser.step()
        schedule.step()
        if averaged is not None:
            _average(averaged, model, max(options.average, 1.0 / step))
        history.loss.append(loss)
        progress.set_postfix(loss=f"{loss:.4f}", refresh=False)
        if step % options.check_every and step < options.steps:
            continue
        candidate = averaged or model
        if validate is None:
            keep(candidate)
            continue
        candidate.eval()
        score = validate(candidate)
        history.scores.append((step, score))
        if history.best is None or score > history.best[1]:
            history.best = (step, score)
            keep(candidate)
        model.train()
    model.eval()
    return history


def standard_deviation(target: Tensor) -> Tensor:
    """Of each basin's observations, ``[basins]``; 1 where there are fewer than two."""
    there = ~target.isnan()
    n = there.sum(0).clamp(min=1)
    mean = target.nansum(0) / n
    variance = torch.where(there, (target - mean).square(), 0.0).sum(0) / n
    return torch.where(there.sum(0) > 1, variance.sqrt(), 1.0)


def simulate(model: DeltaModel, batch: Batch, spin_up: int, target: str, spin_up_gradient: bool) -> Tensor:
    """The model's flux after the spin-up, ``[time, rows]``."""
    first = next(iter(batch.forcing.values()))
    prepared = model.prepare(batch.attributes, first.shape[1], dtype=first.dtype)
    state = model.init_state(first.shape[1], dtype=first.dtype, device=first.device)
    if spin_up:
        before = {name: values[:spin_up] for name, values in batch.forcing.items()}
        with torch.set_grad_enabled(spin_up_gradient):
            _, state = model.run(before, prepared, state, (target,))
    after = {name: values[spin_up:] for name, values in batch.forcing.items()}
    return model.run(after, prepared, state, (target,))[0][target]


def _step(
    model: DeltaModel,
    batch: Batch,
    spin_up: int,
    target: str,
    loss_of: Loss,
    spread: Tensor,
    options: Training,
    label: Callable[[int, int], str],
) -> float:
    """Loss of one batch, its clipped gradient left in the parameters."""
    simulated = simulate(model, batch, spin_up, target, options.spin_up_gradient)
    loss = loss_of(simulated, batch.target[spin_up:], spread[batch.basins.to(spread.device)])
    model.zero_grad()
    loss.backward()
    try:
        if not torch.isfinite(loss):
            raise RuntimeError("loss")
        nn.utils.clip_grad_norm_(model.parameters(), options.clip, error_if_nonfinite=True)
    except RuntimeError as error:
        raise TrainingError(_diagnosis(model, batch, simulated, loss, label)) from error
    return loss.item()


@torch.no_grad()
def _average(averaged: DeltaModel, model: DeltaModel, share: float) -> None:
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, share)


def _diagnosis(
    model: DeltaModel, batch: Batch, simulated: Tensor, loss: Tensor, label: Callable[[int, int], str]
) -> str:
    """Which windows, or else which weights, are to blame."""
    bad = (~simulated.isfinite().all(0)).nonzero().squeeze(-1).tolist()
    if bad:
        where = ", ".join(label(int(batch.basins[row]), int(batch.starts[row])) for row in bad[:3])
        more = f" and {len(bad) - 3} more windows" if len(bad) > 3 else ""
        problem = f"the simulated flow is not finite in {where}{more}"
    elif not torch.isfinite(loss):
        problem = "the loss is not finite although the simulated flow is"
    else:
        names = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        problem = f"the gradient of {', '.join(names[:3])} is not finite"
    return f"{problem}; the last good bundle is kept. Try a smaller learning_rate or clip"


def _schedule(optimiser: torch.optim.Optimizer, options: Training) -> torch.optim.lr_scheduler.LRScheduler:
    warm = max(options.steps / 5, 1.0)

    def share(step: int) -> float:
        if options.schedule == "constant":
            return 1.0
        if step < warm:
            return (step + 1) / (warm + 1)
        return (1 + cos(pi * (step - warm) / max(options.steps - warm, 1.0))) / 2

    return torch.optim.lr_scheduler.LambdaLR(optimiser, share)
