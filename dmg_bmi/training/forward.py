"""Simulation of a batch of windows, and the reach of its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from ..model.delta_model import DeltaModel
from ..physics import State
from .data import Batch


def simulate(
    model: DeltaModel,
    batch: Batch,
    spin_up: int,
    spin_up_gradient: bool = False,
    tbptt: int = 0,
    activation_checkpointing: int = 0,
    outputs: Sequence[str] | None = None,
) -> dict[str, Tensor]:
    """Simulate a batch, and return the model's fluxes after the spin-up, ``[time, rows]``.

    Parameters
    ----------
    model : DeltaModel
    batch : Batch
    spin_up : int
        Steps before the first that is returned.
    spin_up_gradient : bool
        Let the gradient see the spin-up too.
    tbptt : int
        Cut the gradient's way through the states every so many steps (truncated
        backpropagation through time); 0 never does.
    activation_checkpointing : int
        Keep what the gradient needs of one block of so many steps at a time, and compute the
        block again when its turn comes; 0 keeps everything.
    outputs : sequence of str, optional
        Names of the fluxes; the targets of `batch` by default.
    """
    first = next(iter(batch.forcing.values()))
    time, rows = first.shape
    outputs = (*batch.target,) if outputs is None else (*outputs,)
    constants = model.precompute(batch.attributes, rows, dtype=first.dtype)
    state = model.init_state(rows, dtype=first.dtype, device=first.device)
    seen = 0 if spin_up_gradient else spin_up
    cut = {*range(seen + tbptt, time, tbptt)} if tbptt else set()
    blocks = {*range(seen, time, activation_checkpointing)} if activation_checkpointing else set()
    chunks = []
    for begin, end in pairwise(sorted({0, spin_up, time} | cut | blocks)):
        part = {name: values[begin:end] for name, values in batch.forcing.items()}
        if begin in cut:
            state = {name: values.detach() for name, values in state.items()}
        with torch.set_grad_enabled(torch.is_grad_enabled() and begin >= seen):
            if activation_checkpointing and begin >= seen:
                fluxes, state = _recomputed(model, part, constants, state, outputs)
            else:
                fluxes, state = model.run(part, constants, state, outputs)
        if begin >= spin_up:
            chunks.append(fluxes)
    return {name: torch.cat([chunk[name] for chunk in chunks]) for name in outputs}


def _recomputed(
    model: DeltaModel, forcing: Mapping[str, Tensor], constants: State, state: State, outputs: tuple[str, ...]
) -> tuple[dict[str, Tensor], State]:
    result: tuple[dict[str, Tensor], State] = checkpoint(
        model.run, forcing, constants, state, outputs, use_reentrant=False
    )
    return result


@contextmanager
def mixed_precision(model: DeltaModel, dtype: torch.dtype) -> Iterator[None]:
    """Run the networks' matrix products in `dtype`; their outputs and the equations stay float32.

    Stores of a thousand millimetres and rain of a tenth do not fit into the 8 bits of bfloat16.
    """
    entered: list[Any] = []

    def enter(network: torch.nn.Module, inputs: Any) -> None:
        context = torch.autocast(next(network.parameters()).device.type, dtype)
        context.__enter__()
        entered.append(context)

    def leave(network: torch.nn.Module, inputs: Any, output: Any) -> Any:
        entered.pop().__exit__(None, None, None)
        if output is None:  # the network raised an error
            return None
        outputs, state = output
        return outputs.float(), {name: v.to(_state_dtype(v)) for name, v in state.items()}

    with ExitStack() as stack:
        for network in model.networks.values():
            stack.callback(network.register_forward_pre_hook(enter).remove)
            stack.callback(network.register_forward_hook(leave, always_call=True).remove)
        yield


def _state_dtype(values: Tensor) -> torch.dtype:
    return torch.float32 if values.is_floating_point() else values.dtype
