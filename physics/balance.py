"""Storage and closure of the quantities that a model declares to conserve."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .contract import Balance, ProcessModel, State


def storage(model: ProcessModel, state: State, balance: Balance) -> Tensor:
    """Compute the storage of a conserved quantity, ``[rows]``: components averaged, queues summed."""
    total = torch.zeros(())
    for variable in model.declaration.states:
        if variable.name not in balance.stored:
            continue
        values = state[variable.name]
        axis_sizes = variable.shape[variable.components :]
        if axis_sizes:
            axes = tuple(range(-len(axis_sizes), 0))
            values = values.mean(axes) if variable.reduce == "mean" else values.sum(axes)
        if variable.components:
            values = values.mean(tuple(range(-variable.components, 0)))
        total = total + values
    return total


def mass_in(balance: Balance, forcing: Mapping[str, Tensor], fluxes: Mapping[str, Tensor]) -> Tensor:
    """Add up what enters by forcing and declared exchange, step by step."""
    return _sum([forcing[n] for n in balance.into] + [fluxes[n] for n in balance.exchange])


def mass_out(balance: Balance, fluxes: Mapping[str, Tensor]) -> Tensor:
    """Add up what leaves by the declared fluxes, step by step."""
    return _sum([fluxes[name] for name in balance.out])


def _sum(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum(0) if terms else torch.zeros(())


def residual(
    model: ProcessModel,
    balance: Balance,
    forcing: Mapping[str, Tensor],
    fluxes: Mapping[str, Tensor],
    before: State,
    after: State,
) -> Tensor:
    """Compute in + exchange - out - change of storage over a sequence, ``[rows]``; zero when closed.

    Parameters
    ----------
    forcing, fluxes : mapping of name to Tensor ``[time, rows]``
    before, after : State
        Before the first and after the last step.
    """
    change = storage(model, after, balance) - storage(model, before, balance)
    return mass_in(balance, forcing, fluxes).sum(0) - mass_out(balance, fluxes).sum(0) - change
