"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_snippet_runs_outside_of_the_checkout(number, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(SNIPPETS[number], f"README snippet {number}", "exec"), {})


def test_installing_is_the_first_line():
    assert README.splitlines()[2] == "    pip install dmg_bmi"


def test_extras_that_are_named_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    known = {*project["optional-dependencies"]}
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {
        extra.strip()
        for page in pages
        for extras in re.findall(r"dmg_bmi\[([\w, ]+)\]", page.read_text(encoding="utf-8"))
        for extra in extras.split(",")
    }
    assert {"plot", "xarray"} <= named <= known


def test_training_with_plain_pytorch_takes_at_most_fifteen_lines():
    (training,) = [s for s in SNIPPETS if "torch.optim" in s]
    assert len([line for line in training.splitlines() if line.strip()]) <= 15
    for word in ("torch.optim", ".to(", "state_dict", "deepcopy", ".backward()"):
        assert word in training


def test_the_two_commands_are_tasks():
    commands = re.findall(r"^    python3 tasks\.py (\w+)", README, re.MULTILINE)
    assert commands == ["demo", "test"]
    tasks = (ROOT / "tasks.py").read_text(encoding="utf-8")
    assert all(f"def {name}(" in tasks for name in commands)


def test_links_lead_to_files():
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
