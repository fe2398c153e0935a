"""Whether Manning's n is found again."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from dmg_bmi.physics.routing.muskingum_cunge import MuskingumCunge
from dmg_bmi.physics.routing.network import River
from rivers.networks import from_file, route, storm
from torch import Tensor


def twin(path: Path) -> None:
    """Find Manning's n again: a law of drained area from the gauges, then every reach from every reach."""
    network, inputs = from_file(path)
    parameters, static, area = inputs
    river = River.from_static(static, len(area), torch.device("cpu"))
    size = torch.log(river.accumulate(area, torch.ones_like(area)) / 100.0)
    gauges = sorted(set(network.gages.values()))
    model = MuskingumCunge(substeps=2)
    lateral = storm(area, 24, 4.0)
    with torch.no_grad():
        _, start = route(model, lateral[:1].expand(500, -1), inputs)

    def discharge(roughness: Tensor) -> Tensor:
        return route(model, lateral, ({**parameters, "n": roughness}, static, area), start)[0]["discharge"]

    def search(observed: Tensor, where: list[int], roughness: Callable[[Tensor], Tensor], first: Tensor):
        found = first.clone().requires_grad_()
        by = torch.optim.LBFGS([found], max_iter=400, tolerance_grad=0.0, line_search_fn="strong_wolfe")
        scale = observed[:, where].var(0) + 1e-9

        def misfit() -> Tensor:
            by.zero_grad()
            error = ((discharge(roughness(found)) - observed)[:, where] ** 2 / scale).mean()
            error.backward()
            return error

        begun = time.process_time()
        by.step(misfit)
        return roughness(found.detach()), time.process_time() - begun

    def law(x: Tensor) -> Tensor:
        return torch.exp(x[0] + x[1] * size)

    truth = law(torch.tensor([np.log(0.05), -0.08]))
    with torch.no_grad():
        observed = discharge(truth)
    first = torch.tensor([np.log(0.08), 0.0])
    found, took = search(observed, gauges, law, first)
    print(f"law of drained area from {len(gauges)} gauges: n off by {_off(found, truth)}, {took:.0f} s")

    g = torch.Generator().manual_seed(1)
    truth = 0.03 + 0.06 * torch.rand(len(area), generator=g, dtype=torch.float64)
    with torch.no_grad():
        observed = discharge(truth)
    everywhere = list(range(len(area)))
    found, took = search(observed, everywhere, torch.exp, torch.full_like(area, np.log(0.06)))
    print(f"{len(area)} reaches, each gauged: n off by {_off(found, truth)}, {took:.0f} s")


def _off(found: Tensor, truth: Tensor) -> str:
    error = (found / truth - 1).abs()
    return f"{error.median():.1e} (median), {error.quantile(0.95):.1e} (95 %), {error.max():.1e} (most)"
