"""Every command that writes: what stands in its folder before, and how it writes there anew."""

from __future__ import annotations

import csv
import io
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import dmg_models
import netCDF4
import numpy as np
import yaml

from dmg_bmi.cli import demo, main
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.synthetic import river_basin

HOUR = np.timedelta64(3600, "s")
SMALL = """
name: small
data: {reader: synthetic, basins: 3, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods:
  train: [2000-10-01, 2001-03-31]
  validation: [2001-04-01, 2001-09-30]
  test: [2001-10-01, 2002-03-31]
  spin_up: 20
model:
  nn:
    static: {name: mlp, hidden_sizes: [4]}
    dynamic: {name: lstm, hidden_size: 4, dropout: 0.3}
  phy_model: {name: hbv, nmul: 1, routing: 3}
  roles:
    - {network: static}
    - {network: dynamic, inputs: [P, T, PET], attributes: [], dynamic: [BETA], dropout: 0.2}
training: {max_steps: 4, batch_size: 5, seq_length: 50, ema: 0.1,
  validate_every: 2, checkpoint_every: 1, seed: 1}
"""
#: A calibration of two basins, each for itself, and a benchmark of nothing else.
CALIBRATED = """
name: alone
data: {reader: synthetic, basins: 2, years: 2, seed: 3, attributes: []}
periods: {train: [2000-10-01, 2001-03-31], test: [2001-04-01, 2001-09-30], spin_up: 20}
model: {phy_model: {name: gr4j}}
training: {max_steps: 1, starts: 2, batch_size: 1, seq_length: 60, seed: 1}
"""
PROTOCOL = """
name: one
periods: {train: [2000-10-01, 2001-03-31], test: [2001-04-01, 2001-09-30], spin_up: 20}
rivals: {alone: {config: alone.yaml, calibrate: true}}
"""


@dataclass(frozen=True)
class Command:
    """A command that writes into one folder.

    Parameters
    ----------
    old, new : callable
        Of the folder: write what stands there before, and write anew; the status comes back.
    at_once : bool
        Whether all of its files are the old ones or all the new ones; else each file by itself is.
    """

    old: Callable[[Path], int]
    new: Callable[[Path], int]
    at_once: bool = True


#: What refused commands of this process said.
SAID: list[str] = []


def call(*arguments: object) -> int:
    """Run a command; its status is one of those of the error family, of an interrupt or of success."""
    said = io.StringIO()  # no file that a test lets fail
    with redirect_stdout(said), redirect_stderr(said):
        status = main([str(argument) for argument in arguments])
    assert status in (0, 2, 130), said.getvalue()
    if status:
        SAID.append(said.getvalue())
    return status


def contents(folder: Path, weights: bool = False) -> dict[str, Any]:
    """What each file below a folder holds, whenever it was written.

    Weights that no bundle names count for nothing unless `weights`: they wait to be named, or to be removed.
    """
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not _in_workspace(p))
    return {str(p.relative_to(folder)): _content(p) for p in files if weights or not _unnamed(p)}


def _unnamed(path: Path) -> bool:
    bundle = path.with_name("bundle.yaml")
    return path.name.startswith(("weights-", "error-")) and not (
        bundle.exists() and path.name in bundle.read_text()
    )


def _in_workspace(path: Path) -> bool:
    return any(part.endswith(".dmg_bmi") for part in path.parts)


def _content(path: Path) -> Any:
    if path.suffix == ".nc":
        with netCDF4.Dataset(path) as data:
            return {name: repr(np.ma.filled(v[:]).tolist()) for name, v in data.variables.items()}
    if path.suffix == ".gpkg":
        with closing(sqlite3.connect(path)) as file:
            return [*file.iterdump()]
    if path.name == "bundle.yaml":
        content = yaml.safe_load(path.read_text())
        content["provenance"].pop("created", None)
        return {key: value for key, value in content.items() if key != "checksum"}
    return path.read_bytes()


# -- what commands are given ----------------------------------------------------------


def _forcing(given: Path, weather, seed: int, days: int = 12) -> Path:
    path = given / f"forcing-{seed}.nc"
    times = np.datetime64("2001-10-01", "s") + np.arange(days) * 24 * HOUR
    units = {"P": "mm d-1", "T": "degC", "PET": "mm d-1"}
    series = weather(days, 2, seed)
    netcdf.write(path, BasinDataset(("cat-7", "cat-8"), times, 86400.0, series, {}, {}, units))
    return path


