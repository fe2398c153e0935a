"""The misfit of a window to its observations, and its gradient by the state before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..model.delta_model import DeltaModel
from ..physics import State

FLOW = "Q"


def adjoint(
    model: DeltaModel,
    forcing: Mapping[str, Tensor],
    constants: State,
    state: State,
    observed: Tensor,
    error: Tensor,
    names: Sequence[str],
) -> tuple[Tensor, dict[str, Tensor]]:
    """Differentiate the cost of rows by the state before a window.

    The cost is half the sum over observed steps of ((simulated - observed) / error)^2.

    Parameters
    ----------
    model : DeltaModel
    forcing : mapping of name to Tensor ``[time, rows]``
        Of the window; no step is not allowed.
    constants : State
        Of :meth:`DeltaModel.precompute`.
    state : State
        Before the window.
    observed, error : Tensor ``[time, rows]``
        Flow in mm per step, NaN where missing, and its standard deviation.
    names : sequence of str
        States by which is differentiated.

    Returns
    -------
    cost : Tensor ``[rows]``
    gradients : dict of name to Tensor
        In the shapes of the states; one over their units.
    """
    with torch.inference_mode(False), torch.enable_grad():
        # Copies, since tensors of inference cannot be differentiated.
        leaves = {name: state[name].clone().requires_grad_() for name in names}
        before = {name: value.clone() for name, value in state.items()} | leaves
        fixed = {name: value.clone() for name, value in constants.items()}
        flow = model.run({n: v.clone() for n, v in forcing.items()}, fixed, before, (FLOW,))[0][FLOW]
        off = torch.where(observed.isnan(), 0.0, (flow - observed.nan_to_num()) / error)
        cost = 0.5 * off.square().sum(0)
        found = torch.autograd.grad(cost.sum(), [*leaves.values()], allow_unused=True, materialize_grads=True)
    return cost.detach(), dict(zip(leaves, found, strict=True))
