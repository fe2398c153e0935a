"""What one cycle of forecasts leaves to the next: a state file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import StateError
from ..physics import State
from ..runtime import state_codec

MOST = 1e30


@dataclass(frozen=True)
class Memory:
    """State of the open loop, and recent forecasts.

    Parameters
    ----------
    state : State
        Of the open loop.
    valid : datetime64[s]
        When.
    following : datetime64[s], optional
        The issue to come; before the first it is not known.
    typical : Tensor ``[catchments]``
        Scale of errors, mm per step; NaN where it is not known yet.
    recent : Tensor ``[lags - 1, steps ahead, realizations, catchments]``
        Forecasts of the issues before `following`, the oldest first; NaN is missing.
    """

    state: State
    valid: np.datetime64
    following: np.datetime64 | None
    typical: Tensor
    recent: Tensor

    def tensors(self) -> dict[str, Tensor]:
        """Return all tensors by name; rows are the first axis of a state, and the last of the others."""
        tensors = {f"state.{name}": value for name, value in self.state.items()}
        return tensors | {"typical": self.typical, "recent": self.recent}

    def encode(self, origin: dict[str, Any]) -> bytes:
        """Return the content of a state file; `origin` is what it must be read by."""
        header = {**origin, "valid_time": str(self.valid), "following": str(self.following)}
        return state_codec.encode(header, self.tensors())

    @classmethod
    def decode(cls, path: Path, origin: dict[str, Any], like: State, rows: slice) -> Memory:
        """Read a state file.

        Parameters
        ----------
        path : Path
        origin : dict
            See :meth:`encode`.
        like : State
            A state of the catchments that are wanted.
        rows : slice
            Which of all these are.

        Raises
        ------
        StateError
            If it is corrupt, or of another model, other catchments or another step.
        """
        header, tensors = state_codec.decode(state_codec.read(path), str(path))
        for key, meaning in (
            ("kind", "something else than forecasts"),
            ("fingerprint", "another bundle"),
            ("ids", "other catchments"),
            ("every", "forecasts at another distance"),
        ):
            if header.get(key) != origin[key]:
                raise StateError(f"{path}: was saved by {meaning} ({key} differs)")
        state = {n.removeprefix("state."): t[rows] for n, t in tensors.items() if n.startswith("state.")}
        shapes, expected = ({n: (t.shape, t.dtype) for n, t in s.items()} for s in (state, like))
        others = tensors.keys() - {f"state.{name}" for name in state}
        if shapes != expected or others != {"typical", "recent"}:
            raise StateError(f"{path}: its tensors do not fit these catchments")
        if not all((t.abs() < MOST).all() for t in state.values()):
            raise StateError(f"{path}: holds a state that cannot be")
        try:
            valid, following = (np.datetime64(header[key], "s") for key in ("valid_time", "following"))
        except (KeyError, ValueError, TypeError) as problem:
            raise StateError(f"{path}: its header is not valid: {problem}") from problem
        typical, recent = tensors["typical"][rows], tensors["recent"]
        # Before the first forecast there are none, of no catchments.
        return cls(state, valid, following, typical, recent[..., rows] if recent.ndim > 1 else recent)

    def recent_of(self, shape: tuple[int, ...], issue: np.datetime64) -> Tensor:
        """Return the recent forecasts before an issue, all missing where they are of others."""
        if issue == self.following and self.recent.shape == shape:
            return self.recent
        return torch.full(shape, torch.nan, dtype=torch.float32)
