"""Compiled steps: the same answers as the eager engine, and never one that cannot be trusted."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.model import aot_cache
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.runtime.engines import aot
from dmg_bmi.runtime.engines.choose import make_engine
from dmg_bmi.runtime.engines.eager import Eager

pytestmark = pytest.mark.slow

NEEDS_COMPILER = pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")


@pytest.fixture(scope="module")
def info(tmp_path_factory) -> BundleInfo:
    torch.manual_seed(5)
    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4},
        phy_model={"name": "hbv", "nmul": 2, "routing": 4},
        roles=[{"inputs": ["P", "T"], "attributes": ["a"], "dynamic": ["BETA"], "freeze_after": 3}],
    )
    return Bundle(model, "compiled").save(tmp_path_factory.mktemp("bundle") / "b")


@pytest.fixture(scope="module")
def cache(info, tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder))
        aot.build(info, aot.cache_folder(info))
        yield folder


def sequence(model: DeltaModel, n: int, steps: int):
    generator = torch.Generator().manual_seed(n)
    forcing = {
        "P": 9 * torch.rand(steps, n, generator=generator, dtype=torch.float64),
        "T": 5 + 6 * torch.randn(steps, n, generator=generator, dtype=torch.float64),
        "PET": 3 * torch.rand(steps, n, generator=generator, dtype=torch.float64),
    }
    attributes = {"a": torch.rand(n, generator=generator, dtype=torch.float64)}
    return forcing, model.precompute(attributes, n), model.init_state(n)


@NEEDS_COMPILER
@pytest.mark.parametrize("n", [1, 2, 17, 300, 2 * aot.ROWS + 5])
def test_compiled_steps_answer_as_eager_ones_for_any_number_of_rows(info, cache, n):
    model = info.load_model()
    compiled = aot.find(info)
    assert compiled is not None
    given = sequence(model, n, 8)
    fluxes, state = Eager(model).run(*given)
    other, after = compiled.run(*given)
    assert fluxes.keys() == other.keys()
    assert state.keys() == after.keys()
    assert fluxes["Q"].max() > 0.0
    # networks run in float32, so contract 3 holds them to its float32 bounds
    for name in fluxes:
        torch.testing.assert_close(other[name], fluxes[name], rtol=1e-5, atol=1e-6)
    for name in state:
        torch.testing.assert_close(after[name], state[name], rtol=1e-5, atol=1e-3)


def echoing(together: bool, calls: list[int]) -> aot.AotEngine:
    """A step that gives back its forcing and adds it to its state, and how many rows it was shown."""

    def step(tensors):
        x, total, factor = tensors
        calls.append(len(total))
        return [x * factor, total + x[0] * factor]

    names = {"forcing": ["x"], "constants": ["k"], "state": ["s"], "fluxes": ["y"], "renewed": ["s"]}
    return aot.AotEngine(step, {"signature": names}, together)


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("together", [False, True])
def test_many_rows_run_in_parts_unless_they_act_on_each_other(together, length):
    rows, calls = 2 * aot.ROWS + 5, []
    x, start = torch.rand(length, rows), torch.rand(rows)
    factor = torch.arange(rows)
    given = {"s": start, "other": start}
    fluxes, state = echoing(together, calls).run({"x": x}, {"k": factor}, given)
    torch.testing.assert_close(fluxes["y"], x * factor, rtol=0, atol=0)
    torch.testing.assert_close(state["s"], start + (x * factor).sum(0))
    assert state["other"] is start
    assert calls == [rows] * length if together else calls[-1] == 5 and max(calls) == aot.ROWS


def test_many_rows_run_in_parts_of_a_step_that_takes_and_keeps_nothing_but_forcing():
    names = {"forcing": ["x"], "constants": [], "state": [], "fluxes": ["y"], "renewed": []}
    engine = aot.AotEngine(lambda tensors: [2.0 * tensors[0]], {"signature": names})
    x = torch.rand(1, 2 * aot.ROWS + 5)
    fluxes, state = engine.run({"x": x}, {}, {})
    torch.testing.assert_close(fluxes["y"], 2.0 * x)
    assert state == {}


def test_parts_follow_constants_that_were_replaced():
    engine, x = echoing(False, []), torch.ones(1, aot.ROWS + 1)
    given = {"s": torch.zeros(aot.ROWS + 1)}
    for factor in (torch.rand(aot.ROWS + 1), torch.rand(aot.ROWS + 1)):
        fluxes, _ = engine.run({"x": x}, {"k": factor}, given)
        torch.testing.assert_close(fluxes["y"][0], factor)


@NEEDS_COMPILER
def test_auto_takes_the_compiled_step_when_it_is_there_and_eager_when_asked(info, cache):
    model = info.load_model()
    assert isinstance(make_engine("auto", model, info), aot.AotEngine)
    assert isinstance(make_engine("eager", model, info), Eager)


@NEEDS_COMPILER
def test_the_cache_is_private(info, cache):
    folder = aot.cache_folder(info)
    assert folder.stat().st_mode & 0o077 == 0


@NEEDS_COMPILER
@pytest.mark.parametrize("fault", ["foreign", "torn", "shared"])
def test_a_package_that_is_foreign_torn_or_writable_by_others_is_left_alone(
    info, cache, tmp_path, fault, monkeypatch, caplog
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = aot.cache_folder(info)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    shutil.copytree(aot.cache_folder(info), folder)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    if fault == "foreign":
        index = json.loads((folder / aot.INDEX).read_text())
        (folder / aot.INDEX).write_text(json.dumps({**index, "key": "0" * 64}))
    elif fault == "torn":
        library = folder / aot.LIBRARY
        library.write_bytes(library.read_bytes()[:1000])
    else:
        folder.chmod(0o777)
    with caplog.at_level(logging.WARNING):
        assert isinstance(make_engine("auto", info.load_model(), info), Eager)
    assert len(caplog.records) == 1
    assert "eager" in caplog.text


def test_without_a_package_auto_is_eager_and_says_nothing(info, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with caplog.at_level(logging.WARNING):
        assert isinstance(make_engine("auto", info.load_model(), info), Eager)
    assert not caplog.records


def test_looking_for_a_package_needs_no_folder_that_can_be_written(info, tmp_path, monkeypatch):
    """As for a container's user: a home below a file, where nothing can be made, root or not."""
    (tmp_path / "home").write_text("", encoding="utf-8")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home" / "cache"))
    assert isinstance(make_engine("auto", info.load_model(), info), Eager)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    assert isinstance(make_engine("auto", info.load_model(), info), Eager)
    assert not (tmp_path / "cache").exists()


