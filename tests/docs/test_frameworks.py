"""The tutorial scripts run as they stand, where their framework is installed."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "docs" / "frameworks"
NEEDS = {
    "plain.py": "dmg_bmi",
    "assimilate.py": "dmg_bmi",
    "with_grpc.py": "grpc4bmi",
    "with_pymt.py": "pymt.models",
    "with_remotebmi.py": "remotebmi.server",
}


def test_every_tutorial_is_listed():
    assert {path.name for path in FOLDER.glob("*.py")} == {*NEEDS}


@pytest.mark.parametrize("name", NEEDS)
def test_the_tutorial_runs(name, tmp_path):
    if importlib.util.find_spec(NEEDS[name].partition(".")[0]) is None:
        pytest.skip(f"{NEEDS[name]} is not installed")
    pytest.importorskip(NEEDS[name])
    # pymt takes build leftovers of a checkout for what is installed, so from elsewhere
    (tmp_path / "bmi_configs").symlink_to(ROOT / "bmi_configs")
    command = [sys.executable, "-W", "ignore", str(FOLDER / name)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    assert "differently" not in done.stdout
    assert float(re.search(r"(\d+\.\d{3}) mm", done.stdout)[1]) > 0


def test_links_lead_to_files():
    page = (FOLDER / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!http)([^)#]+)", page):
        assert (FOLDER / target).exists(), target
