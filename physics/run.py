"""A sequence of steps, from what is given for it."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from torch import Tensor

from .contract import NO_PROCESSES, ProcessFunction, ProcessModel, State


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
) -> tuple[dict[str, Tensor], State]:
    """Step `model` through a sequence, by :meth:`ProcessModel.run`.

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

    Returns
    -------
    fluxes : dict of name to Tensor ``[time, rows]``
    state : State
        After the last step.
    """
    parameters, dynamic = _with_derived(model, parameters, dynamic or {}, dt)
    wanted = [f.name for f in model.declaration.fluxes if outputs is None or f.name in outputs]
    return model.run(forcing, state, parameters, static, dt, dynamic, processes, wanted)


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
