"""Small seeded bundles, run configurations, weather, and runs through the BMI."""

from __future__ import annotations

import csv
import multiprocessing
import threading
import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.model.bundle import Bundle, BundleInfo
from dmg_bmi.model.delta_model import DAY, DeltaModel
from dmg_bmi.model.registry import build_process_model

HOUR = 3600.0
HBV = {"name": "hbv", "nmul": 2, "routing": 15}
ATTRIBUTES = {"aridity": 0.6, "slope": 12.0}
DYNAMIC = ["BETA", "K0"]
STATISTICS = {
    "P": {"mean": 0.1, "std": 0.5, "transform": "log_sqrt", "units": "mm"},
    "T": {"mean": 8.0, "std": 9.0, "units": "degC"},
    "PET": {"mean": 2.0, "std": 1.5, "units": "mm"},
    "aridity": {"mean": 0.7, "std": 0.4, "units": "1"},
    "slope": {"mean": 10.0, "std": 8.0, "units": "m km-1"},
}
RECURRENT = {"inputs": ["P", "T", "PET"], "attributes": list(ATTRIBUTES), "freeze_after": 30}


def build(kind: str, step: float) -> DeltaModel:
    if kind == "lstm":
        nn, roles = {"name": "lstm", "hidden_size": 8}, [{**RECURRENT, "dynamic": DYNAMIC}]
    elif kind == "lstm_mlp":
        nn = {"fast": {"name": "lstm", "hidden_size": 8}, "slow": {"name": "mlp", "hidden_sizes": [8]}}
        roles = [
            {**RECURRENT, "dynamic": DYNAMIC, "static": [], "network": "fast"},
            {"attributes": list(ATTRIBUTES), "network": "slow"},
        ]
    else:
        nn, roles = None, []
    description = HBV if kind != "column" else {"name": "hbv"}
    declared = build_process_model(description).declaration.parameters
    fixed = {} if nn else {p.name: (2 * p.lower + p.upper) / 3 for p in declared}
    return DeltaModel.build(
        nn=nn, phy_model=description, roles=roles, fixed=fixed, statistics=STATISTICS, step=step
    )


@pytest.fixture(scope="session")
def bundles(tmp_path_factory):
    """Make ``bundles(kind, step, dtype) -> BundleInfo``: untrained, but seeded.

    Kinds: ``lstm`` gives all parameters, two of them dynamic; ``lstm_mlp`` the dynamic ones
    from an LSTM, the static ones from an MLP; ``fixed`` has no network; ``column`` has also
    neither components nor routing.
    """

    @cache
    def make(kind: str = "lstm", step: float = DAY, dtype: torch.dtype = torch.float32) -> BundleInfo:
        with torch.random.fork_rng():
            torch.manual_seed(7)
            model = build(kind, step).to(dtype)
        with torch.no_grad():
            for name, weights in model.named_parameters():
                if "linear_out" in name or "layers.2" in name:
                    weights *= 4.0  # parameters all over their bounds
        folder = tmp_path_factory.mktemp("bundle") / kind
        return Bundle(model, kind, f"{kind} for tests").save(folder)

    return make


