"""The training loop: random windows, spin-up, one optimiser, the best weights kept.

In a process group (see :mod:`~dmg_bmi.training.distributed`) the processes share the rows of each batch; the
first one validates, keeps and saves.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from math import cos, pi
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import DmgBmiError, TrainingError
from ..io.files import canonical, sha256
from ..model.delta_model import DeltaModel
from ..progress import progress
from . import checkpoint, distributed
from .config import Training
from .data import Batch, Tensors, Windows
from .ensemble import members, split_members
from .forward import mixed_precision, simulate
from .history import History
from .losses import Objective, normalized_parameters, range_penalty
from .renamed_keys import KEYS

log = logging.getLogger(__name__)
NO_NAMES: Mapping[str, str] = MappingProxyType({})


#: Called with each step and its values: loss and learning rate, or a validation score.
OnStep = Callable[[int, Mapping[str, float]], None]
OnBest = Callable[[DeltaModel], None]
Validate = Callable[[DeltaModel], float]


def fit(
    model: DeltaModel,
    data: Tensors,
    options: Training,
    *,
    window: int,
    spin_up: int,
    label: Callable[[int, int], str] = "basin {}, step {}".format,
    validate: Validate | None = None,
    on_best: OnBest = lambda model: None,
    on_step: OnStep = lambda step, values: None,
    saved: Path | None = None,
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
    label : callable
        Name of a window, from the indices of its basin and first step, for messages.
    validate : callable, optional
        Score of a model, higher is better.
    on_best : callable
        Called with a model worth keeping: the best so far by `validate`, or without that the
        latest, every `options.validate_every` steps.
    on_step : callable
        Called with each step and its loss and learning rate, and with the scores.
    saved : Path, optional
        The checkpoint: written every `options.checkpoint_every` steps. If it exists, training resumes from
        it, and ends with the weights that it would have had without the interruption.

    Raises
    ------
    TrainingError
        If a loss or gradient is not finite, naming the windows; kept models stay. If
        `saved` belongs to another training.
    """
    loop = _Loop(model, data, options, window, spin_up, label)
    if saved is not None and saved.exists():
        loop.load(saved)
    loop.run(validate, on_best, on_step, saved)
    model.eval()
    return loop.history


def learning_rate(options: Training, step: int) -> float:
    """Return the learning rate of the step after `step` others."""
    if isinstance(options.learning_rate, dict):
        return options.learning_rate[max(begin for begin in options.learning_rate if begin <= step)]
    if options.schedule == "constant":
        return options.learning_rate
    warm = max(options.max_steps / 5, 1.0)
    if step < warm:
        return options.learning_rate * (step + 1) / (warm + 1)
    return options.learning_rate * (1 + cos(pi * (step - warm) / max(options.max_steps - warm, 1.0))) / 2


def _patience_is_over(history: History, options: Training) -> bool:
    return bool(options.patience) and history.waited >= options.patience


