"""What routing costs, what its kernels differ in, how exact it is, and whether roughness is found again.

    python benchmarks/routing.py speed [GPKG] [--rows 794 100000] [--eager]
    python benchmarks/routing.py solvers [GPKG] [--rows 794 100000]
    python benchmarks/routing.py difference GPKG
    python benchmarks/routing.py accuracy GPKG
    python benchmarks/routing.py twin GPKG

One thread, float64, hourly steps of 12 sub-steps. `speed` routes a storm through a random network
after Shreve (1966): all binary trees with that many sources are equally likely. With a GeoPackage it
routes through its network too. It runs the component and the engine that a framework gets. t-route's
compiled Fortran takes about 0.45 us per reach and sub-step of 5 minutes on the 794 reaches of the Juniata.
"""

from __future__ import annotations

import argparse
import random
import resource
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from dmg_bmi.physics import run
from dmg_bmi.physics.channel import Section
from dmg_bmi.physics.muskingum_cunge import MuskingumCunge
from dmg_bmi.physics.river import River, river_static
from torch import Tensor

from dmg_bmi import RoutingBmi, aot, hydrofabric
from dmg_bmi.cli.compile import _meant as meant
from dmg_bmi.runtime import package

HOUR = 1 / 24
FLOW = "land_surface_water_source__volume_flow_rate"
DISCHARGE = "channel_exit_water_x-section__volume_flow_rate"
#: Bed slope for reaches that have none, as t-route's users put it.
FLAT = 1e-5
Inputs = tuple[dict[str, Tensor], dict[str, Tensor], Tensor]


def shreve(rows: int, seed: int = 0) -> np.ndarray:
    """Row below each reach of a random binary tree, by the algorithm of Rémy (1985); row 0 is the outlet.

    It has an odd number of reaches, `rows` or one less.
    """
    draw = random.Random(seed)
    below, above = [-1], [[-1, -1]]
    while len(below) + 2 <= rows:
        # A new confluence takes the place of any reach, which then joins a new source there.
        reach, junction, source = draw.randrange(len(below)), len(below), len(below) + 1
        parent = below[reach]
        if parent >= 0:
            above[parent][above[parent].index(reach)] = junction
        below += [parent, junction]
        below[reach] = junction
        above += [[reach, source], [-1, -1]]
    return np.array(below)


def synthetic(rows: int) -> Inputs:
    """`parameters`, `static` and drained area of a network with the size of a hydrofabric's reaches."""
    downstream = torch.from_numpy(shreve(rows))
    rows = len(downstream)
    g = torch.Generator().manual_seed(0)
    river = River.of(river_static(downstream), rows, torch.device("cpu"))
    area = 8.0 * torch.exp(0.5 * torch.randn(rows, generator=g, dtype=torch.float64))
    drained = river.passed_on(area, torch.ones_like(area))
    bottom = 2.0 * drained**0.35
    parameters = {
        "n": torch.full_like(area, 0.055),
        "nCC": torch.full_like(area, 0.11),
        "BtmWdth": bottom,
        "TopWdth": 1.2 * bottom,
        "TopWdthCC": 3.6 * bottom,
        "ChSlp": torch.full_like(area, 0.6),
    }
    static = {
        "Length_m": 4000.0 * torch.exp(0.5 * torch.randn(rows, generator=g, dtype=torch.float64)),
        "So": (0.03 * drained**-0.45).clamp(min=1e-4),
    }
    return parameters, {**static, "downstream": river.downstream, "jumps": river.jumps}, area


def from_file(path: Path) -> tuple[hydrofabric.Network, Inputs]:
    """The network of a GeoPackage, and what routing wants of it."""
    network = hydrofabric.read(path).routable(minimum_slope=FLAT)
    return network, (*network.tensors(), torch.from_numpy(network.area))


def storm(area: Tensor, hours: int, depth: float = 12.0, base: float = 0.02) -> Tensor:
    """Lateral inflow in m3/s of `depth` mm of runoff that peaks after six hours, on `base` mm/h."""
    t = torch.arange(hours, dtype=torch.float64).unsqueeze(1)
    shape = t**2 * torch.exp(-t / 3)
    return (base + depth * shape / shape.sum()) * area * 1e3 / 3600


