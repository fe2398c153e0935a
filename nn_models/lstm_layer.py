"""One layer of an LSTM on a sequence or a single step, its state handed in and returned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn


def run_lstm(
    layer: nn.LSTM, x: Tensor, h: Tensor, c: Tensor, accurate: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a layer.

    Parameters
    ----------
    layer : nn.LSTM
        With one layer.
    x : Tensor ``[time, rows, inputs]``
        In the dtype of the weights.
    h, c : Tensor ``[rows, hidden]``
        Hidden and cell state before the first step, in a dtype at least as wide.
    accurate : bool
        Take single steps as the layer itself does, to its last digits but one: the two biases are added
        first, and no digit of a small tanh is given away. It takes about a fifth longer.

    Returns
    -------
    hidden : Tensor ``[time, rows, hidden]``
    h, c : Tensor ``[rows, hidden]``
    """
    weights = layer.all_weights[0]
    if len(x) == 1:  # calling a whole layer costs up to four times as much
        h, c = _cell(x[0], h, c, weights, accurate)
        return h.unsqueeze(0), h, c
    if x.dtype == h.dtype:
        hidden, (last, cell) = layer(x, (h.unsqueeze(0), c.unsqueeze(0)))
        return hidden, last.squeeze(0), cell.squeeze(0)
    series = []  # the layer would round the state as well
    for now in x:
        h, c = _cell(now, h, c, weights, accurate)
        series.append(h)
    return torch.stack(series), h, c


def _cell(
    x: Tensor, h: Tensor, c: Tensor, weights: Sequence[Tensor], accurate: bool
) -> tuple[Tensor, Tensor]:
    """Advance hidden and cell state ``[rows, hidden]`` by one step."""
    if x.dtype == c.dtype and not accurate and not torch.compiler.is_compiling():
        return torch.lstm_cell(x, (h, c), *weights)
    # Compiled, that cell copies the bias to all rows before each product, and uses a tanh that
    # costs three times this one.
    tanh = torch.tanh if accurate else _tanh
    w_x, w_h, b_x, b_h = weights
    products = (x @ w_x.t(), h.to(x.dtype) @ w_h.t(), b_x + b_h)
    gates = zip(*(part.to(c.dtype).split(h.shape[-1], -1) for part in products), strict=True)
    i, f, g, o = (a + b + bias for a, b, bias in gates)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * tanh(g)
    return torch.sigmoid(o) * tanh(c), c


def _tanh(x: Tensor) -> Tensor:
    return 2.0 * torch.sigmoid(2.0 * x) - 1.0
