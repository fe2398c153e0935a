"""Steps and training on a GPU, beside what its memory and its matrix products allow.

    python benchmarks/speed_gpu.py [--device cuda:0] [--rows 1 100 10000 100000] [--dmg]

Prints a table in Markdown. `--dmg` adds the public dmg's training step on the same device, where it is
installed. Wall-clock time around synchronised calls, the least of some repeats; the limits are measured in
the same run: a copy of a gigabyte, and a product of two matrices of 4096 by 4096 in float32. With
``--device cpu --rows 1 10`` every part of it works without a GPU, and shows nothing.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import speed_peers
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
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "package"
        try:
            aot.build(info, folder, device)
        except DmgBmiError as problem:
            print(f"({problem})", flush=True)
        else:
            there["package"] = aot.find(info, device, folder)
    if device.startswith("cuda"):
        there |= {f"{name}, recorded": CudaGraphEngine(engine) for name, engine in there.items()}
    return there


def steps(rows: list[int], device: str, bandwidth: float, rate: float) -> None:
    """One model step of LSTM 256 and HBV with 16 components."""
    with tempfile.TemporaryDirectory() as name:
        info = Bundle(large_model(), "LSTM 256, nmul 16").save(Path(name) / "bundle")
        model = info.load_model().to(device)
        run = engines(info, model, device)
    network = next(n for n in model.networks.values() if n.recurrent)
    flops = 2 * sum(w.numel() for w in network_weights(network))
    for n in rows:
        attributes = {k: torch.rand(n, dtype=torch.float64, device=device) for k in model.attribute_names}
        forcing = {k: v.to(device) for k, v in weather(1, n, torch.float64).items()}
        with torch.inference_mode():
            constants, begin = model.precompute(attributes, n), model.init_state(n, device=device)
        # A step reads what is prepared and the state, and writes the state, at the least.
        moved = sum(t.nbytes for t in constants.values()) + 2 * sum(t.nbytes for t in begin.values())
        for title, engine in run.items():
            state = begin

            def step(engine=engine, constants=constants, forcing=forcing):
                nonlocal state
                _, state = engine.run(forcing, constants, state)

            took = best(step, device)
            share = f"{n * flops / took / rate:.0%} | {moved / took / bandwidth:.0%}"
            print(f"| step, {n} rows, {title} | {seconds(took)} | {share} |", flush=True)


def training(device: str, rate: float, beside_dmg: bool) -> None:
    """A training step of 100 basins and 730 days, of which 365 spin-up without gradient."""
    model = large_model().to(device).train()
    forcing = {k: v.to(device) for k, v in weather(DAYS, BASINS).items()}
    attributes = {k: torch.rand(BASINS, device=device) for k in model.attribute_names}
    optimiser = torch.optim.AdamW(model.parameters())

    def step() -> None:
        optimiser.zero_grad()
        constants = model.precompute(attributes, BASINS, torch.float32)
        state = model.init_state(BASINS, dtype=torch.float32, device=device)
        with torch.no_grad():
            _, state = model.run({k: v[:365] for k, v in forcing.items()}, constants, state, ("Q",))
        fluxes, _ = model.run({k: v[365:] for k, v in forcing.items()}, constants, state, ("Q",))
        fluxes["Q"].square().mean().backward()
        optimiser.step()

    weights = sum(w.numel() for w in network_weights(model.networks["nn"]))
    flops = 2 * BASINS * weights * (365 + 3 * (DAYS - 365))
    for engine in ("eager", "compiled"):
        model.compiled = engine == "compiled"
        took = best(step, device, 2)
        print(f"| training step, {engine} | {seconds(took)} | {flops / took / rate:.1%} | |", flush=True)
    if beside_dmg:
        theirs = speed_peers.training(device)["training"]
        print(f"| training step, dmg | {seconds(theirs)} | {theirs / took:.1f} times ours | |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--rows", nargs="+", type=int, default=[1, 100, 10_000, 100_000])
    parser.add_argument("--dmg", action="store_true", help="beside the public dmg, which must be installed")
    given = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    torch.manual_seed(0)
    torch.backends.cudnn.allow_tf32 = False
    bandwidth, rate = limits(given.device)
    print(
        f"torch {torch.__version__}, {given.device}: {bandwidth / 1e9:.0f} GB/s, {rate / 1e12:.2f} TFLOP/s\n"
    )
    print(
        "| what | time | share of the matrix rate | share of the bandwidth |\n|---|---|---|---|", flush=True
    )
    steps(given.rows, given.device, bandwidth, rate)
    training(given.device, rate, given.dmg)


if __name__ == "__main__":
    main()