def route(model: MuskingumCunge, lateral: Tensor, inputs: Inputs, state: Mapping[str, Tensor] | None = None):
    """Fluxes and end state of a run from `state`, or from dry."""
    state = model.init_state(lateral.shape[1]) if state is None else dict(state)
    return run(model, {"lateral_inflow": lateral}, state, inputs[0], inputs[1], HOUR)


def settled(model: MuskingumCunge, lateral: Tensor, inputs: Inputs) -> dict[str, Tensor]:
    """The state of `model` in steady flow, found with the long steps that the conservative kernel bears."""
    long = MuskingumCunge(substeps=1)
    forcing = {"lateral_inflow": lateral.expand(60, -1)}
    fluxes, state = run(long, forcing, long.init_state(len(lateral)), inputs[0], inputs[1], 5.0)
    if model.kernel == "nwm":
        state = {"discharge": fluxes["discharge"][-1], "depth": fluxes["depth"][-1]}
    return route(model, lateral.expand(500, -1), inputs, state)[1]


def seconds(work: Callable[[], object], repeat: int = 3) -> float:
    """Shortest of several times."""
    work()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


# -- speed ------------------------------------------------------------------------


def speed(fabrics: Mapping[str, Path], compiled: bool) -> None:
    """What a sub-step of a reach costs in the component as it runs, step by step and in long records.

    Through the BMI each hourly step sets all inflows and reads all flows; a long record goes through
    the same engine at once. The kernel of the National Water Model runs eagerly.
    """
    print("us per reach and sub-step; t-route's compiled Fortran: 0.45 for 794 reaches")
    print(
        "network                       kernel        engine     step by step  long record  start s  peak GB"
    )
    for name, path in fabrics.items():
        for bundle, engine in (
            ("muskingum_cunge", "eager"),
            *((("muskingum_cunge", "compiled"),) if compiled else ()),
            ("muskingum_cunge_nwm", "eager"),
        ):
            with TemporaryDirectory() as folder:
                config = Path(folder) / "river.yaml"
                content = {"hydrofabric": str(path.absolute()), "minimum_slope": FLAT}
                config.write_text(yaml.safe_dump({"bundle": bundle, "engine": engine, "catchments": content}))
                if engine == "compiled":
                    compile_for(config)
                begun = time.process_time()
                river = RoutingBmi()
                river.initialize(str(config))
                started = time.process_time() - begun
                one, long = by_step(river), at_once(river)
                river.finalize()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
            kernel = "nwm" if bundle.endswith("nwm") else "conservative"
            print(
                f"{name:29} {kernel:13} {engine:9} {one:13.3f} {long:12.3f} {started:8.1f} {peak:8.1f}",
                flush=True,
            )


def compile_for(config: Path) -> None:
    """Compile what the configuration runs, once."""
    info, graph = meant(str(config))
    folder = package.cache_folder(info, "cpu", graph)
    if not (folder / aot.INDEX).is_file():
        begun = time.process_time()
        package.build(info, folder, "cpu", graph)
        print(f"  compiled in {time.process_time() - begun:.0f} s of this process, and a compiler's")


def inflows(river: RoutingBmi, hours: int) -> np.ndarray:
    """The storm, as `hours` by reach; of long ones the hours of the peak."""
    area = torch.from_numpy(river.get_value_ptr("catchment__area").copy())
    return storm(area, 24).numpy()[:hours] if hours == 24 else storm(area, 24).numpy()[5 : 5 + hours]


def _hours(river: RoutingBmi) -> int:
    return 24 if river.component.size < 10_000 else 2


def by_step(river: RoutingBmi) -> float:
    """Microseconds per reach and sub-step through the BMI, the shortest of three passes."""
    series = inflows(river, _hours(river))
    flow = np.empty(river.component.size)

    def work() -> None:
        for values in series:
            river.set_value(FLOW, values)
            river.update()
            river.get_value(DISCHARGE, flow)

    return seconds(work) * 1e6 / (len(series) * 12 * len(flow))


def at_once(river: RoutingBmi) -> float:
    """The same of a record that the engine is given whole."""
    group = river.component.group
    lateral = torch.from_numpy(inflows(river, _hours(river)))
    given = {"lateral_inflow": lateral}, group._prepared, group._state, ("discharge",)
    return seconds(lambda: group.engine.run(*given)) * 1e6 / (lateral.numel() * 12)


