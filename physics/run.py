"""Sequences of steps, run in blocks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from .contract import NO_PROCESSES, ProcessFunction, ProcessModel, State

#: Steps of a block that runs by the model's own code.
BLOCK = 8


class BlockRunner(Protocol):
    """A callable that runs a block of steps: the model, then the arguments of :meth:`ProcessModel.run`."""

    @property
    def lengths(self) -> Sequence[int]:
        """Return the lengths of its blocks, falling; what they leave runs by the model's own code."""
        ...

    def __call__(
        self,
        model: ProcessModel,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        dynamic: Mapping[str, Tensor],
        processes: Mapping[str, ProcessFunction],
        outputs: Collection[str],
    ) -> tuple[dict[str, Tensor], State]:
        """Return the fluxes of the block and the state after it."""
        ...


def run(
    model: ProcessModel,
    forcing: Mapping[str, Tensor],
    state: State,
    parameters: Mapping[str, Tensor],
    static: Mapping[str, Tensor],
    dt: float,
    *,
    dynamic: Mapping[str, Tensor] | None = None,
    processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    outputs: Collection[str] | None = None,
    block: BlockRunner | None = None,
) -> tuple[dict[str, Tensor], State]:
    """Step `model` through a sequence, block by block by :meth:`ProcessModel.run`.

    Parameters
    ----------
    forcing : mapping of name to Tensor ``[time, rows]``
    state : State
        Before the first step; not changed.
    parameters : mapping of name to Tensor ``[rows, *shape]``
        Constant over the sequence.
    static, dt, processes
        As in :meth:`ProcessModel.step`.
    dynamic : mapping of name to Tensor ``[time, rows, *shape]``
        Parameters with a value for each step.
    outputs : collection of str, optional
        Fluxes to keep; all by default.
    block : BlockRunner, optional
        Runs whole blocks in place of the model's own code.

    Returns
    -------
    fluxes : dict of name to Tensor ``[time, rows]``
    state : State
        After the last step.
    """
    parameters, dynamic = _with_derived(model, parameters, dynamic or {}, dt)
    names = [f.name for f in model.declaration.fluxes if outputs is None or f.name in outputs]
    length = len(next(iter(forcing.values()), ()))
    lengths = () if block is None or model.sequence_only else block.lengths
    cuts = [length] if model.sequence_only or length <= 1 else _cuts(length, lengths)
    blocks: list[dict[str, Tensor]] = []
    for steps, now, varying in zip(cuts, _split(forcing, cuts), _split(dynamic, cuts), strict=True):
        runner = block if block is not None and steps in lengths else type(model).run
        fluxes, state = runner(model, now, state, parameters, static, dt, varying, processes, names)
        blocks.append(fluxes)
    if len(blocks) == 1:
        return blocks[0], state
    return {name: torch.cat([fluxes[name] for fluxes in blocks]) for name in names}, state


def _cuts(length: int, lengths: Sequence[int]) -> list[int]:
    """Cut a sequence into as many blocks of each of `lengths` as fit, and a rest of at most :data:`BLOCK`."""
    result: list[int] = []
    for steps in (*lengths, BLOCK):
        result += [steps] * (length // steps)
        length %= steps
    return [*result, length] if length else result


def _split(series: Mapping[str, Tensor], cuts: Sequence[int]) -> list[dict[str, Tensor]]:
    """Split series into one mapping per block.

    Splits instead of slicing: the backward of a slice fills a tensor as long as the sequence.
    """
    columns = [tensor.split(list(cuts)) for tensor in series.values()]
    return [dict(zip(series, column, strict=True)) for column in zip(*columns, strict=True)] or [
        {} for _ in cuts
    ]


def _with_derived(
    model: ProcessModel, parameters: Mapping[str, Tensor], dynamic: Mapping[str, Tensor], dt: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Add the derived tensors that are missing, once where their parameters are constant."""
    constant, varying = dict(parameters), dict(dynamic)
    declared = model.declaration.derived
    if all(name in constant or name in varying for name in declared):
        return constant, varying
    needed = {p for names in declared.values() for p in names}
    if needed & varying.keys():
        everything = {p: varying[p] if p in varying else constant[p].unsqueeze(0) for p in needed}
        varying |= model.derive(everything, dt)
    else:
        constant |= model.derive(constant, dt)
    return constant, varying
