"""grpc4bmi: the component in a process of its own, here on the same machine.

``python docs/frameworks/with_grpc.py``, after ``pip install "dmg_bmi[grpc]"``.
"""

import subprocess
import sys

import grpc
import numpy as np
from grpc4bmi.bmi_grpc_client import BmiClient

# run-bmi-server listens on every address; this one only on this machine's own.
SERVER = """
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from dmg_bmi import DeltaModelBmi
from grpc4bmi.bmi_grpc_server import BmiServer
from grpc4bmi.bmi_pb2_grpc import add_BmiServiceServicer_to_server
server = grpc.server(ThreadPoolExecutor(max_workers=1))
add_BmiServiceServicer_to_server(BmiServer(DeltaModelBmi()), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
sys.stdin.read()  # until the parent ends
"""

process = subprocess.Popen(  # noqa: S603  the script above
    [sys.executable, "-c", SERVER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
)
port = int(process.stdout.readline())
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    model = BmiClient(channel, timeout=60)
    model.initialize("bmi_configs/daily.yaml")
    for day in range(30):
        model.set_value(
            "atmosphere_water__liquid_equivalent_precipitation_rate",
            np.array([12.0 if day % 3 == 0 else 0.0]),
        )
        model.set_value("land_surface_air__temperature", np.array([9.0]))
        model.set_value("land_surface_water__potential_evaporation_volume_flux", np.array([1.5]))
        model.update()
    runoff = model.get_value("land_surface_water__runoff_depth", np.zeros(1))
    print(f"day {model.get_current_time() / 86400:g}: runoff {runoff[0] * 1000:.3f} mm")
    model.finalize()
process.stdin.close()
process.wait(timeout=30)
