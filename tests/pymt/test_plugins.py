"""The plugins for pymt: their metadata are up to date and good, and the calls that pymt makes work.

`StandIn` makes the calls of pymt 1.3 (``framework/bmi_bridge.py`` and ``bmi_setup.py``); real pymt
runs where it is installed.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import yaml

import dmg_bmi.pymt as plugins
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.bundle_files import SHIPPED
from dmg_bmi.pymt.metadata import files, parameters, write

ROOT = Path(__file__).resolve().parents[2]
NAMES = [*plugins.SHIPPED]
RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"
RUNOFF = "land_surface_water__runoff_depth"


def folder(cls) -> Path:
    return Path(sys.modules[cls.__module__].__file__).parent / cls.METADATA


class StandIn:
    """A model of pymt: the calls it makes of a plugin class, and what it does around them."""

    def __init__(self, cls):
        self.bmi = cls()
        self.names = self.bmi.get_output_var_names()  # the time interpolator asks before initialize
        self.datadir = folder(cls)
        section = yaml.safe_load((self.datadir / "parameters.yaml").read_text(encoding="utf-8"))
        self.parameters = {name: entry["value"]["default"] for name, entry in section.items()}

    def setup(self, to, **given):
        """Copy and fill in the templates; unknown parameters are accepted silently."""
        values = {**self.parameters, **given}
        to.mkdir(exist_ok=True)
        for file in self.datadir.iterdir():
            text = re.sub(r"\{\{\s*(\w+)\s*\}\}", lambda m: str(values[m[1]]), file.read_text("utf-8"))
            (to / file.name).write_text(text, encoding="utf-8")
        run = yaml.safe_load((self.datadir / "run.yaml").read_text(encoding="utf-8"))
        return run["config_file"], str(to)

    def initialize(self, name, dir):
        self.dir = dir
        self._in_dir(lambda: self.bmi.initialize(name))
        for var in {*self.bmi.get_input_var_names(), *self.bmi.get_output_var_names()}:
            location = self.bmi.get_var_location(var)
            if location != "none":
                grid = self.bmi.get_var_grid(var)
                assert (self.bmi.get_grid_type(grid), self.bmi.get_grid_rank(grid)) == ("scalar", 0)

    def _in_dir(self, call):
        import contextlib

        with contextlib.chdir(self.dir):
            return call()

    def update(self):
        self._in_dir(self.bmi.update)

    def finalize(self):
        self._in_dir(self.bmi.finalize)

    def set_value(self, name, value):
        self.bmi.set_value(name, np.asarray(value).reshape((-1,)))

    def get_value(self, name, units=None):
        out = np.empty(
            self.bmi.get_var_nbytes(name) // self.bmi.get_var_itemsize(name), self.bmi.get_var_type(name)
        )
        self.bmi.get_value(name, out)
        if units is not None:
            gimli = pytest.importorskip("gimli", reason="converts units, as pymt does")
            gimli.units.Unit(self.bmi.get_var_units(name)).to(gimli.units[units])(out, out=out)
        return out


# -- metadata ---------------------------------------------------------------------


def test_every_shipped_bundle_of_catchments_has_a_plugin():
    """Those of a river network need a hydrofabric, so they cannot run as they were set up."""
    bundles = {info.name for info in map(BundleInfo.read, SHIPPED.iterdir()) if "muskingum" not in info.name}
    assert {*plugins.SHIPPED.values()} == bundles


@pytest.mark.parametrize("name", NAMES)
def test_metadata_are_up_to_date(name):
    cls = getattr(plugins, name)
    written = {file.name: file.read_text(encoding="utf-8") for file in folder(cls).iterdir()}
    assert written == files(cls), "run `python -m dmg_bmi.pymt`"


def test_entry_points_are_the_plugins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pymt.plugins"] == {name: f"dmg_bmi.pymt:{name}" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_class_is_what_pymt_needs_of_it(name):
    cls = getattr(plugins, name)
    assert cls.__name__ == cls.__qualname__ == name
    assert cls.__module__ == "dmg_bmi.pymt"  # pymt looks for METADATA beside it
    assert cls().get_output_var_names()


def test_a_name_that_is_no_plugin_is_no_attribute():
    with pytest.raises(AttributeError, match="NoSuchPlugin"):
        plugins.NoSuchPlugin  # noqa: B018


@pytest.mark.parametrize("name", NAMES)
def test_parameters_are_the_table_and_their_defaults_are_legal(name):
    info = getattr(plugins, name).bundle
    found = parameters(info)
    attributes = {v.name for v in info.variables if v.kind == "attribute"}
    inputs = {f"initial_{v.symbol}" for v in info.variables if v.kind == "input"}
    assert found.keys() == attributes | inputs | {"area_km2", "start_time", "time_step"}
    for entry in found.values():
        value = entry["value"]
        assert entry["description"]
        if "range" in value:
            assert value["range"]["min"] <= value["default"] <= value["range"]["max"]


@pytest.mark.parametrize("name", NAMES)
def test_the_library_that_pymt_reads_metadata_with_takes_them(name, tmp_path):
    library = pytest.importorskip("model_metadata")
    from model_metadata.model_setup import FileSystemLoader

    cls = getattr(plugins, name)
    meta = library.ModelMetadata.from_obj(cls)
    assert Path(meta.base) == folder(cls)
    assert meta.api["class"] == name
    assert meta.info["license"] == "Apache-2.0"
    assert {*meta.parameters} == {*parameters(cls.bundle)}
    values = {key: entry["value"]["default"] for key, entry in meta.parameters.items()}
    FileSystemLoader(meta.base).stage_all(str(tmp_path), **values)
    bmi = cls()
    bmi.initialize(str(tmp_path / meta.run["config_file"]["path"]))
    bmi.update()
    assert np.isfinite(bmi.get_value_ptr("Q")).all()


# -- the calls that pymt makes ------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_model_runs_as_it_was_set_up(name, tmp_path):
    model = StandIn(getattr(plugins, name))
    model.initialize(*model.setup(tmp_path / "run"))
    for _ in range(3):
        model.update()
    assert np.isfinite(model.get_value(RUNOFF)).all()
    model.finalize()


def test_values_come_in_the_units_that_are_asked_for(tmp_path):
    model = StandIn(plugins.DmgDemoDaily)
    model.initialize(*model.setup(tmp_path / "run"))
    model.set_value(RAIN, 40.0)
    for _ in range(10):
        model.update()
    metres, millimetres = model.get_value(RUNOFF), model.get_value(RUNOFF, units="mm")
    assert metres[0] > 0
    np.testing.assert_allclose(millimetres, 1000 * metres, rtol=1e-12)
    per_second = model.get_value(RAIN, units="m s-1")
    np.testing.assert_allclose(per_second, 0.040 / 86400, rtol=1e-12)


def test_parameters_of_the_setup_take_effect(tmp_path):
    runoff = {}
    for rain in (0.0, 30.0):
        model = StandIn(plugins.DmgDemoDaily)
        model.initialize(*model.setup(tmp_path / f"run-{rain}", initial_P=rain, area_km2=12.5, aridity=0.5))
        assert model.get_value("catchment__area") == [12.5]
        assert model.get_value("aridity") == [0.5]
        for _ in range(5):
            model.update()
        runoff[rain] = model.get_value(RUNOFF)[0]
    assert runoff[30.0] > runoff[0.0]


def test_an_input_that_does_not_exist_is_refused(tmp_path):
    model = StandIn(plugins.DmgDemoDaily)
    name, run = model.setup(tmp_path / "run")
    for content in ("wind: 3.0\n", "P: wet\n", "P: true\n"):
        (tmp_path / "run" / "inputs.yaml").write_text(content, encoding="utf-8")
        with pytest.raises(
            ConfigError, match=r"inputs\.yaml: .* is not a number for an input; inputs are P, T"
        ):
            model.initialize(name, run)


# -- a user's own bundle ------------------------------------------------------------


def test_a_bundle_of_your_own_becomes_a_plugin(tmp_path, monkeypatch):
    package = tmp_path / "my_package"
    package.mkdir()
    shutil.copytree(SHIPPED / "demo_daily", package / "bundle")
    (package / "__init__.py").write_text(
        "from pathlib import Path\nfrom dmg_bmi.pymt import plugin\n"
        "MyModel = plugin('MyModel', Path(__file__).parent / 'bundle', __name__)\n",
        encoding="utf-8",
    )
    command = [sys.executable, "-m", "dmg_bmi.pymt", "MyModel", str(package / "bundle")]
    subprocess.run([*command, str(package / "metadata" / "MyModel")], check=True, timeout=60)
    monkeypatch.syspath_prepend(tmp_path)
    import my_package

    try:
        info = yaml.safe_load((folder(my_package.MyModel) / "info.yaml").read_text())
        assert info.keys() == {"summary"}  # of others we say neither author nor licence
        model = StandIn(my_package.MyModel)
        model.initialize(*model.setup(tmp_path / "run"))
        model.update()
        assert np.isfinite(model.get_value(RUNOFF)).all()
    finally:
        del sys.modules["my_package"]


def test_a_bundle_that_is_none_is_one_line_and_status_2(tmp_path):
    command = [sys.executable, "-m", "dmg_bmi.pymt", "MyModel", str(tmp_path), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no bundle found" in done.stderr
    assert "Traceback" not in done.stderr


def test_written_metadata_are_what_is_shipped(tmp_path):
    write(plugins.DmgDemoDaily, tmp_path)
    assert {f.name for f in tmp_path.iterdir()} == {f.name for f in folder(plugins.DmgDemoDaily).iterdir()}


# -- real pymt ----------------------------------------------------------------------

REAL = """
import sys
import numpy as np
import torch, pymt

name = sys.argv[1]
assert not pymt.MODELS.errors, pymt.MODELS.errors
model = getattr(__import__("pymt.models").models, name)()
config, run = model.setup(initial_P=20.0)
model.initialize(config, dir=run)
for _ in range(5):
    model.update()
metres = model.get_value("land_surface_water__runoff_depth")
assert metres[0] > 0
millimetres = model.get_value("land_surface_water__runoff_depth", units="mm")
np.testing.assert_allclose(millimetres, 1000 * metres, rtol=1e-9)
model.time_units = "h"
model.update_until(model.time + 2 * model.time_step)
model.set_value("land_surface_air__temperature", 3.0)
assert model.var["land_surface_air__temperature"].intent == "in"
model.finalize()
"""


@pytest.mark.parametrize("name", NAMES)
def test_real_pymt_finds_sets_up_runs_and_converts(name, tmp_path):
    """Away from the checkout, whose build leftovers pymt would take for what is installed."""
    reason = "pymt comes from conda or source; see docs/frameworks/README.md"
    pytest.importorskip("pymt.models", reason=reason)
    command = [sys.executable, "-W", "ignore", "-c", REAL, name]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
