"""remotebmi: the component behind HTTP, in a process of its own, here on the same machine.

``python docs/frameworks/with_remotebmi.py``, after ``pip install "dmg_bmi[remotebmi]"``. The server of
remotebmi 0.1.0 cannot take values (its `set_value` fails for every model), so the component reads its own
forcing: a folder of plain arrays.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from remotebmi.client.client import RemoteBmiClient

DAYS = 30
folder = Path(tempfile.mkdtemp())
rain = np.where(np.arange(DAYS) % 3 == 0, 12.0, 0.0)
variables = {"P": (rain, "mm d-1"), "T": (np.full(DAYS, 9.0), "degC"), "PET": (np.full(DAYS, 1.5), "mm d-1")}
for name, (series, _) in variables.items():
    np.save(folder / f"{name}.npy", series[:, None])
index = {"ids": ["demo-1"], "start_time": "2000-10-01", "step": 86400.0}
index["variables"] = {name: {"file": f"{name}.npy", "units": unit} for name, (_, unit) in variables.items()}
(folder / "forcing.yaml").write_text(yaml.safe_dump(index))
config = yaml.safe_load(Path("bmi_configs/daily.yaml").read_text()) | {"forcing": str(folder)}
(folder / "run.yaml").write_text(yaml.safe_dump(config))

with socket.socket() as free:
    free.bind(("127.0.0.1", 0))
    port = free.getsockname()[1]
# As run-bmi-server of remotebmi (grpc4bmi has one of that name, too): on 127.0.0.1, told by the environment.
process = subprocess.Popen(
    [sys.executable, "-W", "ignore", "-c", "from remotebmi.server import main; main()"],
    env=os.environ | {"BMI_MODULE": "dmg_bmi.bmi", "BMI_CLASS": "DeltaModelBmi", "BMI_PORT": str(port)},
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
)
try:
    for _ in range(600):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            break
        except OSError:  # it starts
            time.sleep(0.1)
    model = RemoteBmiClient(f"http://127.0.0.1:{port}", timeout=60)
    model.initialize(str(folder / "run.yaml"))
    for _ in range(DAYS):
        model.update()
    runoff = model.get_value("land_surface_water__runoff_depth", np.zeros(1))
    print(f"day {model.get_current_time() / 86400:g}: runoff {runoff[0] * 1000:.3f} mm")
    model.finalize()
finally:
    process.terminate()
    process.wait(timeout=30)
