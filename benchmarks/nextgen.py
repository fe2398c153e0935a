"""What a catchment costs in NextGen: time per row and hourly call, memory and time per instance.

    python benchmarks/nextgen.py [--rows 794] [--days 20]
    python benchmarks/nextgen.py --large            # 10,000 rows, a year, own forcing

One thread, eager, processor time. The model has the size of dHBV 2.0: LSTM 64, MLP 4096, 28 attributes, HBV
2.0 with four components. The calls are those of `ngen` for one module with one output column, made by a
Python loop; an empty BMI under the same calls gives what the loop itself costs. Every model step
that falls into the days is included.
"""

from __future__ import annotations

import argparse
import gc
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from dmg_bmi import Bundle, DeltaModel, DeltaModelBmi

HOUR = 3600.0
ONE, INDEX = np.zeros(1), np.zeros(1, dtype=np.int32)
RUNOFF = "land_surface_water__runoff_depth"
WEATHER = {
    "atmosphere_water__liquid_equivalent_precipitation_rate": 3.0,
    "land_surface_air__temperature": 9.0,
    "land_surface_air__pressure": 95000.0,
    "atmosphere_air_water~vapor__relative_saturation": 0.005,
    "land_surface_radiation~incoming~shortwave__energy_flux": 150.0,
    "land_surface_radiation~incoming~longwave__energy_flux": 300.0,
    "land_surface_wind__x_component_of_velocity": 2.0,
    "land_surface_wind__y_component_of_velocity": 1.0,
}


class EmptyBmi:
    """A BMI that does nothing, with `inputs` to be set."""

    def __init__(self, inputs: tuple[str, ...]) -> None:
        self._inputs, self._time = inputs, 0.0

    def get_input_item_count(self):
        return len(self._inputs)

    def get_input_var_names(self):
        return self._inputs

    def get_output_item_count(self):
        return 1

    def get_output_var_names(self):
        return (RUNOFF,)

    def get_var_units(self, name):
        return "m"

    def get_var_type(self, name):
        return "float64"

    def get_var_itemsize(self, name):
        return 8

    def get_var_nbytes(self, name):
        return 8

    def get_current_time(self):
        return self._time

    def get_end_time(self):
        return 1e15

    def get_time_step(self):
        return HOUR

    def update(self):
        self._time += HOUR

    def set_value(self, name, src):
        pass

    def get_value_at_indices(self, name, dest, inds):
        dest[0] = 0.0
        return dest


def hour(bmi, values) -> None:
    """The calls of one catchment and step: 7 + 9 per input + 11 per output read."""
    bmi.get_current_time()
    bmi.get_end_time()
    bmi.get_current_time()
    bmi.get_input_item_count()
    for name in bmi.get_input_var_names():
        bmi.get_var_itemsize(name)
        bmi.get_var_units(name)
        bmi.get_var_type(name)
        bmi.get_var_nbytes(name)
        bmi.get_var_itemsize(name)
        bmi.get_var_type(name)
        bmi.get_var_nbytes(name)
        bmi.get_var_itemsize(name)
        bmi.set_value(name, values[name])
    bmi.get_time_step()
    bmi.update()
    for _ in range(2):
        bmi.get_output_item_count()
        bmi.get_output_var_names()
        bmi.get_var_type(RUNOFF)
        bmi.get_var_itemsize(RUNOFF)
        bmi.get_var_type(RUNOFF)
        bmi.get_var_itemsize(RUNOFF)
        bmi.get_input_item_count()
        bmi.get_input_var_names()
        bmi.get_var_type(RUNOFF)
        bmi.get_value_at_indices(RUNOFF, ONE, INDEX)
        bmi.get_var_units(RUNOFF)


def bundle(folder: Path) -> Path:
    """An untrained bundle of the size of dHBV 2.0."""
    torch.manual_seed(0)
    attributes = [f"attribute_{k}" for k in range(26)] + ["elevation", "upstream_area"]
    dynamic = ["BETA", "K0", "BETAET"]
    model = DeltaModel.build(
        nn={
            "fast": {"name": "lstm", "hidden_size": 64},
            "slow": {"name": "mlp", "hidden_sizes": [4096, 4096]},
        },
        phy_model={"name": "hbv_2", "nmul": 4, "routing": 15},
        roles=[
            {
                "inputs": ["P", "T", "PET"],
                "attributes": attributes,
                "network": "fast",
                "dynamic": dynamic,
                "static": [],
            },
            {"attributes": attributes, "network": "slow"},
        ],
    )
    Bundle(model, "as large as dHBV 2.0").save(folder)
    return folder