def write_fabric(path: Path, inputs: Inputs) -> Path:
    """A synthetic network as the tables of a hydrofabric."""
    parameters, static, area = inputs
    columns = {**parameters, "Length_m": static["Length_m"], "So": static["So"]}
    rows, below = len(area), static["downstream"].tolist()
    river = River.of(static, rows, torch.device("cpu"))
    drained = river.passed_on(area, torch.ones_like(area)).tolist()
    ids = [f"wb-{k}" for k in range(rows + 1)]
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE divides (divide_id, toid, type, areasqkm)")
        file.execute("CREATE TABLE flowpaths (id, toid, divide_id, tot_drainage_areasqkm)")
        file.execute("CREATE TABLE nexus (id, toid)")
        file.execute(f'CREATE TABLE "flowpath-attributes" (id, {", ".join(columns)})')
        divides = (
            (f"cat-{k}", f"nex-{b}", "network", a)
            for k, (b, a) in enumerate(zip(below, area.tolist(), strict=True))
        )
        file.executemany("INSERT INTO divides VALUES (?, ?, ?, ?)", divides)
        paths = (
            (ids[k], f"nex-{b}", f"cat-{k}", a) for k, (b, a) in enumerate(zip(below, drained, strict=True))
        )
        file.executemany("INSERT INTO flowpaths VALUES (?, ?, ?, ?)", paths)
        file.executemany(
            "INSERT INTO nexus VALUES (?, ?)", ((f"nex-{b}", ids[b]) for b in sorted(set(below)))
        )
        marks = ", ".join("?" * (1 + len(columns)))
        channels = zip(ids[:-1], *(values.tolist() for values in columns.values()), strict=True)
        file.executemany(f'INSERT INTO "flowpath-attributes" VALUES ({marks})', channels)
        file.commit()
    return path


def solvers(static: Mapping[str, Tensor], rows: int) -> None:
    """The triangular system by doubling, as the model solves it, and level by level."""
    river = River.of(static, rows, torch.device("cpu"))
    levels = _levels(river.downstream)
    g = torch.Generator().manual_seed(0)
    own, share = torch.rand(2, rows, generator=g, dtype=torch.float64)

    def by_level() -> Tensor:
        inflow = torch.zeros(rows + 1, dtype=torch.float64)
        solved = torch.empty(rows, dtype=torch.float64)
        for members, below in levels:
            solved[members] = own[members] + share[members] * inflow[members]
            inflow.index_add_(0, below, solved[members])
        return solved

    with torch.inference_mode():
        torch.testing.assert_close(by_level(), river.passed_on(own, share))
        doubling, level = seconds(lambda: river.passed_on(own, share)), seconds(by_level)
    print(
        f"    network of {len(levels)} levels: {doubling * 1e6 / rows:.3f} us per reach in "
        f"{len(river.jumps)} rounds of doubling, {level * 1e6 / rows:.3f} level by level"
    )


def _levels(downstream: Tensor) -> list[tuple[Tensor, Tensor]]:
    level, _ = hydrofabric._levels(downstream.numpy())
    order = np.argsort(level, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(level))[:-1])
    return [(torch.from_numpy(rows), downstream[torch.from_numpy(rows)]) for rows in members]


# -- the two kernels --------------------------------------------------------------


def difference(path: Path) -> None:
    """What the kernels do to a small wave, and to storms from within banks to far over them."""
    wave()
    network, inputs = from_file(path)
    outlet = int(np.argmax(network.level))
    leaving = torch.from_numpy(network.downstream == len(network))
    print("storm     over banks  kernel        peak m3/s  at hour  velocity m/s  inflow unaccounted for")
    for depth in (0.2, 2.0, 12.0, 50.0):
        base = 0.02 if depth > 1 else 0.005
        dry = (base * inputs[2] * 1e3 / 3600).expand(192, -1)
        lateral = torch.cat([storm(inputs[2], 48, depth, base), dry])
        for kernel in ("conservative", "nwm"):
            model = MuskingumCunge(kernel=kernel)
            with torch.inference_mode():
                fluxes, end = route(model, lateral, inputs, start := settled(model, dry[0], inputs))
            section, length = Section.of(*inputs[:2]), inputs[1]["Length_m"]
            held = [
                s["storage"] if "storage" in s else section.area(s["depth"]) * length for s in (start, end)
            ]
            entered, left = fluxes["lateral"].sum(), fluxes["outflow"][:, leaving].sum()
            lost = entered - left - (held[1] - held[0]).sum()
            flow = fluxes["outflow"][:, outlet] / 3600
            over = (fluxes["depth"].amax(0) > section.bankfull).double().mean()
            peak = int(flow.argmax())
            print(
                f"{depth:5.1f} mm {over:11.0%}  {kernel:13} {flow[peak]:9.1f} {peak:8d} "
                f"{fluxes['velocity'][peak, outlet]:13.2f} {lost / entered:11.1e}",
                flush=True,
            )


