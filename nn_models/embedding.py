"""Embedding of inputs: a small fully connected network before a recurrent one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from .contract import make_dropout

ACTIVATIONS: Mapping[str, type[nn.Module]] = {
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "relu": nn.ReLU,
    "linear": nn.Identity,
}


class Embedding(nn.Module):
    """Linear layers with an activation and dropout between them; the last is linear.

    Parameters
    ----------
    n_inputs : int
    hiddens : sequence of int
        Sizes of the layers; the last is that of the output.
    activation : {"tanh", "sigmoid", "relu", "linear"}
    dropout : float
    """

    def __init__(
        self, n_inputs: int, hiddens: Sequence[int], activation: str = "tanh", dropout: float = 0.0
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation {activation!r} is none of {', '.join(ACTIVATIONS)}")
        if not hiddens or n_inputs < 1:
            raise ValueError("an embedding has at least one input and one layer")
        layers: list[nn.Module] = []
        for before, after in pairwise((n_inputs, *hiddens)):
            layers += [nn.Linear(before, after), ACTIVATIONS[activation](), make_dropout(dropout)]
        self.layers = nn.Sequential(*layers[:-2])
        self.n_outputs = hiddens[-1]

    def forward(self, x: Tensor) -> Tensor:
        """Embed the last axis."""
        embedded: Tensor = self.layers(x)
        return embedded
