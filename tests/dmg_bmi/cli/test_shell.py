"""What a shell waits for: help and mistakes are answered without the libraries that work needs."""

import re
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import pytest

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.cli import COMMANDS, main, nextgen
from dmg_bmi.cli.lazy_parser import LazyParser
from dmg_bmi.nextgen.prepare.plan import Plan
from dmg_bmi.training.benchmark import Protocol

ROOT = Path(__file__).resolve().parents[3]

HEAVY = ("torch", "numpy", "netCDF4", "bmipy", "yaml", "matplotlib")
CODE = """
import sys
from dmg_bmi.cli import main
try:
    status = main({arguments})
except SystemExit as end:
    status = end.code
print(status, *(name for name in {heavy} if name in sys.modules))
"""


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["--help"], 0),
        (["--version"], 0),
        (["trian"], 2),
        (["nextgen", "chek"], 2),
        (["nextgen", "check", "--hydrofabrik", "x.gpkg", "r.json"], 2),
        *(([name, "--unknown"], 2) for name in COMMANDS),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_help_and_mistakes_load_nothing_heavy(arguments, status):
    code = CODE.format(arguments=arguments, heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == [str(status)], done.stderr


def test_options_of_prepare_load_no_torch():
    code = CODE.format(arguments=["nextgen", "prepare", "--unknown"], heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    status, *loaded = done.stdout.split()
    assert status == "2"
    assert {"torch", "netCDF4", "bmipy"}.isdisjoint(loaded)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_a_help_text(name, capsys):
    from dmg_bmi.cli import parser

    with pytest.raises(SystemExit):
        parser().parse_args([name, "--help"])
    lines = capsys.readouterr().out.splitlines()
    # An option without a text stands alone on a line, and the next line is not its continuation.
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line.startswith("  -") and "  " not in line.strip():
            assert following.startswith(" " * 20), line


def test_each_field_of_a_plan_is_an_option_with_the_words_of_its_docstring():
    prepare = LazyParser(fill=nextgen.add_plan)
    options = prepare.parse_args(["my_bundle", "--output", "run"])
    assert {field.name for field in fields(Plan)} == {*vars(options)}
    told = prepare.format_help()
    for words in ("folder that ngen will run in", "do not let ngen check that no water is lost"):
        assert words in " ".join(told.split())


def test_options_that_are_not_given_leave_the_plan_its_defaults():
    prepare = LazyParser(fill=nextgen.add_plan)
    least = ["my_bundle", "--output", "run", "--hydrofabric", "a.gpkg", "--start", "2015-12-01"]
    least += ["--end", "2015-12-03"]
    plan = nextgen.read_plan(prepare.parse_args(least))
    required = {name: getattr(plan, name) for name in ("bundle", "output", "hydrofabric", "start", "end")}
    assert plan == Plan(**required)
    given = ["--no-routing", "--stored-forcing", "--missing-attributes", "drop", "--outputs", "Q", "E"]
    given += ["--missing-forcing", "hold", "--save-every", "24", "--columns", "slope=s", "--columns", "twi=t"]
    plan = nextgen.read_plan(prepare.parse_args([*least, *given]))
    assert (plan.routing, plan.stored_forcing, plan.missing_attributes) == (False, True, "drop")
    assert (plan.missing_forcing, plan.save_every, [*plan.outputs]) == ("hold", 24.0, ["Q", "E"])
    assert plan.columns == {"slope": "s", "twi": "t"}


@pytest.mark.parametrize("old", ["--own", "--holes=drop", "--gaps=hold"])
def test_options_of_an_older_vocabulary_are_not_known(old, capsys):
    with pytest.raises(SystemExit):
        LazyParser(fill=nextgen.add_plan).parse_args(["my_bundle", old])
    assert "unrecognized arguments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ([], [], {"step"}),
        (["--quiet"], [], set()),
        ([], ["-q"], set()),
        (["-v"], [], {"step", "dmg-bmi: debug: why"}),
        ([], ["--verbose"], {"step", "dmg-bmi: debug: why"}),
    ],
)
def test_the_level_of_what_is_shown_stands_before_or_after_a_command(before, after, shown):
    code = (
        "import logging; from dmg_bmi.cli import main; import dmg_bmi.cli.inspect as module\n"
        "log = logging.getLogger('dmg_bmi')\n"
        "module.command = lambda given: [log.debug('why'), log.info('step'), log.warning('odd')]\n"
        f"raise SystemExit(main({[*before, 'inspect', *after, 'demo_daily']}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert {*done.stderr.splitlines()} == shown | {"dmg-bmi: warning: odd"}


def test_every_command_says_after_ctrl_c_how_to_go_on(monkeypatch, capsys):
    def interrupted(_):
        raise KeyboardInterrupt

    for name, module in COMMANDS.items():
        loaded = import_module(f"dmg_bmi.cli.{module}")
        interrupted.__module__ = loaded.__name__
        monkeypatch.setattr(loaded, "add_arguments", lambda parser: None)
        monkeypatch.setattr(loaded, "command", interrupted)
        assert main([name]) == 130
        said = capsys.readouterr().err
        assert said.startswith("dmg-bmi: interrupted; the same command "), said


# -- shipped configurations -------------------------------------------------------


def test_configs_lists_every_shipped_configuration_and_what_it_is_for(capsys):
    assert main(["configs"]) == 0
    said = capsys.readouterr().out
    for folder in ("bmi_configs", "dmg_bmi/training/configs"):
        for path in (ROOT / folder).glob("*.yaml"):
            assert re.search(rf"^  {path.stem} +\S.{{10}}", said, re.MULTILINE), path
    assert "kratzert" in said
    assert "rivals" not in said


def test_a_copy_of_a_configuration_is_whole_and_writes_over_nothing(tmp_path, capsys):
    assert main(["configs", "many", "--output", str(tmp_path / "mine")]) == 0
    assert {path.name for path in (tmp_path / "mine").iterdir()} == {"many.yaml", "many.csv"}
    bmi = DeltaModelBmi()
    bmi.initialize(str(tmp_path / "mine" / "many.yaml"))
    assert main(["configs", "many", "--output", str(tmp_path / "mine")]) == 2
    assert "many.yaml: exists; give another folder" in capsys.readouterr().err
    assert main(["configs", "camel", "--output", str(tmp_path / "mine")]) == 2
    assert "did you mean camels? available: daily, " in capsys.readouterr().err
    assert main(["configs", "kratzert", "--output", str(tmp_path / "protocol")]) == 0
    assert Protocol.read(tmp_path / "protocol" / "kratzert.yaml").rivals
