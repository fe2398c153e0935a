"""One LSTM layer over embedded inputs with a head: CudaLSTM and CustomLSTM of neuralhydrology."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .headed_lstm import HeadedLSTM
from .lstm_layer import run_lstm


class CudaLSTM(HeadedLSTM):
    """An LSTM to which attributes are inputs at every step.

    As in Kratzert et al. (2019, https://doi.org/10.5194/hess-23-5089-2019).
    """

    name = "cuda_lstm"

    def make_layer(self) -> None:
        """Make the LSTM layer."""
        self.lstm = nn.LSTM(self.size_dynamic + self.size_static, self.hidden_size)

    def recur(self, dynamic: Tensor, static: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the layer, see :meth:`HeadedLSTM.recur`."""
        x = torch.cat([dynamic, static.expand(len(dynamic), -1, -1)], dim=-1)
        return run_lstm(self.lstm, x, h, c, accurate=True)
