"""docs/models/add_your_own.md, followed word by word."""

import re
import shlex
import shutil
import sys
import tomllib
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from dmg_bmi.physics import run

from dmg_bmi.model.registry import build_process_model

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "models" / "add_your_own.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture
def my_package(tmp_path, monkeypatch):
    """The package of a third party: files copied and entry points given as the page says."""
    (tmp_path / "my_package").mkdir()
    for line in re.findall(r"^    (cp .*)$", PAGE, re.MULTILINE):
        _, source, target = shlex.split(line)
        shutil.copy(ROOT / source, tmp_path / target)
    (table,) = blocks("toml")
    groups = tomllib.loads(table)["project"]["entry-points"]
    installed = tmp_path / "my_package-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(
        "".join(
            f"[{group}]\n" + "".join(f"{name} = {target}\n" for name, target in points.items())
            for group, points in groups.items()
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_package"]:
        del sys.modules[name]


def test_the_page_works_as_it_stands(my_package):
    assert "bucket" in {point.name for point in entry_points(group="dmg_bmi.physics")}
    names = {}
    for block in blocks("python"):
        exec(compile(block, "add_your_own.md", "exec"), names)
    model = names["model"]
    assert type(model.networks["nn"]).__module__ == "my_package.gru"
    assert all(weight.grad is not None for weight in model.parameters())


def test_the_template_splits_and_closes_like_any_other_model(my_package, legal, splitting):
    model = build_process_model({"name": "bucket", "nmul": 2, "routing": 5})
    forcing, parameters = legal.weather(model, 60, 3, 1), legal.parameters(model, 3, 2)

    def go_on(now, state):
        return run(model, now, state, parameters, {}, 1.0)

    whole, end = go_on(forcing, model.init_state(3))
    pieces, last = splitting.in_pieces(go_on, forcing, model.init_state(3), range(60))
    splitting.assert_agree(pieces, whole, next(iter(whole.values())).dtype)
    splitting.assert_agree(last, end, next(iter(end.values())).dtype)
