"""What compiling each shipped model costs, cold and when a later process finds the result again.

    python benchmarks/speed_compile.py

Each is compiled by `dmg-bmi compile` in a process of its own, with empty caches; another process loads
it and makes its first step. Seconds of processor time, that of the compiler included.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

CONFIGS = Path(__file__).resolve().parent.parent / "bmi_configs"
MODELS = ("demo_daily", "demo_hourly", "muskingum_cunge", "muskingum_cunge_nwm")
#: From a process that has loaded torch to the end of a first update.
FIRST = """
import sys, time
import numpy as np
import torch
from dmg_bmi import {} as Bmi
before = time.process_time()
bmi = Bmi()
bmi.initialize(sys.argv[1])
for name in bmi.get_input_var_names():
    usual = dict(degC=5.0, Pa=9e4).get(bmi.get_var_units(name), 1e-3)
    bmi.set_value(name, np.full(bmi.get_var_nbytes(name) // 8, usual))
bmi.update()
print(time.process_time() - before)
"""


def children() -> float:
    """Seconds of processor time of all child processes that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def configuration(model: str, folder: Path) -> tuple[str, Path]:
    """What `dmg-bmi compile` is given, and a configuration that runs the model."""
    if model.startswith("muskingum"):
        text = (CONFIGS / "river.yaml").read_text(encoding="utf-8")
        text = text.replace("bundle: muskingum_cunge ", f"bundle: {model} ").replace(
            "river.gpkg", str(CONFIGS / "river.gpkg")
        )
        path = folder / f"{model}.yaml"
        path.write_text(text, encoding="utf-8")
        return str(path), path
    return model, CONFIGS / ("daily.yaml" if model == "demo_daily" else "hourly.yaml")


def times() -> Iterator[tuple[str, float | None, float, float]]:
    """Of each model: cold (None if it cannot be compiled), first call after it, first call eagerly."""
    for model in MODELS:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            what, config = configuration(model, folder)
            script = FIRST.format("RoutingBmi" if model.startswith("muskingum") else "DeltaModelBmi")
            caches = {
                "XDG_CACHE_HOME": str(folder / "cache"),
                "TORCHINDUCTOR_CACHE_DIR": str(folder / "inductor"),
            }
            environment = {**os.environ, "OMP_NUM_THREADS": "1", **caches}

            def first(script=script, config=config, environment=environment) -> float:
                command = [sys.executable, "-c", script, str(config)]
                done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
                return float(done.stdout.split()[-1])

            eager = first()
            begin = children()
            command = [sys.executable, "-m", "dmg_bmi.cli", "compile", what]
            done = subprocess.run(command, env=environment, capture_output=True, text=True)
            cold = None if done.returncode else children() - begin
            yield model, cold, first(), eager


def lines() -> list[str]:
    """The table; its lines are printed as they come."""
    table = [
        "| package of | cold, by `dmg-bmi compile` | start to first step with it | the same, eager |",
        "|---|---|---|---|",
    ]
    for model, cold, warm, eager in times():
        compiled = "not compiled" if cold is None else f"{cold:.0f} s"
        table.append(f"| `{model}` | {compiled} | {warm:.2f} s | {eager:.2f} s |")
        print(table[-1], flush=True)
    return table


if __name__ == "__main__":
    lines()
