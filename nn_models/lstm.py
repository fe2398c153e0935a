"""LSTM (Hochreiter & Schmidhuber, 1997) that takes and returns its state."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .contract import Network, State, make_dropout


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

    recurrent = True

    def __init__(self, n_inputs: int, n_outputs: int, hidden_size: int = 64, dropout: float = 0.0) -> None:
        super().__init__(n_inputs, n_outputs)
        self.hidden_size = hidden_size
        self.linear_in = nn.Linear(n_inputs, hidden_size)
        self.lstm = nn.LSTM(hidden_size, hidden_size)
        self.dropout = make_dropout(dropout)
        self.linear_out = nn.Linear(hidden_size, n_outputs)

    def init_state(self, n: int) -> State:
        """Hidden and cell state ``[n, hidden_size]``, zero."""
        zeros = torch.zeros(n, self.hidden_size, dtype=self.dtype, device=self.device)
        return {"h": zeros, "c": zeros.clone()}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """See :meth:`Network.forward`."""
        x = torch.relu(self.linear_in(x))
        if len(x) == 1:  # a whole layer costs up to four times as much to call
            h, c = torch.lstm_cell(x[0], (state["h"], state["c"]), *self.lstm.all_weights[0])
            x = h.unsqueeze(0)
        else:
            x, (h, c) = self.lstm(x, (state["h"].unsqueeze(0), state["c"].unsqueeze(0)))
            h, c = h.squeeze(0), c.squeeze(0)
        return self.linear_out(self.dropout(x)), {"h": h, "c": c}

    def describe(self) -> dict[str, object]:
        """Name and options."""
        return {"name": "lstm", "hidden_size": self.hidden_size, "dropout": self.dropout.p}
