"""What is installed is what stands in the checkout, and nothing under a bare name."""

from __future__ import annotations

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
    inside = {".".join(p.parent.relative_to(ROOT).parts) for p in (ROOT / "dmg_bmi").rglob("__init__.py")}
    top = {f"dmg_bmi.{name}" for name in ("physics", "nn_models", "bmi_configs")}
    assert listed == inside | top


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
