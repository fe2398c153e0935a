"""What an analysis costs: processor seconds of 1,000 catchments with a window of 30 days, by method.

    python benchmarks/analysis.py [--catchments 1000] [--components 4 64]

HBV 1.1p with routing, as many parallel components as trained models have (`camels_ensemble`: 64), parameters
in mid-range, rain on a third of the days, flow observed every day. One thread.
"""

from __future__ import annotations

import argparse
import time

import torch

from dmg_bmi import DeltaModel
from dmg_bmi.forecast import Assimilation, analyse
from dmg_bmi.model.registry import build_process_model

WINDOW, METHODS = 30, ("variational", "ensemble", "particles")


def seconds(components: int, catchments: int, method: str) -> float:
    """Return the processor time of one analysis."""
    described = {"name": "hbv_1_1p", "nmul": components, "routing": 15}
    declared = build_process_model(described).declaration.parameters
    model = DeltaModel.build(phy_model=described, fixed={p.name: (p.lower + p.upper) / 2 for p in declared})
    generator = torch.Generator().manual_seed(0)
    rain = 30 * (torch.rand(WINDOW, catchments, generator=generator).double() - 0.67).clamp(min=0)
    forcing = {"P": rain, "T": torch.full_like(rain, 9.0), "PET": torch.full_like(rain, 1.5)}
    constants, state = model.precompute({}, catchments), model.init_state(catchments)
    with torch.inference_mode():
        fluxes, _ = model.run(forcing, constants, state, ("Q",))
    typical = torch.ones(catchments, dtype=torch.float64)
    begin = time.process_time()
    analyse(model, forcing, constants, state, 1.2 * fluxes["Q"] + 0.1, typical, Assimilation(method=method))
    return time.process_time() - begin


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--catchments", type=int, default=1000)
    parser.add_argument("--components", type=int, nargs="+", default=[4, 64])
    given = parser.parse_args()
    torch.set_num_threads(1)
    print("components  " + "  ".join(f"{method:>11}" for method in METHODS) + "   CPU seconds")
    for components in given.components:
        found = [seconds(components, given.catchments, method) for method in METHODS]
        print(f"{components:10d}  " + "  ".join(f"{value:11.2f}" for value in found), flush=True)


if __name__ == "__main__":
    main()