class _Loop:
    """Everything that a step changes, so that it can be saved and restored."""

    def __init__(
        self,
        model: DeltaModel,
        data: Tensors,
        options: Training,
        window: int,
        spin_up: int,
        label: Callable[[int, int], str],
    ) -> None:
        self.model, self.options, self.spin_up, self.label = model, options, spin_up, label
        self.generator = torch.Generator().manual_seed(options.seed)
        self.windows = Windows(data, window, spin_up, options.batch_size, self.generator)
        self.objective = Objective(options.loss, data.target)
        self.optimiser = torch.optim.AdamW(model.parameters(), weight_decay=options.weight_decay)
        self.averaged = deepcopy(model) if options.ema else None
        self.history = History()
        self.device = next(model.parameters()).device
        if distributed.rank():  # other dropout than the first process's
            torch.manual_seed((options.seed << 16) + distributed.rank())
        model.train()

    def run(self, validate: Validate | None, on_best: OnBest, on_step: OnStep, saved: Path | None) -> None:
        """Step to the end; see :func:`fit`."""
        options, history, first = self.options, self.history, distributed.rank() == 0
        batches = iter(self.windows)
        bar = progress(options.max_steps, "training", "step", len(history.loss), shown=first)
        while len(history.loss) < options.max_steps and not _patience_is_over(history, options):
            start = time.perf_counter()
            loss = self.step(next(batches))
            step = len(history.loss)
            last = step == options.max_steps
            bar.update()
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)
            if first:
                on_step(step, {"loss": loss, "learning_rate": learning_rate(options, step - 1)})
            if step % options.validate_every == 0 or last:
                self.validate(validate, on_best, on_step)
            history.seconds += time.perf_counter() - start
            if saved is not None and (step % options.checkpoint_every == 0 or last):
                self.save(saved)
        bar.close()

    def step(self, batch: Batch) -> float:
        """Update the weights once, and return the loss."""
        options, model = self.options, self.model
        rows = distributed.share(options.batch_size)
        observed = {name: values[self.spin_up :] for name, values in batch.target.items()}
        with ExitStack() as stack:
            if options.precision == "bfloat16":
                stack.enter_context(mixed_precision(model, torch.bfloat16))
            parameters = stack.enter_context(normalized_parameters(model)) if options.range_penalty else []
            simulated = self._simulate(_select_rows(batch, rows))
            each = split_members(model, simulated)
            losses = [self.objective(fluxes, observed, batch.basins) for fluxes in each]
            loss = torch.stack(losses).mean()
            if options.range_penalty:
                loss = loss + options.range_penalty / distributed.size() * range_penalty(parameters)
            model.zero_grad()
            loss.backward()
        distributed.sum_gradients(model)
        try:
            if not torch.isfinite(loss):
                raise RuntimeError("loss")
            nn.utils.clip_grad_norm_(model.parameters(), options.clip_gradient_norm, error_if_nonfinite=True)
        except RuntimeError as error:
            raise TrainingError(_diagnosis(model, batch, simulated, loss, self.label)) from error
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(options, len(self.history.loss))
        self.optimiser.step()
        self.history.loss.append(loss.item())
        if self.averaged is not None:
            _average(self.averaged, model, max(options.ema, 1.0 / len(self.history.loss)))
        return self.history.loss[-1]

    def _simulate(self, batch: Batch) -> dict[str, Tensor]:
        """Return the fluxes of all rows, those of other processes without gradient."""
        options, per_day = self.options, 1.0 / self.model.dt
        keys = [f"{key}." for key in members(self.model)] or [""]
        wanted = [key + target for key in keys for target in batch.target]
        given = {flux.name for flux in self.model.declaration.fluxes}
        simulated = simulate(
            self.model,
            batch,
            self.spin_up,
            options.spin_up_gradient,
            round(options.tbptt * per_day),
            round(options.activation_checkpointing * per_day),
            [name for name in wanted if name in given],
        )
        return {name: distributed.all_rows(values) for name, values in simulated.items()}

    def validate(self, score_model: Validate | None, on_best: OnBest, on_step: OnStep) -> None:
        """Score the model, and call `on_best` with one worth keeping."""
        history, first = self.history, distributed.rank() == 0
        step, candidate = len(history.loss), self.averaged or self.model
        better = True
        if score_model is not None:
            candidate.eval()
            score = distributed.broadcast(score_model(candidate) if first else 0.0, self.device)
            history.scores.append((step, score))
            better = history.best is None or score > history.best[1]
            if better:
                history.best = (step, score)
            if first:
                on_step(step, {"score": score})
                log.info("step %d of %d: validation %.4f", step, self.options.max_steps, score)
        if better and first:
            on_best(candidate)
        self.model.train()

    # -- checkpoint ---------------------------------------------------------------

    def identity(self, names: Mapping[str, str] = NO_NAMES) -> str:
        """Return a key of the trainings that a checkpoint fits: same model, data statistics and options.

        Parameters
        ----------
        names : mapping of str to str
            Names of options in place of the present ones.
        """
        options = {names.get(name, name): str(value) for name, value in vars(self.options).items()}
        return sha256(canonical([self.model.describe(), options, distributed.size()]))

    def save(self, path: Path) -> None:
        """Write the checkpoint."""
        history = self.history
        random = distributed.gathered(checkpoint.random_state(self.device).to(self.device))
        if distributed.rank():
            return
        tensors = {
            "queue": self.windows.queue,
            "generator": self.generator.get_state(),
            "random": torch.stack(random),
            "loss": torch.tensor(history.loss, dtype=torch.float64),
            **{f"model.{name}": values for name, values in self.model.state_dict().items()},
        }
        if self.averaged is not None:
            tensors |= {f"averaged.{name}": v for name, v in self.averaged.state_dict().items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": values for name, values in moments.items()}
        facts = {"scores": history.scores, "best": history.best, "seconds": history.seconds}
        checkpoint.save(path, tensors, {"identity": self.identity(), **facts})

    def load(self, path: Path) -> None:
        """Restore what :meth:`save` wrote.

        Raises
        ------
        TrainingError
            If the file is not one, or of another training.
        """
        tensors, facts = checkpoint.load(path)
        try:
            self._restore(path, tensors, facts)
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError, OverflowError) as problem:
            if isinstance(problem, DmgBmiError):
                raise
            reason = " ".join(str(problem).split())
            raise TrainingError(
                f"{path}: does not hold what a checkpoint does ({reason}); remove it to start again"
            ) from problem

    def _restore(self, path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        before_renaming = {new: old for old, new in KEYS.items()}
        if facts["identity"] not in (self.identity(), self.identity(before_renaming)):
            raise TrainingError(
                f"{path}: was saved by a training of another model, other data, options or number of "
                "processes; restore these, or remove it to start again"
            )
        self.windows.queue = tensors["queue"]
        self.generator.set_state(tensors["generator"])
        self.model.load_state_dict(_without_prefix(tensors, "model."))
        if self.averaged is not None:
            self.averaged.load_state_dict(_without_prefix(tensors, "averaged."))
        moments: dict[int, dict[str, Tensor]] = {}
        for name, values in _without_prefix(tensors, "optimiser.").items():
            number, _, kind = name.partition(".")
            moments.setdefault(int(number), {})[kind] = values
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})
        best = facts["best"] and tuple(facts["best"])
        scores = [(step, score) for step, score in facts["scores"]]
        self.history = History(tensors["loss"].tolist(), scores, best, facts["seconds"])
        checkpoint.set_random_state(tensors["random"][distributed.rank()], self.device)
        if distributed.rank() == 0:
            log.info("%s: resumes after step %d", path, len(self.history.loss))


