"""Engine for a GPU: what another engine does is recorded once as a CUDA graph, then replayed in one launch.

A step is hundreds of small operations, and launching one costs a GPU more than a thousand rows do.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from torch import Tensor

from ...physics import State
from .eager import Engine

log = logging.getLogger("dmg_bmi")
#: From a function of no arguments to what it gave, and what computes that anew in the same tensors.
Recorder = Callable[[Callable[[], list[Tensor]]], tuple[list[Tensor], Callable[[], None]]]
#: Numbers of rows for which a recording is kept: each holds the memory of a step.
KEPT = 4
#: Runs before a recording, in which libraries set up what they need and choose their kernels.
TRIALS = 3


def cuda_graph(function: Callable[[], list[Tensor]]) -> tuple[list[Tensor], Callable[[], None]]:
    """Record what `function` does on the GPU.

    Raises
    ------
    RuntimeError
        If it asks for a value on the way, or does something else that cannot be recorded.
    """
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(TRIALS):
            function()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        results = function()
    return results, graph.replay


class CudaGraphEngine:
    """Runs the recorded steps of another engine; what cannot be recorded runs by that engine itself.

    Parameters
    ----------
    engine : Engine
    record : Recorder
    """

    def __init__(self, engine: Engine, record: Recorder = cuda_graph) -> None:
        self.engine, self._record = engine, record
        self._recordings: dict[object, _Recording] = {}
        self._able = True

    @torch.inference_mode()
    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """See :class:`dmg_bmi.runtime.engines.eager.Engine`."""
        arguments = forcing, constants, state
        shapes = tuple((name, t.shape) for group in arguments for name, t in group.items())
        kind = shapes, None if outputs is None else tuple(outputs)
        with torch.cuda.device_of(next(iter(forcing.values()))):
            if self._able and kind not in self._recordings:
                if len(self._recordings) == KEPT:
                    del self._recordings[next(iter(self._recordings))]
                try:
                    self._recordings[kind] = _Recording(self.engine, self._record, *arguments, outputs)
                except RuntimeError as problem:
                    self._able = False
                    reason = (str(problem).strip() or type(problem).__name__).splitlines()[0]
                    log.warning("a step cannot be recorded as a CUDA graph (%s); going on without", reason)
            if self._able:
                return self._recordings[kind].replay(*arguments)
        return self.engine.run(*arguments, outputs)


class _Recording:
    """Steps of some number of rows: tensors that stay in place, and what computes between them."""

    def __init__(
        self,
        engine: Engine,
        record: Recorder,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None,
    ) -> None:
        self._prepared = constants
        self._forcing, self._state, self._constant = (
            {name: torch.clone(t, memory_format=torch.contiguous_format) for name, t in group.items()}
            for group in (forcing, state, constants)
        )
        #: Names of fluxes, and of what a step renews of the state; the rest stays what was given.
        self._fluxes: tuple[str, ...] = ()
        self._renewed: tuple[str, ...] = ()

        def steps() -> list[Tensor]:
            fluxes, after = engine.run(self._forcing, self._constant, self._state, outputs)
            renewed = {name: t for name, t in after.items() if t is not self._state.get(name)}
            self._fluxes, self._renewed = (*fluxes,), (*renewed,)
            return [*fluxes.values(), *renewed.values()]

        self._results, self._replay = record(steps)

    def replay(
        self, forcing: Mapping[str, Tensor], constants: State, state: State
    ) -> tuple[dict[str, Tensor], State]:
        """Return the fluxes and the state after the block, in tensors of their own."""
        _copy(self._forcing, forcing)
        _copy(self._state, state)
        if constants is not self._prepared:
            _copy(self._constant, constants)
            self._prepared = constants
        self._replay()
        fresh = [torch.empty_like(t) for t in self._results]
        _copy_all(fresh, self._results)
        fluxes = dict(zip(self._fluxes, fresh, strict=False))
        return fluxes, {**state, **dict(zip(self._renewed, fresh[len(fluxes) :], strict=True))}


def _copy(into: State, source: Mapping[str, Tensor]) -> None:
    _copy_all([*into.values()], [source[name] for name in into])


def _copy_all(into: Sequence[Tensor], source: Sequence[Tensor]) -> None:
    """Copy tensors in as few launches as there are dtypes."""
    by_dtype: dict[torch.dtype, tuple[list[Tensor], list[Tensor]]] = {}
    for target, origin in zip(into, source, strict=True):
        targets, sources = by_dtype.setdefault(target.dtype, ([], []))
        targets.append(target)
        sources.append(origin)
    for targets, sources in by_dtype.values():
        torch._foreach_copy_(targets, sources)
