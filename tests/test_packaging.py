"""What is installed is what stands in the checkout, and nothing under a bare name."""

from __future__ import annotations

import configparser
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def test_every_package_folder_is_installed(project):
    listed = set(project["tool"]["setuptools"]["packages"])

    def packages(folder):
        return {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / folder).rglob("__init__.py")}

    top = {
        f"dmg_bmi.{name}" for folder in ("physics", "nn_models", "bmi_configs") for name in packages(folder)
    }
    assert listed == packages("dmg_bmi") | top


def test_data_beside_the_code_is_installed(project):
    patterns = project["tool"]["setuptools"]["package-data"]
    folders = project["tool"]["setuptools"]["package-dir"]
    installed = {
        file
        for package, globs in patterns.items()
        for pattern in globs
        for file in (ROOT / folders.get(package, package.replace(".", "/"))).glob(pattern)
    }
    beside = {
        file
        for folder in ("dmg_bmi", "physics", "nn_models", "bmi_configs")
        for file in (ROOT / folder).rglob("*")
        if file.is_file() and file.suffix not in (".py", ".pyc")
    }
    assert beside <= installed, sorted(str(f.relative_to(ROOT)) for f in beside - installed)


def test_no_bare_physics_can_be_imported_outside_the_checkout(tmp_path):
    code = "import importlib.util as u; assert u.find_spec('physics') is None; import dmg_bmi.physics"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


# -- from the wheel, as somebody else gets it ---------------------------------------

CHECK = """
import importlib.metadata as m, pathlib, sys, yaml
import dmg_bmi
site = pathlib.Path(sys.argv[1])
assert pathlib.Path(dmg_bmi.__file__).is_relative_to(site), dmg_bmi.__file__
(dist,) = m.distributions(name="dmg_bmi", path=[str(site)])
points = [p for p in dist.entry_points if p.group == "pymt.plugins"]
assert points
for point in points:
    cls = point.load()
    folder = pathlib.Path(sys.modules[cls.__module__].__file__).parent / cls.METADATA
    assert folder.is_relative_to(site), folder
    for name in ("api.yaml", "info.yaml", "parameters.yaml", "run.yaml"):
        assert yaml.safe_load((folder / name).read_text(encoding="utf-8")), name
    config = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))["config_file"]
    assert (folder / config).is_file()
    try:
        from model_metadata import ModelMetadata
    except ImportError:
        continue
    assert pathlib.Path(ModelMetadata.from_obj(cls).base) == folder
print("checked", len(points))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory, project):
    """What a wheel, built from a copy of the checkout, installs."""
    pytest.importorskip("setuptools", minversion="77")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("dmg_bmi", "physics", "nn_models", "bmi_configs"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip"]
    wheels = target / "wheels"
    build = [*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)]
    subprocess.run(build, check=True, timeout=300)
    (wheel,) = wheels.glob("*.whl")
    install = [*pip, "install", "-q", "--no-deps", "--no-index", "--target", str(target / "lib"), str(wheel)]
    subprocess.run(install, check=True, timeout=300)
    return target / "lib"


def test_plugins_of_the_wheel_have_their_metadata(site, tmp_path):
    """One without breaks `import pymt` for everybody."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", CHECK, str(site)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "checked" in done.stdout


def test_the_wheel_offers_what_the_project_says(site, project):
    (file,) = site.glob("dmg_bmi-*.dist-info/entry_points.txt")
    found = configparser.ConfigParser(delimiters=("=",))
    found.optionxform = str
    found.read(file, encoding="utf-8")
    groups = {name: dict(found[name]) for name in found.sections()}
    assert groups == {"console_scripts": project["project"]["scripts"], **project["project"]["entry-points"]}


# -- as type checkers see it --------------------------------------------------------

TYPED = """
from dmg_bmi import Bundle, DeltaModel, DeltaModelBmi, FeatureStatistics, ParameterRole, RoutedModel
from dmg_bmi import RoutingBmi, __version__, bundle_component, routing_model
from dmg_bmi.nn_models import LSTM
from dmg_bmi.physics import ProcessModel

{reveals}
"""
#: What each expression must be to whoever uses it; none is Any.
SEEN = {
    "__version__": "str",
    "Bundle.load('b').model": "DeltaModel",
    "DeltaModel().declaration": "Declaration",
    "DeltaModel().forward": "dict[str, Tensor]",
    "DeltaModelBmi().get_time_step()": "float",
    "FeatureStatistics().mean": "float",
    "ParameterRole().supplied": "tuple[str, ...]",
    "RoutingBmi().get_component_name()": "str",
    "bundle_component": "DeltaModelBmi",
    "routing_model": "DeltaModel",
    "RoutedModel": "RoutedModel",
    "ProcessModel().declaration": "Declaration",
    "LSTM(1, 1, 8).n_inputs": "int",
}


@pytest.mark.slow
@pytest.mark.parametrize("checker", ["mypy", "basedpyright"])
def test_public_names_have_types_in_an_installed_wheel(site, tmp_path, checker):
    pytest.importorskip(checker)
    file = tmp_path / "uses.py"
    file.write_text(
        TYPED.format(reveals="\n".join(f"reveal_type({name})" for name in SEEN)), encoding="utf-8"
    )
    options = ["--strict", "--no-incremental"] if checker == "mypy" else ["--pythonpath", sys.executable]
    done = subprocess.run(
        [sys.executable, "-m", checker, *options, str(file)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(site), "PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    told = [line for line in done.stdout.splitlines() if re.search("Revealed type is|: Type of", line)]
    told = [line for line in told if "note:" in line or "information:" in line]
    assert len(told) == len(SEEN), done.stdout + done.stderr
    for line, (name, kind) in zip(told, SEEN.items(), strict=True):
        assert kind in line.replace("builtins.", "").replace("torch._tensor.", ""), (name, line)
    assert re.search(r"\b0 errors|Success", done.stdout), done.stdout


def test_what_others_wrote_is_as_it_was_and_named_with_its_licence():
    notices = (ROOT / "THIRD_PARTY_NOTICES.md").read_text(encoding="utf-8")
    vendored = re.findall(r"`(dmg_bmi/\S+)`, unchanged \| `([0-9a-f]{64})`", notices)
    assert len(vendored) == 2
    for name, checksum in vendored:
        assert hashlib.sha256((ROOT / name).read_bytes()).hexdigest() == checksum
    assert "The MIT License" in (ROOT / "dmg_bmi/report/assets/uPlot.LICENSE").read_text(encoding="utf-8")