def configure(folder: Path, rows: int, **keys) -> list[Path]:
    """One shared configuration and a tiny one per catchment."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    names = [f"attribute_{k}" for k in range(26)] + ["elevation", "upstream_area"]
    with open(folder / "catchments.csv", "w") as file:
        file.write(",".join(["id", *names, "area_km2", "latitude"]) + "\n")
        for k, values in enumerate(rng.uniform(0.0, 1.0, (rows, 28))):
            file.write(",".join([f"cat-{k}", *map(str, values), "10", "40"]) + "\n")
    shared = {
        "bundle": "../bundle",
        "catchments": {"file": "catchments.csv"},
        "time_step": HOUR,
        "start_time": "2000-01-01T00:00:00",
        "engine": "eager",
        **keys,
    }
    (folder / "shared.yaml").write_text(yaml.safe_dump(shared))
    paths = []
    for k in range(rows):
        path = folder / f"cat-{k}.yaml"
        path.write_text(f"shared: shared.yaml\ncatchment: cat-{k}\n")
        paths.append(path)
    return paths


def store(folder: Path, rows: int, days: int) -> Path:
    """Hourly P and T, daily-mean-like PET, as a memory-mapped store."""
    folder.mkdir()
    variables = {}
    for symbol, units, value in (("P", "mm h-1", 0.1), ("T", "degC", 9.0), ("PET", "mm h-1", 0.05)):
        array = np.lib.format.open_memmap(
            folder / f"{symbol}.npy", mode="w+", dtype=np.float32, shape=(days * 24, rows)
        )
        array[:] = value
        array.flush()
        variables[symbol] = {"file": f"{symbol}.npy", "units": units}
    index = {"ids": [f"cat-{k}" for k in range(rows)], "start_time": "2000-01-01", "step": HOUR}
    (folder / "forcing.yaml").write_text(yaml.safe_dump(index | {"variables": variables}))
    return folder


def memory() -> float:
    """Resident memory of this process in MB."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 1e6


def start(paths: list[Path]) -> tuple[list[DeltaModelBmi], str]:
    """One object per configuration, and what a further one costs."""
    objects = [DeltaModelBmi() for _ in paths]
    begin = time.perf_counter()
    objects[0].initialize(str(paths[0]))
    first = time.perf_counter() - begin
    gc.collect()
    held, begin = memory(), time.perf_counter()
    for bmi, path in zip(objects[1:], paths[1:], strict=True):
        bmi.initialize(str(path))
    each = (time.perf_counter() - begin) / (len(paths) - 1)
    more = (memory() - held) * 1000 / (len(paths) - 1)
    return objects, f"first instance {first:.2f} s; a further one {each * 1e3:.2f} ms, {more:.0f} kB"


def drive(objects, hours: int) -> float:
    """Microseconds of processor time per row and hour."""
    values = {name: np.array([value]) for name, value in WEATHER.items()}
    begin = time.process_time()
    for _ in range(hours):
        for bmi in objects:
            hour(bmi, values)
    return (time.process_time() - begin) / hours / len(objects) * 1e6


def measure(title: str, paths: list[Path], days: int) -> None:
    """Empty and ours under the same calls, in one run."""
    objects, instances = start(paths)
    inputs = objects[0].get_input_var_names()
    calls = 7 + 9 * len(inputs) + 22
    begin = time.perf_counter()
    objects[0].component.group._build()  # what the first step does once
    network = time.perf_counter() - begin
    drive(objects, 25)
    ours, empty = [], []
    for _ in range(days):
        empty.append(drive([EmptyBmi(inputs) for _ in objects], 24))
        ours.append(drive(objects, 24))
    beyond = np.mean(ours) - np.mean(empty)
    print(f"{title}: {len(inputs)} inputs, {calls} calls, {len(objects)} rows, {days} days")
    print(f"  {instances}")
    print(f"  static network for all rows: {network:.2f} s")
    print(f"  empty BMI {np.mean(empty):6.2f} us, ours {np.mean(ours):6.2f} us per row and hour")
    print(f"  beyond the empty BMI {beyond:6.2f} us (fastest {min(ours) - min(empty):.2f} us)", flush=True)
    for bmi in objects:
        bmi.finalize()


def large(folder: Path, rows: int, days: int) -> None:
    """Many rows over a year from stored forcing."""
    store(folder / "store", rows, days)
    paths = configure(folder / "large", rows, forcing="../store")
    objects, instances = start(paths)
    begin = time.perf_counter()
    read, index = np.zeros(1), INDEX
    for _ in range(days * 24):
        for bmi in objects:
            bmi.update()
            bmi.get_value_at_indices(RUNOFF, read, index)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    print(f"{rows} rows x {days} days, own forcing: {seconds:.0f} s, peak {peak:.2f} GB with torch")
    print(f"  {instances}")


def main() -> None:
    """Run the measurements."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=794)
    parser.add_argument("--days", type=int, default=20)
    parser.add_argument("--large", action="store_true", help="10,000 rows x 365 days from stored forcing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle(folder / "bundle")
        if given.large:
            large(folder, 10_000, 365)
            return
        pushed = configure(folder / "pushed", given.rows, pet={"method": "penman_monteith"})
        measure("pushed", pushed, given.days)
        store(folder / "store", given.rows, given.days + 3)
        own = configure(folder / "own", given.rows, forcing="../store")
        measure("own forcing", own, given.days)


if __name__ == "__main__":
    main()
