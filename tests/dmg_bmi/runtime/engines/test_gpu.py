"""On a GPU: the same answers as on the processor, through BMI, packages, sequences and training."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from dmg_bmi.runtime.engines import aot
from dmg_bmi.runtime.engines.aot import AotEngine
from dmg_bmi.runtime.engines.cuda_graph import CudaGraphEngine
from dmg_bmi.training.config import Training
from dmg_bmi.training.data import Tensors
from dmg_bmi.training.trainer import fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
#: Contract 3, float32: fluxes, here in mm per step.
CLOSE = {"rtol": 1e-5, "atol": 1e-6}
LEVELS = ("SWE", "soil_moisture", "groundwater")


def agree(there, here) -> None:
    for symbol, values in here.items():
        np.testing.assert_allclose(
            there[symbol], values, **({**CLOSE, "atol": 1e-3} if symbol in LEVELS else CLOSE)
        )


@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp", "fixed"])
@pytest.mark.parametrize("n", [1, 6])
@pytest.mark.parametrize("engine", ["auto", "eager"])
def test_updates_give_what_they_give_on_the_processor(bundles, configure, bmi_run, weather, kind, n, engine):
    series = weather(60, n)
    keys = {"engine": engine}
    here = bmi_run.drive(bmi_run.start(configure(bundles(kind), n, **keys)), series, range(60))
    bmi = bmi_run.start(configure(bundles(kind), n, device="cuda:0", **keys))
    assert isinstance(bmi.component.group.setup.engine, CudaGraphEngine) is (engine == "auto")
    agree(bmi_run.drive(bmi, series, range(60)), here)


def test_a_state_saved_on_the_gpu_goes_on_on_the_processor_and_back(bundles, configure, bmi_run, weather):
    series = weather(60, 3)
    whole = bmi_run.drive(bmi_run.start(configure(bundles(), 3)), series, range(60))
    parts, state = [], None
    for device, steps in (("cuda:0", range(20)), ("cpu", range(20, 40)), ("cuda:0", range(40, 60))):
        bmi = bmi_run.start(configure(bundles(), 3, device=device))
        if state is not None:
            bmi.component.load(state)
            bmi.component.clock.count = steps[0]
        parts.append(bmi_run.drive(bmi, series, steps))
        state = bmi.component.save()
    agree({symbol: np.concatenate([p[symbol] for p in parts]) for symbol in whole}, whole)


def test_a_compiled_step_is_recorded_and_gives_the_same(
    bundles, configure, bmi_run, weather, tmp_path, monkeypatch, caplog
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    info, series = bundles(), weather(30, 700)
    aot.build(info, aot.cache_folder(info, "cuda:0"), "cuda:0")
    here = bmi_run.drive(bmi_run.start(configure(info, 700)), series, range(30))
    bmi = bmi_run.start(configure(info, 700, device="cuda:0", engine="compiled"))
    assert isinstance(bmi.component.group.setup.engine.engine, AotEngine)
    with caplog.at_level(logging.WARNING):
        agree(bmi_run.drive(bmi, series, range(30)), here)
    assert not [r for r in caplog.records if r.name == "dmg_bmi"]


@pytest.mark.parametrize("compiled", [False, True])
def test_a_sequence_and_its_gradient_are_those_of_the_processor(
    bundles, weather, attributes, compiled, caplog
):
    def flow(device: str):
        model = bundles().load_model().requires_grad_(True).to(device)
        model.compiled = compiled and device != "cpu"
        forcing = {name: torch.from_numpy(v).float().to(device) for name, v in weather(60, 4).items()}
        given = {name: v.float().to(device) for name, v in attributes(4).items()}
        fluxes, _ = model(forcing, given, outputs=("Q",))
        fluxes["Q"].square().mean().backward()
        return fluxes["Q"].detach().cpu(), [p.grad.cpu() for p in model.parameters()]

    (there, slopes), (here, expected) = flow("cuda"), flow("cpu")
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-5)  # float32 physics, for training alone
    for slope, other in zip(slopes, expected, strict=True):
        torch.testing.assert_close(slope, other, rtol=1e-3, atol=1e-5)
    assert "not compiled" not in caplog.text


def test_a_training_there_goes_down_as_on_the_processor(bundles, weather, attributes):
    def losses(device: str):
        series = weather(200, 4)
        data = Tensors(
            {name: torch.from_numpy(v).float().to(device) for name, v in series.items()},
            {name: v.float().to(device) for name, v in attributes(4).items()},
            {"Q": torch.from_numpy(series["P"] / 3).float().to(device)},
            device=device,
        )
        model = bundles("lstm_mlp").load_model().requires_grad_(True).to(device)
        return fit(
            model, data, Training(max_steps=20, batch_size=16, seq_length=80), window=80, spin_up=40
        ).loss

    here, there = losses("cpu"), losses("cuda")
    assert here[-1] < 0.9 * here[0]
    np.testing.assert_allclose(there, here, rtol=1e-3)
