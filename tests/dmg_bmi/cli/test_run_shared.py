"""Runs whose catchments are shared out to processes: the numbers of one, and after one was killed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from dmg_bmi import processes
from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError
from dmg_bmi.io import netcdf
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.row_shares import own_share
from dmg_bmi.synthetic.basins import generate

SCRIPT = Path(__file__).with_name("shared_run.py")
ROWS, STEPS = 5, 60


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """Arguments of a run over five catchments whose rows of the table are in another order."""
    folder = tmp_path_factory.mktemp("shared")
    data = generate(basins=ROWS, years=1, seed=2)
    data = data.period(data.times[0], data.times[STEPS])
    netcdf.write(folder / "forcing.nc", data)
    names = ["elev_mean", "area", "aridity", "frac_snow", "frac_forest", "clay_frac"]
    lines = [
        ",".join([data.ids[k], *(f"{data.attributes[name][k]:.6g}" for name in names)])
        for k in reversed(range(ROWS))
    ]
    (folder / "table.csv").write_text("\n".join([",".join(["id", *names]), *lines]))
    config = {"bundle": "demo_daily", "catchments": {"file": "table.csv"}, "time_step": 86400.0}
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    return ["run", str(folder / "run.yaml"), "--forcing", str(folder / "forcing.nc"), "--outputs", "Q,SWE"]


def shared(given, folder, killed_after=0):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*command, str(SCRIPT), str(killed_after), *given, "--output", str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )


def answers(folder):
    with netcdf.Reader(folder / "output.nc") as file:
        return file.ids, {name: file.series(name) for name in file.forcings}


@pytest.mark.slow
def test_two_processes_write_what_one_writes_and_go_on_where_one_was_killed(given, tmp_path, splitting):
    assert main([*given, "--output", str(tmp_path / "one")]) == 0
    done = shared(given, tmp_path / "two")
    assert done.returncode == 0, done.stderr
    assert {file.name for file in (tmp_path / "two").iterdir()} == {"output.nc", "hydrograph.png"}
    assert done.stdout.count("output.nc") == 1
    ids, alone = answers(tmp_path / "one")
    assert answers(tmp_path / "two")[0] == ids
    together = answers(tmp_path / "two")[1]
    for name, values in alone.items():
        np.testing.assert_allclose(together[name], values, rtol=1e-5, atol=1e-6)

    killed = shared(given, tmp_path / "killed", killed_after=4)
    assert killed.returncode != 0
    left = {file.name for file in (tmp_path / "killed").iterdir() if not file.name.startswith(".")}
    assert {"unfinished.0.records", "unfinished.0.state"} <= left
    assert "output.nc" not in left
    again = shared(given, tmp_path / "killed")
    assert again.returncode == 0, again.stderr
    assert "goes on from record" in again.stderr
    for name, values in answers(tmp_path / "killed")[1].items():
        np.testing.assert_array_equal(values, together[name])
    assert {file.name for file in (tmp_path / "killed").iterdir()} == {"output.nc", "hydrograph.png"}


@pytest.mark.parametrize(
    ("rows", "count", "together", "edges"),
    [
        (10, 3, 1, [0, 3, 6, 10]),
        (5, 2, 512, [0, 2, 5]),
        (2000, 2, 512, [0, 1024, 2000]),
        (100_000, 3, 512, [0, 33280, 66560, 100_000]),
        (7, 1, 512, [0, 7]),
    ],
)
def test_every_row_has_one_process_and_neighbours_stay_together(monkeypatch, rows, count, together, edges):
    monkeypatch.setattr(processes, "size", lambda: count)
    parts = processes.share(rows, together)
    assert [parts[0].start, *(part.stop for part in parts)] == edges


def test_what_one_process_has_to_do_is_refused_by_several(given, monkeypatch):
    monkeypatch.setattr(processes, "size", lambda: 2)
    path = Path(given[1]).with_name("restart.yaml")
    path.write_text(Path(given[1]).read_text() + "restart: {write: state}\n")
    with pytest.raises(ConfigError, match="a state file holds all catchments"):
        own_share(RunConfig.read(path))
    monkeypatch.setattr(processes, "size", lambda: 6)
    with pytest.raises(ConfigError, match="6 processes have no use for 5 catchments"):
        own_share(RunConfig.read(given[1]))
