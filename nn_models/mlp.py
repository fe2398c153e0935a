"""A multi-layer perceptron."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from .contract import Network, State, make_dropout


class MLP(Network):
    """Linear layers with ReLU and dropout between them.

    Parameters
    ----------
    n_inputs, n_outputs : int
    hidden_sizes : sequence of int
        One per hidden layer.
    dropout : float
        Probability of dropping an output of a hidden layer in training.
    """

    name = "mlp"
    takes_bfloat16 = True

    def __init__(
        self, n_inputs: int, n_outputs: int, hidden_sizes: Sequence[int] = (64,), dropout: float = 0.0
    ) -> None:
        super().__init__(n_inputs, n_outputs)
        self.hidden_sizes = tuple(hidden_sizes)
        self.dropout = dropout
        layers: list[nn.Module] = []
        for before, after in pairwise((n_inputs, *self.hidden_sizes)):
            layers += [nn.Linear(before, after), nn.ReLU(), make_dropout(dropout)]
        self.layers = nn.Sequential(*layers, nn.Linear((n_inputs, *self.hidden_sizes)[-1], n_outputs))

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run any leading shape, see :meth:`Network.forward`; the state is empty."""
        return self.layers(x.to(next(self.parameters()).dtype)).to(self.dtype), {}
