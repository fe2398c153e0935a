"""What an analysis may adjust, and how far it trusts observations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from ..errors import ConfigError

if TYPE_CHECKING:
    from ..model.delta_model import DeltaModel


@dataclass(frozen=True)
class Assimilation:
    """Options of :func:`~dmg_bmi.forecast.analyse`.

    Rain and stores are multiplied by factors whose logarithms have a prior of mean zero; nothing is moved
    by an observation that the model meets. The defaults were chosen on years within the training period.

    Parameters
    ----------
    window : int
        Steps before the time of the analysis that are compared with observations.
    ages : tuple of int
        Ages, in steps, at which the window is cut into pieces that have a factor each.
    forcing : mapping of str to float
        Forcings that get a factor in each piece, and the standard deviation of its logarithm.
    states : mapping of str to float
        Stores that get a factor at the begin of the window, likewise; by default all that the water
        balance counts but routing queues, with `state_spread`.
    state_spread : float
    relative_error, mean_error : float
        Standard deviation of an observation's and the model's error: a share of the observed flow, and
        of the typical flow.
    memory : float
        Steps after which an observation's error counts e-fold: older ones matter less for what comes.
    iterations : int
        Of Gauss and Newton.
    """

    window: int = 30
    ages: tuple[int, ...] = (1, 3, 7)
    forcing: Mapping[str, float] = field(default_factory=lambda: {"P": 0.25})
    states: Mapping[str, float] = field(default_factory=dict)
    state_spread: float = 0.25
    relative_error: float = 0.5
    mean_error: float = 0.2
    memory: float = 10.0
    iterations: int = 3

    def __post_init__(self) -> None:
        positive = ("window", "state_spread", "relative_error", "mean_error", "memory", "iterations")
        wrong = [name for name in positive if not getattr(self, name) > 0]
        wrong += [f"forcing.{name}" for name, spread in self.forcing.items() if not spread > 0]
        wrong += [f"states.{name}" for name, spread in self.states.items() if not spread > 0]
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: must be above zero")
        if not all(a < b for a, b in pairwise((0, *self.ages, self.window))):
            raise ConfigError(f"ages {self.ages} must rise, between 0 and the window of {self.window} steps")

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