def test_without_a_compiler_the_message_says_what_is_needed(info, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DmgBmiError, match=r"g\+\+"):
        aot.build(info, tmp_path / "p")
    assert not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("dmg_bmi/plotting/basin_map.py", False),
        ("dmg_bmi/training/trainer.py", False),
        ("dmg_bmi/io/netcdf.py", False),
        ("dmg_bmi/runtime/component.py", False),
        ("dmg_bmi/model/bundle.py", False),
        ("physics/hbv.py", True),
        ("physics/routing/channel.py", True),
        ("nn_models/lstm.py", True),
        ("dmg_bmi/model/delta_model.py", True),
        ("dmg_bmi/model/sequence.py", True),
        ("dmg_bmi/model/normalisation.py", True),
        ("dmg_bmi/model/roles/parameters.py", True),
        ("dmg_bmi/model/flat_step.py", True),
        ("dmg_bmi/runtime/engines/aot.py", False),
    ],
)
def test_a_compiled_step_is_used_until_code_that_it_holds_changes(info, monkeypatch, file, changes):
    before, read = aot.key(info, "cpu"), Path.read_bytes

    def changed(path: Path) -> bytes:
        return read(path) + (b"#" if path.as_posix().endswith(file) else b"")

    monkeypatch.setattr(Path, "read_bytes", changed)
    aot_cache._code.cache_clear()
    assert (aot.key(info, "cpu") != before) is changes
    monkeypatch.undo()
    aot_cache._code.cache_clear()
    assert aot.key(info, "cpu") == before
