"""An LSTM (Hochreiter & Schmidhuber, 1997) that takes and returns its state."""

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
        h, c, weight_dtype = state["h"], state["c"], self.linear_in.weight.dtype
        x = torch.relu(self.linear_in(x.to(weight_dtype)))
        if len(x) == 1:  # calling a whole layer costs up to four times as much
            h, c = self._cell(x[0], h, c)
            x = h.unsqueeze(0)
        elif weight_dtype == h.dtype:
            x, (h, c) = self.lstm(x, (h.unsqueeze(0), c.unsqueeze(0)))
            h, c = h.squeeze(0), c.squeeze(0)
        else:  # the layer would round the state as well
            hidden = []
            for now in x:
                h, c = self._cell(now, h, c)
                hidden.append(h)
            x = torch.stack(hidden)
        return self.linear_out(self.drop(x).to(weight_dtype)).to(self.dtype), {"h": h, "c": c}

    def _cell(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """Advance hidden and cell state ``[rows, hidden_size]`` by one step of the layer."""
        weights = self.lstm.all_weights[0]
        if x.dtype == c.dtype and not torch.compiler.is_compiling():
            return torch.lstm_cell(x, (h, c), *weights)
        # Compiled, that cell copies the bias to all rows before each product, and uses a tanh that
        # costs three times this one.
        w_x, w_h, b_x, b_h = weights
        products = (x @ w_x.t(), h.to(x.dtype) @ w_h.t(), b_x + b_h)
        gates = zip(*(part.to(c.dtype).split(self.hidden_size, -1) for part in products), strict=True)
        i, f, g, o = (a + b + bias for a, b, bias in gates)
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * _tanh(g)
        return torch.sigmoid(o) * _tanh(c), c


def _tanh(x: Tensor) -> Tensor:
    return 2.0 * torch.sigmoid(2.0 * x) - 1.0
