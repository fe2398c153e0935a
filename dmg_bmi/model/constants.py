"""Constants of a process model: all that attributes and fixed values determine, computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..physics import Declaration, ProcessModel, State
from .roles.parameters import multiply

#: What fixes a parameter: one value in all rows, the attribute that gives it, or an attribute for each of
#: its components.
Source = float | str | Sequence[str]


def process_constants(
    model: ProcessModel,
    learned: State,
    attributes: Mapping[str, Tensor],
    fixed: Mapping[str, Source],
    multipliers: Mapping[str, Tensor],
    n: int,
    dtype: torch.dtype,
    dt: float,
) -> State:
    """Compute the constants of one process model, under the names of its declaration.

    Parameters
    ----------
    model : ProcessModel
    learned : State
        Parameters that networks derive from attributes alone.
    attributes : mapping of name to Tensor ``[rows]``
        And the graph.
    fixed : mapping of str to Source
        Values of parameters, or attributes that give them.
    multipliers : mapping of name to Tensor ``[rows]``
        Factors on learned parameters.
    n : int
        Rows.
    dtype : torch.dtype
        Of fixed parameters.
    dt : float
        Days.

    Returns
    -------
    State
        Parameters; derived tensors; ``static.<name>`` of attributes and graph; ``multiplier.<name>``
        of parameters that change in time.
    """
    declaration = model.declaration
    constants = {**learned, **_static(declaration, attributes)}
    constants |= _fixed_parameters(declaration, fixed, attributes, n, dtype)
    for parameter in declaration.parameters:
        name = parameter.name
        if name in multipliers and name in constants:
            constants[name] = multiply(constants[name], multipliers[name], parameter)
        elif name in multipliers:
            constants[f"multiplier.{name}"] = multipliers[name]
    if declaration.derived and all(p in constants for ps in declaration.derived.values() for p in ps):
        constants |= model.derive(constants, dt)
    return constants


def source_names(source: Source) -> tuple[str, ...]:
    """Return the attributes that fix a parameter; none if a value does."""
    if isinstance(source, str):
        return (source,)
    return tuple(source) if isinstance(source, Sequence) else ()


def _static(declaration: Declaration, attributes: Mapping[str, Tensor]) -> State:
    names = [attribute.name for attribute in declaration.attributes]
    names += [name for name in declaration.graph if name in attributes]
    return {f"static.{name}": attributes[name] for name in names}


def _fixed_parameters(
    declaration: Declaration,
    fixed: Mapping[str, Source],
    attributes: Mapping[str, Tensor],
    n: int,
    dtype: torch.dtype,
) -> State:
    device = next((t.device for t in attributes.values()), torch.device("cpu"))
    parameters: State = {}
    for parameter in declaration.parameters:
        if parameter.name in fixed:
            names = source_names(fixed[parameter.name])
            if len(names) > 1:
                values = torch.stack([attributes[name] for name in names], dim=-1).to(device, dtype)
                parameters[parameter.name] = values.reshape(n, *parameter.shape)
                continue
            values = attributes[names[0]] if names else torch.tensor(fixed[parameter.name], dtype=dtype)
            values = values.to(device, dtype).reshape(-1, *(1 for _ in parameter.shape))
            parameters[parameter.name] = values.expand(n, *parameter.shape).clone()
    return parameters
