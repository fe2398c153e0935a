"""Multipliers are calibrated by NOAA's ngen-cal itself, through the realization's ``model_params``.

ngen-cal is on no package registry: ``pip install`` its ``python/ngen_cal`` and ``python/ngen_conf``, and
hypy, from checkouts, into an environment with pydantic 1 and numpy 2.2 (pyarrow there refuses 1.26).
"""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import yaml

HERE = Path(__file__).parent
TEMPLATE = HERE.parents[1] / "docs" / "frameworks" / "ngen_cal.yaml"
ITERATIONS = 4
#: The one name of a Python module that ngen-cal knows; to ngen it is a label.
NAME = "LSTM"
TRUTH = {"multiplier__FC": 0.6, "multiplier__K1": 1.7}
#: What ngen-cal asks of its plugins: here both flows are those of the nexus at a gauge.
PLUGIN = """
import os
import pandas as pd
from ngen.cal import hookimpl

class Flows:
    def __init__(self):
        self.observed, self.nexus = os.environ["OBSERVED"], os.environ["NEXUS"]

    @hookimpl
    def ngen_cal_model_observations(self, nexus, start_time, end_time, simulation_interval):
        return read(self.observed, "obs_flow")

    @hookimpl
    def ngen_cal_model_output(self, id):
        path = f"{self.nexus}_output.csv"  # in the working folder of ngen-cal
        return read(path, "sim_flow") if os.path.exists(path) else None

def read(path, name):
    table = pd.read_csv(path, header=None, index_col=1, parse_dates=True, skipinitialspace=True)
    series = table[2].rename(name)
    series.index.name = "value_time"
    return series
"""


def has_ngen_cal():
    try:
        return find_spec("ngen.cal") is not None
    except ModuleNotFoundError:
        return False


@pytest.mark.skipif(not has_ngen_cal(), reason="ngen.cal is not installed; it is on no package registry")
def test_it_steps_the_component_with_multipliers_of_its_own_choice(
    prepared, bundle, ngen, small, change, tmp_path
):
    rows = [f"{name},{300 + 40 * k},{6 + 2 * k},{7 + k / 2}" for k, name in enumerate(small.ids)]
    table = tmp_path / "attributes.csv"
    table.write_text("\n".join(["divide_id,elevation [m],slope [degree],twi", *rows]))
    folder = prepared(bundle=str(bundle("hybrid")), table=table, model_params=TRUTH)
    nexus = small.nexus[small.ids[0]]

    def for_ngen_cal(document):
        document.pop("output_root")  # which ngen-cal refuses
        document.pop("output")
        params = document["global"]["formulations"][0]["params"]
        params |= {"model_params": {}, "model_type_name": NAME}

    run = ngen(folder)
    assert run.status == 0, run.stderr
    observed = tmp_path / "observed.csv"
    observed.write_bytes((folder / "outputs" / "ngen" / f"{nexus}_output.csv").read_bytes())
    path = change(folder, for_ngen_cal)
    absolute = path.read_text().replace('"./', f'"{folder}/')
    path.write_text(absolute)
    (tmp_path / "flows.py").write_text(PLUGIN)
    binary = tmp_path / "ngen"
    (fabric,) = (folder / "config").glob("*.gpkg")
    ascii_only = "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0"
    command = f'{ascii_only} exec {sys.executable} {HERE / "ngen_standin.py"} {fabric} "$5"'
    binary.write_text(f"#!/bin/sh\n{command}\n")
    binary.chmod(0o755)
    config = yaml.safe_load(TEMPLATE.read_text())
    config["general"] |= {"iterations": ITERATIONS, "workdir": str(tmp_path)}
    config["model"] |= {"binary": str(binary), "realization": str(path), "hydrofabric": str(fabric)}
    config["model"] |= {"eval_feature": None, "plugins": ["flows.Flows"]}
    (tmp_path / "ngen_cal.yaml").write_text(yaml.safe_dump(config))
    environment = os.environ | {"OBSERVED": str(observed), "NEXUS": nexus, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "ngen.cal", "ngen_cal.yaml"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (log,) = tmp_path.glob("*_worker/objective_log.txt")
    scores = np.array([float(line.split(",")[-1]) for line in log.read_text().splitlines()])
    assert len(scores) == ITERATIONS + 1
    assert np.isfinite(scores).all()
    last = json.loads(next(tmp_path.glob("*_worker/realization.json")).read_text())
    written = last["global"]["formulations"][0]["params"]["model_params"]
    assert {*written} == {p["name"] for p in config["model"]["params"][NAME]}
    assert set(written.values()) != {1.0}
