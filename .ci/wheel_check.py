"""Install the wheel into a clean environment of the Python that runs this, and use it as somebody new would.

``python .ci/wheel_check.py DIST``: the folder of the wheel. The same on Linux, macOS and Windows. Nothing but
the wheel and its own dependencies is installed, so pictures are left out.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHECK = """
import importlib.util
assert importlib.util.find_spec("physics") is None, "a bare physics is installed"
import dmg_bmi, dmg_bmi.physics, dmg_bmi.nn_models
from dmg_bmi import DeltaModelBmi
model = DeltaModelBmi()
model.initialize("daily")
for name in model.get_input_var_names():
    model.set_value(name, __import__("numpy").array([2.0]))
model.update()
assert model.get_value_ptr("Q")[0] >= 0
"""


def main() -> None:
    """Install and use the newest wheel of a folder."""
    wheel = max(Path(sys.argv[1]).resolve().glob("dmg_bmi-*.whl"), key=lambda path: path.stat().st_mtime)
    # A safe path: what is checked is what was installed, not a checkout around it.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        away = Path(folder)
        venv.create(away / "venv", with_pip=True)
        bin = away / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python, tool = bin / "python", bin / "dmg-bmi"
        pip = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
        for command in (
            [*pip, "torch"],  # first, so that nothing pulls another build of it
            [*pip, wheel],
            [python, "-c", CHECK],
            [tool, "--version"],
            [tool, "configs"],
            [tool, "inspect", "demo_daily"],
            [tool, "demo"],
            [tool, "run", "demo/runoff.yaml", "--forcing", "demo/forcing.nc", "--outputs", "Q,SM"],
        ):
            print("+", *command, flush=True)
            words = [str(word) for word in command]
            subprocess.run(words, cwd=away, check=True, env=environment, timeout=1800)
        for made in ("demo/runoff.nc", "demo/river.nc", "output/output.nc"):
            if not (away / made).is_file():
                raise SystemExit(f"{made} was not written")
    print(f"{wheel.name} works with Python {sys.version.split()[0]} on {sys.platform}")


if __name__ == "__main__":
    main()