def _run(tools: SimpleNamespace) -> Command:
    keys = {"start_time": "2001-10-01"}
    states = str(tools.folder / "states" / "{time}.state")
    config = tools.configure(tools.bundles("fixed"), 2, restart={"write": states, "every": 432000.0}, **keys)

    def write(seed):
        forcing = _forcing(tools.given, tools.weather, seed)
        return lambda folder: call("run", config, "--forcing", forcing, "--output", folder)

    return Command(write(1), write(2), at_once=False)


def _forecast(tools: SimpleNamespace) -> Command:
    """The second goes on from the state of the first."""
    config = tools.configure(tools.bundles("fixed"), 2, start_time="2001-10-01")
    forcing = _forcing(tools.given, tools.weather, 1, 40)
    flow = np.random.default_rng(1).random((40, 2))
    measured = netcdf.read(forcing)
    gauges = tools.given / "gauges.nc"
    netcdf.write(gauges, replace(measured, forcing={}, target={"Q": flow}, units={"Q": "mm"}))

    def write(last):
        path = tools.given / f"{last}.yaml"
        keys = {"run": str(config), "forcing": str(forcing), "observations": str(gauges), "mean_flow": 1.0}
        keys |= {"first": "2001-10-12", "last": last, "leads": 3, "lags": 2}
        keys |= {"assimilation": {"window": 8, "ages": [2]}, "output": str(tools.folder)}
        path.write_text(yaml.safe_dump(keys))
        return lambda folder: call("forecast", path)

    return Command(write("2001-10-14"), write("2001-10-20"), at_once=False)


def _freeze(tools: SimpleNamespace) -> Command:
    config = tools.configure(tools.bundles("lstm"), 2, start_time="2001-11-01")
    forcing = _forcing(tools.given, tools.weather, 1)

    def write(end):
        return lambda folder: call(
            "freeze", config, "--forcing", forcing, "--end", end, "--output", folder / "frozen.state"
        )

    return Command(write("2001-10-05"), write("2001-10-09"))


def _import_dmg(tools: SimpleNamespace) -> Command:
    config, weights, statistics = dmg_models.parts()
    model = tools.given / "model"
    dmg_models.write(model, config, weights, statistics, epoch=5)
    dmg_models.write(model, config, {k: 2 * v for k, v in weights.items()}, statistics, epoch=6)

    def write(epoch):
        return lambda folder: call("import", model, "--epoch", epoch, "--output", folder / "bundle")

    return Command(write(5), write(6))


def _compile(tools: SimpleNamespace) -> Command:
    """The compiler gives what stands for a library; all that is done with it is done."""

    def write(version):
        def compiler(program, package_path):
            Path(package_path).write_bytes(version * 10_000)

        def command(folder):
            with (
                patch("torch._inductor.aoti_compile_and_package", compiler),
                patch.dict("os.environ", TORCHINDUCTOR_CACHE_DIR=str(tools.private)),
            ):
                return call("compile", tools.bundles("column").path, "--output", folder / "package")

        return command

    return Command(write(b"old"), write(b"new"))


def _basin(given: Path, name: str, divides: int, seed: int) -> tuple[river_basin.Basin, Path]:
    basin = river_basin.generate(divides, area=30.0 * divides, seed=seed)
    (given / name).mkdir()
    basin.write(given / name / "basin.gpkg")
    return basin, given / name / "basin.gpkg"


def _couple(tools: SimpleNamespace) -> Command:
    def write(name, seed):
        basin, _ = _basin(tools.given, name, 5, 7)
        folder = tools.given / name
        dataset = river_basin.weather(basin, days=2, seed=seed)
        with (
            patch.object(river_basin, "generate", lambda *_, **__: basin),
            patch.object(river_basin, "weather", lambda *_, **__: dataset),
        ):
            config = demo._prepare(folder)
        state = tools.folder / "coupled-{time}.state"
        config.write_text(config.read_text() + f"restart: {{write: '{state}', every: 86400}}\n")
        return lambda folder: call("couple", config, "--output", folder)

    return Command(write("one", 1), write("two", 2), at_once=False)


