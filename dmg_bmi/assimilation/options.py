"""What an analysis may adjust, and how far it trusts observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.delta_model import DeltaModel


MOST_MEMBERS = 10_000
#: Smallest standard deviation of an error, mm.
SMALLEST = 1e-6
#: Defaults that are those of a method, chosen on years within the training period.
BY_METHOD: dict[str, Mapping[str, Any]] = {
    "variational": {
        "forcing": {"P": 0.25},
        "state_spread": 0.25,
        "relative_error": 0.5,
        "mean_error": 0.2,
    },
    "ensemble": {"forcing": {"P": 0.7}, "state_spread": 0.05, "relative_error": 0.3, "mean_error": 0.1},
}
BY_METHOD |= {"particles": BY_METHOD["ensemble"], "none": BY_METHOD["variational"]}
#: Methods of which members are run.
FILTERS = ("ensemble", "particles")
_OF_METHOD: Any = None


@dataclass(frozen=True)
class Assimilation:
    """Options of :func:`~dmg_bmi.forecast.analyse`.

    Rain and stores are multiplied by factors whose logarithms have a mean of zero; nothing is moved by an
    observation that the model meets.

    Parameters
    ----------
    method : {"variational", "ensemble", "particles", "none"}
        Those factors are sought that fit best, or stores are updated step by step by a Kalman or a particle
        filter whose members differ by random factors, or nothing is moved: a host does that itself, see
        :mod:`dmg_bmi.assimilation.adjoint`.
    window : int
        Steps before the time of the analysis that are compared with observations.
    ages : tuple of int
        Ages, in steps, at which the window is cut into pieces that have a factor each. Variational.
    forcing : mapping of str to float
        Forcings that get a factor in each piece or, of a filter, in each step, and the standard deviation
        of its logarithm.
    states : mapping of str to float
        Stores that get a factor at the begin of the window or in each step, likewise; by default all that
        the water balance counts but routing queues, with `state_spread`.
    state_spread : float
        That standard deviation, of stores that `states` does not name.
    relative_error, mean_error : float
        Standard deviation of an observation's and the model's error: a share of the observed flow, and
        of the typical flow.
    memory : float
        Steps after which an observation's error counts e-fold: older ones matter less for what comes.
        Variational.
    iterations : int
        Of Gauss and Newton. Variational.
    members, seed : int
        Of a filter: beside the one that is not perturbed, and of its random factors.
    """

    method: Literal["variational", "ensemble", "particles", "none"] = "variational"
    window: int = 30
    ages: tuple[int, ...] = (1, 3, 7)
    forcing: Mapping[str, float] = _OF_METHOD
    states: Mapping[str, float] = field(default_factory=dict)
    state_spread: float = _OF_METHOD
    relative_error: float = _OF_METHOD
    mean_error: float = _OF_METHOD
    memory: float = 10.0
    iterations: int = 3
    members: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in BY_METHOD:
            raise ConfigError(f"method must be {' or '.join(BY_METHOD)}, not {self.method!r}")
        for name, value in BY_METHOD[self.method].items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if not 2 <= self.members <= MOST_MEMBERS or self.seed < 0:
            raise ConfigError(f"members must be from 2 to {MOST_MEMBERS}, and seed not below zero")
        positive = ("window", "state_spread", "relative_error", "mean_error", "memory", "iterations")
        wrong = [name for name in positive if not getattr(self, name) > 0]
        wrong += [f"forcing.{name}" for name, spread in self.forcing.items() if not spread > 0]
        wrong += [f"states.{name}" for name, spread in self.states.items() if not spread > 0]
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: must be above zero")
        if not all(a < b for a, b in pairwise((0, *self.ages, self.window))):
            raise ConfigError(f"ages {self.ages} must rise, between 0 and the window of {self.window} steps")

    def errors(self, observed: Tensor, typical: Tensor, known: Tensor | None = None) -> Tensor:
        """Return the standard deviation of the errors of model and gauge, ``[time, rows]``, mm.

        Parameters
        ----------
        observed, known : Tensor ``[time, rows]``
            Flow in mm per step, and errors that are known of it; NaN is missing.
        typical : Tensor ``[rows]``
        """
        error = self.relative_error * observed.nan_to_num() + self.mean_error * typical
        if known is not None:
            error = known.where(~known.isnan(), error)
        return error.clamp(min=SMALLEST)

    def weights(self, observed: Tensor, error: Tensor) -> Tensor:
        """Return one over the errors of observations, less with their age; zero where there is none."""
        import torch

        age = torch.arange(len(observed) - 1, -1, -1, dtype=observed.dtype).unsqueeze(-1)
        return torch.where(observed.isnan(), 0.0, 1.0 / (error * (age / self.memory).exp()))

    @property
    def pieces(self) -> tuple[slice, ...]:
        """Return the pieces of the window, the latest first, as slices of its steps."""
        cuts = (0, *self.ages, self.window)
        return tuple(slice(self.window - end, self.window - begin) for begin, end in pairwise(cuts))

    def within(self, steps: int) -> Assimilation:
        """Return the same options for a window that does not reach further back than some steps."""
        window = min(self.window, steps)
        return replace(self, window=window, ages=tuple(age for age in self.ages if age < window))

    def stores(self, model: DeltaModel) -> dict[str, float]:
        """Return the stores of a model to be adjusted, and their spreads.

        Raises
        ------
        ConfigError
            If a name is none, or the model has no stores.
        """
        shapes = {
            s.name: len(s.shape) > s.components
            for process in model.process_models.values()
            for s in process.declaration.states
        }
        counted = {
            name.partition(".")[2] for balance in model.declaration.balances for name in balance.stored
        }
        available = [name for name, is_queue in shapes.items() if name in counted and not is_queue]
        unknown = [name for name in self.states if name not in available]
        if unknown or not available:
            raise ConfigError(
                f"assimilation: no store {', '.join(unknown) or 'at all'}; the model has "
                f"{', '.join(available) or 'no process model whose water could be adjusted'}"
            )
        return dict(self.states) or dict.fromkeys(available, self.state_spread)
