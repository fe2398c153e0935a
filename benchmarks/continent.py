"""A continent: 180,000 catchments over 40 years of days, from stored forcing to outputs, and routed.

    python benchmarks/continent.py [--slice 20000] [--days 730]

The model is as large as dHBV 2.0: an LSTM of 64 units and HBV with four components, compiled. A slice of
it runs by ``dmg-bmi run`` from a store of 4 bytes a value, its runoff kept in single precision; processor
time of all of it, from import to the file of results, is scaled up by catchments and days.
The whole domain then runs over a few days, since memory depends on the domain and not on the days, and rivers
of as many reaches are routed by the hour. Small numbers (`--slice 50 --days 365 --domain 100`) try all of it.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nextgen
import numpy as np
import scale
import torch
import yaml
from rivers.networks import FLAT, synthetic, write_fabric
from rivers.speed import FLOW, compile_for

from dmg_bmi import Bundle, routing_model
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.runtime.engines import aot

CATCHMENTS, YEARS = 180_000, 40
DAYS = YEARS * 365.25
#: A whole process: its start, reading, steps and writing.
RUN = """
import sys, time, resource
begin = 0.0, 0.0
from dmg_bmi.cli import main
assert main(["--quiet", "run", sys.argv[1], "--output", sys.argv[2], "--outputs", "Q", "--float32"]) == 0
"""
ROUTE = """
import sys, time, resource
import numpy as np
from dmg_bmi import RoutingBmi
river = RoutingBmi()
river.initialize(sys.argv[1])
inflow = np.load(sys.argv[2])
begin = time.perf_counter(), time.process_time()
for _ in range(int(sys.argv[3])):
    river.set_value(sys.argv[4], inflow)
    river.update()
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slice", type=int, default=20_000, help="catchments that are run over all days")
    parser.add_argument("--days", type=int, default=730)
    parser.add_argument("--domain", type=int, default=CATCHMENTS, help="catchments whose memory is measured")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = nextgen.bundle(folder / "bundle")
        info = BundleInfo.read(bundle)
        if not options.eager and not aot.cache_folder(info).is_dir():
            aot.build(info, aot.cache_folder(info))
        print(
            f"{info.name}: {CATCHMENTS} catchments, {YEARS} years of days\n\n"
            "| what | measured | whole |\n|---|---|---|"
        )
        _slice(folder, str(bundle), options.slice, options.days)
        _memory(folder, str(bundle), options.domain)
        _rivers(folder, options.domain, options.eager)


def _slice(folder: Path, bundle: str, rows: int, days: int) -> None:
    config = _stored(folder / "slice", rows, days, bundle)
    _, processor, peak = scale.measure(RUN, config, folder / "slice" / "out")
    hours = processor / (rows * days) * CATCHMENTS * DAYS / 3600
    print(
        f"| run of {rows} catchments x {days} days | {processor:.1f} s of processor time, "
        f"{processor / (rows * days) * 1e6:.2f} us a catchment and day, "
        f"{peak:.2f} GB | {hours:.2f} core-hours |",
        flush=True,
    )


def _memory(folder: Path, bundle: str, rows: int) -> None:
    peaks = []
    for days in (4, 8):
        config = _stored(folder / f"domain-{days}", rows, days, bundle)
        peaks.append(scale.measure(RUN, config, folder / "out")[2])
    print(
        f"| memory of {rows} catchments, 4 and 8 days | {peaks[0]:.2f} and {peaks[1]:.2f} GB | the same |",
        flush=True,
    )


def _rivers(folder: Path, rows: int, eager: bool) -> None:
    """One sub-step an hour, which the conservative kernel bears."""
    Bundle(routing_model(substeps=1), "rivers").save(folder / "rivers")
    fabric = write_fabric(folder / "rivers.gpkg", synthetic(rows))
    config = folder / "rivers.yaml"
    content = {
        "bundle": "rivers",
        "engine": "eager" if eager else "compiled",
        "catchments": {"hydrofabric": fabric.name, "minimum_slope": FLAT},
    }
    config.write_text(yaml.safe_dump(content))
    if not eager:
        compile_for(config)
    reaches = len(np.asarray(synthetic(rows)[2]))
    np.save(folder / "inflow.npy", np.full(reaches, 0.05))
    hours = 24 if rows > 10_000 else 240
    _, processor, peak = scale.measure(ROUTE, config, folder / "inflow.npy", hours, FLOW)
    whole = processor / (reaches * hours) * CATCHMENTS * DAYS * 24 / 3600
    print(
        f"| routing of {reaches} reaches x {hours} hours | {processor:.1f} s, "
        f"{processor / (reaches * hours) * 1e6:.3f} us a reach and hour, "
        f"{peak:.2f} GB | {whole:.2f} core-hours |",
        flush=True,
    )


def _stored(folder: Path, rows: int, days: int, bundle: str) -> Path:
    folder.mkdir()
    return scale.write(folder, rows, days, bundle)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
