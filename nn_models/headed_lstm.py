"""Base of recurrent networks with embedded inputs and a head, as neuralhydrology trains them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from .contract import Network, State, make_dropout
from .embedding import Embedding
from .heads import make_head

#: Windows that run at once.
WINDOWS = 4096
REGRESSION: Mapping[str, Any] = {"name": "regression"}
NO_EMBEDDINGS: Mapping[str, Mapping[str, Any]] = {}


class HeadedLSTM(Network):
    """Embeddings, a recurrent layer of a subclass, dropout, a head.

    Parameters
    ----------
    n_inputs, n_outputs : int
    hidden_size : int
    n_static : int
        How many of the inputs, the last, are attributes.
    n_basins : int
        Where the network was trained with one more input per basin: their number. The last attribute is
        then the number of the basin, from 0; with any other number the catchment is none of them.
    embeddings : mapping of {"statics", "dynamics"} to mapping
        Options of :class:`~.embedding.Embedding`.
    head : mapping
        Name and options of a head, see :data:`~.heads.HEADS`.
    dropout : float
        Probability of dropping a hidden unit before the head in training.
    seq_length : int, optional
        Run, at each step, over a window of so many steps from a zero state, as the network was
        trained; until so many have been seen, over those. Without it the state goes on from step to
        step.
    """

    recurrent = True

    def __init__(
        self,
        n_inputs: int,
        n_outputs: int,
        hidden_size: int = 64,
        n_static: int = 0,
        n_basins: int = 0,
        embeddings: Mapping[str, Mapping[str, Any]] = NO_EMBEDDINGS,
        head: Mapping[str, Any] = REGRESSION,
        dropout: float = 0.0,
        seq_length: int | None = None,
    ) -> None:
        super().__init__(n_inputs, n_outputs)
        if not 0 <= bool(n_basins) <= n_static < n_inputs:
            raise ValueError(f"of {n_inputs} inputs {n_static} cannot be static")
        if seq_length is not None and seq_length < 1:
            raise ValueError(f"seq_length must be at least 1, not {seq_length}")
        self.hidden_size, self.n_static, self.n_basins = hidden_size, n_static, n_basins
        self.embeddings, self.head, self.seq_length = dict(embeddings), dict(head), seq_length
        self.has_window = seq_length is not None
        self.head_layer = make_head(head, hidden_size, n_outputs)
        self.conditions = self.head_layer.conditions
        static = n_static - 1 + n_basins if n_basins else n_static
        self.embed_static, self.size_static = self._embedding("statics", static)
        self.embed_dynamic, self.size_dynamic = self._embedding(
            "dynamics", n_inputs - n_static + bool(self.conditions)
        )
        self.dropout = dropout
        self.drop = make_dropout(dropout)
        self.make_layer()

    def make_layer(self) -> None:
        """Make the recurrent layer, of `size_dynamic` and `size_static` embedded inputs."""
        raise NotImplementedError

    def _embedding(self, which: str, n_inputs: int) -> tuple[nn.Module, int]:
        unknown = self.embeddings.keys() - {"statics", "dynamics"}
        if unknown:
            raise ValueError(f"embeddings are statics and dynamics, not {', '.join(sorted(unknown))}")
        if which not in self.embeddings:
            return nn.Identity(), n_inputs
        embedding = Embedding(n_inputs, **self.embeddings[which])
        return embedding, embedding.n_outputs

    def init_state(self, n: int) -> State:
        """Return the state of `n` rows before the first step.

        Hidden and cell state ``[n, hidden_size]``, with an axis in between where the network runs for
        several conditions; or the inputs of earlier steps ``[n, seq_length - 1, dynamic inputs]`` and
        how many of these there have been ``[n, 1]`` (``filled``).
        """

        def zeros(*shape: int) -> Tensor:
            return torch.zeros(n, *shape, dtype=self.dtype, device=self.device)

        if self.seq_length is not None:
            return {"window": zeros(self.seq_length - 1, self.n_inputs - self.n_static), "filled": zeros(1)}
        middle = (len(self.conditions),) if self.conditions else ()
        return {"h": zeros(*middle, self.hidden_size), "c": zeros(*middle, self.hidden_size)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Run a sequence, see :meth:`Network.forward`."""
        dynamic, static = x.split([self.n_inputs - self.n_static, self.n_static], dim=-1)
        if self.seq_length is not None:
            return self._windows(dynamic, static, state, self.seq_length)
        shape = state["h"].shape
        h, c = (state[name].reshape(-1, self.hidden_size) for name in ("h", "c"))
        hidden, h, c = self._run(dynamic, static, h, c)
        return self._outputs(hidden, *x.shape[:2]), {"h": h.reshape(shape), "c": c.reshape(shape)}

    def recur(self, dynamic: Tensor, static: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Run the recurrent layer.

        Parameters
        ----------
        dynamic, static : Tensor ``[time, rows, features]``
            Embedded inputs; `static` may have a single step.
        h, c : Tensor ``[rows, hidden_size]``

        Returns
        -------
        hidden : Tensor ``[time, rows, hidden_size]``
        h, c : Tensor ``[rows, hidden_size]``
        """
        raise NotImplementedError

    def one_hot(self, static: Tensor) -> Tensor:
        """Replace the number of a basin by an input per basin."""
        if not self.n_basins:
            return static
        numbers = torch.arange(self.n_basins, dtype=static.dtype, device=static.device)
        return torch.cat([static[..., :-1], (static[..., -1:] == numbers).to(static.dtype)], dim=-1)

    def _run(self, dynamic: Tensor, static: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Embed and recur, once for each condition: rows of one catchment stand side by side."""
        static = self.one_hot(static)
        count = len(self.conditions)
        if count:
            values = torch.tensor(self.conditions, dtype=dynamic.dtype, device=dynamic.device)
            condition = values.repeat(dynamic.shape[1]).expand(len(dynamic), -1).unsqueeze(-1)
            dynamic = torch.cat([dynamic.repeat_interleave(count, dim=1), condition], dim=-1)
            static = static.repeat_interleave(count, dim=1)
        return self.recur(self.embed_dynamic(dynamic), self.embed_static(static), h, c)

    def _outputs(self, hidden: Tensor, length: int, rows: int) -> Tensor:
        if self.conditions:
            hidden = hidden.reshape(length, rows, len(self.conditions), self.hidden_size)
        outputs: Tensor = self.head_layer(self.drop(hidden))
        return outputs

    def _windows(self, dynamic: Tensor, static: Tensor, state: State, length: int) -> tuple[Tensor, State]:
        steps, rows = dynamic.shape[:2]
        history = torch.cat([state["window"].transpose(0, 1), dynamic])
        seen = state["filled"][:, 0].round().long()
        at_once = max(WINDOWS // max(rows, 1), 1)
        outputs = []
        for t in range(0, steps, at_once):
            some = static[t : t + at_once]
            part = history[t : t + len(some) + length - 1]
            known = (seen + t + torch.arange(1, len(some) + 1, device=seen.device).unsqueeze(1)).clamp(
                max=length
            )
            outputs.append(self._of_windows(part.unfold(0, length, 1), some, known))
        now = (state["filled"] + steps).clamp(max=float(length - 1))
        return torch.cat(outputs), {"window": history[steps:].transpose(0, 1).contiguous(), "filled": now}

    def _of_windows(self, windows: Tensor, static: Tensor, known: Tensor) -> Tensor:
        """Return outputs at the ends of windows.

        Parameters
        ----------
        windows : Tensor ``[time, rows, dynamic inputs, seq_length]``
        static : Tensor ``[time, rows, static inputs]``
        known : Tensor ``[time, rows]``
            How many steps of a window, the last, there have been.
        """
        length, rows = known.shape
        series = windows.permute(3, 0, 1, 2).flatten(1, 2)
        attributes, counts = static.flatten(0, 1).unsqueeze(0), known.flatten()
        last = series.new_zeros(length * rows, max(len(self.conditions), 1), self.hidden_size)
        for count in counts.unique().tolist():
            index = (counts == count).nonzero()[:, 0]
            zeros = last[index].flatten(0, 1)
            _, h, _ = self._run(series[-count:, index], attributes[:, index], zeros, zeros)
            last = last.index_copy(0, index, h.reshape(len(index), *last.shape[1:]))
        return self._outputs(last.flatten(0, 1), length, rows).reshape(length, rows, self.n_outputs)
