"""What this project costs beside its peers and its limits, in one run on one machine.

    python benchmarks/speed.py --output DIR [--peers PYTHON] [--docs docs/performance.md]
    python benchmarks/speed.py --output DIR --only one_shot --years 30

Writes DIR/speed.md, a table of what compiling costs, and three plots; `--docs` puts the tables into that
page too. One thread, processor time; what is compared is measured in turn, and the least of some repeats
taken, so that other work on the machine disturbs little; best on an idle one all the same. Eight minutes
there. `--peers` names a Python that has dhbv2, and with it dmg and hydrodl2 (`pip install dhbv2`);
without it their lines are left out.

The limit is what the network's matrix products take alone, by `torch.mm` or `torch.mv` on the same weights
at the same batch: no LSTM of this size can be faster on this processor with this library.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nextgen
import precision
import speed_compile
import torch
from dmg_bmi.physics import HBV, Catchment, run
from speed_table import COMPILED, MEASURED, Table, best, in_turn, into, peak, plots, seconds

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.compiled_blocks import CompiledBlocks
from dmg_bmi.runtime.engines import aot
from dmg_bmi.runtime.engines.eager import Eager

BASINS, DAYS, NMUL, DYNAMIC = 100, 730, 16, ("BETA", "BETAET")


def weather(days: int, rows: int, dtype: torch.dtype = torch.float32) -> dict[str, torch.Tensor]:
    shape = (days, rows)
    return {
        "P": 8 * torch.rand(shape, dtype=dtype),
        "T": 5 + 8 * torch.randn(shape, dtype=dtype),
        "PET": 3 * torch.rand(shape, dtype=dtype),
    }


def peer(python: Path | None, what: str) -> dict[str, float]:
    """Seconds of a peer in its own environment; nothing where there is none."""
    if python is None:
        print(f"(no {what}: name a Python that has it by --peers)", flush=True)
        return {}
    script = Path(__file__).with_name("speed_peers.py")
    done = subprocess.run([str(python), str(script), what], capture_output=True, text=True, cwd=script.parent)
    if done.returncode:
        print(f"({what} failed: {done.stderr.strip().splitlines()[-1]})", flush=True)
        return {}
    return json.loads(done.stdout.strip().splitlines()[-1])


def network_weights(network) -> list[torch.Tensor]:
    """Of the matrix products of a step: in, input gates, hidden gates, out."""
    layer = network.lstm
    weights = (network.linear_in.weight, layer.weight_ih_l0, layer.weight_hh_l0, network.linear_out.weight)
    return [w.detach().t().contiguous() for w in weights]


def products(network, rows: int):
    """The bare matrix products of a step, to be called."""
    weights = network_weights(network)
    if rows == 1:
        vectors = [(w.t().contiguous(), torch.rand(len(w))) for w in weights]
        return lambda: [torch.mv(w, x) for w, x in vectors]
    pairs = [(w, torch.rand(rows, len(w))) for w in weights]
    return lambda: [torch.mm(x, w) for w, x in pairs]


class Stepping:
    """An engine that goes on, step after step, from its own state."""

    def __init__(self, engine, model: DeltaModel, rows: int) -> None:
        attributes = {k: torch.rand(rows, dtype=torch.float64) for k in model.attribute_names}
        with torch.inference_mode():
            self.constants = model.precompute(attributes, rows)
        self.engine, self.state = engine, model.init_state(rows)
        self.forcing = weather(1, rows, torch.float64)

    def __call__(self) -> None:
        _, self.state = self.engine.run(self.forcing, self.constants, self.state)


def sequence_products(network, days: int, rows: int, backward: bool = False) -> float:
    """Of a sequence: all that can be done for all days at once is; two more of each for a gradient."""
    weights = network_weights(network)
    shown = [torch.rand(days * rows, len(w)) for w in weights]
    step = torch.rand(rows, len(weights[2]))

    def forward() -> None:
        for k, (w, x) in enumerate(zip(weights, shown, strict=True)):
            if k != 2:
                torch.mm(x, w)
        for _ in range(days):
            torch.mm(step, weights[2])

    out = [torch.rand(days * rows, w.shape[1]) for w in weights] if backward else []

    def both() -> None:
        forward()
        for w, x, y in zip(weights, shown, out, strict=True):
            torch.mm(y, w.t())
            torch.mm(x.t(), y)

    return best(both if backward else forward, 2)


def physics(table: Table, python: Path | None) -> None:
    """Point 1: the equations alone."""
    theirs = peer(python, "hydrodl2")
    model = Catchment(HBV(betaet=True), NMUL, 15)
    forcing, state = weather(DAYS, BASINS), model.init_state(BASINS, dtype=torch.float32)
    given = {
        p.name: p.lower + (p.upper - p.lower) * torch.rand(BASINS, *p.shape)
        for p in model.declaration.parameters
    }
    series = {
        n: given.pop(n).expand(DAYS, -1, -1) * (1 + 0.01 * torch.rand(DAYS, BASINS, NMUL)) for n in DYNAMIC
    }
    results = {}
    for name, block in (("eager", None), ("compiled", CompiledBlocks())):

        def flow(parameters, dynamic, days=slice(None), state=state, block=block):
            part = {k: v[days] for k, v in forcing.items()}
            varying = {k: v[days] for k, v in dynamic.items()}
            return run(model, part, state, parameters, {}, 1.0, dynamic=varying, outputs=("Q",), block=block)

        def forward(flow=flow):
            with torch.no_grad():
                return flow(given, series)[0]["Q"]

        def both(first=0, flow=flow):
            p = {k: v.clone().requires_grad_() for k, v in given.items()}
            d = {k: v.clone().requires_grad_() for k, v in series.items()}
            start = state
            if first:
                with torch.no_grad():
                    _, start = flow(p, d, slice(first))
            flow(p, d, slice(first, None), start)[0]["Q"].square().mean().backward()
            return p["FC"].grad

        results[name] = (forward(), both())
        shape = f"HBV {BASINS} x {DAYS} x {NMUL}, {name}"
        table.add(f"{shape}: forward", best(forward), "hydrodl2", theirs.get("forward"))
        table.add(f"{shape}: forward and backward", best(both, 3), "hydrodl2", theirs.get("backward"))
        table.add(
            f"{shape}: the same, first year without gradient",
            best(lambda both=both: both(365), 3),
            "hydrodl2",
            theirs.get("backward without spin-up"),
        )
    for ours, theirs_ in zip(*results.values(), strict=True):
        torch.testing.assert_close(ours, theirs_, rtol=1e-4, atol=1e-5)


def large_model(hidden: int = 256, nmul: int = NMUL) -> DeltaModel:
    attributes = [f"attribute_{k}" for k in range(28)]
    return DeltaModel.build(
        nn={"name": "lstm", "hidden_size": hidden},
        phy_model={"name": "hbv", "nmul": nmul, "routing": 15, "betaet": True},
        roles=[{"inputs": ["P", "T", "PET"], "attributes": attributes, "dynamic": list(DYNAMIC)}],
    ).eval()


def packaged(table: Table, title: str, info: BundleInfo):
    """The compiled step of a bundle, made now if it is not there."""
    folder = aot.cache_folder(info)
    if not folder.is_dir():
        begin = time.perf_counter()
        aot.build(info, folder)
        print(f"({title}: compiled in {time.perf_counter() - begin:.0f} s)", flush=True)
    return aot.find(info)


def single_steps(table: Table, folder: Path, python: Path | None) -> dict[str, list[tuple[int, float]]]:
    """Points 2 and 3: one model step of one to many catchments."""
    theirs = peer(python, "dhbv2")
    small = nextgen.bundle(folder / "small")  # with weights that are the same in every run
    torch.manual_seed(0)
    Bundle(large_model(), "LSTM 256, HBV nmul 16").save(folder / "large")
    curves: dict[str, list[tuple[int, float]]] = {}
    for title, path, counts in (
        ("LSTM 64, nmul 4 (dHBV 2.0)", small, (1, 10, 100, 1000, 10_000, 100_000)),
        ("LSTM 256, nmul 16", folder / "large", (1, 10, 100, 1000, 10_000)),
    ):
        info = BundleInfo.read(path)
        rounded = replace(info, network_precision="bfloat16")
        model, low = info.load_model(), rounded.load_model()
        engines = {"package": (packaged(table, title, info), model), "eager": (Eager(model), model)}
        if path != small:
            engines["bfloat16 package"] = (packaged(table, title, rounded), low)
        network = next(n for n in model.networks.values() if n.recurrent)
        for rows in counts:
            names = [n for n in engines if engines[n][0] is not None and (n == "package" or rows <= 10_000)]
            steps = [Stepping(*engines[name], rows) for name in names]
            limit, *took = in_turn([products(network, rows), *steps], 7, 12.0)
            for name, seconds_ in zip(names, took, strict=True):
                what = f"{title}, {name}: {rows} {'row' if rows == 1 else 'rows'}"
                if name != "eager" or rows in (1, 10_000):
                    beside = "bare float32 products" if "bfloat16" in name else "bare products"
                    table.add(what, seconds_, beside, limit, slower=False)
                curves.setdefault(f"{title}, {name}", []).append((rows, seconds_ / rows))
                if rows == 1 and path == small:
                    table.add(what, seconds_, "dhbv2, a day's step of its BMI", theirs.get("step"))
            curves.setdefault(f"{title}: bare products", []).append((rows, limit / rows))
    return curves


def one_shot(table: Table, years: int) -> None:
    """Point 4: 671 basins over many years in one go."""
    basins, days = 671, 365 * years
    model = large_model()
    model.compiled = True
    forcing = weather(days, basins)
    attributes = {k: torch.rand(basins) for k in model.attribute_names}
    with torch.no_grad():
        short = {k: v[:100] for k, v in forcing.items()}
        few = peak(lambda: model(short, attributes, outputs=("Q",)))
        begin = time.process_time()
        all_of_it = peak(lambda: model(forcing, attributes, outputs=("Q",)))
        took = time.process_time() - begin
    limit = sequence_products(model.networks["nn"], 200, basins) * days / 200
    title = f"{basins} basins x {years} years, LSTM 256, nmul 16"
    table.add(title, took, "bare products", limit, slower=False)
    table.say(f"{title}: rate", f"{basins * years / took:.0f} basin-years per second", "", "")
    flow = basins * days * 4 / 1e6
    beside = f"100 days: {few:.0f} MB; the flow alone: {flow:.0f} MB"
    table.say(f"{title}: most memory beyond the forcing", f"{all_of_it:.0f} MB", beside, "")


def training(table: Table, python: Path | None) -> None:
    """Issue 5: a whole training step."""
    theirs = peer(python, "dmg").get("training")
    model = large_model().train()
    forcing, attributes = weather(DAYS, BASINS), {k: torch.rand(BASINS) for k in model.attribute_names}
    optimiser = torch.optim.AdamW(model.parameters())

    def step(with_gradient: bool) -> None:
        optimiser.zero_grad()
        constants = model.precompute(attributes, BASINS, torch.float32)
        state = model.init_state(BASINS, dtype=torch.float32)
        with torch.set_grad_enabled(with_gradient):
            _, state = model.run({k: v[:365] for k, v in forcing.items()}, constants, state, ("Q",))
        fluxes, _ = model.run({k: v[365:] for k, v in forcing.items()}, constants, state, ("Q",))
        fluxes["Q"].square().mean().backward()
        optimiser.step()

    network = model.networks["nn"]
    half = sequence_products(network, 365, BASINS)
    half_both = sequence_products(network, 365, BASINS, backward=True)
    for engine in ("eager", "compiled"):
        model.compiled = engine == "compiled"
        for with_gradient in (True, False):
            title = f"training step, {engine}, spin-up {'in' if with_gradient else 'out of'} the gradient"
            took = best(lambda w=with_gradient: step(w), 2)
            table.add(title, took, "dmg", theirs)
            limit = half_both + (half_both if with_gradient else half)
            table.add(title, took, "bare products", limit, slower=False)


def bfloat16(table: Table) -> None:
    """What network weights in bfloat16 do to flow, after a first year."""
    days, after = 4 * 365, slice(365, None)
    daily = BundleInfo.read("demo_daily")
    series = {k: torch.from_numpy(v) for k, v in precision.weather(4).items()}
    typical = {k: v["mean"] for k, v in daily.description["statistics"].items()}
    attributes = {k: torch.full((3,), typical[k]) for k in daily.load_model().attribute_names}
    torch.manual_seed(1)
    large = large_model()
    for weights in large.parameters():  # drawn as torch does they would hardly move the parameters
        weights.data *= 4
    many = {k: torch.rand(BASINS) for k in large.attribute_names}
    for title, model, forcing, of_rows in (
        ("demo_daily, 3 climates", daily.load_model(), series, attributes),
        (
            f"LSTM 256 with wide random weights, {BASINS} rows",
            large,
            weather(days, BASINS, torch.float64),
            many,
        ),
    ):
        flows = []
        for dtype in (torch.float32, torch.bfloat16):
            model.nn.to(dtype)
            with torch.no_grad():
                flows.append(model(forcing, of_rows, outputs=("Q",))[0]["Q"][after])
        exact, rounded = flows
        nse = 1 - ((rounded - exact) ** 2).sum(0) / ((exact - exact.mean(0)) ** 2).sum(0)
        volume = (rounded.sum(0) / exact.sum(0) - 1).abs()
        table.say(f"weights in bfloat16, {title}: error in flow", f"NSE to float32 at least {nse.min():.6f}",
                  f"volume within {volume.max():.2%}", "")  # fmt: skip


def record_length(table: Table) -> list[tuple[int, float]]:
    """Seconds per row and day against the length of a record."""
    model = large_model(64, 4)
    model.compiled = True
    result = []
    attributes = {k: torch.rand(10) for k in model.attribute_names}
    for days in (365, 1460, 5840, 23360):
        forcing = weather(days, 10)
        with torch.no_grad():
            took = best(lambda f=forcing: model(f, attributes, outputs=("Q",)), 2, 5.0)
            more = peak(lambda f=forcing: model(f, attributes, outputs=("Q",)))
        result.append((days, took / days / 10))
        table.say(f"10 rows x {days} days, LSTM 64, nmul 4", seconds(took),
                  f"{seconds(took / days / 10)} per row and day, {more:.0f} MB", "")  # fmt: skip
    return result


def instances(table: Table, folder: Path) -> list[tuple[int, float]]:
    """Memory against BMI objects of one process."""
    folder = folder / "instances"
    folder.mkdir()
    nextgen.bundle(folder / "bundle")
    paths = nextgen.configure(folder / "many", 2000, pet={"method": "penman_monteith"})
    objects, start, result = [], nextgen.memory(), []
    for k, path in enumerate(paths, start=1):
        bmi = nextgen.DeltaModelBmi()
        bmi.initialize(str(path))
        objects.append(bmi)
        if k in (1, 10, 100, 500, 1000, 2000):
            result.append((k, nextgen.memory() - start))
    each = (result[-1][1] - result[0][1]) * 1e3 / (result[-1][0] - 1)
    table.say("a further BMI object of a group (dHBV 2.0 size)", f"{each:.0f} kB",
              "dhbv2 0.6.0 (noted before, not this run): 387 MB", "")  # fmt: skip
    for bmi in objects:
        bmi.finalize()
    return result


def imports(table: Table) -> None:
    """What a process pays before anything else."""
    for code, what in (("import torch", "import torch"), ("import dmg_bmi.bmi", "import dmg_bmi.bmi")):
        begin = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        table.say(f"{what} (whole process)", seconds(time.perf_counter() - begin), "", "")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--peers", type=Path, help="a Python that has dhbv2, dmg and hydrodl2")
    parser.add_argument("--years", type=int, default=2, help="of the one-shot simulation (default: 2)")
    parser.add_argument("--docs", type=Path, help="a page with marks, between which the tables go")
    parser.add_argument(
        "--only",
        choices=SECTIONS,
        nargs="+",
        default=[*SECTIONS],
        metavar="PART",
        help=f"some of {', '.join(SECTIONS)}; all by default",
    )
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    given.output.mkdir(parents=True, exist_ok=True)
    table, begin = Table(), time.perf_counter()
    drawn: dict[str, Any] = {}

    with tempfile.TemporaryDirectory() as name:
        for section in given.only:
            drawn[section] = SECTIONS[section](table, Path(name), given)
            (given.output / "speed.md").write_text("\n".join(table.lines) + "\n", encoding="utf-8")
    said = (
        f"torch {torch.__version__}, {torch.backends.cpu.get_cpu_capability()}, one thread, processor time; "
        f"{time.perf_counter() - begin:.0f} s in all"
    )
    (given.output / "speed.md").write_text(f"{said}\n\n" + "\n".join(table.lines) + "\n", encoding="utf-8")
    plots(given.output, drawn.get("steps", {}), drawn.get("lengths", []), drawn.get("instances", []))
    if given.docs is not None and len(table.lines) > 2:
        into(given.docs, [said, "", *table.lines], MEASURED)
    if given.docs is not None and "compiling" in drawn:
        into(given.docs, drawn["compiling"], COMPILED)
    print(f"{said}\n{given.output / 'speed.md'} and plots")


def compiling(folder: Path) -> list[str]:
    """What `speed_compile.py` measures, as a table of its own."""
    lines = speed_compile.lines()
    (folder / "compiling.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return lines


#: Memory of instances is measured first, while the process is small.
SECTIONS: dict[str, Callable[[Table, Path, argparse.Namespace], Any]] = {
    "instances": lambda table, folder, given: instances(table, folder),
    "imports": lambda table, folder, given: imports(table),
    "physics": lambda table, folder, given: physics(table, given.peers),
    "steps": lambda table, folder, given: single_steps(table, folder, given.peers),
    "one_shot": lambda table, folder, given: one_shot(table, given.years),
    "training": lambda table, folder, given: training(table, given.peers),
    "bfloat16": lambda table, folder, given: bfloat16(table),
    "lengths": lambda table, folder, given: record_length(table),
    "compiling": lambda table, folder, given: compiling(given.output),
}


if __name__ == "__main__":
    main()
