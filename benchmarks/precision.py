"""A century of daily steps as the BMI runs them, float32 networks and float64 physics, against all-float64.

    python benchmarks/precision.py [BUNDLE] [--years 100] [--output precision.json]

Synthetic weather of three climates; the same weights in both precisions. Printed are volumes of runoff
and evaporation and their difference, which must stay within 0.1 %.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dmg_bmi.model.bundle import BundleInfo

DAYS = 365
#: Mean temperature (degC), its amplitude, mean rain of a wet day (mm).
CLIMATES = {"humid": (11.0, 9.0, 9.0), "cold": (-1.0, 14.0, 5.0), "dry": (18.0, 8.0, 4.0)}
WET = {"humid": 0.45, "cold": 0.35, "dry": 0.06}
BLOCK = 10 * DAYS


def weather(years: int, seed: int = 0) -> dict[str, NDArray[np.float64]]:
    """``[day, climate]`` by symbol."""
    rng = np.random.default_rng(seed)
    day = np.arange(years * DAYS)[:, None]
    season = np.sin(2 * np.pi * (day / DAYS - 0.3))
    mean, amplitude, rain = (np.array(column) for column in zip(*CLIMATES.values(), strict=True))
    shape = (len(day), len(CLIMATES))
    wet = rng.random(shape) < np.array([*WET.values()])
    temperature = mean + amplitude * season + 3.0 * rng.standard_normal(shape)
    demand = np.maximum(0.0, 0.12 * (temperature + 5.0) * (1.0 + 0.3 * season))
    return {"P": np.where(wet, rain * rng.exponential(size=shape), 0.0), "T": temperature, "PET": demand}


def volumes(bundle: str, years: int, networks: torch.dtype) -> dict[str, NDArray[np.float64]]:
    """Sums of runoff and evaporation ``[climate]``, mm; physics in float64, networks as given."""
    info = BundleInfo.read(bundle)
    model = info.load_model().to(networks)
    statistics = info.description["statistics"]
    n = len(CLIMATES)
    attributes = {
        name: torch.full((n,), float(statistics[name]["mean"]), dtype=torch.float64)
        for name in model.attribute_names
    }
    series = {name: torch.from_numpy(values) for name, values in weather(years).items()}
    totals = {"Q": np.zeros(n), "ET": np.zeros(n)}
    with torch.inference_mode():
        constants = model.precompute(attributes, n, torch.float64)
        state = model.init_state(n, dtype=torch.float64)
        for begin in range(0, years * DAYS, BLOCK):
            block = {name: values[begin : begin + BLOCK] for name, values in series.items()}
            fluxes, state = model.run(block, constants, state, tuple(totals))
            for name in totals:
                totals[name] += fluxes[name].sum(0).numpy()
    return totals


def compare(bundle: str, years: int) -> dict[str, Any]:
    """Volumes as the BMI runs, and their relative difference from all-float64."""
    mixed, exact = (volumes(bundle, years, dtype) for dtype in (torch.float32, torch.float64))
    return {
        "bundle": bundle,
        "years": years,
        "mm": {name: dict(zip(CLIMATES, values.tolist(), strict=True)) for name, values in mixed.items()},
        "relative_difference": {
            name: dict(zip(CLIMATES, (np.abs(mixed[name] - exact[name]) / exact[name]).tolist(), strict=True))
            for name in mixed
        },
    }


def main() -> None:
    """Run, print and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", nargs="?", default="demo_daily")
    parser.add_argument("--years", type=int, default=100)
    parser.add_argument("--output", type=Path, default=Path("precision.json"))
    given = parser.parse_args()
    torch.set_num_threads(1)
    report = json.dumps(compare(given.bundle, given.years), indent=2)
    given.output.write_text(report + "\n", encoding="utf-8")
    print(report)


if __name__ == "__main__":
    main()
