"""All that is to be tried and measured on a GPU, in ten minutes: tests, steps, training, limits.

    python benchmarks/speed_gpu.py [--device cuda:0] [--rows 1 100 10000] [--dmg PYTHON] [--output FILE]
    python benchmarks/speed_gpu.py --dry

Prints a table in Markdown, into a file too. First the tests that need a GPU; then steps, whose answers are
compared with those on the processor; then training. `--dmg` names an interpreter that has the public dmg,
whose training step is measured on the same device. Wall-clock time around synchronised calls, the least of
some repeats; the limits are measured in the same run: a copy of a gigabyte, and a product of two matrices of
4096 by 4096 in float32. What fails is named, and the rest goes on. `--dry` runs the same code on the
processor with a small model, so that it does not fail in its first minute on a GPU; its numbers mean nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch
from speed import BASINS, DAYS, large_model, network_weights, weather
from speed_table import seconds

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.runtime.engines import aot
from dmg_bmi.runtime.engines.cuda_graph import CudaGraphEngine
from dmg_bmi.runtime.engines.eager import Eager, Engine

#: Numbers of the copy and rows of the product that are the limits.
COPIED, PRODUCT = 2**27, 4096
ROOT = Path(__file__).resolve().parent.parent
TESTS = ["tests/dmg_bmi/runtime/engines/test_gpu.py", "tests/dmg_bmi/runtime/engines/test_cuda_graph.py"]
#: Contract of splitting in float32.
RELATIVE, ABSOLUTE = 1e-5, 1e-6


#: What is printed.
LINES: list[str] = []


def say(line: str) -> None:
    """Print a line, and keep it."""
    LINES.append(line)
    print(line, flush=True)


def part(what: str, work: Callable[[], None]) -> None:
    """Run a part of it; one that fails is named."""
    begin = time.perf_counter()
    try:
        work()
    except Exception as problem:  # the next part may work
        reason = (str(problem).strip() or "no reason given").splitlines()[0]
        say(f"| {what} | failed: {type(problem).__name__}: {reason} | | |")
        traceback.print_exc()
    print(f"({what}: {time.perf_counter() - begin:.0f} s)", file=sys.stderr, flush=True)


def tests() -> None:
    """The tests that need a GPU; without one they are skipped."""
    command = [sys.executable, "-m", "pytest", "-q", "-o", "addopts=--import-mode=importlib", *TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout, file=sys.stderr)
    say(f"| tests on the GPU | {done.stdout.strip().splitlines()[-1].strip('= ')} | | |")


def best(function: Callable[[], object], device: str, repeats: int = 5) -> float:
    """Least seconds of a call, its work on the device included; short calls in runs of 20 ms."""

    def took(calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            function()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        return time.perf_counter() - begin

    took(2)
    calls = max(1, int(0.02 / max(took(1), 1e-6)))
    return min(took(calls) for _ in range(repeats)) / calls


def limits(device: str) -> tuple[float, float]:
    """Bytes per second that a copy reads and writes, and operations per second of float32 products."""
    source = torch.rand(COPIED // (1 if device.startswith("cuda") else 16), device=device)
    copied = torch.empty_like(source)
    matrix = torch.rand(PRODUCT, PRODUCT, device=device)
    bandwidth = 2 * source.nbytes / best(lambda: copied.copy_(source), device)
    return bandwidth, 2 * PRODUCT**3 / best(lambda: matrix @ matrix, device)


def engines(info: BundleInfo, model: DeltaModel, device: str) -> dict[str, Engine]:
    """By name; what is recorded only where there is a GPU."""
    there: dict[str, Engine] = {"eager": Eager(model)}
    try:
        aot.build(info, aot.cache_folder(info, device), device)
    except DmgBmiError as problem:
        say(f"({problem})")
    else:
        package = aot.find(info, device)
        there |= {"package": package} if package else {}
    if device.startswith("cuda"):
        there |= {f"{name}, recorded": CudaGraphEngine(engine) for name, engine in there.items()}
    return there


def steps(model: DeltaModel, rows: list[int], device: str, bandwidth: float, rate: float) -> None:
    """One model step, by engine; its flow as on the processor."""
    with tempfile.TemporaryDirectory() as name:
        info = Bundle(model, "measured").save(Path(name) / "bundle")
        here, model = info.load_model(), info.load_model().to(device)
        run = engines(info, model, device)
    network = next(n for n in model.networks.values() if n.recurrent)
    flops = 2 * sum(w.numel() for w in network_weights(network))
    for n in rows:
        attributes = {k: torch.rand(n, dtype=torch.float64, device=device) for k in model.attribute_names}
        forcing = {k: v.to(device) for k, v in weather(1, n, torch.float64).items()}
        with torch.inference_mode():
            constants, begin = model.precompute(attributes, n), model.init_state(n, device=device)
        # A step reads what is prepared and the state, and writes the state, at the least.
        with torch.inference_mode():
            given = ({k: v.cpu() for k, v in tensors.items()} for tensors in (forcing, constants, begin))
            expected = here.run(*given)[0]["Q"]
        moved = sum(t.nbytes for t in constants.values()) + 2 * sum(t.nbytes for t in begin.values())
        for title, engine in run.items():
            state = begin

            def step(engine=engine, constants=constants, forcing=forcing):
                nonlocal state
                _, state = engine.run(forcing, constants, state)

            took = best(step, device)
            share = f"{n * flops / took / rate:.0%} | {moved / took / bandwidth:.0%}"
            with torch.inference_mode():
                flow = engine.run(forcing, constants, begin)[0]["Q"].cpu()
            differs = float(((flow - expected).abs() / (RELATIVE * expected.abs() + ABSOLUTE)).max())
            agrees = "" if differs <= 1 else f", differs {differs:.1f} times what is allowed"
            say(f"| step, {n} rows, {title}{agrees} | {seconds(took)} | {share} |")


def training(model: DeltaModel, device: str, rate: float, basins: int, days: int) -> None:
    """A training step, of whose days the first half is spin-up without gradient."""
    model = model.to(device).train()
    forcing = {k: v.to(device) for k, v in weather(days, basins).items()}
    attributes = {k: torch.rand(basins, device=device) for k in model.attribute_names}
    optimiser, half = torch.optim.AdamW(model.parameters()), days // 2

    def step() -> None:
        optimiser.zero_grad()
        constants = model.precompute(attributes, basins, torch.float32)
        state = model.init_state(basins, dtype=torch.float32, device=device)
        with torch.no_grad():
            _, state = model.run({k: v[:half] for k, v in forcing.items()}, constants, state, ("Q",))
        fluxes, _ = model.run({k: v[half:] for k, v in forcing.items()}, constants, state, ("Q",))
        fluxes["Q"].square().mean().backward()
        optimiser.step()

    weights = sum(w.numel() for w in network_weights(model.networks["nn"]))
    flops = 2 * basins * weights * (half + 3 * (days - half))
    for engine in ("eager", "compiled"):
        model.compiled = engine == "compiled"
        took = best(step, device, 2)
        say(
            f"| training step, {basins} basins, {days} days, {engine} | {seconds(took)} | "
            f"{flops / took / rate:.1%} | |"
        )


def dmg(python: str, device: str) -> None:
    """The training step of the public dmg, in its own environment."""
    code = "import json, sys, speed_peers; print(json.dumps(speed_peers.training(sys.argv[1])))"
    command = [python, "-c", code, device]
    done = subprocess.run(command, check=True, cwd=Path(__file__).parent, stdout=subprocess.PIPE, text=True)
    say(f"| training step, dmg | {seconds(json.loads(done.stdout.splitlines()[-1])['training'])} | | |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100, 10_000, 100_000])
    parser.add_argument("--dmg", metavar="PYTHON", help="an interpreter that has the public dmg")
    parser.add_argument("--output", type=Path, help="a file for the table")
    parser.add_argument("--dry", action="store_true", help="a small model on the processor")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    device, rows = ("cpu", [1, 10]) if given.dry else (given.device, given.rows)
    sizes = (8, 20) if given.dry else (BASINS, DAYS)
    model = large_model(8, 2) if given.dry else large_model()
    bandwidth, rate = limits(device)
    about = torch.cuda.get_device_name(device) if device.startswith("cuda") else "no GPU: a dry run"
    say(f"torch {torch.__version__}, {about}: {bandwidth / 1e9:.0f} GB/s, {rate / 1e12:.2f} TFLOP/s\n")
    say("| what | time | share of the matrix rate | share of the bandwidth |\n|---|---|---|---|")
    part("tests", tests)
    part("steps", lambda: steps(model, rows, device, bandwidth, rate))
    part("training", lambda: training(model, device, rate, *sizes))
    if given.dmg:
        part("dmg", lambda: dmg(given.dmg, device))
    if given.output:
        given.output.write_text("\n".join(LINES) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
