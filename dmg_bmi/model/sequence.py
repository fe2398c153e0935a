"""Process models run through a block of steps; those that share equations run together as rows of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..physics import ProcessModel, State, run
from ..physics.run import BlockRunner
from .roles.base import ForwardContext, Output, split_by_key


def run_process_models(
    models: Mapping[str, ProcessModel],
    context: ForwardContext,
    outputs: Sequence[Output] | None,
    dt: float,
    block: BlockRunner | None = None,
) -> None:
    """Run every process model through the block, and put its fluxes and new states into `context`.

    Parameters
    ----------
    models : mapping of key to ProcessModel
    context : ForwardContext
        With forcing, dynamic parameters and processes by model.
    outputs : sequence of Output, optional
        Fluxes to compute are those that these need; all by default.
    dt : float
        Days.
    block : BlockRunner, optional
        As for :func:`dmg_bmi.physics.run`.
    """
    constants, state = split_by_key(context.constants, models), split_by_key(context.state, models)
    for keys in _batchable_groups(models, context, constants):
        model = models[keys[0]]
        parameters = _stack_rows([constants[key] for key in keys])
        series, new = run(
            model,
            _stack_rows([context.driving[key] for key in keys], rows=1),
            _stack_rows([state[key] for key in keys]),
            parameters,
            _static(model, parameters),
            dt,
            dynamic=_stack_rows([context.dynamic[key] for key in keys], rows=1),
            processes=context.processes[keys[0]],
            outputs=None if outputs is None else {n for o in outputs for k, n in o.needs if k in keys},
            block=block,
        )
        for place, key in enumerate(keys):
            context.fluxes[key] |= _unstack_rows(series, place, len(keys), rows=1)
            context.new |= {
                f"{key}.{name}": value for name, value in _unstack_rows(new, place, len(keys)).items()
            }


def _static(model: ProcessModel, constants: Mapping[str, Tensor]) -> State:
    """Select attributes and graph of a model, named as it declares them."""
    names = (*(a.name for a in model.declaration.attributes), *model.declaration.graph)
    return {name: constants[f"static.{name}"] for name in names if f"static.{name}" in constants}


def _batchable_groups(
    models: Mapping[str, ProcessModel], context: ForwardContext, constants: Mapping[str, State]
) -> list[list[str]]:
    """Group the keys of process models that can run as rows of one, since a step costs by its calls."""
    if len(models) == 1:
        return [[*models]]
    groups: dict[object, list[str]] = {}
    for key, model in models.items():
        alone = model.declaration.graph or context.processes[key]
        # One module has the same equations for sure; two with equal descriptions need not.
        kind = key if alone else (id(model), *context.dynamic[key], *constants[key])
        groups.setdefault(kind, []).append(key)
    return [*groups.values()]


def _stack_rows(parts: Sequence[Mapping[str, Tensor]], rows: int = 0) -> dict[str, Tensor]:
    """Concatenate several mappings of tensors along their axis `rows`."""
    first = parts[0]
    return {**first} if len(parts) == 1 else {n: torch.cat([part[n] for part in parts], rows) for n in first}


def _unstack_rows(whole: Mapping[str, Tensor], place: int, count: int, rows: int = 0) -> dict[str, Tensor]:
    """Select one of the `count` mappings that :func:`_stack_rows` concatenated."""
    return {n: v.tensor_split(count, rows)[place] for n, v in whole.items()} if count > 1 else {**whole}
