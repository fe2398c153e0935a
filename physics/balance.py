"""Is anything lost? Storage and closure of what a model declares to conserve."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .contract import Balance, ProcessModel, State


def storage(model: ProcessModel, state: State, balance: Balance) -> Tensor:
    """What `state` holds of a conserved quantity, ``[rows]``, components averaged, queues summed."""
    total = torch.zeros(())
    for variable in model.declaration.states:
        if variable.name not in balance.stored:
            continue
        values = state[variable.name]
        own = variable.shape[variable.components :]
        if own:
            axes = tuple(range(-len(own), 0))
            values = values.mean(axes) if variable.reduce == "mean" else values.sum(axes)
        if variable.components:
            values = values.mean(tuple(range(-variable.components, 0)))
        total = total + values
    return total


def supplied(balance: Balance, forcing: Mapping[str, Tensor], fluxes: Mapping[str, Tensor]) -> Tensor:
    """What went in, by forcing and declared exchange; series in, series out."""
    return _total([forcing[n] for n in balance.into] + [fluxes[n] for n in balance.exchange])


def withdrawn(balance: Balance, fluxes: Mapping[str, Tensor]) -> Tensor:
    """What left by the declared fluxes; series in, series out."""
    return _total([fluxes[name] for name in balance.out])


def _total(terms: list[Tensor]) -> Tensor:
    return torch.stack(terms).sum(0) if terms else torch.zeros(())


def residual(
    model: ProcessModel,
    balance: Balance,
    forcing: Mapping[str, Tensor],
    fluxes: Mapping[str, Tensor],
    before: State,
    after: State,
) -> Tensor:
    """In + exchange - out - change of storage over a sequence, ``[rows]``; zero when closed.

    Parameters
    ----------
    forcing, fluxes : mapping of name to Tensor ``[time, rows]``
    before, after : State
        Around the sequence.
    """
    change = storage(model, after, balance) - storage(model, before, balance)
    return supplied(balance, forcing, fluxes).sum(0) - withdrawn(balance, fluxes).sum(0) - change
