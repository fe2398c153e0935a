"""Compiled blocks answer as the model's own code, forward and backward, and never fail a run."""

from __future__ import annotations

import logging
import shutil

import pytest
import torch
from dmg_bmi.nn_models import LSTM
from dmg_bmi.physics import Catchment, run
from torch._dynamo.utils import counters

from dmg_bmi import DeltaModel, ParameterRole
from dmg_bmi.model import aot_cache, compiled_blocks, delta_model
from dmg_bmi.model.compiled_blocks import CompiledBlocks
from dmg_bmi.model.registry import build_process_model

pytestmark = pytest.mark.slow

NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
STEPS = 2 * compiled_blocks.LENGTHS[0] + 1


@pytest.fixture(autouse=True)
def fresh(tmp_path_factory, monkeypatch):
    """A cache of this process, shared by its tests: what the compiler can is asked for once."""
    base = tmp_path_factory.getbasetemp() / "compiled"
    monkeypatch.setenv("XDG_CACHE_HOME", str(base))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(base / "torch"))
    monkeypatch.setattr(compiled_blocks, "_BLOCKS", {})
    monkeypatch.setattr(compiled_blocks, "_EAGER", set())


def constants(model, legal, rows):
    return legal.weather(model, STEPS, rows, 3), legal.parameters(model, rows, 4), model.init_state(rows)


@NEEDS_COMPILER
@torch.no_grad()
def test_forward_answers_as_eager_for_any_number_of_rows_and_is_found_again(
    legal, linear_reservoir, caplog, monkeypatch
):
    model = Catchment(linear_reservoir, 2, 5)
    for rows in (3, 1, 40):
        forcing, parameters, state = constants(model, legal, rows)
        eager, after = run(model, forcing, state, parameters, {}, 1.0)
        with caplog.at_level(logging.INFO):
            fluxes, new = run(model, forcing, state, parameters, {}, 1.0, block=CompiledBlocks())
        assert eager["Q"].max() > 0.0
        for ours, theirs in ((fluxes, eager), (new, after)):
            assert ours.keys() == theirs.keys()
            for name, value in theirs.items():
                torch.testing.assert_close(ours[name], value, rtol=1e-10, atol=1e-12)
    assert len([r for r in caplog.records if "compiling" in r.message]) == len(compiled_blocks.LENGTHS)
    caplog.clear()
    monkeypatch.setattr(compiled_blocks, "_BLOCKS", {})  # as a new process
    with caplog.at_level(logging.INFO):
        run(model, forcing, state, parameters, {}, 1.0, block=CompiledBlocks())
    assert not caplog.records


@NEEDS_COMPILER
def test_what_is_kept_on_disk_of_blocks_of_another_length_is_not_taken(legal, linear_reservoir, monkeypatch):
    model = Catchment(linear_reservoir, 2, 5)
    forcing, parameters, state = constants(model, legal, 3)
    eager, _ = run(model, forcing, state, parameters, {}, 1.0)
    for steps in (3, 4):
        monkeypatch.setattr(compiled_blocks, "LENGTHS", (steps,))
        monkeypatch.setattr(compiled_blocks, "_BLOCKS", {})  # as a new process
        with torch.no_grad():
            fluxes, _ = run(model, forcing, state, parameters, {}, 1.0, block=CompiledBlocks())
        torch.testing.assert_close(fluxes["Q"], eager["Q"], rtol=1e-10, atol=1e-12)


@NEEDS_COMPILER
def test_gradients_are_those_of_eager_code_and_one_function_serves_all_blocks(
    legal, linear_reservoir, caplog
):
    model = Catchment(linear_reservoir, 2, 5)
    forcing, given, state = constants(model, legal, 5)
    before = counters["stats"]["unique_graphs"]
    results = []
    for block in (None, CompiledBlocks()):
        parameters = {k: v.clone().requires_grad_() for k, v in given.items()}
        with caplog.at_level(logging.INFO):
            fluxes, new = run(model, forcing, state, parameters, {}, 1.0, outputs=("Q",), block=block)
        (fluxes["Q"].square().sum() + sum(v.sum() for v in new.values())).backward()
        results.append((fluxes["Q"].detach(), {k: v.grad for k, v in parameters.items()}))
    (eager, by_eager), (ours, by_ours) = results
    torch.testing.assert_close(ours, eager, rtol=1e-10, atol=1e-12)
    assert any(g.abs().max() > 0 for g in by_eager.values())
    for name, gradient in by_eager.items():
        torch.testing.assert_close(by_ours[name], gradient, rtol=1e-9, atol=1e-12)
    assert len([r for r in caplog.records if "compiling" in r.message]) == 1
    assert counters["stats"]["unique_graphs"] == before + 1
    assert not any(v.requires_grad for v in state.values())


