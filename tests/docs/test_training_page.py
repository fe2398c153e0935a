"""docs/training.md: the five commands as they stand there, and the table of options."""

import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from dmg_bmi.cli import main, parser
from dmg_bmi.training.config import Training

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
#: Lines that end with a backslash go on.
LINES = re.findall(r"^    dmg-bmi (.*)$", PAGE.replace("\\\n", ""), re.MULTILINE)
COMMANDS = [shlex.split(line) for line in LINES]
FIVE = COMMANDS[:5]
#: Two basins and two years, so that the test takes seconds; everything else as written.
SMALL = (
    "data.basins=['01333000', '03010655']",
    "periods.train=[1999-10-01, 2000-09-30]",
    "periods.test=[2000-10-01, 2001-09-30]",
    "periods.spin_up=90",
    "training.seq_length=150",
    "training.max_steps=2",
    "training.batch_size=4",
)


def test_a_newcomer_comes_from_a_camels_folder_to_bmi_in_five_commands(
    shared_data, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    Path("camels_us").symlink_to(shared_data / "camels_us")
    assert [command[0] for command in FIVE] == ["train", "report", "evaluate", "inspect", "run"]
    small = [part for setting in SMALL for part in ("--set", setting)]
    said = []
    for command in FIVE:
        assert main(command + (small if command[0] == "train" else [])) == 0, command
        said.append(capsys.readouterr().out)
    assert "runs/camels/report.html" in said[1]
    assert "the BMI and one forward agree" in said[2]
    assert "catchments   2: 01333000, 03010655" in said[3]
    assert Path("runs/camels/output/output.nc").exists()
    named = {
        name for line in re.findall(r"^\| `(.*?)` \|", PAGE, re.MULTILINE) for name in line.split("`, `")
    }
    there = {p.name for p in Path("runs/camels").iterdir()} - {"output"}
    patterns = {n.rstrip("/") for n in named}
    assert {name for name in there if not name.endswith(".png")} <= patterns


@pytest.mark.parametrize("command", COMMANDS[5:], ids=" ".join)
def test_every_other_command_is_one(command):
    assert parser().parse_args(command)


def test_the_table_names_every_option_and_its_default():
    text = PAGE[PAGE.index("## The configuration") : PAGE.index("## Interrupted")]
    rows = re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.MULTILINE)
    told = {}
    for names, defaults in rows:
        keys = re.findall(r"`(\w+)`", names)
        values = [value.strip("`") for value in re.split(r", (?![^{]*\})", defaults)]
        told |= dict(zip(keys, values, strict=True))
    assert told.keys() == {f.name for f in fields(Training)}
    for name, value in told.items():
        default = getattr(Training(), name)
        if isinstance(default, bool):
            assert value == str(default).lower(), name
        elif isinstance(default, (int, float)):
            assert float(value) == default, name
        elif isinstance(default, str):
            assert value == default, name


def test_links_lead_to_files():
    for target in re.findall(r"\]\((?!http)([^)#]+)", PAGE):
        assert (ROOT / "docs" / target).exists(), target
