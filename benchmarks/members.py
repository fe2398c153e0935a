"""What members of an ensemble cost: a daily step of catchments with 50 members over one without.

    python benchmarks/members.py [--members 50] [--days 200]

One thread, processor time, the shipped daily model, forcing pushed through the BMI, rain and temperature
perturbed, five quantiles of every output. Both are timed in one run, in turns.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from dmg_bmi import Bundle, DeltaModelBmi

WEATHER = (8.0, 9.0, 1.5)


def start(folder: Path, catchments: int, members: int) -> DeltaModelBmi:
    """Initialize a component."""
    names = Bundle.load("demo_daily").model.attribute_names
    table = {
        "ids": [f"cat-{k}" for k in range(catchments)],
        "attributes": dict.fromkeys(names, 0.5),
        "area": 10.0,
    }
    config = {"bundle": "demo_daily", "catchments": table, "engine": "eager"}
    if members > 1:
        config["ensemble"] = {"members": members, "forcing": {"P": 0.4, "T": 1.0}}
    path = folder / f"{catchments}-{members}.yaml"
    path.write_text(yaml.safe_dump(config))
    bmi = DeltaModelBmi()
    bmi.initialize(str(path))
    return bmi


def step(bmi: DeltaModelBmi, days: int) -> float:
    """Return the processor time of a day, seconds."""
    names, n = bmi.get_input_var_names(), bmi.get_grid_size(0)
    begin = time.process_time()
    for _ in range(days):
        for name, value in zip(names, WEATHER, strict=True):
            bmi.set_value(name, np.full(n, value))
        bmi.update()
    return (time.process_time() - begin) / days


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--members", type=int, default=50)
    parser.add_argument("--days", type=int, default=200)
    given = parser.parse_args()
    print(f"catchments  one member, us  {given.members} members, us  ratio")
    with tempfile.TemporaryDirectory() as folder:
        for n in (1, 10, 100):
            bmis = [start(Path(folder), n, members) for members in (1, given.members)]
            for bmi in bmis:
                step(bmi, 5)
            rounds = [[step(bmi, given.days // 5) for bmi in bmis] for _ in range(5)]
            one, many = np.min(rounds, axis=0) * 1e6
            print(f"{n:10d}  {one:14.0f}  {many:15.0f}  {many / one:5.1f}")


if __name__ == "__main__":
    main()
