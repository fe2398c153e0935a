"""``pytest --bmi`` checks a component of anybody, and without it pytest is as it was."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = [ROOT / "bmi_configs" / f"{k}.yaml" for k in ("daily", "daily_stepped_hourly", "hourly", "many")]
MODULE = "dmg_bmi.pytest_plugin"

TANK = """
import numpy as np

class Tank:
    def initialize(self, config_file):
        self.level = float(open(config_file).read())
        self.time = 0.0

    def update(self):
        self.time += 1.0

    def get_component_name(self): return "tank"
    def get_input_var_names(self): return ()
    def get_output_var_names(self): return ["level"]
    def get_input_item_count(self): return 0
    def get_output_item_count(self): return 1
    def get_start_time(self): return 0.0
    def get_current_time(self): return self.time
    def get_end_time(self): return 100.0
    def get_time_step(self): return 1.0
    def get_time_units(self): return "d"
"""


@pytest.fixture
def run(tmp_path):
    """Run pytest with the plugin in a folder that has a test of its own and a component."""
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    (tmp_path / "test_own.py").write_text("def test_own():\n    assert True\n", encoding="utf-8")
    (tmp_path / "tank.py").write_text(TANK, encoding="utf-8")
    for name, text in (("broken", "def f(: x"), ("raises", "1 / 0"), ("leaves", "raise SystemExit(3)")):
        (tmp_path / f"{name}.py").write_text(f"{text}\n", encoding="utf-8")
    (tmp_path / "level.txt").write_text("1.5", encoding="utf-8")

    def call(*arguments):
        command = [sys.executable, "-m", "pytest", "-v", "-p", MODULE, "-p", "no:cacheprovider", *arguments]
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    return call


def test_the_entry_point_is_named_so_that_it_is_never_loaded_twice():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {MODULE: MODULE}


def test_without_its_option_nothing_is_added_and_nothing_is_imported(run, tmp_path, monkeypatch):
    (tmp_path / "conftest.py").write_text(
        "import sys\ndef pytest_unconfigure():\n"
        "    heavy = {'torch', 'numpy', 'yaml', 'bmipy', 'dmg_bmi.conformance'}\n"
        "    print('LOADED', sorted(heavy & {*sys.modules}))\n",
        encoding="utf-8",
    )
    # Plugins of other packages import what they like.
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    done = run()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
    assert "LOADED []" in done.stdout


def test_a_component_gets_a_test_per_promise_and_what_is_wrong_is_said(run):
    done = run("--bmi", "tank:Tank", "--bmi-config", "level.txt")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "level.txt::time_metadata PASSED" in done.stdout
    assert "level.txt::names FAILED" in done.stdout
    assert "not a tuple of strings: ['level']" in done.stdout
    assert "test_own" not in done.stdout
    assert "Traceback" not in done.stdout


def test_tests_that_are_named_run_too(run):
    done = run(
        "--bmi", "tank:Tank", "--bmi-config", "level.txt", "-k", "test_own or time_metadata", "test_own.py"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.slow
def test_it_works_in_parallel(run):
    pytest.importorskip("xdist")
    done = run("-n", "1", "--bmi", "tank:Tank", "--bmi-config", "level.txt", "-k", "time_metadata")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--bmi", "tank:Tank"), "--bmi needs --bmi-config FILE"),
        (("--bmi", "tank:Tank", "--bmi-config", "no.txt"), "not found"),
        (("--bmi", "no_such:Tank", "--bmi-config", "level.txt"), "No module named 'no_such'"),
        (("--bmi", "tank:Pond", "--bmi-config", "level.txt"), "has no attribute 'Pond'"),
        (("--bmi", "tank", "--bmi-config", "level.txt"), "must be package.module:Class"),
        (("--bmi", "tank:np", "--bmi-config", "level.txt"), "is not a class"),
        (("--bmi", "broken:Tank", "--bmi-config", "level.txt"), "--bmi broken:Tank: SyntaxError: "),
        (("--bmi", "raises:Tank", "--bmi-config", "level.txt"), "ZeroDivisionError: division by zero ("),
        (("--bmi", "leaves:Tank", "--bmi-config", "level.txt"), "SystemExit: 3"),
        (
            ("--bmi", "tank:Tank", "--bmi-config", "level.txt", "--bmi-value", "x=wet"),
            "must be NAME=NUMBER",
        ),
    ],
)
def test_a_wrong_option_is_an_error_of_usage(run, arguments, said):
    done = run(*arguments)
    assert done.returncode == 4
    assert said in done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr


@pytest.mark.slow
def test_every_shipped_configuration_passes(run):
    """A day and more of hours, so that a daily model stepped hourly has published its first day."""
    options = [f"--bmi-config={config}" for config in CONFIGS]
    done = run("--bmi", "dmg_bmi:DeltaModelBmi", *options, "--bmi-steps", "30")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") >= 20 * len(CONFIGS)
    assert "SKIPPED" not in done.stdout


@pytest.mark.slow
def test_the_shipped_river_passes(run):
    done = run("--bmi", "dmg_bmi:RoutingBmi", f"--bmi-config={ROOT / 'bmi_configs' / 'river.yaml'}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "SKIPPED" not in done.stdout


@pytest.mark.slow
def test_what_steps_by_the_hour_passes_what_nextgen_asks(run):
    configs = [config for config in CONFIGS if "hourly" in config.name]
    options = [f"--bmi-config={config}" for config in configs]
    done = run("--bmi", "dmg_bmi:DeltaModelBmi", *options, "--bmi-steps=30", "--bmi-ngen", "-k", "ngen")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{9 * len(configs)} passed" in done.stdout
