"""River networks to route through, storms on them, and how long something takes."""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from dmg_bmi.physics import run
from dmg_bmi.physics.routing.muskingum_cunge import MuskingumCunge
from dmg_bmi.physics.routing.network import River, river_static
from torch import Tensor

from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.hydrofabric.network import Network

HOUR = 1 / 24
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
    river = River.from_static(river_static(downstream), rows, torch.device("cpu"))
    area = 8.0 * torch.exp(0.5 * torch.randn(rows, generator=g, dtype=torch.float64))
    drained = river.accumulate(area, torch.ones_like(area))
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


def from_file(path: Path) -> tuple[Network, Inputs]:
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


def write_fabric(path: Path, inputs: Inputs) -> Path:
    """A synthetic network as the tables of a hydrofabric."""
    parameters, static, area = inputs
    columns = {**parameters, "Length_m": static["Length_m"], "So": static["So"]}
    rows, below = len(area), static["downstream"].tolist()
    river = River.from_static(static, rows, torch.device("cpu"))
    drained = river.accumulate(area, torch.ones_like(area)).tolist()
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
