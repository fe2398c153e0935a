"""The compiled engine of a model of a river network: one sub-step, compiled once, repeated."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from ...model.bundle import BundleInfo
from ...model.delta_model import DeltaModel
from ...physics import State
from .aot import AotEngine, find


def one_substep(info: BundleInfo) -> tuple[BundleInfo, int]:
    """The same model with steps as short as its sub-steps, and how many of them make a step.

    So compiling does not take as many times longer as there are sub-steps.
    """
    models = {key: dict(model) for key, model in info.description["phy_model"].items()}
    counts = {int(model.pop("substeps", 1)) for model in models.values()}
    count = counts.pop() if len(counts) == 1 else 1
    if count == 1:
        return info, 1
    shorter = {key: {**model, "substeps": 1} for key, model in models.items()}
    step = float(info.description["step"]) / count
    return replace(info, description={**info.description, "phy_model": shorter, "step": step}), count


class SubstepEngine:
    """Runs a compiled sub-step as many times as a step has; fluxes join as they are declared to.

    Parameters
    ----------
    package : AotEngine
    count : int
    model : DeltaModel
    """

    def __init__(self, package: AotEngine, count: int, model: DeltaModel) -> None:
        self._package, self._count = package, count
        self._sums = {f.name for f in model.declaration.fluxes if f.aggregation == "sum"}

    @classmethod
    def find(cls, info: BundleInfo, model: DeltaModel, device: str, graph: State) -> SubstepEngine | None:
        """The engine for a bundle and the depth of a network, if it was compiled."""
        shorter, count = one_substep(info)
        package = find(shorter, device, graph)
        return None if package is None else cls(package, count, model)

    @torch.inference_mode()
    def run(
        self,
        forcing: Mapping[str, Tensor],
        constants: State,
        state: State,
        outputs: Collection[str] | None = None,
    ) -> tuple[dict[str, Tensor], State]:
        """See :class:`dmg_bmi.runtime.engines.eager.Engine`."""
        kept: list[dict[str, Tensor]] = []
        for t in range(len(next(iter(forcing.values())))):
            now = {name: values[t : t + 1] for name, values in forcing.items()}
            joined: dict[str, Tensor] = {}
            for _ in range(self._count):
                fluxes, state = self._package.run(now, constants, state, outputs)
                joined = {
                    name: joined[name] + value if name in joined and name in self._sums else value
                    for name, value in fluxes.items()
                }
            kept.append(joined)
        if len(kept) == 1:
            return kept[0], state
        return {name: torch.cat([fluxes[name] for fluxes in kept]) for name in kept[0]}, state
