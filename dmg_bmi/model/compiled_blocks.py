"""Blocks of steps compiled by PyTorch: once per model, kept on disk for later processes.

The model's own code is compiled, for any number of rows. A model that cannot be compiled, and with
gradients the rest at the end of a sequence, run eagerly with the same results.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from time import perf_counter
from types import FunctionType

import torch
from torch import Tensor, nn

from ..errors import DmgBmiError
from ..io.private_folders import cache_base, private_compiler_cache
from ..physics import ProcessModel, State
from ..physics.contract import NO_PROCESSES, ProcessFunction
from . import aot_cache

log = logging.getLogger("dmg_bmi")

Processes = Mapping[str, ProcessFunction]
Function = Callable[[Processes, list[Tensor]], Sequence[Tensor]]
#: Lengths of blocks: twice as many steps gain little and compile twice as long. The code of a gradient is
#: several times as long, and whole years leave little rest, which runs eagerly there.
LENGTHS, LENGTHS_WITH_GRADIENT = (10, 1), (5,)
#: Of forcing, dynamic parameters, state, parameters and static, in this order.
Names = tuple[tuple[str, ...], ...]


class CompiledBlocks:
    """A :class:`~dmg_bmi.physics.run.BlockRunner`; nothing is compiled before a block runs."""

    @property
    def lengths(self) -> tuple[int, ...]:
        """Return the lengths of blocks, falling."""
        return LENGTHS_WITH_GRADIENT if torch.is_grad_enabled() else LENGTHS

    def __call__(
        self,
        model: ProcessModel,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        dynamic: Mapping[str, Tensor],
        processes: Processes,
        outputs: Collection[str],
    ) -> tuple[dict[str, Tensor], State]:
        """Run a compiled block, see :meth:`ProcessModel.run`."""
        groups = (forcing, dynamic, state, parameters, static)
        names = tuple(tuple(group) for group in groups)
        # Compiled code assumes contiguous strides.
        tensors = [tensor.contiguous() for group in groups for tensor in group.values()]
        gradient = torch.is_grad_enabled() and any(t.requires_grad for t in tensors)
        if gradient:
            # As the state after the first block has a gradient, so must the first; one function serves all.
            first = len(forcing) + len(dynamic)
            last = first + len(state)
            tensors[first:last] = map(_with_gradient, tensors[first:last])
        kinds = tuple(
            (t.dtype, t.shape[1 + (k < len(forcing) + len(dynamic)) :]) for k, t in enumerate(tensors)
        )
        modes = (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), tensors[0].device.type)
        steps = len(next(iter(forcing.values())))
        what = (repr(model.describe()), dt, names, kinds, tuple(outputs))
        kind = (type(model), what, tuple(processes), gradient, modes)
        key = (*kind, steps)
        if key not in _BLOCKS:
            block = _Block(model, dt, names, tuple(outputs))
            compiled = (
                None if kind in _EAGER else _compile(block, processes, tensors, gradient, repr((what, steps)))
            )
            if compiled is None:
                _EAGER.add(kind)
            _BLOCKS[key] = compiled or (lambda processes, tensors: block(*tensors, processes=processes))
        results = _BLOCKS[key](processes, tensors)
        n = len(outputs)
        return dict(zip(outputs, results[:n], strict=True)), dict(zip(state, results[n:], strict=True))


_BLOCKS: dict[tuple[object, ...], Function] = {}
#: What could not be compiled: blocks of another length are not tried.
_EAGER: set[tuple[object, ...]] = set()


class _Block(nn.Module):
    """A block of a model as a function of a flat list of tensors, to outputs and the state after it."""

    def __init__(self, model: ProcessModel, dt: float, names: Names, outputs: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.dt, self.names, self.outputs = model, dt, names, outputs

    def forward(self, *tensors: Tensor, processes: Processes = NO_PROCESSES) -> tuple[Tensor, ...]:
        rest = iter(tensors)
        forcing, dynamic, state, parameters, static = (
            {name: next(rest) for name in group} for group in self.names
        )
        fluxes, new = self.model.run(
            forcing, state, parameters, static, self.dt, dynamic, processes, self.outputs
        )
        return (
            *(fluxes[name] for name in self.outputs),
            *(new.get(name, old) for name, old in state.items()),
        )

    @property
    def series(self) -> int:
        """Return how many of the tensors have time first, before rows."""
        return len(self.names[0]) + len(self.names[1])


def _compile(
    block: _Block, processes: Processes, tensors: list[Tensor], gradient: bool, what: str
) -> Function | None:
    """Compile the block, or return None and log why.

    With gradients, or with networks inside the step, whose weights may change, `torch.compile`
    is used. Otherwise it is compiled ahead of time, which is cheaper to reload and to call.
    """
    name = block.model.declaration.name
    try:
        if reason := _obstacle(block.model, tensors[0].device.type):
            raise DmgBmiError(reason)
        if gradient or processes:
            return _trace(block, processes, tensors)
        return _compile_ahead(block, tensors, what)
    except (DmgBmiError, RuntimeError, OSError) as problem:
        text = (str(problem).strip() or type(problem).__name__).splitlines()[0]
        log.warning("%s: not compiled (%s); using the eager engine", name, text)
        return None


def _obstacle(model: ProcessModel, device: str) -> str | None:
    """Return why a model is not even tried, if so."""
    if model.declaration.graph:
        return "its rows act on each other along a graph"
    if any(True for _ in (*model.parameters(), *model.buffers())):
        return "it holds tensors of its own"
    return aot_cache.missing_compiler(device)


def _compile_ahead(block: _Block, tensors: list[Tensor], what: str) -> Function:
    """Load the block from the cache, or compile it into the cache first."""
    device = tensors[0].device.type
    key = aot_cache.key(block, device, block=what)
    folder = cache_base() / "blocks" / key[:32]
    loaded = aot_cache.load(folder, key) if (folder / aot_cache.INDEX).is_file() else "not found"
    if isinstance(loaded, str):
        with _LogTime(block, len(tensors[0]), "once for this user"):
            axes = [int(k < block.series) for k in range(len(tensors))]
            example = [_example(t, axis) for t, axis in zip(tensors, axes, strict=True)]
            aot_cache.build(block, example, axes, folder, {"key": key}, device)
        loaded = aot_cache.load(folder, key)
    if isinstance(loaded, str):
        raise DmgBmiError(loaded)
    run = loaded[0]
    return lambda processes, tensors: run(tensors)


def _example(tensor: Tensor, axis: int) -> Tensor:
    shape = list(tensor.shape)
    shape[axis] = 3
    return tensor.new_ones(shape)


def _trace(block: _Block, processes: Processes, tensors: list[Tensor]) -> Function:
    """Compile by `torch.compile`, which also keeps its results in the user's private cache."""
    private_compiler_cache()

    def function(processes: Processes, tensors: list[Tensor]) -> Sequence[Tensor]:
        return block(*tensors, processes=processes)

    # PyTorch counts and looks up compiled code by code object, so each block gets its own.
    distinct = FunctionType(
        function.__code__.replace(), function.__globals__, function.__name__, None, function.__closure__
    )
    compiled: Function = torch.compile(distinct, fullgraph=True, options={"size_asserts": False})
    for k, tensor in enumerate(tensors):
        torch._dynamo.maybe_mark_dynamic(tensor, int(k < block.series))
    with _LogTime(block, len(tensors[0]), "with its gradient; later processes reload it in seconds"):
        compiled(processes, tensors)
    return compiled


class _LogTime:
    """A context that logs what is compiled, and how long it took."""

    def __init__(self, block: _Block, steps: int, how: str) -> None:
        self.name, self.steps, self.how, self.begin = block.model.declaration.name, steps, how, 0.0

    def __enter__(self) -> None:
        log.info("%s: compiling blocks of %d steps, %s; up to a minute ...", self.name, self.steps, self.how)
        self.begin = perf_counter()

    def __exit__(self, *problem: object) -> None:
        if problem[0] is None:
            log.info("%s: compiled in %.0f s", self.name, perf_counter() - self.begin)


def _with_gradient(tensor: Tensor) -> Tensor:
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    return tensor.detach().requires_grad_()
