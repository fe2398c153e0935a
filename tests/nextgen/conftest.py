"""Bundles, hydrofabrics and forcing for NextGen, and runs of the stand-in for `ngen`."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sqlite3
import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
import torch
from forks import Forks

from dmg_bmi.model.bundle import Bundle
from dmg_bmi.model.delta_model import DeltaModel
from dmg_bmi.model.registry import build_process_model
from dmg_bmi.nextgen.prepare.prepare import Plan, prepare

HERE = Path(__file__).parent
AORC_UNITS = {
    "precip_rate": "mm s^-1", "TMP_2maboveground": "K", "SPFH_2maboveground": "kg kg-1",
    "UGRD_10maboveground": "m s-1", "VGRD_10maboveground": "m s-1", "PRES_surface": "Pa",
    "DSWRF_surface": "W m-2", "DLWRF_surface": "W m-2",
}  # fmt: skip
HBV = {"name": "hbv", "nmul": 2, "routing": 15}
ATTRIBUTES = {"elevation": "m", "slope": "degree", "twi": "1", "upstream_area": "km2"}


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """Make ``bundle(kind) -> Path``: ``plain`` learns nothing, ``hybrid`` from divide-attributes."""

    @cache
    def make(kind: str = "plain") -> Path:
        with torch.random.fork_rng():
            torch.manual_seed(3)
            model = build(kind)
        folder = tmp_path_factory.mktemp("bundle") / kind
        Bundle(model.double(), kind).save(folder)
        return folder

    return make


def build(kind: str) -> DeltaModel:
    declared = build_process_model(HBV).declaration.parameters
    fixed = {p.name: (2 * p.lower + p.upper) / 3 for p in declared} | {"FC": 60.0, "PERC": 1.0}
    if kind == "plain":
        return DeltaModel.build(phy_model=HBV, fixed=fixed)
    names = [*ATTRIBUTES]
    return DeltaModel.build(
        nn={"fast": {"name": "lstm", "hidden_size": 8}, "slow": {"name": "mlp", "hidden_sizes": [8]}},
        phy_model=HBV,
        roles=[
            {
                "inputs": ["P", "T", "PET"],
                "attributes": names,
                "dynamic": ["BETA", "K0"],
                "static": [],
                "network": "fast",
            },
            {"attributes": names, "network": "slow"},
        ],
        statistics={
            "elevation": {"mean": 400.0, "std": 200.0, "units": "m"},
            "slope": {"mean": 10.0, "std": 8.0, "units": "degree"},
            "twi": {"mean": 8.0, "std": 2.0, "units": "1"},
            "upstream_area": {"mean": 100.0, "std": 300.0, "units": "km2"},
        },
    )


@dataclass(frozen=True)
class Domain:
    """A hydrofabric with forcing."""

    hydrofabric: Path
    forcing: Path
    ids: tuple[str, ...]
    area: dict[str, float]
    nexus: dict[str, str]


def domain_of(hydrofabric: Path, forcing: Path) -> Domain:
    with sqlite3.connect(hydrofabric) as file:
        rows = file.execute("SELECT divide_id, areasqkm, toid FROM divides").fetchall()
    return Domain(
        hydrofabric,
        forcing,
        tuple(r[0] for r in rows),
        {r[0]: r[1] for r in rows},
        {r[0]: r[2] for r in rows},
    )


@pytest.fixture(scope="session")
def small(shared_data) -> Domain:
    """The five catchments of gauge 01073000, with AORC of December 2015."""
    folder = shared_data / "nextgen_01073000"
    if not folder.is_dir():
        pytest.skip("no nextgen_01073000 among the shared data")
    return domain_of(folder / "gauge_01073000.gpkg", folder / "forcing.nc")


@pytest.fixture(scope="session")
def juniata(shared_data, tmp_path_factory) -> Domain:
    """The 794 divides of the Juniata River, with generated forcing of five days."""
    fabric = shared_data / "nextgen_juniata" / "jrb_hydrofabric_v2.2.gpkg"
    if not fabric.is_file():
        pytest.skip("no nextgen_juniata among the shared data")
    path = tmp_path_factory.mktemp("juniata") / "forcings.nc"
    domain = domain_of(fabric, path)
    write_netcdf(path, domain.ids, aorc(24 * 5, len(domain.ids)), np.datetime64("2010-06-01"))
    return domain


def aorc(hours: int, n: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Plausible hourly weather ``[n, hours]``, warm and wet, each catchment its own."""
    rng = np.random.default_rng(seed)
    hour = np.arange(hours)[None]
    sun = np.maximum(np.cos(2 * np.pi * (hour - 17) / 24), 0.0)
    noise = rng.normal(size=(n, hours))
    own = rng.uniform(0.5, 1.5, (n, 1))
    return {
        "precip_rate": np.where(rng.random((n, hours)) < 0.4, 1.2e-3 * own, 0.0),
        "TMP_2maboveground": 286.0 + 5.0 * sun + noise + 3 * own,
        "SPFH_2maboveground": 0.006 + 0.0004 * np.tanh(noise),
        "UGRD_10maboveground": 2.0 + noise,
        "VGRD_10maboveground": -1.0 + noise,
        "PRES_surface": 96000.0 + 100 * noise,
        "DSWRF_surface": 500.0 * sun + 0 * noise,
        "DLWRF_surface": 310.0 + 5 * noise,
    }


