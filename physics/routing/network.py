"""A river network as tensors: which reach flows into which, and sums along the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

#: Names of the graph in `static`; see :func:`river_static`.
DOWNSTREAM, JUMPS, LAKE = GRAPH = ("downstream", "jumps", "lake")


class River(NamedTuple):
    """The graph of a network of `rows` reaches.

    Parameters
    ----------
    downstream : Tensor ``[rows]`` of int64
        Row that each reach flows into; `rows` where water leaves the network.
    jumps : Tensor ``[rounds, rows]`` of int64
        Row that lies 1, 2, 4, 8, ... reaches downstream, `rows` where there is none.
    lake : Tensor ``[rows]`` of bool, or None
        Reaches that water passes at once.
    """

    downstream: Tensor
    jumps: Tensor
    lake: Tensor | None = None

    @classmethod
    def from_static(cls, static: Mapping[str, Tensor], rows: int, device: torch.device) -> River:
        """Take the graph that :func:`river_static` made; without one, no reach flows into another."""
        downstream = static.get(DOWNSTREAM)
        if downstream is None:
            downstream = torch.full((rows,), rows, device=device)
        jumps = static.get(JUMPS)
        return cls(downstream, downstream.new_empty(0, rows) if jumps is None else jumps, static.get(LAKE))

    def inflow(self, outflow: Tensor) -> Tensor:
        """Add up the outflow of the rows directly above each row, ``[rows, ...]``."""
        return _sum_by_target(outflow, self.downstream)

    def accumulate(self, local: Tensor, share: Tensor) -> Tensor:
        """Solve ``x = local + share * inflow(x)``, ``[rows, ...]``.

        A triangular system, solved for all rows at once: round k adds what comes from
        2**(k-1) to 2**k - 1 reaches upstream, so a network of n levels needs log2(n) rounds.
        Nothing is subtracted: with non-negative `local` and `share` no term of the sum cancels.
        """
        if not len(self.jumps):
            return local
        total = local
        weight = _select(share, self.downstream)
        for k, jump in enumerate(self.jumps):
            total = total + _sum_by_target(weight * total, jump)
            if k + 1 < len(self.jumps):
                weight = weight * _select(weight, jump)
        return total


def river_static(downstream: Tensor, lake: Tensor | None = None) -> dict[str, Tensor]:
    """Make the tensors of a network that a routing model needs in `static`.

    Parameters
    ----------
    downstream : Tensor ``[rows]`` of int64
        Row that each reach flows into; -1 or `rows` where water leaves the network.
    lake : Tensor ``[rows]`` of bool, optional
        Reaches that water passes at once.

    Raises
    ------
    ValueError
        If a row flows into one that does not exist, or the network has a loop.
    """
    rows = len(downstream)
    downstream = torch.where(downstream < 0, rows, downstream.to(torch.int64))
    if rows and int(downstream.max()) > rows:
        raise ValueError(f"row {int(downstream.argmax())} flows into row {int(downstream.max())} of {rows}")
    end = downstream.new_full((1,), rows)
    jumps = []
    jump = downstream
    while (jump < rows).any():
        jumps.append(jump)
        if 2 ** (len(jumps) - 1) > rows:
            raise ValueError(f"row {int((jump < rows).nonzero()[0])} is in a loop, or flows into one")
        jump = torch.cat([jump, end])[jump]
    static = {DOWNSTREAM: downstream, JUMPS: torch.stack(jumps) if jumps else downstream.new_empty(0, rows)}
    return static if lake is None else {**static, LAKE: lake}


def _sum_by_target(values: Tensor, target: Tensor) -> Tensor:
    """Add up `values` over the rows with the same target; what leaves the network is dropped."""
    sums = values.new_zeros(values.shape[0] + 1, *values.shape[1:]).index_add(0, target, values)
    return sums[:-1]


def _select(values: Tensor, source: Tensor) -> Tensor:
    """Select `values` of the source rows, 0 outside the network."""
    outside = values.new_zeros(1, *values.shape[1:])
    return torch.cat([values, outside]).index_select(0, source)
