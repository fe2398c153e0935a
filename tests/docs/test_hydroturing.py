"""The adapter for HydroTuring keeps the contract of its files, and the questions it is asked are answered.

The benchmark is on no package registry; ``HYDROTURING=/path/to/checkout`` runs its ``ht`` on the adapter.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ADAPTER = Path(__file__).resolve().parents[2] / "docs" / "frameworks" / "hydroturing"
COLUMNS = ["time", "pr", "evspsbl", "mrro", "mrso", "snw", "canopy", "gw", "channel"]
DAYS = 730


def weather(rain=1.0, warmer=0.0, seed=4):
    rng = np.random.default_rng(seed)
    day = np.arange(DAYS)
    pr = rain * np.where(rng.random(DAYS) < 0.4, rng.gamma(0.8, 9.0, DAYS), 0.0)
    tas = 8.0 - 12.0 * np.cos(2 * np.pi * day / 365) + rng.normal(0, 2, DAYS) + warmer
    pet = np.maximum(0.2, 2.0 - 2.0 * np.cos(2 * np.pi * day / 365))
    return {"pr": pr, "tas": tas, "pet": pet}


@pytest.fixture
def adapter(tmp_path):
    """Run the adapter on a case, as the harness does; return its table as arrays."""

    def run(forcing, **static):
        case = tmp_path / str(len([*tmp_path.iterdir()]))
        (case / "input").mkdir(parents=True)
        (case / "output").mkdir()
        times = np.datetime64("2001-01-01") + np.arange(DAYS)
        with open(case / "input" / "forcing.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["time", "pr", "tas", "pet"])
            writer.writerows(zip(times, *(forcing[n] for n in ("pr", "tas", "pet")), strict=True))
        static = {"area_km2": 500.0, "soil_capacity_mm": 200.0} | static
        (case / "input" / "static.json").write_text(json.dumps(static))
        request = {"case": "x", "seed": 1, "timestep": "PT1D", "n_steps": DAYS}
        request["input"] = {"forcing": "input/forcing.csv", "static": "input/static.json"}
        request["output"] = {"table": "output/result.csv"}
        (case / "request.json").write_text(json.dumps(request))
        command = [sys.executable, str(ADAPTER / "ht_adapter.py"), "--request", str(case / "request.json")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        assert json.loads((case / "output" / "run.json").read_text())["status"] == "ok"
        with open(case / "output" / "result.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        assert [*rows[0]] == COLUMNS
        assert [row["time"] for row in rows] == [str(t) for t in times]
        return {name: np.array([float(row[name]) for row in rows]) for name in COLUMNS[1:]}

    return run


def stored(table):
    return sum(table[name] for name in ("mrso", "snw", "canopy", "gw", "channel"))


@pytest.mark.slow
def test_rain_is_echoed_water_closes_and_stores_keep_their_bounds(adapter):
    forcing = weather()
    table = adapter(forcing)
    np.testing.assert_array_equal(table["pr"], forcing["pr"])
    assert all(np.isfinite(values).all() for values in table.values())
    out = table["evspsbl"] + table["mrro"]
    residual = np.diff(stored(table)) - (table["pr"] - out)[1:]
    assert np.abs(residual).max() < 1e-9
    assert (table["mrso"] <= 200.0 + 1e-9).all()
    assert all((table[name] >= -1e-9).all() for name in COLUMNS[2:])
    assert (table["evspsbl"] <= forcing["pet"] + 1e-9).all()
    assert table["snw"].max() > 1
    assert 0.1 < table["mrro"].sum() / table["pr"].sum() < 0.95


@pytest.mark.slow
def test_counterfactuals_are_answered_as_physics_does(adapter):
    base = adapter(weather())
    same = adapter(weather(), area_km2=5000.0)
    for name in COLUMNS[1:]:
        np.testing.assert_array_equal(base[name], same[name], err_msg=name)
    storm = weather()
    storm["pr"] = storm["pr"].copy()
    storm["pr"][500] += 80.0
    wetter = adapter(storm)
    for name in COLUMNS[2:]:  # nothing is known before it falls
        np.testing.assert_array_equal(base[name][:500], wetter[name][:500], err_msg=name)
    more = (wetter["mrro"] - base["mrro"]).sum()
    assert -1e-9 < more <= 80.0
    assert (wetter["mrro"] - base["mrro"] >= -1e-9).all()


@pytest.mark.skipif("HYDROTURING" not in os.environ, reason="no checkout of HydroTuring in $HYDROTURING")
def test_the_benchmark_itself_has_nothing_to_say_against_it():
    source = Path(os.environ["HYDROTURING"])
    environment = os.environ | {"PYTHONPATH": str(source / "src")}
    command = [sys.executable, "-m", "hydroturing", "run", "--model", "dmg_bmi_demo_daily"]
    done = subprocess.run(command, cwd=source, env=environment, capture_output=True, text=True, timeout=3600)
    assert "FAIL" not in done.stdout, done.stdout
