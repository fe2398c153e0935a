"""Recorded steps: the answers of the engine that was recorded, in tensors that no later step writes to.

On a machine without a GPU the recorder of these tests computes anew into the tensors of the first time,
as the replay of a CUDA graph does.
"""

from __future__ import annotations

import logging

import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.model import aot_cache
from dmg_bmi.runtime.engines import cuda_graph as recorded
from dmg_bmi.runtime.engines.choose import make_engine
from dmg_bmi.runtime.engines.cuda_graph import CudaGraphEngine, cuda_graph
from dmg_bmi.runtime.engines.eager import Eager

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
DEVICES = ["cpu", pytest.param("cuda", marks=NEEDS_GPU)]


def in_place(function):
    """What a CUDA graph is to its user."""
    results = function()

    def replay() -> None:
        for old, new in zip(results, function(), strict=True):
            old.copy_(new)

    return results, replay


RECORDERS = {"cpu": in_place, "cuda": cuda_graph}


class Counted(Eager):
    """How often the model's own code runs."""

    def __init__(self, model: DeltaModel) -> None:
        super().__init__(model)
        self.runs = 0

    def run(self, *given):
        self.runs += 1
        return super().run(*given)


@pytest.fixture(params=DEVICES)
def device(request) -> str:
    return request.param


@pytest.fixture
def model(device) -> DeltaModel:
    torch.manual_seed(3)
    return DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4},
        phy_model={"name": "hbv", "nmul": 2, "routing": 4},
        roles=[{"inputs": ["P", "T"], "attributes": ["a"], "dynamic": ["BETA"], "freeze_after": 3}],
    ).to(device)


def weather(n: int, device: str, seed: int):
    generator = torch.Generator().manual_seed(seed)
    series = {
        "P": 9 * torch.rand(1, n, generator=generator, dtype=torch.float64),
        "T": 5 + 6 * torch.randn(1, n, generator=generator, dtype=torch.float64),
        "PET": 3 * torch.rand(1, n, generator=generator, dtype=torch.float64),
    }
    return {name: values.to(device) for name, values in series.items()}


def started(model: DeltaModel, n: int, device: str, aridity: float = 0.5):
    attributes = {"a": torch.full((n,), aridity, dtype=torch.float64, device=device)}
    return model.precompute(attributes, n), model.init_state(n, device=device)


def follow(engine, model: DeltaModel, n: int, device: str, steps: int, aridity: float = 0.5):
    """All fluxes and states of steps from rest, each from the state that the one before it gave."""
    constants, state = started(model, n, device, aridity)
    seen = []
    for k in range(steps):
        fluxes, state = engine.run(weather(n, device, k), constants, state)
        seen.append((fluxes, state))
    return seen


def same(seen, expected) -> None:
    """Networks run in float32, so contract 3 holds them to its float32 bounds."""
    for (fluxes, state), (other, after) in zip(seen, expected, strict=True):
        assert fluxes.keys() == other.keys()
        assert state.keys() == after.keys()
        for name in other:
            torch.testing.assert_close(fluxes[name], other[name], rtol=1e-5, atol=1e-6)
        for name in after:
            torch.testing.assert_close(state[name], after[name], rtol=1e-5, atol=1e-3)


def test_every_step_gives_what_the_engine_itself_gives_and_keeps_it(model, device):
    """Compared only after the last step, so that a tensor which later steps wrote to would be found."""
    seen = follow(CudaGraphEngine(Eager(model), RECORDERS[device]), model, 5, device, 6)
    assert seen[-1][0]["Q"].max() > 0.0
    same(seen, follow(Eager(model), model, 5, device, 6))


def test_other_numbers_of_rows_and_other_attributes_are_not_confused(model, device):
    engine = CudaGraphEngine(Eager(model), RECORDERS[device])
    for n, aridity in [(5, 0.5), (2, 0.5), (5, 0.9), (2, 0.1), (5, 0.5)]:
        same(follow(engine, model, n, device, 3, aridity), follow(Eager(model), model, n, device, 3, aridity))


def test_a_state_from_elsewhere_is_taken_as_it_is(model, device):
    """One that was restored, with other strides than what a step gives."""
    engine = CudaGraphEngine(Eager(model), RECORDERS[device])
    constants, state = started(model, 3, device)
    for k in range(2):
        _, state = engine.run(weather(3, device, k), constants, state)
    turned = {name: t.t().contiguous().t() if t.ndim == 2 else t for name, t in state.items()}
    given = (weather(3, device, 9), constants, turned)
    same([engine.run(*given)], [Eager(model).run(*given)])


def test_only_the_outputs_asked_for_come_back(model, device):
    engine = CudaGraphEngine(Eager(model), RECORDERS[device])
    constants, state = started(model, 3, device)
    for wanted in (("Q",), ("Q", "ET"), ("Q",)):
        fluxes, _ = engine.run(weather(3, device, 0), constants, state, wanted)
        assert set(fluxes) == set(wanted)


def test_recordings_of_few_numbers_of_rows_are_kept(model, device):
    engine = CudaGraphEngine(Eager(model), RECORDERS[device])
    for n in range(1, 3 * recorded.KEPT):
        follow(engine, model, n, device, 1)
        assert len(engine._recordings) <= recorded.KEPT


@pytest.mark.parametrize("device", ["cpu"])
def test_what_cannot_be_recorded_runs_by_the_engine_and_is_said_once(model, device, caplog):
    def refused(function):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")

    inner = Counted(model)
    with caplog.at_level(logging.WARNING):
        seen = follow(CudaGraphEngine(inner, refused), model, 3, device, 4)
    assert inner.runs == 4
    assert [r.message for r in caplog.records] == [
        "a step cannot be recorded as a CUDA graph (operation not permitted when stream is capturing); "
        "going on without"
    ]
    same(seen, follow(Eager(model), model, 3, device, 4))


@NEEDS_GPU
def test_on_a_gpu_the_model_s_own_code_runs_only_to_be_recorded(bundles):
    model = bundles("lstm").load_model().to("cuda")
    inner = Counted(model)
    generator = torch.Generator().manual_seed(0)
    attributes = {
        name: torch.rand(4, generator=generator, dtype=torch.float64).cuda() for name in model.attribute_names
    }
    constants, state = model.precompute(attributes, 4), model.init_state(4, device="cuda")
    engine = CudaGraphEngine(inner)
    for k in range(50):
        _, state = engine.run(weather(4, "cuda", k), constants, state)
    assert inner.runs == recorded.TRIALS + 1


def test_steps_are_recorded_on_a_gpu_alone_and_not_for_the_eager_engine(bundles, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(aot_cache, "_capability", lambda device: [device])  # asks the GPU
    info = bundles("lstm")
    model = info.load_model()
    assert isinstance(make_engine("auto", model, info), Eager)
    assert isinstance(make_engine("auto", model, info, "cuda:0"), CudaGraphEngine)
    assert isinstance(make_engine("eager", model, info, "cuda:0"), Eager)
