"""The Entity-Aware LSTM: attributes decide how much of the weather is let in."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor, nn

from .headed_lstm import HeadedLSTM


class EALSTM(HeadedLSTM):
    """An LSTM whose input gate follows from the attributes alone; without any it is a constant.

    Equations 7 to 12 of Kratzert et al. (2019, https://doi.org/10.5194/hess-23-5089-2019).
    """

    name = "ea_lstm"

    def make_layer(self) -> None:
        """Make the input gate, and the weights of the forget gate, output gate and cell input."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of weights without elements
            self.input_gate = nn.Linear(self.size_static, self.hidden_size)
        self.of_inputs = nn.Linear(self.size_dynamic, 3 * self.hidden_size)
        self.of_hidden = nn.Linear(self.hidden_size, 3 * self.hidden_size, bias=False)

    def recur(self, dynamic: Tensor, static: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layer, see :meth:`HeadedLSTM.recur`."""
        let_in = torch.sigmoid(self.input_gate(static)).expand(len(dynamic), -1, -1)
        hidden = []
        for i, now in zip(let_in, self.of_inputs(dynamic), strict=True):
            f, o, g = (now + self.of_hidden(h)).chunk(3, dim=-1)
            c = torch.sigmoid(f) * c + i * torch.tanh(g)
            h = torch.sigmoid(o) * torch.tanh(c)
            hidden.append(h)
        return torch.stack(hidden), h, c
