"""Is anything lost? Storage and closure of what a model declares to conserve."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from .contract import Balance, ProcessModel, State


def storage(model: ProcessModel, state: State, balance: Balance) -> Tensor:
    """What `state` holds of a conserved quantity, ``[rows]``, components averaged, queues summed."""
    total = 0.0
    for variable in model.declaration.states:
        if variable.name not in balance.stored:
            continue
        values = state[variable.name]
        if variable.shape:
            axes = tuple(range(-len(variable.shape), 0))
            values = values.mean(axes) if variable.reduce == "mean" else values.sum(axes)
        total = total + values
    return total


def supplied(balance: Balance, forcing: Mapping[str, Tensor], fluxes: Mapping[str, Tensor]) -> Tensor:
    """What went in, by forcing and declared exchange; series in, series out."""
    return sum(forcing[name] for name in balance.into) + sum(fluxes[name] for name in balance.exchange)


def withdrawn(balance: Balance, fluxes: Mapping[str, Tensor]) -> Tensor:
    """What left by the declared fluxes; series in, series out."""
    return sum(fluxes[name] for name in balance.out)


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
