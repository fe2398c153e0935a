"""Forecasts of one file: what a process made of its catchments, and all of them joined."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from ..physics import State
from .learned_error import Distribution
from .memory import Memory

FROM = "from"


@dataclass(frozen=True)
class Issued:
    """Forecasts of some issues.

    Parameters
    ----------
    flow : Tensor ``[issues, leads, realizations, catchments]``
        mm per step.
    area : Tensor ``[catchments]``
        km2.
    mean : Tensor ``[issues, leads, catchments]``, optional
    quantiles : Tensor ``[levels, issues, leads, catchments]``, optional
        Where there is a learned error.
    """

    flow: Tensor
    area: Tensor
    mean: Tensor | None = None
    quantiles: Tensor | None = None

    @property
    def distribution(self) -> Distribution | None:
        """Return mean and quantiles, where there is a learned error."""
        if self.mean is None or self.quantiles is None:
            return None
        return Distribution(self.mean.numpy(), self.quantiles.numpy())

    def tensors(self, memory: Memory, began: State) -> dict[str, Tensor]:
        """Return all by name, with the memory after it and what tells the state that it began from."""
        own = {f.name: value for f in fields(self) if (value := getattr(self, f.name)) is not None}
        return own | memory.tensors() | {FROM: digest(began)}

    @classmethod
    def joined(cls, parts: Sequence[dict[str, Tensor]]) -> tuple[Issued, State, Tensor, Tensor]:
        """Join what the processes made; return it with state, typical flow and recent forecasts of all."""

        def join(name: str) -> Tensor:
            axis = 0 if name.startswith("state.") else -1
            return torch.cat([part[name] for part in parts], dim=axis)

        whole = {name: join(name) for name in parts[0] if name != FROM}
        state = {n.removeprefix("state."): v for n, v in whole.items() if n.startswith("state.")}
        own = {f.name: whole[f.name] for f in fields(cls) if f.name in whole}
        return cls(**own), state, whole["typical"], whole["recent"]


def digest(state: State) -> Tensor:
    """Return SHA-256 of a state, as a tensor of bytes."""
    total = sha256()
    for name in sorted(state):
        total.update(name.encode() + np.ascontiguousarray(state[name].numpy()).tobytes())
    return torch.frombuffer(bytearray(total.digest()), dtype=torch.uint8)
