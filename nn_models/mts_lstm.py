"""The multi-timescale LSTM: a slow LSTM through the past hands its state over to a fast one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .contract import State
from .headed_lstm import REGRESSION, HeadedLSTM
from .lstm_layer import run_lstm

LINEAR: Mapping[str, str | None] = {"h": "linear", "c": "linear"}


class MTSLSTM(HeadedLSTM):
    """Two LSTMs of different steps (Gauch et al., 2021, https://doi.org/10.5194/hess-25-2045-2021).

    A day (`ratio` fast steps) begins by running the slow LSTM from zero over daily means of the past, up to
    the beginning of the fast window; its state, handed over, starts the fast LSTM, which runs
    through its window and then hour by hour through the day. Until a whole window has passed, both run over
    what there has been. The first step that a state sees begins a day. Only the answers of the fast LSTM
    are given.

    Parameters
    ----------
    n_inputs, n_outputs, hidden_size, n_static, n_basins, head, dropout
        As for :class:`HeadedLSTM`; those of the fast LSTM.
    slow_hidden_size : int
    slow_inputs, fast_inputs : sequence of int
        Which of the dynamic inputs each sees; the slow one their means over a day.
    ratio : int
        Fast steps of a slow one.
    slow_length, fast_length : int
        Steps of the two windows, each to the end of the day.
    transfer : mapping of {"h", "c"} to {"linear", "identity", None}
        How the slow hidden and cell state start the fast ones; None for zeros.
    shared : bool
        Whether both were trained as one, with two more inputs that tell the steps apart.
    """

    name = "mts_lstm"

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden_size: int = 64,
        n_static: int = 0,
        n_basins: int = 0,
        head: Mapping[str, Any] = REGRESSION,
        dropout: float = 0.0,
        slow_hidden_size: int = 64,
        slow_inputs: Sequence[int] = (0,),
        fast_inputs: Sequence[int] = (0,),
        ratio: int = 24,
        slow_length: int = 365,
        fast_length: int = 336,
        transfer: Mapping[str, str | None] = LINEAR,
        shared: bool = False,
    ) -> None:
        super().__init__(n_inputs, n_outputs, hidden_size, n_static, n_basins, head=head, dropout=dropout)
        self.has_window = True
        self.slow_hidden_size, self.ratio, self.shared = slow_hidden_size, ratio, shared
        self.slow_inputs, self.fast_inputs = tuple(slow_inputs), tuple(fast_inputs)
        self.slow_length, self.fast_length, self.transfer = slow_length, fast_length, dict(transfer)
        self._check()
        more = self.size_static + 2 * shared
        self.slow = nn.LSTM(len(slow_inputs) + more, slow_hidden_size)
        self.fast = nn.LSTM(len(fast_inputs) + more, hidden_size)
        linear = [name for name in ("h", "c") if transfer[name] == "linear"]
        self.transfers = nn.ModuleDict({name: nn.Linear(slow_hidden_size, hidden_size) for name in linear})

    def _check(self) -> None:
        dynamic = range(self.n_inputs - self.n_static)
        if not all(k in dynamic for k in (*self.slow_inputs, *self.fast_inputs)):
            raise ValueError(f"slow_inputs and fast_inputs must lie below {len(dynamic)}")
        days, rest = divmod(self.fast_length, self.ratio)
        if self.ratio < 2 or rest or not 0 < days < self.slow_length:
            raise ValueError("fast_length must be whole slow steps, fewer than slow_length")
        if self.transfer.keys() != {"h", "c"} or not {*self.transfer.values()} <= {
            "linear",
            "identity",
            None,
        }:
            raise ValueError("transfer must say linear, identity or None of h and of c")
        if "identity" in self.transfer.values() and self.slow_hidden_size != self.hidden_size:
            raise ValueError("an identity needs hidden states of one size")
        if self.conditions:
            raise ValueError("this head cannot be that of two time steps")

    def make_layer(self) -> None:
        """Leave the layers to the constructor."""

    def init_state(self, n: int) -> State:
        """Return the state of `n` rows before the first step.

        ``days [n, slow_length - 1, slow inputs]``: means of earlier days, of which there have been
        ``filled``; ``hours`` and ``today``: dynamic inputs of the fast window before today and of today; the
        ``hour`` of the day; hidden and cell state of the fast LSTM.
        """
        inputs = self.n_inputs - self.n_static
        shapes = {
            "days": (self.slow_length - 1, len(self.slow_inputs)),
            "hours": (self.fast_length - self.ratio, inputs),
            "today": (self.ratio, inputs),
            "filled": (1,),
            "hour": (1,),
            "h": (self.hidden_size,),
            "c": (self.hidden_size,),
        }
        return {
            name: torch.zeros(n, *shape, dtype=self.dtype, device=self.device)
            for name, shape in shapes.items()
        }

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence, see :meth:`Network.forward`."""
        dynamic, static = x.split([self.n_inputs - self.n_static, self.n_static], dim=-1)
        outputs = []
        for now, attributes in zip(dynamic, self.one_hot(static), strict=True):
            h, state = self._step(now, attributes, state)
            outputs.append(h)
        answers: Tensor = self.head_layer(self.drop(torch.stack(outputs)))
        return answers, state

    def _step(self, now: Tensor, static: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the hidden state of one fast step, and the state after it."""
        hour = state["hour"].round().long() % self.ratio
        h, c = state["h"], state["c"]
        begins = (hour[:, 0] == 0).nonzero()[:, 0]
        if len(begins):
            started = self._begin(state, static, begins)
            h, c = (old.index_copy(0, begins, new) for old, new in zip((h, c), started, strict=True))
        _, h, c = run_lstm(self.fast, self._inputs(now[None], static, fast=True), h, c, accurate=True)
        slots = torch.arange(self.ratio, device=hour.device)
        today = torch.where((slots == hour).unsqueeze(-1), now.unsqueeze(1), state["today"])
        ends = (hour == self.ratio - 1).unsqueeze(-1)
        mean = today[..., self.slow_inputs].mean(1, keepdim=True)
        seen = (state["filled"] + 1).clamp(max=self.slow_length - 1)
        return h, {
            "days": torch.where(ends, torch.cat([state["days"], mean], 1)[:, 1:], state["days"]),
            "hours": torch.where(
                ends, torch.cat([state["hours"], today], 1)[:, self.ratio :], state["hours"]
            ),
            "today": today,
            "filled": torch.where(ends[..., 0], seen, state["filled"]),
            "hour": ((hour + 1) % self.ratio).to(h.dtype),
            "h": h,
            "c": c,
        }

    def _inputs(self, series: Tensor, static: Tensor, fast: bool) -> Tensor:
        """Put together what an LSTM sees, ``[time, rows, ...]``; `fast` series hold all dynamic inputs."""
        parts = [series[..., self.fast_inputs] if fast else series, static.expand(len(series), -1, -1)]
        if self.shared:
            flags = torch.tensor([1.0 - fast, float(fast)], dtype=series.dtype, device=series.device)
            parts.append(flags.expand(*series.shape[:2], 2))
        return torch.cat(parts, dim=-1)

    def _begin(self, state: State, static: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Run both LSTMs through their windows up to today; return hidden and cell state of `rows`."""
        seen = state["filled"][rows, 0].round().long().clamp(0, self.slow_length - 1)
        recent = self.fast_length // self.ratio - 1
        h, c = (state[name].new_zeros(len(rows), self.hidden_size) for name in ("h", "c"))
        for count in seen.unique().tolist():
            place = (seen == count).nonzero()[:, 0]
            of, attributes = rows[place], static[rows[place]]
            days = state["days"][of].transpose(0, 1)[self.slow_length - 1 - count :]
            slow_h = slow_c = state["h"].new_zeros(len(of), self.slow_hidden_size)
            if count > recent:
                past = self._inputs(days[: count - recent], attributes, fast=False)
                _, slow_h, slow_c = run_lstm(self.slow, past, slow_h, slow_c, accurate=True)
            fast_h, fast_c = self._handed_over("h", slow_h), self._handed_over("c", slow_c)
            steps = self.ratio * min(count, recent)
            if steps:
                hours = state["hours"][of].transpose(0, 1)[-steps:]
                window = self._inputs(hours, attributes, fast=True)
                _, fast_h, fast_c = run_lstm(self.fast, window, fast_h, fast_c, accurate=True)
            h, c = h.index_copy(0, place, fast_h), c.index_copy(0, place, fast_c)
        return h, c

    def _handed_over(self, name: str, slow: Tensor) -> Tensor:
        if name in self.transfers:
            handed: Tensor = self.transfers[name](slow)
            return handed
        return slow if self.transfer[name] == "identity" else slow.new_zeros(len(slow), self.hidden_size)
