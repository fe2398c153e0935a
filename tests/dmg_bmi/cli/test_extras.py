"""What a command needs and is not installed is told before the work, and nothing is written."""

import ast
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import commands
import pytest
import yaml
from forks import Forks

import dmg_bmi
from dmg_bmi.io import netcdf
from dmg_bmi.plotting import hydrographs
from dmg_bmi.synthetic.basins import generate

HIDDEN = """
import sys
sys.modules[sys.argv[1]] = None
from dmg_bmi.cli import main
sys.exit(main(sys.argv[2:]))
"""
ROOT = Path(dmg_bmi.__file__).parent.parent
ALWAYS = {"torch", "numpy", "yaml", "bmipy", "safetensors", "netCDF4", "cftime", "tqdm"}
#: Where an extra is imported, all of them lazily or in a module that is nothing without it.
EXTRAS = {
    "dmg_bmi/io/xarray_series.py": {"xarray"},
    "dmg_bmi/interop/hydrodl2.py": {"hydrodl2"},
    "dmg_bmi/interop/jax.py": {"jax"},
    "dmg_bmi/plotting/basin_map.py": {"matplotlib"},
    "dmg_bmi/nextgen/prepare/tables.py": {"pyarrow"},
    "dmg_bmi/plotting/hydrographs.py": {"matplotlib"},
    "dmg_bmi/training/search.py": {"optuna"},
    "dmg_bmi/training/tensorboard.py": {"tensorboard"},
}
#: The modules that users of these tools load by themselves.
PLUGINS = ("dmg_bmi/pytest_plugin.py", "dmg_bmi/conformance/")


def extras_of(path):
    """Names of packages that a file imports at run time and that are not always installed."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing = {id(n) for i in ast.walk(tree) if isinstance(i, ast.If) and "TYPE_CHECKING" in ast.dump(i.test)
              for n in ast.walk(i)}  # fmt: skip
    names = set()
    for node in ast.walk(tree):
        if id(node) in typing:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add(node.module)
    names = {"tensorboard" if n.startswith("torch.utils.tensorboard") else n.partition(".")[0] for n in names}
    return names - ALWAYS - {"dmg_bmi", *sys.stdlib_module_names}


def test_no_other_module_imports_an_extra():
    found = {}
    for folder in ("dmg_bmi", "physics", "nn_models"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if not name.startswith(PLUGINS) and (extras := extras_of(path)):
                found[name] = extras
    assert found == EXTRAS


PICTURES, BOARD = "pictures need matplotlib: pip install", "needs TensorBoard: pip install"
SEARCH = ["train", "camels", "--search", "space.yaml", "--output", "out"]


@pytest.fixture(scope="module")
def interpreters():
    forks = Forks(os.environ)
    yield forks
    forks.close()


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("matplotlib", ["benchmark", "kratzert", "--output", "out"], PICTURES),
        ("matplotlib", ["hindcast", "demo_daily", "--output", "out"], PICTURES),
        *(
            ("netCDF4", [*command, "--output", "out"], "needs the package netCDF4, which is not installed")
            for command in (
                ["calibrate", "calibrate"],
                ["benchmark", "kratzert"],
                ["hindcast", "demo_daily"],
                ["run", "none.yaml", "--forcing", "none.nc"],
            )
        ),
        ("netCDF4", ["forecast", "none.yaml"], "needs the package netCDF4, which is not installed"),
        (
            "torch.utils.tensorboard",
            ["train", "camels", "--set", "training.tensorboard=true", "--output", "out"],
            BOARD,
        ),
        ("torch.utils.tensorboard", [*SEARCH, "--set", "training.tensorboard=true"], BOARD),
        ("optuna", SEARCH, "a search needs Optuna: pip install"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_missing_extra_is_told_before_the_work(interpreters, tmp_path, module, arguments, said):
    if arguments[:4] == SEARCH[:4] and module != "optuna":
        pytest.importorskip("optuna", reason="a search asks for Optuna before anything else")
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"training.learning_rate": [0.1, 0.01]}))
    done = interpreters.run(["-c", HIDDEN, module, *arguments], tmp_path)
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["demo", "calibrate", "run"])
def test_without_matplotlib_pictures_are_left_out_and_all_else_is_made(name, tmp_path, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    hydrographs._say_once.cache_clear()
    out = tmp_path / "out"
    if name == "demo":
        assert commands._demo(SimpleNamespace()).new(out) == 0
    elif name == "calibrate":
        (tmp_path / "alone.yaml").write_text(commands.CALIBRATED)
        assert commands.call("calibrate", tmp_path / "alone.yaml", "--output", out) == 0
    else:
        netcdf.write(tmp_path / "forcing.nc", generate(basins=2, years=1, seed=3))
        assert commands.call("run", "demo_daily", "--forcing", tmp_path / "forcing.nc", "--output", out) == 0
    made = {path.suffix for path in out.rglob("*") if path.is_file()}
    assert ".nc" in made
    assert ".png" not in made
    assert caplog.text.count("pictures are left out: they need matplotlib, pip install") == 1