def _demo(tools: SimpleNamespace) -> Command:
    """On fewer divides and days."""

    def command(folder):
        weather = partial(river_basin.weather, days=2)
        generate = river_basin.generate
        with (
            patch.object(river_basin, "generate", lambda *_, **__: generate(6, area=150.0, seed=7)),
            patch.object(river_basin, "weather", weather),
        ):
            return call("demo", "--output", folder)

    return Command(command, command, at_once=False)


def _ngen_csv(folder: Path, ids, seed: int) -> Path:
    """Hourly weather as `ngen` reads it, one file per divide."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    for name in ids:
        with open(folder / f"{name}.csv", "w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["Time", "precip_rate", "TMP_2maboveground"])
            for hour in range(72):
                time = str(np.datetime64("2015-12-01") + hour * HOUR).replace("T", " ")
                rows.writerow([time, f"{1e-3 * rng.random():.6f}", f"{280 + 9 * rng.random():.3f}"])
    return folder


def _prepare(tools: SimpleNamespace) -> Command:
    def write(name, bundle, divides, start, pet):
        basin, fabric = _basin(tools.given, name, divides, 7)
        forcing = _ngen_csv(tools.given / name / "csv", basin.ids, divides)
        arguments = ["--hydrofabric", fabric, "--forcing", forcing, "--stored-forcing", "--pet", pet]
        arguments += ["--start", start, "--end", "2015-12-03"]
        path = tools.bundles(bundle).path
        return lambda folder: call("nextgen", "prepare", path, "--output", folder, *arguments)

    return Command(
        write("one", "fixed", 7, "2015-12-01", "oudin"), write("two", "column", 5, "2015-12-02", "hargreaves")
    )


def _trained(tools: SimpleNamespace) -> Path:
    config, run = tools.given / "small.yaml", tools.given / "run"
    config.write_text(SMALL)
    assert call("train", config, "--output", run) == 0
    return run


def _evaluate(tools: SimpleNamespace) -> Command:
    run = _trained(tools)

    def write(split):
        scores = ["--output", tools.folder / "scores.csv"]
        return lambda _: call("evaluate", run, "--split", split, "--bmi", *scores)

    return Command(write("validation"), write("test"))


def _export(tools: SimpleNamespace) -> Command:
    """Into a folder that is not there yet, for another one is refused."""

    def command(folder):
        target, bundle = folder / "networks", tools.bundles("lstm_mlp").path
        whole = target.exists()
        status = call("export", bundle, "--output", target)
        return status if not whole else {2: 0}[status]

    return Command(lambda folder: 0, command)


def _parameters(tools: SimpleNamespace) -> Command:
    tools.configure(n=2)
    table = tools.folder.parent / "catchments-2.csv"
    forcing = ["--forcing", _forcing(tools.given, tools.weather, 1)]

    def write(kind):
        bundle = tools.bundles(kind).path
        return lambda folder: call(
            "parameters", bundle, "--attributes", table, *forcing, "--output", folder / "parameters.csv"
        )

    return Command(write("lstm"), write("lstm_mlp"))


def _hindcast(tools: SimpleNamespace) -> Command:
    """Of a short window and with little learning, so that it is quick."""
    learning = "dmg_bmi.forecast.learned_error"
    options = tools.given / "analysis.yaml"
    options.write_text("window: 5\nages: [1]\n")
    fixed = ["--split", "validation", "--fit-every", "200", "--every", "150", "--assimilation", options]

    def write(leads):
        def command(folder):
            with patch(f"{learning}.STEPS", 2), patch(f"{learning}.NETWORKS", 1):
                return call("hindcast", "demo_daily", *fixed, "--leads", leads, "--output", folder)

        return command

    return Command(write(2), write(3))


def _report(tools: SimpleNamespace) -> Command:
    run = _trained(tools)

    def old(folder):
        shutil.copytree(run, folder, dirs_exist_ok=True)
        status = call("report", folder)
        page = folder / "report.html"
        page.write_text(page.read_text() + "older")
        return status

    return Command(old, lambda folder: call("report", folder))


COMMANDS: dict[str, Callable[[SimpleNamespace], Command]] = {
    "run": _run,
    "couple": _couple,
    "demo": _demo,
    "compile": _compile,
    "evaluate": _evaluate,
    "report": _report,
    "import": _import_dmg,
    "forecast": _forecast,
    "freeze": _freeze,
    "export": _export,
    "parameters": _parameters,
    "hindcast": _hindcast,
    "nextgen prepare": _prepare,
}
