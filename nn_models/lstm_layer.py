"""One layer of an LSTM on a sequence or a single step, its state handed in and returned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

#: tanh(x) is x P(x^2) / Q(x^2) within 7e-8 of itself up to `FLAT`, from where on single precision knows it as
#: one. A minimax fit; no term is negative, so no digits cancel.
P = (0.99999994, 0.133985698, 0.00351558439, 2.09010741e-05, 1.36841742e-08)
Q = (1.0, 0.467319041, 0.025955284, 0.000331677409, 7.92758556e-07)
FLAT = 8.5
_FUSED = ContextVar("fused", default=False)


@contextmanager
def fused() -> Iterator[None]:
    """Trace the steps of layers within for a compiler that makes one loop of all gates.

    Their activations are then ratios of polynomials: a call of an exponential function for each would
    take as long as all that it stands between, and many divisions as long again.
    """
    token = _FUSED.set(True)
    try:
        yield
    finally:
        _FUSED.reset(token)


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
    if x.dtype == c.dtype and not (accurate or _FUSED.get() or torch.compiler.is_compiling()):
        return torch.lstm_cell(x, (h, c), *weights)
    # Compiled, that cell copies the bias to all rows before each product, and uses a tanh that
    # costs three times this one.
    tanh = torch.tanh if accurate else _tanh
    w_x, w_h, b_x, b_h = weights
    products = (x @ w_x.t(), h.to(x.dtype) @ w_h.t(), b_x + b_h)
    gates = zip(*(part.to(c.dtype).split(h.shape[-1], -1) for part in products), strict=True)
    i, f, g, o = (a + b + bias for a, b, bias in gates)
    if _FUSED.get() and c.dtype == torch.float32 and not accurate:
        return _by_ratios(i, f, g, o, c)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * tanh(g)
    return torch.sigmoid(o) * tanh(c), c


def _by_ratios(i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Return hidden and cell state from the sums at the gates, by two divisions."""
    (p_i, q_i), (p_f, q_f), (p_g, q_g), (p_o, q_o) = map(_ratio, (0.5 * i, 0.5 * f, g, 0.5 * o))
    # sigmoid(x) is (1 + tanh(x / 2)) / 2; all is brought to one denominator.
    c = ((q_f + p_f) * c * (q_i * q_g) + (q_i + p_i) * p_g * q_f) / (2.0 * q_f * (q_i * q_g))
    p_c, q_c = _ratio(c)
    return (q_o + p_o) * p_c / (2.0 * q_o * q_c), c


def _ratio(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return two terms whose ratio is tanh(x)."""
    x = x.clamp(-FLAT, FLAT)
    square = x * x
    p, q = torch.full_like(x, P[-1]), torch.full_like(x, Q[-1])
    for a, b in zip(P[-2::-1], Q[-2::-1], strict=True):
        p, q = p * square + a, q * square + b
    return x * p, q


def _tanh(x: Tensor) -> Tensor:
    return 2.0 * torch.sigmoid(2.0 * x) - 1.0
