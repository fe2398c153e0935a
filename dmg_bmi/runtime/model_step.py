"""Model step as a value: how much of its forcing has come, and how much of its fluxes has gone.

A framework may step more finely than the model. Over the `length` framework steps of a model step
forcing comes in, and fluxes are released in equal shares. Pushed forcing is collected first, so
its fluxes are released over the model step that follows; stored forcing is known in advance, so
there they are released over the model step itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache
from typing import Any


class Phase(Enum):
    """Phases of a model step, by what the next framework step does."""

    #: Run a model step, on stored forcing or on forcing of this one step, and release its first share.
    READY = "ready"
    #: Collect pushed forcing, and release the next share of the model step before.
    COLLECTING = "collecting"
    #: Run the model step whose forcing is complete and release its first share, then collect.
    COMPLETE = "complete"
    #: Release the next share of the model step under way.
    RELEASING = "releasing"


@dataclass(frozen=True)
class ModelStep:
    """Progress of rows in their model step.

    Equal values are one object, and what follows from a value is computed once: a framework
    step takes a few microseconds, and they come round again with every model step.

    Parameters
    ----------
    length : int
        Framework steps of a model step.
    stored : bool
        Whether forcing is stored, and so known in advance.
    position : int
        Framework steps done of the model step under way, from 0 to `length` - 1.
    shares : int
        In how many equal parts the latest fluxes are released: `length`, or fewer where a run on stored
        forcing starts within a model step.
    due : bool
        Whether pushed forcing is complete and its fluxes are still to be released.
    begun : bool
        Whether a run on stored forcing has taken its first step.
    """

    length: int
    stored: bool
    position: int
    shares: int
    due: bool
    begun: bool

    @staticmethod
    def at_start(length: int, stored: bool, position: int = 0) -> ModelStep:
        """Return the value at time zero, `position` framework steps after a model step began."""
        return _value(length, stored, position, length, False, False)

    @cached_property
    def phase(self) -> Phase:
        """Phase, by what the next framework step does."""
        if self.stored:
            return Phase.RELEASING if self.position and self.begun else Phase.READY
        if self.length == 1:
            return Phase.READY
        return Phase.COMPLETE if self.due else Phase.COLLECTING

    @cached_property
    def begins(self) -> bool:
        """True where the next framework step runs a model step at once: the phase is ready."""
        return self.phase is Phase.READY

    @cached_property
    def collects(self) -> bool:
        """True where forcing is kept until that of a whole model step has come."""
        return not self.stored and self.length > 1

    @cached_property
    def is_quiet(self) -> bool:
        """True where the next framework step neither runs a model step nor makes one due."""
        return self.phase is Phase.RELEASING or (self.phase is Phase.COLLECTING and not self.is_last)

    @cached_property
    def is_last(self) -> bool:
        """True where the next framework step is the last of the model step."""
        return self.position == self.length - 1

    @cached_property
    def unreleased(self) -> float:
        """Fraction of the latest fluxes that later framework steps release."""
        return (self.length - self.position) % self.length / self.shares

    def number(self, count: int) -> int:
        """Return the model steps that began before it, `count` framework steps after time zero.

        The first may have begun before time zero.
        """
        return (count + (self.position - count) % self.length) // self.length

    def begin(self) -> ModelStep:
        """Return the value once a stored model step has run: what is left of it shares its fluxes."""
        return _value(self.length, self.stored, self.position, self.length - self.position, False, True)

    @cached_property
    def following(self) -> ModelStep:
        """Value one framework step later."""
        position = (self.position + 1) % self.length
        due = self.collects and self.is_last
        return _value(self.length, self.stored, position, self.shares, due, self.begun)

    # -- in a state file ------------------------------------------------------------

    def header(self) -> dict[str, int | bool]:
        """Return what a state file holds of it."""
        return {"position": self.position, "shares": self.shares, "due": self.due, "begun": self.begun}

    def restored(self, header: Mapping[str, Any]) -> ModelStep:
        """Return the value that a state file holds.

        Raises
        ------
        ValueError
            If a number is missing, or they contradict each other.
        """
        position, shares, due, begun = (_whole(header, key) for key in ("position", "shares", "due", "begun"))
        if not 0 <= position < self.length or not 1 <= shares <= self.length:
            raise ValueError(f"position {position}, shares {shares}")
        step = _value(self.length, self.stored, position, shares, bool(due), bool(begun))
        if step.unreleased > 1 or (due and (position or not self.collects)):
            raise ValueError(f"position {position}, shares {shares}, due {step.due}")
        return step


@lru_cache(maxsize=4096)
def _value(length: int, stored: bool, position: int, shares: int, due: bool, begun: bool) -> ModelStep:
    return ModelStep(length, stored, position, shares, due, begun)


def _whole(header: Mapping[str, Any], key: str) -> int:
    try:
        return int(header[key])
    except KeyError:
        raise ValueError(f"{key!r} is missing") from None
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"{key!r}: {problem}") from problem
