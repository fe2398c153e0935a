"""What the README shows runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_snippet_runs(number, monkeypatch):
    monkeypatch.chdir(ROOT)
    exec(compile(SNIPPETS[number], f"README snippet {number}", "exec"), {})


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
