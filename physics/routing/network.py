"""A river network as tensors: which reach flows into which, and sums along the way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

#: Names in `static` of what is not per row or is no number; see :func:`river_static`.
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
    def of(cls, static: Mapping[str, Tensor], rows: int, device: torch.device) -> River:
        """From what :func:`river_static` made; reaches that nothing connects where it is missing."""
        downstream = static.get(DOWNSTREAM)
        if downstream is None:
            downstream = torch.full((rows,), rows, device=device)
        jumps = static.get(JUMPS)
        return cls(downstream, downstream.new_empty(0, rows) if jumps is None else jumps, static.get(LAKE))

    def inflow(self, outflow: Tensor) -> Tensor:
        """What reaches each row of the rows above it, ``[rows, ...]``."""
        return _gathered(outflow, self.downstream)

    def passed_on(self, own: Tensor, share: Tensor) -> Tensor:
        """Solve ``x = own + share * inflow(x)``, ``[rows, ...]``.

        A triangular system, solved for all rows at once: round k adds what comes from
        2**(k-1) to 2**k - 1 reaches upstream, so a network of n levels needs log2(n) rounds.
        Nothing is subtracted: with non-negative `own` and `share` no term of the sum cancels.
        """
        if not len(self.jumps):
            return own
        weight = _at(share, self.downstream)
        for k, jump in enumerate(self.jumps):
            own = own + _gathered(weight * own, jump)
            if k + 1 < len(self.jumps):
                weight = weight * _at(weight, jump)
        return own


def river_static(downstream: Tensor, lake: Tensor | None = None) -> dict[str, Tensor]:
    """The tensors that a routing model wants in `static` of a network.

    Parameters
    ----------
    downstream : Tensor ``[rows]`` of int64
        Row that each reach flows into; -1 or `rows` where water leaves the network.
    lake : Tensor ``[rows]`` of bool, optional
        Reaches that water passes at once.

    Raises
    ------
    ValueError
        If a row flows into one that does not exist, or in a circle.
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
            raise ValueError(f"row {int((jump < rows).nonzero()[0])} is in a circle, or flows into one")
        jump = torch.cat([jump, end])[jump]
    static = {DOWNSTREAM: downstream, JUMPS: torch.stack(jumps) if jumps else downstream.new_empty(0, rows)}
    return static if lake is None else {**static, LAKE: lake}


def _gathered(values: Tensor, target: Tensor) -> Tensor:
    """Sums of `values` over the rows with the same target; what leaves is dropped."""
    sums = values.new_zeros(values.shape[0] + 1, *values.shape[1:]).index_add(0, target, values)
    return sums[:-1]


def _at(values: Tensor, source: Tensor) -> Tensor:
    """`values` of the source rows, 0 outside the network."""
    outside = values.new_zeros(1, *values.shape[1:])
    return torch.cat([values, outside]).index_select(0, source)