def wave() -> None:
    """Hours that a small wave takes through ten reaches of 4 km, against length over celerity."""
    print("flow m3/s  slope   kinematic wave  conservative    nwm   hours through 40 km")
    hours = torch.arange(96, dtype=torch.float64)
    for flow, slope in ((0.5, 0.005), (2.0, 0.005), (2.0, 0.001), (0.5, 0.03)):
        rows = 11
        lake = torch.arange(rows) == 0
        columns = {"n": 0.05, "nCC": 0.1, "BtmWdth": 8.0, "TopWdth": 9.0, "TopWdthCC": 27.0, "ChSlp": 0.8}
        columns |= {"Length_m": 4000.0, "So": slope}
        tensors = {name: torch.full((rows,), value, dtype=torch.float64) for name, value in columns.items()}
        inputs = (tensors, {**tensors, **river_static(torch.arange(1, rows + 1), lake)}, torch.empty(rows))
        lateral = torch.zeros(len(hours), rows, dtype=torch.float64)
        lateral[:, 0] = flow * (1 + 0.1 * torch.exp(-(((hours - 24) / 6) ** 2)))
        area = torch.linspace(1e-3, 30.0, 100_001, dtype=torch.float64)
        uniform = Section(*(part[:1] for part in Section.of(*inputs[:2]))).flow(area)
        celerity = uniform.celerity[int((uniform.discharge < flow).sum())]
        delays = []
        for kernel in ("conservative", "nwm"):
            model = MuskingumCunge(kernel=kernel)
            with torch.inference_mode():
                _, start = route(model, lateral[:1].expand(500, -1), inputs)
                left = route(model, lateral, inputs, start)[0]["outflow"][:, -1] / 3600
            centres = [(hours * (y - y[0])).sum() / (y - y[0]).sum() for y in (left, lateral[:, 0])]
            delays.append(centres[0] - centres[1])
        print(f"{flow:9.1f}  {slope:5.3f} {40000 / celerity / 3600:16.1f} {delays[0]:13.1f} {delays[1]:6.1f}")


# -- accuracy ---------------------------------------------------------------------


def in_pieces(inputs: Inputs, metres: float) -> tuple[Inputs, Tensor]:
    """The same network of reaches no longer than this, and the row of each reach's last piece."""
    parameters, static, area = inputs
    count = (static["Length_m"] / metres).ceil().to(torch.int64)
    last = count.cumsum(0) - 1
    below = torch.arange(1, int(count.sum()) + 1)
    beyond = torch.cat([last - count + 1, count.sum().reshape(1)])
    below[last] = beyond[static["downstream"]]

    def each(values: Tensor) -> Tensor:
        return values.repeat_interleave(count)

    pieces = {"Length_m": each(static["Length_m"] / count), "So": each(static["So"])}
    lake = each(static["lake"]) if "lake" in static else None
    return (
        {name: each(values) for name, values in parameters.items()},
        {**pieces, **river_static(below, lake)},
        each(area / count),
    ), last


def accuracy(path: Path) -> None:
    """Hydrographs of every reach against those of reaches in pieces of 250 m and sub-steps of a minute."""
    _, (parameters, static, area) = from_file(path)
    inputs: Inputs = (parameters, {**static, "So": static["So"].clamp(min=1e-3)}, area)
    fine, last = in_pieces(inputs, 250.0)

    def hydrographs(inputs: Inputs, substeps: int) -> Tensor:
        model = MuskingumCunge(substeps=substeps)
        dry = (0.02 * inputs[2] * 1e3 / 3600).expand(72, -1)
        lateral = torch.cat([storm(inputs[2], 48), dry])
        with torch.inference_mode():
            return route(model, lateral, inputs, settled(model, dry[0], inputs))[0]["outflow"] / 3600

    outlet = int(hydrographs(inputs, 1).sum(0).argmax())
    truth = hydrographs(fine, 60)[:, last]
    print(f"{len(area)} reaches against {len(fine[2])} pieces; error as share of the standard deviation")
    for substeps in (1, 4, 12, 60):
        found = hydrographs(inputs, substeps)
        error = ((found - truth) ** 2).mean(0).sqrt() / truth.std(0)
        peak = found.amax(0) / truth.amax(0) - 1
        print(
            f"{substeps:3d} sub-steps an hour: outlet {error[outlet]:.3f}, peak {peak[outlet]:+.3f}; "
            f"reaches {error.median():.3f} (median), {error.quantile(0.9):.3f} (90 %)",
            flush=True,
        )


