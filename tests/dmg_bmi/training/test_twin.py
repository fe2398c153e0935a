"""Parameters that made the runoff are found again from it, and the benchmark tells of every one."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.synthetic.basins import generate, true_parameters
from dmg_bmi.training.config import Training
from dmg_bmi.training.data import statistics, tensors
from dmg_bmi.training.trainer import fit

pytestmark = pytest.mark.slow


def test_a_parameter_field_is_recovered_in_basins_that_were_never_seen():
    dataset = generate(basins=24, years=2, noise=0.0, seed=4)
    truth = true_parameters(dataset.attributes)
    # All but two parameters are given, each basin its own.
    dataset = replace(
        dataset, attributes={**dataset.attributes, **{f"true_{n}": v for n, v in truth.items()}}
    )
    learned, shown = ("CFMAX", "route_b"), ("area", "frac_forest")
    torch.manual_seed(0)
    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [8]},
        phy_model={"name": "hbv", "betaet": True, "routing": 15},
        roles=[{"static": learned, "attributes": shown}],
        fixed={name: f"true_{name}" for name in truth if name not in learned},
        statistics=statistics(dataset, shown),
    )
    data = tensors(dataset, model.forcing_names, model.attribute_names, ["Q"], columns=range(16))
    fit(model, data, Training(max_steps=30, batch_size=16, learning_rate=0.1), window=240, spin_up=60)
    with torch.no_grad():
        found = model.learned_parameters(data.forcing, data.attributes)
    for name in learned:
        values = found[f"phy.{name}"].reshape(-1).numpy()[16:]
        assert np.corrcoef(values, truth[name][16:])[0, 1] > 0.9, name


def test_the_benchmark_tells_of_every_parameter(monkeypatch, capsys):
    folder = Path(__file__).resolve().parents[3] / "benchmarks"
    if not folder.is_dir():
        pytest.skip("the benchmarks are not installed")
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "argv", ["twin.py", "--steps", "1", "--basins", "6", "--years", "2"])
    import twin

    twin.main()
    said = capsys.readouterr().out
    for name in true_parameters(generate(basins=2, years=1).attributes):
        assert f"| {name} |" in said
