"""Install the wheel into a clean environment of the Python that runs this, and use it as somebody new would.

``python .ci/wheel_check.py DIST``: the folder of the wheel. The same on Linux, macOS and Windows. Nothing but
the wheel and its own dependencies is installed, so pictures are left out. With ``--without-torch`` all of it
is compiled and what needs no PyTorch is used: some registries have that with gigabytes of CUDA alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import tomllib
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


#: What PyTorch is not needed for; every file must be of a syntax that this Python has.
LIGHT = """
import compileall, importlib.metadata, importlib.util, pathlib
assert importlib.util.find_spec("physics") is None, "a bare physics is installed"
folder = pathlib.Path(importlib.util.find_spec("dmg_bmi").origin).parent
assert compileall.compile_dir(folder, quiet=1, force=True)
import dmg_bmi, dmg_bmi.bmi_configs, dmg_bmi.io.units, dmg_bmi.io.typed_yaml, dmg_bmi.errors
"""


def main() -> None:
    """Install and use the newest wheel of a folder."""
    light = "--without-torch" in sys.argv
    wheel = max(Path(sys.argv[1]).resolve().glob("dmg_bmi-*.whl"), key=lambda path: path.stat().st_mtime)
    # A safe path: what is checked is what was installed, not a checkout around it.
    environment = {**os.environ, "PYTHONSAFEPATH": "1"}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        away = Path(folder)
        venv.create(away / "venv", with_pip=True)
        bin = away / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python, tool = bin / "python", bin / "dmg-bmi"
        pip = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt"]
        others = [d for d in dependencies() if not d.startswith("torch")]
        lightly = ([*pip, "--no-deps", wheel], [*pip, *others], [python, "-c", LIGHT], [tool, "--version"])
        fully = (
            [*pip, "torch"],  # first, so that nothing pulls another build of it
            [*pip, wheel],
            [python, "-c", CHECK],
            [tool, "--version"],
            [tool, "configs"],
            [tool, "inspect", "demo_daily"],
            [tool, "demo"],
            [tool, "run", "demo/runoff.yaml", "--forcing", "demo/forcing.nc", "--outputs", "Q,SM"],
        )
        for command in lightly if light else fully:
            print("+", *command, flush=True)
            words = [str(word) for word in command]
            subprocess.run(words, cwd=away, check=True, env=environment, timeout=1800)
        for made in ("demo/runoff.nc", "demo/river.nc", "output/output.nc"):
            if not light and not (away / made).is_file():
                raise SystemExit(f"{made} was not written")
    done = "installs" if light else "works"
    print(f"{wheel.name} {done} with Python {sys.version.split()[0]} on {sys.platform}")


def dependencies() -> list[str]:
    """List what the project requires."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [str(line) for line in project["dependencies"]]


if __name__ == "__main__":
    main()
