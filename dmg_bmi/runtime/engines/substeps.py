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
    """Return the model with steps as short as its sub-steps, and how many of them make a step.

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
    """Engine that runs a compiled sub-step as often as a step has; fluxes aggregate as declared.

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
        """Return the engine for a bundle and the depth of a network, if it was compiled."""
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
        series: list[dict[str, Tensor]] = []
        for t in range(len(next(iter(forcing.values())))):
            now = {name: values[t : t + 1] for name, values in forcing.items()}
            total: dict[str, Tensor] = {}
            for _ in range(self._count):
                fluxes, state = self._package.run(now, constants, state, outputs)
                total = {
                    name: total[name] + value if name in total and name in self._sums else value
                    for name, value in fluxes.items()
                }
            series.append(total)
        if len(series) == 1:
            return series[0], state
        return {name: torch.cat([fluxes[name] for fluxes in series]) for name in series[0]}, state
