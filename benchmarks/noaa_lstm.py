"""NOAA's LSTM: what a catchment and hour costs, and what stepping without a window changes.

    python benchmarks/noaa_lstm.py DATA [--rows 794] [--hours 24] [--lstm CHECKOUT]

DATA holds `cat-11223.yml` and `model` (the shared `noaa_lstm`). One thread, processor time; each hour is that
of all catchments one after the other, as a framework calls them: set two inputs, update, read the depth. With
CHECKOUT of NOAA-OWP/lstm (and pandas) its own component runs beside, from DATA whose `run_dir` is `model`;
without, a bare torch LSTM per catchment. Compile before with ``dmg-bmi import DATA/cat-11223.yml --output B``
and ``dmg-bmi compile B``.
"""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from dmg_bmi import NoaaLstmBmi
from dmg_bmi.interop.import_neuralhydrology import import_neuralhydrology

RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
WARMTH = "land_surface_air__temperature"
DEPTH = "land_surface_water__runoff_depth"
INDEX = np.zeros(1, dtype=np.int32)
START = "2015-12-01"


class BareLstm:
    """The least that a component of its own per catchment does: normalise, an LSTM step, scale back."""

    def __init__(self) -> None:
        self._lstm, self._head = torch.nn.LSTM(4, 126), torch.nn.Linear(126, 1)
        self._state = (torch.zeros(1, 1, 126), torch.zeros(1, 1, 126))
        self._x, self._depth = np.array([0.0, 280.0, 250.0, 35.0]), np.zeros(1)

    def set_value(self, name: str, values: np.ndarray) -> None:
        """Set an input."""
        self._x[0 if name == RAIN else 1] = values[0]

    @torch.no_grad()
    def update(self) -> None:
        """Step."""
        x = torch.tensor((self._x - [0.1, 280.0, 700.0, 45.0]) / [0.9, 45.0, 770.0, 47.0]).float()
        y, self._state = self._lstm(x.view(1, 1, 4), self._state)
        self._depth[0] = max(float(self._head(y)) * 0.18 + 0.08, 0.0) / 1000

    def get_value_at_indices(self, name: str, dest: np.ndarray, indices: np.ndarray) -> np.ndarray:
        """Read the depth."""
        dest[:] = self._depth
        return dest


def theirs(checkout: Path | None) -> Callable[[Path], object]:
    """Return what makes an object of another component from a configuration."""
    if checkout is None:
        return lambda path: BareLstm()
    sys.path.insert(0, str(checkout))
    logging.disable(logging.CRITICAL)
    component = importlib.import_module("lstm.bmi_lstm").bmi_LSTM

    def make(path: Path) -> object:
        bmi = component()
        bmi.initialize(str(path))
        return bmi

    return make


def ours(path: Path) -> NoaaLstmBmi:
    """Make an object of this package."""
    bmi = NoaaLstmBmi()
    bmi.initialize(str(path))
    return bmi


def configure(folder: Path, data: Path, rows: int, stored: Path | None = None) -> list[Path]:
    """Write a configuration per catchment."""
    folder.mkdir()
    values = yaml.safe_load((data / "cat-11223.yml").read_text())
    if stored is not None:
        values |= {"forcing": str(stored), "start_time": START}
    rng = np.random.default_rng(0)
    paths = [folder / f"cat-{k}.yml" for k in range(rows)]
    for path, area, elevation in zip(
        paths, rng.uniform(1, 30, rows), rng.uniform(50, 900, rows), strict=True
    ):
        own = {"area_sqkm": float(area), "elev_mean": float(elevation)}
        path.write_text(yaml.safe_dump(values | own))
    return paths


def store(folder: Path, ids: Sequence[str], hours: int) -> Path:
    """Write weather that is known in advance."""
    folder.mkdir()
    rng = np.random.default_rng(1)
    np.save(folder / "P.npy", np.maximum(rng.normal(0, 1, (hours, len(ids))), 0).astype(np.float32))
    np.save(folder / "T.npy", rng.normal(280, 6, (hours, len(ids))).astype(np.float32))
    variables = {"P": {"file": "P.npy", "units": "mm h-1"}, "T": {"file": "T.npy", "units": "K"}}
    index = {"ids": [*ids], "start_time": START, "step": 3600.0, "variables": variables}
    (folder / "forcing.yaml").write_text(yaml.safe_dump(index))
    return folder


def measure(name: str, make: Callable[[Path], object], paths: Sequence[Path], hours: int, push: bool) -> None:
    """Print the processor time of a catchment and hour, the least of the hours, and what an object takes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    objects = [make(path) for path in paths]
    start = (time.process_time() - begin) / len(paths)
    rain, warmth, dest = np.array([0.3]), np.array([280.0]), np.zeros(1)
    times = []
    for _ in range(hours):
        begin = time.process_time()
        for bmi in objects:
            if push:
                bmi.set_value(RAIN, rain)
                bmi.set_value(WARMTH, warmth)
            bmi.update()
            bmi.get_value_at_indices(DEPTH, dest, INDEX)
        times.append((time.process_time() - begin) / len(objects))
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / len(paths)
    print(f"| {name} | {1e6 * min(times[1:]):.1f} us | {1e3 * start:.2f} ms | {memory:.0f} kB |", flush=True)


def window_difference(data: Path) -> None:
    """Print how far a continuous state is from windows of the training's length, after one of them."""
    series = np.loadtxt(data / "cat-11223_noaa_lstm.csv", delimiter=",", skiprows=1, usecols=(1, 2))
    weather = torch.from_numpy(np.tile(series, (3, 1)))
    forcing = {"P": weather[:, :1], "T": weather[:, 1:] - 273.15}
    attributes = {"elev_mean": torch.tensor([250.0]).double(), "slope_mean": torch.tensor([35.0]).double()}
    with torch.inference_mode():
        flows = {
            stepping: import_neuralhydrology(data / "model", stepping=stepping).model(forcing, attributes)[0][
                "Q"
            ]
            for stepping in ("continuous", "window")
        }
    exact, other = (flows[name][999:, 0].numpy() for name in ("window", "continuous"))
    furthest = np.abs(exact - other).max()
    print(
        f"window of 999 h beside a continuous state, {len(exact)} h after the first window: at most "
        f"{furthest:.2e} mm/h or {furthest / exact.std():.1e} of the standard deviation of flow; volume "
        f"{other.sum() / exact.sum() - 1:+.1e}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, metavar="DATA")
    parser.add_argument("--rows", type=int, default=794)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--lstm", type=Path, metavar="CHECKOUT")
    parser.add_argument("--difference", action="store_true", help="measure what a window changes; minutes")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = options.data.absolute()
    checkout = options.lstm.absolute() if options.lstm else None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").symlink_to(data / "model")
        os.chdir(folder)  # as NOAA's component finds its runs
        paths = configure(folder / "pushed", data, options.rows)
        print("| | a catchment and hour | to start one | memory of one |\n|---|---|---|---|")
        beside = "NOAA's own component" if checkout else "a bare torch LSTM per catchment"
        measure(beside, theirs(checkout), paths, min(options.hours, 4), push=True)
        measure("`NoaaLstmBmi`, forcing pushed", ours, paths, options.hours, push=True)
        weather = store(folder / "store", [path.stem for path in paths], options.hours)
        paths = configure(folder / "stored", data, options.rows, weather)
        measure("`NoaaLstmBmi`, forcing stored", ours, paths, options.hours, push=False)
    if options.difference:
        window_difference(data)


if __name__ == "__main__":
    main()
