"""Compiled steps: built once by ``dmg-bmi compile``, loaded in milliseconds.

A package never lives in a bundle: it lies in the user's private cache, or in a folder that the
user's environment trusts (`DMG_BMI_TRUSTED_COMPILED`), which no file can ask for. Where none can be
used, the eager engine gives the same answers.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import DmgBmiError
from ...io.private_folders import cache_base
from ...model import aot_cache
from ...model.aot_cache import INDEX, LIBRARY
from ...model.bundle import BundleInfo
from ...model.flat_step import NO_SIGNATURE, FlatStep, Signature, example_of_step
from ...model.spin_up import SpinUpModel, build_model
from ...nn_models.lstm_layer import fused
from ...physics import State
from ...physics.routing.network import JUMPS, LAKE, river_static

__all__ = ["INDEX", "LIBRARY", "AotEngine", "Signature", "build", "cache_folder", "find", "key"]

log = logging.getLogger("dmg_bmi")
NO_GRAPH: State = {}
#: Names folders of packages that may be loaded whoever owns them, as in the image of a container.
TRUSTED = "DMG_BMI_TRUSTED_COMPILED"
#: Of many rows, so many at a time: what a network of some hundred units makes of them fits a cache of 2 MB.
ROWS = 512


class AotEngine:
    """The engine of a compiled step.

    Parameters
    ----------
    step : callable
        From a flat list of tensors to another.
    index : mapping
        With its signature.
    together : bool
        Whether rows act on each other, so that all have to run at once.
    """

    def __init__(self, step: aot_cache.Flat, index: Mapping[str, Any], together: bool = False) -> None:
        self.signature = Signature(**{k: tuple(v) for k, v in index["signature"].items()})
        self._prepared: State = {}
        self._constant: list[Tensor] = []
        self._constant_parts: list[tuple[Tensor, ...]] = []
        self._step, self._together = step, together

    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """See :class:`dmg_bmi.runtime.engines.eager.Engine`."""
        s = self.signature
        if constants is not self._prepared:
            self._prepared = constants
            self._constant = [constants[k].contiguous() for k in s.constants]
            self._constant_parts = []
        series = [*map(forcing.__getitem__, s.forcing)]
        in_parts = series[0].shape[1] > ROWS and not self._together and series[0].is_cpu
        results = self._parts(series, state) if in_parts else self._steps(series, state, self._constant)
        fluxes = dict(zip(s.fluxes, results, strict=False))
        if outputs is not None:
            fluxes = {k: v for k, v in fluxes.items() if k in outputs}
        return fluxes, {**state, **dict(zip(s.renewed, results[len(s.fluxes) :], strict=True))}

    def _steps(self, series: list[Tensor], state: State, constant: list[Tensor]) -> list[Tensor]:
        """Return fluxes ``[time, rows]``, then the renewed state, in the order of the signature."""
        if len(series[0]) == 1:
            return self._one(series, state, constant)
        s, n, fluxes = self.signature, len(self.signature.fluxes), []
        result: list[Tensor] = []
        for now in zip(*(values.split(1) for values in series), strict=True):
            result = self._one(now, state, constant)
            state = {**state, **dict(zip(s.renewed, result[n:], strict=True))}
            fluxes.append(result[:n])
        return [*map(torch.cat, zip(*fluxes, strict=True)), *result[n:]]

    def _one(self, now: Sequence[Tensor], state: State, constant: list[Tensor]) -> list[Tensor]:
        arguments = (*now, *map(state.__getitem__, self.signature.state))
        # Compiled code takes the strides of its arguments for granted, and gives back views.
        return self._step([*map(Tensor.contiguous, arguments), *constant])

    @torch.inference_mode()
    def _parts(self, series: list[Tensor], state: State) -> list[Tensor]:
        """Do as :meth:`_steps`, some rows at a time, so that what is in between stays in cache."""
        rows, n, names = series[0].shape[1], len(self.signature.fluxes), self.signature.state
        count = -(-rows // ROWS)
        self._constant_parts = self._constant_parts or _parts_of(self._constant, count)
        states = _parts_of([state[k] for k in names], count)
        whole: list[Tensor] = []
        places: list[tuple[Tensor, ...]] = []
        for k, now in enumerate(_parts_of(series, count, axis=1)):
            before = dict(zip(names, states[k], strict=True))
            results = self._steps([*now], before, [*self._constant_parts[k]])
            if not whole:
                whole = [v.new_empty((len(v), rows)) for v in results[:n]]
                whole += [v.new_empty((rows, *v.shape[1:])) for v in results[n:]]
                fluxes, renewed = _parts_of(whole[:n], count, axis=1), _parts_of(whole[n:], count)
                places = [(*a, *b) for a, b in zip(fluxes, renewed, strict=True)]
            torch._foreach_copy_(places[k], results)
        return whole


def _parts_of(tensors: Sequence[Tensor], count: int, axis: int = 0) -> list[tuple[Tensor, ...]]:
    """Return views of `count` blocks of :data:`ROWS` rows; cut out one by one they cost a fifth of a step."""
    return [*zip(*(v.split(ROWS, axis) for v in tensors), strict=True)] or [()] * count


def build(info: BundleInfo, folder: Path, device: str = "cpu", graph: State = NO_GRAPH) -> Path:
    """Compile one step of a bundle's model, for any number of rows, into `folder`.

    Parameters
    ----------
    graph : mapping of name to Tensor
        Which rows act on which, of a model whose rows do. It is compiled for all graphs of that depth.

    Raises
    ------
    DmgBmiError
        If there is no compiler, compiling fails, or steps differ: of a model that spins itself up, or of
        a network that runs over a window.
    """
    model = info.load_model().to(device)
    if isinstance(model, SpinUpModel):
        raise DmgBmiError(f"{info.name}: spins itself up, in steps that differ; it runs eagerly, uncompiled")
    if any(network.has_window for network in model.networks.values()):
        raise DmgBmiError(
            f"{info.name}: a network runs over a window at each step; it runs eagerly, uncompiled"
        )
    n, similar = _small(graph)
    arguments, signature = example_of_step(model, device, n, similar)
    index = {"key": key(info, device, graph), "signature": asdict(signature)}
    axes = [tensor.shape.index(n) for tensor in arguments]
    try:
        with fused() if device == "cpu" else nullcontext():
            return aot_cache.build(FlatStep(model, signature), arguments, axes, folder, index, device)
    except DmgBmiError as problem:
        raise DmgBmiError(f"{info.name}: {problem}") from problem


def _small(graph: State) -> tuple[int, State]:
    """Return a small graph with as many rounds as this one, and its rows."""
    if not graph:
        return 3, {}
    chain = 2 ** graph[JUMPS].shape[0]
    n = chain + 3
    below = torch.arange(1, n + 1)
    below[chain - 1 :] = n
    return n, river_static(below, torch.zeros(n, dtype=torch.bool) if LAKE in graph else None)


def key(info: BundleInfo, device: str, graph: State = NO_GRAPH) -> str:
    """Compute a SHA-256 over everything that a package depends on; of a graph its tensors and rounds."""
    rounds = {name: graph[name].shape[0] if name == JUMPS else 1 for name in sorted(graph)}
    with torch.device("meta"):
        model = build_model(info.description)
    precision = info.network_precision
    step = FlatStep(model, NO_SIGNATURE)
    return aot_cache.key(step, device, bundle=info.fingerprint, graph=rounds, precision=precision)


def cache_folder(info: BundleInfo, device: str = "cpu", graph: State = NO_GRAPH) -> Path:
    """Return the folder of the user's own package of a bundle."""
    return cache_base() / "compiled" / key(info, device, graph)[:32]


def find(info: BundleInfo, device: str = "cpu", graph: State = NO_GRAPH) -> AotEngine | None:
    """Return the compiled step of a bundle if a usable one is present; one line says why not.

    Parameters
    ----------
    graph : mapping of name to Tensor
        As for :func:`build`.
    """
    cached = cache_folder(info, device, graph)
    trusted = [Path(folder) for folder in os.environ.get(TRUSTED, "").split(os.pathsep) if folder]
    folder = next((path for path in (*trusted, cached) if os.path.isfile(path / INDEX)), None)
    if folder is None:
        return None
    loaded = aot_cache.load(folder, key(info, device, graph), trusted=folder in trusted)
    if isinstance(loaded, str):
        log.warning("%s: the compiled step is not used: %s; going on with the eager engine", folder, loaded)
        return None
    return AotEngine(*loaded, together=bool(graph))
