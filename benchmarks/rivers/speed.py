"""What a sub-step of a reach costs, by engine and by way of solving."""

from __future__ import annotations

import resource
import time
from collections.abc import Mapping
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
import yaml
from dmg_bmi.physics.routing.network import River
from rivers.networks import FLAT, seconds, storm
from torch import Tensor

from dmg_bmi import RoutingBmi
from dmg_bmi.cli.compile import read_target
from dmg_bmi.hydrofabric import network
from dmg_bmi.model import aot_cache
from dmg_bmi.runtime.engines import aot

FLOW = "land_surface_water_source__volume_flow_rate"
DISCHARGE = "channel_exit_water_x-section__volume_flow_rate"


def speed(fabrics: Mapping[str, Path], compiled: bool) -> None:
    """What a sub-step of a reach costs in the component as it runs, step by step and in long records.

    Through the BMI each hourly step sets all inflows and reads all flows; a long record goes through
    the same engine at once.
    """
    print("us per reach and sub-step; t-route's compiled Fortran: 0.45 for 794 reaches")
    print(
        "network                       kernel        engine     step by step  long record  start s  peak GB"
    )
    for name, path in fabrics.items():
        engines = ("eager", "compiled") if compiled else ("eager",)
        for bundle, engine in product(("muskingum_cunge", "muskingum_cunge_nwm"), engines):
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
    info, graph = read_target(str(config))
    folder = aot.cache_folder(info, "cpu", graph)
    if not (folder / aot_cache.INDEX).is_file():
        begun = time.process_time()
        aot.build(info, folder, "cpu", graph)
        print(f"  compiled in {time.process_time() - begun:.0f} s of this process, and a compiler's")


def inflows(river: RoutingBmi, hours: int) -> np.ndarray:
    """The storm, as `hours` by reach; of long ones the hours of the peak."""
    area = torch.from_numpy(river.get_value_ptr("catchment__area").copy())
    return storm(area, 24).numpy()[:hours] if hours == 24 else storm(area, 24).numpy()[5 : 5 + hours]


def _hours(river: RoutingBmi) -> int:
    return 24 if river.component.size < 10_000 else 2


def _passes(river: RoutingBmi) -> int:
    """More of a short one, which other work on the machine disturbs more."""
    return 20 if river.component.size < 10_000 else 3


def by_step(river: RoutingBmi) -> float:
    """Microseconds per reach and sub-step through the BMI, the shortest of some passes."""
    series = inflows(river, _hours(river))
    flow = np.empty(river.component.size)

    def work() -> None:
        for values in series:
            river.set_value(FLOW, values)
            river.update()
            river.get_value(DISCHARGE, flow)

    return seconds(work, _passes(river)) * 1e6 / (len(series) * 12 * len(flow))


def at_once(river: RoutingBmi) -> float:
    """The same of a record that the engine is given whole."""
    group = river.component.group
    lateral = torch.from_numpy(inflows(river, _hours(river)))
    given = {"lateral_inflow": lateral}, group.states.constants, group.states.current, ("discharge",)
    return seconds(lambda: group.setup.engine.run(*given), _passes(river)) * 1e6 / (lateral.numel() * 12)


def solvers(static: Mapping[str, Tensor], rows: int) -> None:
    """The triangular system by doubling, as the model solves it, and level by level."""
    river = River.from_static(static, rows, torch.device("cpu"))
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
        torch.testing.assert_close(by_level(), river.accumulate(own, share))
        doubling, level = seconds(lambda: river.accumulate(own, share)), seconds(by_level)
    print(
        f"    network of {len(levels)} levels: {doubling * 1e6 / rows:.3f} us per reach in "
        f"{len(river.jumps)} rounds of doubling, {level * 1e6 / rows:.3f} level by level"
    )


def _levels(downstream: Tensor) -> list[tuple[Tensor, Tensor]]:
    level, _ = network._levels(downstream.numpy())
    order = np.argsort(level, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(level))[:-1])
    return [(torch.from_numpy(rows), downstream[torch.from_numpy(rows)]) for rows in members]
