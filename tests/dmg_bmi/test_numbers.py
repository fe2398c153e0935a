"""Long runs as the BMI runs them: float32 networks, float64 physics."""

import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def precision():
    spec = importlib.util.spec_from_file_location("precision_benchmark", ROOT / "benchmarks" / "precision.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_volumes_stay_within_a_thousandth_of_all_float64(precision):
    """Four years here; benchmarks/precision.py runs a century."""
    report = precision.compare("demo_daily", 4)
    worst = max(max(by_climate.values()) for by_climate in report["relative_difference"].values())
    assert 0 < worst < 1e-3  # were it 0, both would have been the same precision
    assert min(report["mm"]["ET"].values()) > 50


@pytest.mark.slow
def test_storages_do_not_drift_under_repeated_forcing(configure, bundles, bmi_run):
    """The same 60 days again and again: stores come back to where they were."""
    day = np.arange(60)[:, None]
    series = {
        "P": np.where(day % 4 == 0, 12.0, 0.0),
        "T": 6.0 + 12.0 * np.sin(2 * np.pi * day / 60),
        "PET": np.full((60, 1), 1.5),
    }
    bmi = bmi_run.start(configure(bundles("lstm")))
    at_end = []
    for _ in range(40):
        for k in range(60):
            bmi_run.push(bmi, series, k)
            bmi.update()
        at_end.append(
            np.concatenate(
                [bmi_run.read(bmi, f"phy.{name}") for name in ("SNOWPACK", "SM", "SUZ", "SLZ", "queue")]
            )
        )
    changes = np.abs(np.diff(at_end, axis=0)).max(1)
    assert changes[-1] < 1e-6 * (1 + at_end[-1].max())
    assert changes[-1] <= changes[5]


@pytest.mark.parametrize("tiny", [1e-310, 1e-42])
def test_denormal_stores_do_not_slow_it(configure, bundles, bmi_run, tiny):
    """As stores that have emptied for years; ratio of processor times of many catchments."""
    n = 4000
    bmi = bmi_run.start(configure(bundles("fixed"), n))
    group, member = bmi.component.group, bmi.component

    def takes(value):
        best = np.inf
        for _ in range(5):
            state = {k: torch.full_like(v, value) for k, v in group.state(member).items()}
            group.set_state(member, state)
            begin = time.process_time()
            for _ in range(5):
                bmi.update()
            best = min(best, time.process_time() - begin)
        return best

    for name, value in (("P", 0.0), ("T", 10.0), ("PET", 0.0)):
        bmi.set_value(name, np.full(n, value))
    bmi.update()
    assert takes(tiny) < 3.0 * takes(1.0)
