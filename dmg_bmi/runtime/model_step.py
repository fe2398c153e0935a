"""The model step as a value: how much of its forcing has come, and how much of its fluxes has gone.

A framework may step more finely than the model. Over the `length` framework steps of a model step
forcing comes in, and fluxes are released in equal shares. Pushed forcing is collected first, so
its fluxes are released over the model step that follows; stored forcing is known in advance, so
there they are released over the model step itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum


class Phase(Enum):
    """What the next framework step does."""

    #: Run a model step, on stored forcing or on forcing of this one step, and release its first share.
    READY = "ready"
    #: Collect pushed forcing, and release the next share of the model step before.
    COLLECTING = "collecting"
    #: Run the model step whose forcing is complete and release its first share, then collect.
    COMPLETE = "complete"
    #: Release the next share of the model step under way.
    RELEASING = "releasing"


@dataclass(frozen=True, slots=True)
class ModelStep:
    """Where rows are in their model step.

    Parameters
    ----------
    length : int
        Framework steps of a model step.
    stored : bool
        Whether forcing is stored, and so known in advance.
    position : int
        Framework steps done of the model step under way, from 0 to `length` - 1.
    index : int
        Model steps that began before it; the first may have begun before time zero.
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
    index: int
    shares: int
    due: bool = False
    begun: bool = False

    @classmethod
    def at_start(cls, length: int, stored: bool, position: int = 0) -> ModelStep:
        """Return the value at time zero, `position` framework steps after a model step began."""
        return cls(length, stored, position, 0, length)

    @property
    def phase(self) -> Phase:
        """What the next framework step does."""
        if self.stored:
            return Phase.RELEASING if self.position and self.begun else Phase.READY
        if not self.collects:
            return Phase.READY
        return Phase.COMPLETE if self.due else Phase.COLLECTING

    @property
    def collects(self) -> bool:
        """Whether forcing is kept until that of a whole model step has come."""
        return not self.stored and self.length > 1

    @property
    def is_last(self) -> bool:
        """Whether the next framework step is the last of the model step."""
        return self.position == self.length - 1

    @property
    def unreleased(self) -> float:
        """Fraction of the latest fluxes that later framework steps release."""
        return (self.length - self.position) % self.length / self.shares

    def begin(self) -> ModelStep:
        """Return the value once a stored model step has run: what is left of it shares its fluxes."""
        return replace(self, shares=self.length - self.position, begun=True)

    def advance(self) -> ModelStep:
        """Return the value one framework step later."""
        position = self.position + 1
        if position < self.length:
            return ModelStep(self.length, self.stored, position, self.index, self.shares, False, self.begun)
        return ModelStep(self.length, self.stored, 0, self.index + 1, self.shares, self.collects, self.begun)

    # -- in a state file ------------------------------------------------------------

    def header(self) -> dict[str, int | bool]:
        """Return what a state file holds of it."""
        return {"position": self.position, "shares": self.shares, "due": self.due, "begun": self.begun}

    def restored(self, header: Mapping[str, object], count: int) -> ModelStep:
        """Return the value that a state file holds, for a run that has taken `count` framework steps.

        Raises
        ------
        ValueError
            If a number is missing, or they contradict each other.
        """
        position, shares, due, begun = (_whole(header, key) for key in ("position", "shares", "due", "begun"))
        if not 0 <= position < self.length or not 1 <= shares <= self.length:
            raise ValueError(f"position {position}, shares {shares}")
        step = replace(
            self,
            position=position,
            index=(count + (position - count) % self.length) // self.length,
            shares=shares,
            due=bool(due),
            begun=bool(begun),
        )
        if step.unreleased > 1 or (due and (position or not self.collects)):
            raise ValueError(f"position {position}, shares {shares}, due {bool(due)}")
        return step


def _whole(header: Mapping[str, object], key: str) -> int:
    try:
        return int(header[key])  # type: ignore[call-overload,no-any-return]
    except KeyError:
        raise ValueError(f"{key!r} is missing") from None
    except (TypeError, ValueError, OverflowError) as problem:
        raise ValueError(f"{key!r}: {problem}") from problem
