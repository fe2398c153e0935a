"""Process models written in JAX, with gradients through both platforms (extra ``jax``).

Importing this module turns on JAX's 64-bit mode for the process, since physics runs in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import torch
from torch import Tensor

from ..errors import ConfigError
from ..physics import ProcessModel, State
from ..physics.contract import NO_PROCESSES, ProcessFunction

try:
    import jax
except ImportError as problem:
    raise ImportError("process models in JAX require it: pip install 'dmg_bmi[jax]'") from problem

jax.config.update("jax_enable_x64", True)

Arrays = dict[str, jax.Array]
#: Names of the tensors that go in: forcing, state, parameters, static.
Names = tuple[tuple[str, ...], ...]


class JaxProcessModel(ProcessModel):
    """Base of a process model whose equations are JAX.

    A subclass sets ``declaration`` and writes :meth:`equations` with ``jax.numpy``; everything
    else, such as networks, parallel components, routing and BMI, works as for any process model. It
    runs in the eager engine only, and no network can replace one of its processes.
    """

    @staticmethod
    def equations(
        forcing: Arrays, state: Arrays, parameters: Arrays, static: Arrays, dt: float
    ) -> tuple[Arrays, Arrays]:
        """Advance one step on JAX arrays: as :meth:`ProcessModel.step`, pure, traceable by ``jax.jit``.

        Returns
        -------
        state, fluxes : dict of name to array
            All that are declared.
        """
        raise NotImplementedError

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Advance one step by :meth:`equations`."""
        if processes:
            raise ConfigError(f"{self.declaration.name}: a network cannot be inside a step written in JAX")
        states = tuple(s.name for s in self.declaration.states)
        groups = (forcing, {name: state[name] for name in states}, parameters, static)
        names = tuple(tuple(group) for group in groups)
        tensors = [tensor for group in groups for tensor in group.values()]
        pure = _flat(self.equations, names, states, tuple(f.name for f in self.declaration.fluxes), dt)
        results: tuple[Tensor, ...] = _Call.apply(pure, *tensors)  # type: ignore[no-untyped-call]
        return (
            dict(zip(states, results, strict=False)),
            {f.name: r for f, r in zip(self.declaration.fluxes, results[len(states) :], strict=True)},
        )


@cache
def _flat(
    equations: Callable[..., tuple[Arrays, Arrays]],
    names: Names,
    states: tuple[str, ...],
    fluxes: tuple[str, ...],
    dt: float,
) -> Callable[..., tuple[jax.Array, ...]]:
    """Make a function of flat arrays from the equations, compiled by JAX once per shape."""

    def pure(*arrays: jax.Array) -> tuple[jax.Array, ...]:
        rest = iter(arrays)
        forcing, state, parameters, static = ({name: next(rest) for name in group} for group in names)
        new, out = equations(forcing, state, parameters, static, dt)
        return (*(new[name] for name in states), *(out[name] for name in fluxes))

    return jax.jit(pure)


class _Call(torch.autograd.Function):
    """A JAX function as one node of PyTorch's graph."""

    @staticmethod
    def forward(ctx: Any, pure: Callable[..., Any], *tensors: Tensor) -> tuple[Tensor, ...]:
        arrays = [_to_jax(tensor) for tensor in tensors]
        if any(ctx.needs_input_grad):
            results, ctx.backwards = jax.vjp(pure, *arrays)
        else:
            results = pure(*arrays)
        return tuple(_to_torch(result) for result in results)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        sources = ctx.backwards(tuple(_to_jax(gradient) for gradient in gradients))
        return (None, *(_to_torch(source) for source in sources))


def _to_jax(tensor: Tensor) -> jax.Array:
    return jax.dlpack.from_dlpack(tensor.detach().contiguous())


def _to_torch(array: jax.Array) -> Tensor:
    # JAX may reuse the memory.
    return torch.utils.dlpack.from_dlpack(array).clone()