def _select_rows(batch: Batch, rows: slice) -> Batch:
    """Return some rows of a batch."""
    return replace(
        batch,
        basins=batch.basins[rows],
        starts=batch.starts[rows],
        forcing={name: values[:, rows] for name, values in batch.forcing.items()},
        attributes={name: values[rows] for name, values in batch.attributes.items()},
        target={name: values[:, rows] for name, values in batch.target.items()},
    )


def _without_prefix(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Any]:
    return {name.removeprefix(prefix): v for name, v in tensors.items() if name.startswith(prefix)}


@torch.no_grad()
def _average(averaged: DeltaModel, model: DeltaModel, share: float) -> None:
    for mean, now in zip(averaged.parameters(), model.parameters(), strict=True):
        mean.lerp_(now, share)


def _diagnosis(
    model: DeltaModel,
    batch: Batch,
    simulated: Mapping[str, Tensor],
    loss: Tensor,
    label: Callable[[int, int], str],
) -> str:
    """Name the windows, or else the weights, that are not finite."""
    finite = torch.stack([values.isfinite().all(0) for values in simulated.values()]).all(0)
    bad = (~finite).nonzero().squeeze(-1).tolist()
    if bad:
        where = ", ".join(label(int(batch.basins[row]), int(batch.starts[row])) for row in bad[:3])
        more = f" and {len(bad) - 3} more windows" if len(bad) > 3 else ""
        problem = f"the simulation is not finite in {where}{more}"
    elif not torch.isfinite(loss):
        problem = "the loss is not finite although the simulation is"
    else:
        names = [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.isfinite().all()]
        problem = f"the gradient of {', '.join(names[:3])} is not finite"
    return f"{problem}; the last good bundle is kept. Try a smaller learning_rate or clip_gradient_norm"
