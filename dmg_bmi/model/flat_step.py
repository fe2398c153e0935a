"""One step of a model as a function of a flat list of tensors, for compilers and exporters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .delta_model import DeltaModel


@dataclass(frozen=True)
class Signature:
    """Names of the tensors that a flat step takes and gives, in order."""

    forcing: tuple[str, ...]
    constants: tuple[str, ...]
    state: tuple[str, ...]
    fluxes: tuple[str, ...]
    renewed: tuple[str, ...]


NO_SIGNATURE = Signature((), (), (), (), ())


class FlatStep(nn.Module):
    """One step of a model on a flat list of tensors: forcing, state, constants."""

    def __init__(self, model: DeltaModel, signature: Signature) -> None:
        super().__init__()
        self.model, self.signature = model, signature

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return fluxes, then the renewed state."""
        s, rest = self.signature, iter(tensors)
        forcing, state, constants = (
            {k: next(rest) for k in names} for names in (s.forcing, s.state, s.constants)
        )
        fluxes, new = self.model.run(forcing, constants, state)
        return (*(fluxes[k] for k in s.fluxes), *(new[k] for k in s.renewed))


def example_of_step(
    model: DeltaModel, device: str, n: int, graph: Mapping[str, Tensor]
) -> tuple[tuple[Tensor, ...], Signature]:
    """Return the arguments of a step of `n` rows, and the names of what goes in and comes out."""
    attributes = {k: torch.ones(n, dtype=torch.float64, device=device) for k in model.attribute_names}
    attributes |= {k: tensor.to(device) for k, tensor in graph.items()}
    forcing = {k: torch.ones(1, n, dtype=torch.float64, device=device) for k in model.forcing_names}
    with torch.no_grad():
        constants = model.precompute(attributes, n)
        state = model.init_state(n, device=device)
        fluxes, new = model.run(forcing, constants, state)
    signature = Signature(tuple(forcing), tuple(constants), tuple(state), tuple(fluxes), tuple(new))
    arguments = (*forcing.values(), *state.values(), *constants.values())
    return tuple(tensor.contiguous() for tensor in arguments), signature