def write_netcdf(
    path: Path, ids, values, start: np.datetime64, step: int = 3600, units=AORC_UNITS, time_units="s"
) -> None:
    """The layout of ngen and NGIAB."""
    import netCDF4

    with netCDF4.Dataset(path, "w") as data:
        hours = next(iter(values.values())).shape[1]
        data.createDimension("catchment-id", len(ids))
        data.createDimension("time", hours)
        data.createVariable("ids", str, ("catchment-id",))[:] = np.array(ids, dtype=object)
        time = data.createVariable("Time", "f8", ("catchment-id", "time"))
        time.units = time_units
        seconds = (start - np.datetime64("1970-01-01")) / np.timedelta64(1, "s") + step * np.arange(hours)
        time[:] = np.broadcast_to(seconds, (len(ids), hours))
        for name, array in values.items():
            variable = data.createVariable(name, "f4", ("catchment-id", "time"))
            if units.get(name):
                variable.units = units[name]
            variable[:] = array


@pytest.fixture(scope="session")
def write_forcing():
    """:func:`write_netcdf` and :func:`aorc`."""
    return write_netcdf, aorc


@dataclass(frozen=True)
class Run:
    """What a run of the stand-in left."""

    status: int
    stdout: str
    stderr: str
    folder: Path

    def catchment(self, name: str) -> list[dict[str, str]]:
        with open(self.folder / "outputs" / "ngen" / f"{name}.csv") as file:
            return list(csv.DictReader(file))

    def nexus(self, name: str) -> np.ndarray:
        with open(self.folder / "outputs" / "ngen" / f"{name}_output.csv") as file:
            return np.array([float(line[2]) for line in csv.reader(file)])

    def files(self) -> dict[str, bytes]:
        return {p.name: p.read_bytes() for p in sorted((self.folder / "outputs" / "ngen").iterdir())}


@pytest.fixture(scope="session")
def ngen():
    """Make ``ngen(folder, **options) -> Run``: the stand-in on a prepared folder.

    Or the real executable that ``$DMG_BMI_NGEN`` names; what only the stand-in can do is skipped then.
    """
    real = os.environ.get("DMG_BMI_NGEN")
    plain = {k: v for k, v in os.environ.items() if not k.startswith(("LC_", "LANG", "PYTHON"))}
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "OMP_NUM_THREADS": "1"}
    standins = None if real else Forks(plain | ascii_only)

    def run(folder: Path, **options) -> Run:
        (hydrofabric,) = (folder / "config").glob("*.gpkg")
        divides, realization = str(hydrofabric.relative_to(folder)), "config/realization.json"
        if real and options:
            pytest.skip(f"ngen itself has no option {', '.join(options)}")
        if real:
            (folder / "outputs" / "ngen").mkdir(parents=True, exist_ok=True)
            command = [real, divides, "all", divides, "all", realization]
            done = subprocess.run(
                command, cwd=folder, env=plain | ascii_only, capture_output=True, text=True, timeout=200
            )
        else:
            given = [(f"--{name.replace('_', '-')}", value) for name, value in options.items()]
            command = [HERE / "ngen_standin.py", divides, realization, *chain.from_iterable(given)]
            done = standins.run(command, folder)
        # A signal, as a shell reports it: 134 is an abort.
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return Run(status, done.stdout, done.stderr, folder)

    yield run
    if standins:
        standins.close()


@pytest.fixture(scope="session")
def small_plan(bundle, small):
    """Make ``small_plan(output, **keys) -> Plan`` over the small domain, three days by default."""

    def make(output: Path, **keys) -> Plan:
        plan = {
            "bundle": str(bundle()),
            "output": output,
            "hydrofabric": small.hydrofabric,
            "start": np.datetime64("2015-12-01T00:00:00"),
            "end": np.datetime64("2015-12-04T00:00:00"),
            "forcing": small.forcing,
            "pet": "penman_monteith",
            "model_params": {"phy.SUZ": [60.0, 30.0], "phy.SLZ": [40.0, 50.0]},
        }
        return Plan(**(plan | keys))

    return make


#: What plans that are prepared once may differ in.
SWITCHES = {"multi", "stored_forcing"}


@pytest.fixture(scope="session")
def prepared_once(small_plan, tmp_path_factory):
    """Make ``prepared_once(**switches) -> folder`` that nobody changes; no path in it leads into itself."""

    @cache
    def make(**switches: bool) -> Path:
        folder = tmp_path_factory.mktemp("prepared") / "run"
        prepare(small_plan(folder, **switches))
        return folder

    return make


@pytest.fixture
def prepared(small_plan, prepared_once, tmp_path):
    """Make ``prepared(name, **keys) -> folder``: :func:`small_plan` prepared, or a copy where one was."""

    def make(name: str = "run", before=None, **keys) -> Path:
        folder = tmp_path / name
        if before is None and keys.keys() <= SWITCHES and not folder.exists():
            return shutil.copytree(prepared_once(**keys), folder)
        if before is not None:
            before(folder)
        prepare(small_plan(folder, **keys))
        return folder

    return make


@pytest.fixture
def change():
    """Make ``change(folder, edit)``: edit the realization of a prepared folder in place."""

    def apply(folder: Path, edit) -> Path:
        path = folder / "config" / "realization.json"
        document = json.loads(path.read_text())
        edit(document)
        path.write_text(json.dumps(document))
        return path

    return apply
