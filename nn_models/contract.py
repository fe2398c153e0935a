"""The contract of a network: outputs from inputs, its recurrent state handed in and returned."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from ..options import constructor_options

State = dict[str, Tensor]


def make_dropout(p: float) -> nn.Dropout:
    """Make ``nn.Dropout``, which itself accepts NaN; ValueError if `p` is not a probability."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout must be a probability, not {p}")
    return nn.Dropout(p)


class Network(nn.Module):
    """Base of every network.

    Parameters
    ----------
    n_inputs, n_outputs : int
        Sizes of the last axis of inputs and outputs.

    Attributes
    ----------
    name : str
        Name under which it is registered.
    recurrent : bool
        Whether the outputs of a step depend on earlier steps.
    takes_bfloat16 : bool
        Whether its weights may be in bfloat16; it then rounds to it what it multiplies with them.
    has_window : bool
        Whether a step runs over the inputs of earlier ones, of which rows may have had fewer; it
        cannot be compiled.
    """

    name: ClassVar[str]
    recurrent = False
    takes_bfloat16 = False
    has_window = False

    def __init__(self, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs

    def init_state(self, n: int) -> State:
        """Return the state of `n` rows before the first step, rows first."""
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
            Unbounded; a role scales them.
        state : State
        """
        raise NotImplementedError

    def describe(self) -> dict[str, object]:
        """Return name and constructor options, without `n_inputs` and `n_outputs`, as plain data.

        Options are attributes of the same names.
        """
        return {"name": self.name, **constructor_options(self, without=("n_inputs", "n_outputs"))}

    @property
    def dtype(self) -> torch.dtype:
        """Return the dtype of inputs, outputs and state: that of the weights, at least float32."""
        return torch.promote_types(next(self.parameters()).dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        """Return the device of the weights."""
        return next(self.parameters()).device