@pytest.fixture
def configure(bundles, tmp_path):
    """Make ``configure(info, n, **keys) -> path`` of a run configuration.

    Catchments stand in a CSV file and differ in their attributes.
    """
    written = []

    def write(info: BundleInfo | None = None, n: int = 1, **keys):
        path = tmp_path / f"run-{len(written)}.yaml"
        written.append(path)
        info = info or bundles()
        table = tmp_path / f"catchments-{n}.csv"
        with open(table, "w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file)
            rows.writerow(["id", *ATTRIBUTES, "area_km2"])
            for k in range(n):
                rows.writerow([f"cat-{k + 7}", *(v * (1 + 0.1 * k) for v in ATTRIBUTES.values()), 10.0 + k])
        config = {"bundle": str(info.path), "engine": "eager", "catchments": {"file": table.name}} | keys
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    return write


@pytest.fixture
def attributes():
    """Of the catchments that `configure` writes: name to tensor ``[rows]``."""

    def of(n: int):
        return {
            name: torch.tensor([value * (1 + 0.1 * k) for k in range(n)], dtype=torch.float64)
            for name, value in ATTRIBUTES.items()
        }

    return of


@pytest.fixture
def weather(legal):
    """Make ``weather(time, n, seed, step) -> {symbol: array[time, n]}``: amounts per step and degC.

    No temperature lies near a threshold between rain and snow.
    """
    model = build_process_model(HBV)

    def make(time: int, n: int = 1, seed: int = 0, step: float = DAY):
        series = legal.weather(model, time, n, seed, step / DAY, gap=(-2.6, 2.6))
        return {name: values.numpy() for name, values in series.items()}

    return make


def start(path) -> DeltaModelBmi:
    bmi = DeltaModelBmi()
    bmi.initialize(str(path))
    return bmi


def push(bmi: DeltaModelBmi, series, k: int) -> None:
    """Set step `k` of a series of amounts per step, in the units that the component asks for."""
    for symbol, values in series.items():
        per = {"mm d-1": DAY, "mm h-1": HOUR}.get(bmi.get_var_units(symbol))
        bmi.set_value(symbol, values[k] if per is None else values[k] * (per / bmi.get_time_step()))


def read(bmi: DeltaModelBmi, name: str):
    dest = np.full(bmi.get_var_nbytes(name) // 8, np.nan)
    return bmi.get_value(name, dest)


def drive(bmi: DeltaModelBmi, series, steps, symbols=("Q", "ET", "SWE", "soil_moisture", "groundwater")):
    """Update through the steps of a pushed (or, if None, stored) series; symbol to ``[time, n]``."""
    out = {symbol: [] for symbol in symbols}
    for k in steps:
        if series is not None:
            push(bmi, series, k)
        bmi.update()
        for symbol, values in out.items():
            values.append(read(bmi, symbol))
    return {symbol: np.array(values) for symbol, values in out.items()}


@pytest.fixture(scope="session")
def bmi_run():
    """``start``, ``push``, ``read`` and ``drive``."""
    return SimpleNamespace(start=start, push=push, read=read, drive=drive)


@pytest.fixture
def store(tmp_path):
    """Make ``store(series, ids, start, step) -> folder`` of a stored forcing of amounts per step."""

    def write(series, n: int, start_time: str, step: float, units=None):
        folder = tmp_path / "forcing"
        folder.mkdir(exist_ok=True)
        variables = {}
        for symbol, values in series.items():
            np.save(folder / f"{symbol}.npy", values)
            unit = "degC" if symbol == "T" else {DAY: "mm d-1", HOUR: "mm h-1"}[step]
            variables[symbol] = {"file": f"{symbol}.npy", "units": (units or {}).get(symbol, unit)}
        index = {
            "ids": [f"cat-{k + 7}" for k in range(n)],
            "start_time": start_time,
            "step": step,
            "variables": variables,
        }
        (folder / "forcing.yaml").write_text(yaml.safe_dump(index), encoding="utf-8")
        return folder

    return write


@pytest.fixture
def race():
    def run(kind, write, check, writers=4, rounds=25):
        """Let threads or processes write at the same moment, round after round, and check meanwhile."""
        processes = kind == "processes"
        make = multiprocessing.get_context("fork") if processes else threading
        barrier = make.Barrier(writers)
        problems = []  # of threads; a process tells by its exit code

        def work(k):
            try:
                for _ in range(rounds):
                    barrier.wait(60)
                    write(k)
            except BaseException as problem:
                problems.append(problem)
                barrier.abort()
                raise

        start = make.Process if processes else make.Thread
        running = [start(target=work, args=(k,)) for k in range(writers)]
        for one in running:
            one.start()
        while any(one.is_alive() for one in running):
            check()
            time.sleep(0.001)  # the writers are to write
        for one in running:
            one.join(60)
        assert not problems
        assert not any(getattr(one, "exitcode", 0) for one in running)

    return run


@pytest.fixture
def tools(bundles, configure, weather, tmp_path):
    """What the table of commands (`commands.py`) is given."""
    for name in ("given", "private"):
        (tmp_path / name).mkdir(mode=0o700)
    folders = {name: tmp_path / name for name in ("given", "private", "folder", "template")}
    return SimpleNamespace(bundles=bundles, configure=configure, weather=weather, **folders)
