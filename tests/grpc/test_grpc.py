"""The component in another process, driven through the client of grpc4bmi, on the loopback address only."""

import csv
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

from dmg_bmi.bmi import DeltaModelBmi

grpc = pytest.importorskip("grpc", reason="install the extra grpc")
client = pytest.importorskip("grpc4bmi.bmi_grpc_client", reason="install the extra grpc")

ATTRIBUTES = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
ATTRIBUTES |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
TEMPERATURE = "land_surface_air__temperature"
PET = "land_surface_water__potential_evaporation_volume_flux"
RUNOFF = "land_surface_water__runoff_depth"
SECONDS = 120

#: As `run-bmi-server` does, but for this machine alone, and ended by its parent.
SERVER = """
import sys
from concurrent import futures
import grpc
from grpc4bmi import bmi_pb2_grpc
from grpc4bmi.bmi_grpc_server import BmiServer
from dmg_bmi.bmi import DeltaModelBmi

server = grpc.server(futures.ThreadPoolExecutor(max_workers=1))
bmi_pb2_grpc.add_BmiServiceServicer_to_server(BmiServer(DeltaModelBmi(), True), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()
server.stop(0)
"""


@pytest.fixture
def remote():
    """A client whose component lives in a process of its own."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield client.BmiClient(channel, timeout=SECONDS)
    finally:
        process.stdin.close()
        process.wait(timeout=30)


@pytest.fixture
def config(tmp_path):
    """Make ``config(n) -> path`` for that many catchments."""

    def write(n: int) -> Path:
        with open(tmp_path / "catchments.csv", "w", encoding="utf-8", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["id", *ATTRIBUTES, "area_km2"])
            for k in range(n):
                rows.writerow([f"cat-{k}", *(v * (1 + 0.1 * k / n) for v in ATTRIBUTES.values()), 10.0])
        path = tmp_path / "run.yaml"
        run = {"bundle": "demo_daily", "engine": "eager", "catchments": {"file": "catchments.csv"}}
        path.write_text(yaml.safe_dump(run), encoding="utf-8")
        return path

    return write


def series(bmi, n: int, steps: int) -> np.ndarray:
    """Runoff ``[step, n]`` of seeded weather."""
    rng = np.random.default_rng(5)
    out = []
    for _ in range(steps):
        bmi.set_value(RAIN, rng.uniform(0, 20, n))
        bmi.set_value(TEMPERATURE, rng.uniform(3, 20, n))
        bmi.set_value(PET, rng.uniform(0, 4, n))
        bmi.update()
        out.append(bmi.get_value(RUNOFF, np.zeros(n)).copy())
    return np.array(out)


@pytest.mark.parametrize("n", [1, 3])
def test_answers_are_those_of_a_component_in_this_process(remote, config, n):
    path = config(n)
    local = DeltaModelBmi()
    local.initialize(str(path))
    remote.initialize(str(path))
    assert remote.get_component_name() == local.get_component_name()
    assert remote.get_input_var_names() == local.get_input_var_names()
    assert remote.get_output_var_names() == local.get_output_var_names()
    for name in (*local.get_input_var_names(), *local.get_output_var_names()):
        for what in ("units", "type", "itemsize", "nbytes", "grid"):
            assert getattr(remote, f"get_var_{what}")(name) == getattr(local, f"get_var_{what}")(name), name
        if n == 1:
            assert remote.get_var_location(name) == local.get_var_location(name) == "node"
        else:  # for which grpc4bmi 0.6 has no word
            with pytest.raises(grpc.RpcError, match="NONE"):
                remote.get_var_location(name)
    assert remote.get_grid_type(0) == local.get_grid_type(0)
    np.testing.assert_array_equal(series(remote, n, 12), series(local, n, 12))
    assert remote.get_current_time() == local.get_current_time() == 12 * 86400.0
    remote.update_until(14 * 86400.0)
    assert remote.get_current_time() == 14 * 86400.0
    last = np.zeros(1)
    remote.get_value_at_indices(RUNOFF, last, np.array([n - 1]))
    assert last[0] > 0
    remote.finalize()


def test_an_error_arrives_with_its_message_and_the_component_goes_on(remote, config):
    remote.initialize(str(config(1)))
    with pytest.raises(grpc.RpcError) as refused:
        remote.update()
    assert "NaN" in str(refused.value)
    with pytest.raises(grpc.RpcError, match="unknown variable 'rain'"):
        remote.get_var_units("rain")
    assert np.isfinite(series(remote, 1, 2)).all()
    remote.finalize()


def test_a_hundred_thousand_catchments_travel(remote, config):
    n = 100_000
    path = config(n)
    begin = time.perf_counter()
    remote.initialize(str(path))
    result = series(remote, n, 2)
    assert time.perf_counter() - begin < SECONDS
    assert result.shape == (2, n)
    assert np.isfinite(result).all()
    local = DeltaModelBmi()
    local.initialize(str(path))
    np.testing.assert_allclose(result, series(local, n, 2), rtol=1e-6, atol=1e-9)
    remote.finalize()
