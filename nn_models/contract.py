"""What a network answers: outputs and its recurrent state, handed in and returned."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..options import constructor_options

State = dict[str, Tensor]


def make_dropout(p: float) -> nn.Dropout:
    """``nn.Dropout``, which itself takes NaN; ValueError if `p` is no probability."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout is a probability, not {p}")
    return nn.Dropout(p)


class Network(nn.Module):
    """Base of every network.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Sizes of the last axis of what goes in and comes out.

    Attributes
    ----------
    name : str
        As it is registered.
    recurrent : bool
        Whether the outputs of a step depend on earlier steps.
    takes_bfloat16 : bool
        Whether its weights may be in bfloat16, to which it then rounds what it multiplies with them.
    """

    name: ClassVar[str]
    recurrent = False
    takes_bfloat16 = False

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs

    def init_state(self, n: int) -> State:
        """State of `n` rows before the first step, rows first."""
        return {}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence.

        Parameters
        ----------
        x : Tensor ``[time, rows, n_inputs]``
            A network that is not recurrent takes any leading shape.
        state : State
            Tensors ``[rows, ...]``; not changed.

        Returns
        -------
        y : Tensor ``[time, rows, n_outputs]``
            Unbounded; what it is scaled to is not the network's business.
        state : State
        """
        raise NotImplementedError

    def describe(self) -> dict[str, object]:
        """Name and constructor options other than `n_inputs` and `n_outputs`, as plain data.

        Options are attributes of the same names.
        """
        return {"name": self.name, **constructor_options(self, without=("n_inputs", "n_outputs"))}

    @property
    def dtype(self) -> torch.dtype:
        """Of inputs, outputs and state: that of the weights, but no shorter than float32."""
        return torch.promote_types(next(self.parameters()).dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        """Of the weights."""
        return next(self.parameters()).device
