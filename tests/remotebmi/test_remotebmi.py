"""The component behind remotebmi's own server and client, on the loopback address only."""

import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import yaml

from dmg_bmi.bmi import DeltaModelBmi

# The folder of this file passes for a package `remotebmi` where there is none.
pytest.importorskip("remotebmi.client.client", reason="install the extra remotebmi")
import httpx
from remotebmi.client.client import RemoteBmiClient

ATTRIBUTES = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
ATTRIBUTES |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
RUNOFF = "land_surface_water__runoff_depth"
RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
DAYS = 25


@pytest.fixture(scope="module")
def remote():
    """A client whose component lives in a process of its own, which ends with the tests."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = {"BMI_MODULE": "dmg_bmi.bmi", "BMI_CLASS": "DeltaModelBmi", "BMI_PORT": str(port)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", "from remotebmi.server import main; main()"],
        env=os.environ | served,
        stdout=subprocess.DEVNULL,
    )
    try:
        for _ in range(1200):
            assert process.poll() is None
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.1)
        yield RemoteBmiClient(f"http://127.0.0.1:{port}", timeout=120)
    finally:
        process.terminate()
        process.wait(timeout=30)


@pytest.fixture
def config(tmp_path):
    """Make ``config(n, stored) -> path`` for that many catchments, with weather of their own."""

    def write(n, stored=True):
        rng = np.random.default_rng(5)
        weather = {"P": rng.uniform(0, 20, (DAYS, n)), "T": rng.uniform(3, 20, (DAYS, n))}
        weather["PET"] = rng.uniform(0, 4, (DAYS, n))
        for name, series in weather.items():
            np.save(tmp_path / f"{name}.npy", series)
        units = {"P": "mm d-1", "T": "degC", "PET": "mm d-1"}
        ids = [f"cat-{k}" for k in range(n)]
        index = {"ids": ids, "start_time": "2000-10-01", "step": 86400.0}
        index["variables"] = {v: {"file": f"{v}.npy", "units": units[v]} for v in weather}
        (tmp_path / "forcing.yaml").write_text(yaml.safe_dump(index))
        rows = [",".join(["id", *ATTRIBUTES, "area_km2"])]
        rows += [",".join([i, *(str(v) for v in ATTRIBUTES.values()), "10.0"]) for i in ids]
        (tmp_path / "catchments.csv").write_text("\n".join(rows))
        run = {"bundle": "demo_daily", "engine": "eager", "catchments": {"file": "catchments.csv"}}
        run |= {"start_time": "2000-10-01"} | ({"forcing": str(tmp_path)} if stored else {})
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
        return tmp_path / "run.yaml"

    return write


@pytest.mark.parametrize("n", [1, 3])
def test_answers_are_those_of_a_component_in_this_process(remote, config, n):
    path = config(n)
    local = DeltaModelBmi()
    for bmi in (local, remote):
        bmi.initialize(str(path))
    assert remote.get_component_name() == local.get_component_name()
    assert remote.get_output_var_names() == local.get_output_var_names()
    assert remote.get_time_units() == local.get_time_units()
    assert remote.get_end_time() == local.get_end_time()
    for name in local.get_output_var_names():
        for what in ("units", "itemsize", "nbytes", "grid", "location"):
            assert getattr(remote, f"get_var_{what}")(name) == getattr(local, f"get_var_{what}")(name), name
        with pytest.raises(KeyError, match="float64"):  # the client of 0.1.0 knows the types of C alone
            remote.get_var_type(name)
    assert remote.get_grid_type(0) == local.get_grid_type(0)
    for _ in range(DAYS):
        local.update()
        remote.update()
        expected = local.get_value(RUNOFF, np.zeros(n))
        np.testing.assert_array_equal(remote.get_value(RUNOFF, np.zeros(n)), expected)
    assert remote.get_current_time() == DAYS * 86400.0
    remote.finalize()


def test_an_error_arrives_with_its_message_and_the_component_goes_on(remote, config):
    remote.initialize(str(config(1)))
    answer = remote.client.get("/get_var_units/rain")
    assert answer.status_code == 500
    assert answer.json()["type"] == "VariableError"
    assert "unknown variable 'rain'" in answer.json()["detail"]
    remote.update()
    remote.finalize()


def test_what_the_server_of_0_1_0_refuses_whatever_the_model(remote, config):
    """Once this fails, the page and the tutorial can push forcing."""
    remote.initialize(str(config(1, stored=False)))
    with pytest.raises(httpx.HTTPStatusError):
        remote.set_value(RAIN, np.array([1.0]))
    with pytest.raises(httpx.HTTPStatusError):
        remote.update_until(86400.0)
    with pytest.raises(httpx.HTTPStatusError):
        remote.get_value_at_indices(RUNOFF, np.zeros(1), np.array([0]))
    remote.finalize()
