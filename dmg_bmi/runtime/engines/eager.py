"""The protocol of engines, and the one that needs no preparation: the model's own code."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

import torch
from torch import Tensor

from ...model.delta_model import DeltaModel
from ...physics import State


class Engine(Protocol):
    """Runner of blocks of steps for some rows, with the answers of the eager engine.

    ``run(forcing, constants, state, outputs)`` is :meth:`DeltaModel.run` without gradients:
    it changes none of its arguments.
    """

    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """Return fluxes ``[time, rows]`` and the state after the block."""
        ...


class Eager:
    """The model's own code, step by step."""

    def __init__(self, model: DeltaModel) -> None:
        self.model = model

    @torch.inference_mode()
    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """See :class:`Engine`."""
        return self.model.run(forcing, constants, state, outputs)