@NEEDS_COMPILER
def test_a_delta_model_with_a_network_inside_the_step_uses_the_weights_of_the_moment(caplog):
    torch.manual_seed(0)
    model = DeltaModel.build(
        nn={"name": "mlp", "hidden_sizes": [2]},
        phy_model={"name": "exphydro"},
        roles=[{"role": "process", "process": "ET", "inputs": ["S1", "PET"], "network": "nn"}],
        fixed={"Tmin": 0.0, "Tmax": 1.0, "Df": 2.0, "Smax": 300.0, "Qmax": 20.0, "f": 0.02},
    )
    forcing = {k: 5 * torch.rand(STEPS, 4) for k in ("P", "T", "PET")}
    answers = []
    for shift in (0.0, 0.5):
        with torch.no_grad():
            for weight in model.parameters():
                weight += shift
            for flag in (False, True):
                model.compiled = flag
                with caplog.at_level(logging.WARNING):
                    answers.append(model(forcing)[0]["ET"])
    assert not caplog.records
    torch.testing.assert_close(answers[1], answers[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(answers[3], answers[2], rtol=1e-5, atol=1e-6)
    assert (answers[2] - answers[0]).abs().max() > 1e-3


@pytest.mark.parametrize("fault", ["no compiler", "a step that cannot be traced", "a graph"])
def test_what_cannot_be_compiled_runs_eagerly_with_one_line(
    legal, linear_reservoir, fault, monkeypatch, caplog
):
    model = linear_reservoir
    if fault == "no compiler":
        monkeypatch.setattr(aot_cache, "missing_compiler", lambda device: "no compiler")
    elif fault == "a graph":
        model = build_process_model({"name": "muskingum_cunge", "substeps": 1})
    else:

        class Stubborn(type(linear_reservoir)):
            def step(self, forcing, *rest, **more):
                assert float(forcing["P"].sum()) >= 0.0
                return super().step(forcing, *rest, **more)

        model = Stubborn()
    forcing = legal.weather(model, STEPS, 3, 1)
    given = (forcing, model.init_state(3), legal.parameters(model, 3, 2), legal.attributes(model, 3, 5), 1.0)
    with caplog.at_level(logging.WARNING):
        fluxes, state = run(model, *given, block=CompiledBlocks())
    (line,) = (record.message for record in caplog.records if record.name == "dmg_bmi")
    assert "eager" in line
    expected, after = run(model, *given)
    for name, value in {**expected, **after}.items():
        assert torch.equal({**fluxes, **state}[name], value)


def test_every_registered_process_model_can_be_compiled_or_is_named(process_model, legal):
    """As far as that is seen without a compiler: as a graph of tensors for any number of rows."""
    if process_model.declaration.graph:
        pytest.skip("rows that act on each other along a graph run eagerly")
    names = tuple(f.name for f in process_model.declaration.fluxes)
    forcing, parameters, state = constants(process_model, legal, 3)
    parameters |= process_model.derive(parameters, 1.0)
    groups = (
        {k: v[:1] for k, v in forcing.items()},
        {},
        state,
        parameters,
        legal.attributes(process_model, 3, 1),
    )
    block = compiled_blocks._Block(process_model, 1.0, tuple(tuple(group) for group in groups), names)
    rows = torch.export.Dim("rows", min=1)
    tensors = tuple(tensor for group in groups for tensor in group.values())
    axes = tuple({int(k < block.series): rows} for k in range(len(tensors)))
    program = torch.export.export(block, tensors, dynamic_shapes={"tensors": axes}, strict=False)
    for ours, theirs in zip(program.module()(*tensors), block(*tensors), strict=True):
        assert torch.equal(ours, theirs)


def test_without_gradients_a_long_sequence_runs_in_pieces_with_the_same_answer(linear_reservoir, monkeypatch):
    torch.manual_seed(0)
    model = DeltaModel(LSTM(1, 1, 4).double(), linear_reservoir, ParameterRole(("P",), dynamic=("k",))).eval()
    forcing = {"P": torch.rand(200, 3, dtype=torch.float64)}
    monkeypatch.setattr(delta_model, "PIECE", 64 * 3)
    seen = []
    whole, after = model(forcing)  # with gradients, so in one go
    model.networks["nn"].register_forward_hook(lambda network, x, y: seen.append(len(x[0])))
    with torch.no_grad():
        fluxes, state = model(forcing)
    assert seen == [64, 64, 64, 8]
    for name, value in {**whole, **after}.items():
        torch.testing.assert_close({**fluxes, **state}[name], value.detach(), rtol=1e-10, atol=1e-12)
