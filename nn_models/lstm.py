"""An LSTM (Hochreiter & Schmidhuber, 1997) that takes and returns its state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .contract import Network, State, make_dropout
from .lstm_layer import run_lstm


class LSTM(Network):
    """Linear + ReLU, one LSTM layer, dropout, linear.

    The layout of Feng et al. (2020, https://doi.org/10.1029/2019WR026793).

    Parameters
    ----------
    n_inputs, n_outputs : int
    hidden_size : int
    dropout : float
        Probability of dropping an output of the LSTM layer in training.
    """

    name = "lstm"
    recurrent = True
    takes_bfloat16 = True

    def __init__(self, n_inputs: int, n_outputs: int, hidden_size: int = 64, dropout: float = 0.0) -> None:
        super().__init__(n_inputs, n_outputs)
        self.hidden_size = hidden_size
        self.linear_in = nn.Linear(n_inputs, hidden_size)
        self.lstm = nn.LSTM(hidden_size, hidden_size)
        self.dropout = dropout
        self.drop = make_dropout(dropout)
        self.linear_out = nn.Linear(hidden_size, n_outputs)

    def init_state(self, n: int) -> State:
        """Return hidden and cell state ``[n, hidden_size]``, zero."""
        zeros = torch.zeros(n, self.hidden_size, dtype=self.dtype, device=self.device)
        return {"h": zeros, "c": zeros.clone()}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence, see :meth:`Network.forward`."""
        weight_dtype = self.linear_in.weight.dtype
        x = torch.relu(self.linear_in(x.to(weight_dtype)))
        x, h, c = run_lstm(self.lstm, x, state["h"], state["c"])
        return self.linear_out(self.drop(x).to(weight_dtype)).to(self.dtype), {"h": h, "c": c}
