"""Choice of the engine for a configuration."""

from __future__ import annotations

import logging
from typing import Literal

import torch

from ...model.bundle import BundleInfo
from ...model.delta_model import DeltaModel
from ...physics import State
from .aot import find
from .cuda_graph import CudaGraphEngine
from .eager import Eager, Engine
from .substeps import SubstepEngine

log = logging.getLogger("dmg_bmi")


def make_engine(
    name: Literal["auto", "eager", "compiled"],
    model: DeltaModel,
    info: BundleInfo,
    device: str = "cpu",
    graph: State | None = None,
) -> Engine:
    """Make the engine that a configuration names; ``auto`` is the compiled step if present, else eager.

    With a `graph`, by which rows act on each other, it is the compiled sub-step. On a GPU any but
    ``eager`` is recorded and replayed.

    Nothing is compiled here: ``dmg-bmi compile`` does that before.
    """
    eager = Eager(model)
    if name == "eager":
        return eager
    package: Engine | None = SubstepEngine.find(info, model, device, graph) if graph else find(info, device)
    if package is None and name == "compiled":
        log.warning(
            "%s: there is no compiled step; run `dmg-bmi compile` first. Going on eagerly",
            info.name,
        )
    engine = eager if package is None else package
    log.debug("%s: its steps are those of %s", info.name, type(engine).__name__)
    return CudaGraphEngine(engine) if torch.device(device).type == "cuda" else engine