# -- roughness --------------------------------------------------------------------


def twin(path: Path) -> None:
    """Find Manning's n again: a law of drained area from the gauges, then every reach from every reach."""
    network, inputs = from_file(path)
    parameters, static, area = inputs
    river = River.of(static, len(area), torch.device("cpu"))
    size = torch.log(river.passed_on(area, torch.ones_like(area)) / 100.0)
    gauges = sorted(set(network.gages.values()))
    model = MuskingumCunge(substeps=2)
    lateral = storm(area, 24, 4.0)
    with torch.no_grad():
        _, start = route(model, lateral[:1].expand(500, -1), inputs)

    def discharge(roughness: Tensor) -> Tensor:
        return route(model, lateral, ({**parameters, "n": roughness}, static, area), start)[0]["discharge"]

    def search(observed: Tensor, where: list[int], roughness: Callable[[Tensor], Tensor], first: Tensor):
        found = first.clone().requires_grad_()
        by = torch.optim.LBFGS([found], max_iter=400, tolerance_grad=0.0, line_search_fn="strong_wolfe")
        scale = observed[:, where].var(0) + 1e-9

        def misfit() -> Tensor:
            by.zero_grad()
            error = ((discharge(roughness(found)) - observed)[:, where] ** 2 / scale).mean()
            error.backward()
            return error

        begun = time.process_time()
        by.step(misfit)
        return roughness(found.detach()), time.process_time() - begun

    def law(x: Tensor) -> Tensor:
        return torch.exp(x[0] + x[1] * size)

    truth = law(torch.tensor([np.log(0.05), -0.08]))
    with torch.no_grad():
        observed = discharge(truth)
    first = torch.tensor([np.log(0.08), 0.0])
    found, took = search(observed, gauges, law, first)
    print(f"law of drained area from {len(gauges)} gauges: n off by {_off(found, truth)}, {took:.0f} s")

    g = torch.Generator().manual_seed(1)
    truth = 0.03 + 0.06 * torch.rand(len(area), generator=g, dtype=torch.float64)
    with torch.no_grad():
        observed = discharge(truth)
    everywhere = list(range(len(area)))
    found, took = search(observed, everywhere, torch.exp, torch.full_like(area, np.log(0.06)))
    print(f"{len(area)} reaches, each gauged: n off by {_off(found, truth)}, {took:.0f} s")


def _off(found: Tensor, truth: Tensor) -> str:
    error = (found / truth - 1).abs()
    return f"{error.median():.1e} (median), {error.quantile(0.95):.1e} (95 %), {error.max():.1e} (most)"


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("speed", "solvers", "difference", "accuracy", "twin"))
    parser.add_argument("gpkg", nargs="?", type=Path, help="hydrofabric GeoPackage")
    parser.add_argument("--rows", nargs="*", type=int, default=[794, 100_000])
    parser.add_argument("--eager", action="store_true", help="do not compile")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.what in ("speed", "solvers"):
        with TemporaryDirectory() as folder:
            fabrics = {arguments.gpkg.stem[:12]: arguments.gpkg} if arguments.gpkg else {}
            for rows in arguments.rows:
                fabrics[f"random tree, {rows}"] = write_fabric(Path(folder) / f"{rows}.gpkg", synthetic(rows))
            if arguments.what == "speed":
                speed(fabrics, not arguments.eager)
            for name, path in fabrics.items() if arguments.what == "solvers" else ():
                network, (_, static, _) = from_file(path)
                print(name)
                solvers(static, len(network))
    elif arguments.gpkg is None:
        parser.error(f"{arguments.what} needs a GeoPackage")
    else:
        {"difference": difference, "accuracy": accuracy, "twin": twin}[arguments.what](arguments.gpkg)


if __name__ == "__main__":
    main()
