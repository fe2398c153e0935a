"""Processes killed with SIGKILL at a random moment: the next start is clean and complete.

Each case forks, lets the child work, and kills it. ``kill(kind, seed, folder)`` raises where what is
left is neither the old nor the new.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from faults import forked
from file_mutations import configuration, drive

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.model.bundle_files import SHIPPED
from dmg_bmi.runtime import state_codec


def killed(work: Callable[[], object], seconds: float) -> bool:
    """Whether a child that does `work` had to be killed after `seconds`."""
    child = forked(work)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1] != 0


def start(folder: Path, **keys: object) -> DeltaModelBmi:
    path = folder / "run.yaml"
    path.write_bytes(configuration(**keys))
    bmi = DeltaModelBmi()
    bmi.initialize(str(path))
    return bmi


@cache
def states() -> tuple[bytes, bytes]:
    """Two states of one component, some steps apart, one of them made large."""
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        bmi = start(Path(name))
        drive(bmi, 3)
        header, tensors = state_codec.decode(bmi.component.save())
        drive(bmi, 3)
        more = {**tensors, "ballast": torch.zeros(200_000, dtype=torch.float64)}
        both = state_codec.encode(header, more), bmi.component.save()
        bmi.finalize()
    return both


def kill_state(r: random.Random, folder: Path) -> bool:
    """While a state file is written over and over: it is one of the states, whole."""
    path = folder / "run.state"
    one, other = states()
    state_codec.write(path, one)

    def work() -> None:
        while True:
            state_codec.write(path, other)
            state_codec.write(path, one)

    was = killed(work, r.uniform(0.0, 0.03))
    assert state_codec.read(path) in (one, other), "a torn state"
    state_codec.decode(state_codec.read(path))
    return was


def kill_run(r: random.Random, folder: Path) -> bool:
    """While a run writes its state at every step: a run that goes on from it gives the same answers."""
    restart = {"write": "run.state", "every": 21600.0}
    plain = start(folder)
    weather = [(2.0 * k % 17, 3.0 + k % 5) for k in range(14)]

    def steps(bmi: DeltaModelBmi, some: range) -> list[float]:
        series = []
        for k in some:
            for symbol, value in (("P", weather[k][0]), ("T", weather[k][1]), ("PET", 1.0)):
                bmi.set_value(symbol, np.full(1, value))
            bmi.update()
            series.append(float(bmi.get_value_ptr("Q")[0]))
        return series

    expected = steps(plain, range(14))
    bmi = start(folder, restart=restart)
    was = killed(lambda: steps(bmi, range(14)), r.uniform(0.0, 0.06))
    state = folder / "run.state"
    done = 0
    if state.exists():
        header, _ = state_codec.decode(state_codec.read(state))
        done = round(
            (np.datetime64(header["valid_time"][:19]) - np.datetime64("2000-10-01T06:00")).astype(int) / 21600
        )
        again = start(
            folder,
            start_time=header["valid_time"],
            end_time=None,
            restart={"read": "run.state"},
        )
        assert steps(again, range(done, 14)) == expected[done:], "a resumed run differs"
    return was


@cache
def two_models() -> tuple[Bundle, Bundle]:
    return Bundle.load(SHIPPED / "demo_daily"), Bundle.load(SHIPPED / "demo_hourly")


def kill_bundle(r: random.Random, folder: Path) -> bool:
    """While a bundle is saved over another one: it is one of them, whole."""
    one, other = two_models()
    path = folder / "bundle"
    one.save(path)

    def work() -> None:
        while True:
            other.save(path)
            one.save(path)

    was = killed(work, r.uniform(0.0, 0.08))
    assert Bundle.load(path).name in (one.name, other.name)
    one.save(path)  # and the next one goes on over what was left
    assert Bundle.load(path).name == one.name
    return was


def kill_compile(r: random.Random, folder: Path) -> bool:
    """While a compiled step is put in place of another (the compiler is a stand-in): old, new or none."""
    from dmg_bmi.model import aot_cache

    target = folder / "cache" / "step"
    module = torch.nn.Identity()

    def compiler(program: object, package_path: str) -> None:
        with open(package_path, "wb") as file:
            for _ in range(20):
                file.write(bytes(1000))
                file.flush()

    real = torch._inductor.aoti_compile_and_package, torch.export.export, aot_cache.missing_compiler
    torch._inductor.aoti_compile_and_package = compiler
    torch.export.export = lambda *a, **k: None
    aot_cache.missing_compiler = lambda device: ""

    def build() -> None:
        aot_cache.build(module, (torch.zeros(2),), (0,), target, {"key": "k"}, "cpu")

    def work() -> None:
        while True:
            build()

    try:
        build()
        was = killed(work, r.uniform(0.0, 0.03))
        if target.exists():
            found = aot_cache.load(target, "k", trusted=True)
            assert isinstance(found, str)  # the stand-in's library is none
            assert "torn" not in found
        build()
        assert {f.name for f in target.iterdir()} == {aot_cache.LIBRARY, aot_cache.INDEX}
    finally:
        torch._inductor.aoti_compile_and_package, torch.export.export, aot_cache.missing_compiler = real
    return was


KINDS: dict[str, Callable[[random.Random, Path], bool]] = {
    name.removeprefix("kill_"): function for name, function in globals().items() if name.startswith("kill_")
}


def kill(kind: str, seed: int, folder: Path) -> str:
    """What became of one case."""
    folder.mkdir()
    try:
        return "killed" if KINDS[kind](random.Random(f"{kind}-{seed}"), folder) else "finished"
    finally:
        shutil.rmtree(folder, ignore_errors=True)
