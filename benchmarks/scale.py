"""What a run over many catchments costs beyond its steps: time and memory of ``dmg-bmi run``.

    python benchmarks/scale.py [--rows 100000] [--days 60]
    python benchmarks/scale.py --processes 2 [--rows 100000] [--days 60]

Daily forcing from a store of 4 bytes a value, the runoff kept in single precision. Bare steps are the same
component's `update` alone, in a process of its own. Processor time of all threads, and the wall clock, since
reading and writing overlap with the steps; peak memory with PyTorch. Twice the days show that memory does not
grow with them. With `--processes` the same run is shared out: from the first step to the end of the last
process, beside that of one process. The wall clock needs a core for each; where others want them too,
processor time of the first process, which also joins what all have kept, tells what it would be.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml

from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.synthetic.basins import generate

BARE = """
import sys, time, resource
from dmg_bmi import DeltaModelBmi
bmi = DeltaModelBmi()
bmi.initialize(sys.argv[1])
begin = time.perf_counter(), time.process_time()
for _ in range(int(sys.argv[2])):
    bmi.update()
"""
RUN = """
import sys, time, resource
from dmg_bmi.cli import driver, main
step, begin = driver._step, []
def timed(*given):
    begin.append((time.perf_counter(), time.process_time()))
    step(*given)
driver._step = timed
import os
assert main(["--quiet", "run", sys.argv[1], "--output", sys.argv[3], "--outputs", "Q", "--float32"]) == 0
begin = begin[0]
if os.environ.get("RANK", "0") != "0":
    sys.exit()
"""
REPORT = """
import json
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([time.perf_counter() - begin[0], time.process_time() - begin[1], peak / 1e6]))
"""


def write(folder: Path, rows: int, days: int, bundle: str = "demo_daily") -> Path:
    """Write a store and a configuration; attributes of a bundle are drawn."""
    rng = np.random.default_rng(0)
    ids = [f"cat-{k}" for k in range(rows)]
    (folder / "store").mkdir()
    for name, low, high in (("P", -15.0, 20.0), ("T", -5.0, 20.0), ("PET", 0.0, 4.0)):
        shape = (days, rows)
        array = np.lib.format.open_memmap(folder / "store" / f"{name}.npy", "w+", np.float32, shape)
        for day in range(days):
            values = rng.uniform(low, high, rows)
            array[day] = values if name == "T" else np.maximum(values, 0.0)
        array.flush()
    units = {"P": "mm d-1", "T": "degC", "PET": "mm d-1"}
    variables = {name: {"file": f"{name}.npy", "units": unit} for name, unit in units.items()}
    index = {"ids": ids, "start_time": "2000-01-01", "step": 86400.0, "variables": variables}
    (folder / "store" / "forcing.yaml").write_text(yaml.dump(index, Dumper=yaml.CSafeDumper))
    basins = generate(basins=100, years=1, seed=1).attributes
    names = [v.name for v in BundleInfo.read(bundle).variables if v.kind == "attribute"]
    basins = {name: basins[name] if name in basins else rng.random(100) for name in names}
    with open(folder / "catchments.csv", "w") as file:
        file.write(",".join(["id", *names, "area_km2"]) + "\n")
        for k, one in enumerate(ids):
            file.write(",".join([one, *(f"{basins[name][k % 100]:.6g}" for name in names), "10"]) + "\n")
    config = {"bundle": bundle, "catchments": {"file": "catchments.csv"}, "start_time": "2000-01-01"}
    config |= {"time_step": 86400.0, "forcing": "store"}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return folder / "run.yaml"


def measure(code: str, *arguments: object) -> list[float]:
    """Return wall seconds, processor seconds and GB of a process of its own."""
    return _last([sys.executable, "-c", code + REPORT, *map(str, arguments)])


def shared(processes: int, folder: Path, *arguments: object) -> list[float]:
    """Do as :func:`measure` with a run that is shared out; but for the wall clock it is of the first."""
    script = folder / "shared.py"
    script.write_text(RUN + REPORT)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    return _last([sys.executable, *torchrun, str(script), *map(str, arguments)])


def _last(command: list[str]) -> list[float]:
    done = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    return json.loads(done.stdout.splitlines()[-1])


def beside_one(rows: int, days: int, processes: int) -> None:
    """Measure a run by one process and by several, twice in turn, and print the least of each."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write(folder, rows, days)
        one, several = [], []
        for _ in range(2):
            one.append(measure(RUN, config, days, folder / "one"))
            several.append(shared(processes, folder, config, days, folder / "several"))
    print(f"{rows} catchments x {days} days, one process and {processes}:")
    for k, what in enumerate(("wall clock", "processor time of the first")):
        alone, together = (min(times[k] for times in measured) for measured in (one, several))
        print(f"  {what}: {alone:.1f} s and {together:.1f} s, {alone / together:.2f} times as fast")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--processes", type=int)
    options = parser.parse_args()
    if options.processes:
        beside_one(options.rows, options.days, options.processes)
        return
    print("| days | | wall | processor | peak |\n|---|---|---|---|---|")
    for days in (options.days, 2 * options.days):
        with tempfile.TemporaryDirectory() as name:
            config = write(Path(name), options.rows, days)
            for what, code in (("steps alone", BARE), ("`dmg-bmi run`", RUN)):
                wall, processor, peak = measure(code, config, days, Path(name) / "out")
                print(f"| {days} | {what} | {wall:.1f} s | {processor:.1f} s | {peak:.2f} GB |", flush=True)


if __name__ == "__main__":
    main()
