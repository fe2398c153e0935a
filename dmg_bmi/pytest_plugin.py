"""Plugin of pytest: ``pytest --bmi MODULE:CLASS --bmi-config FILE`` runs a test per promise of a component.

Without ``--bmi`` it does nothing but offer its options, and imports nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .conformance import Conformance


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the conformance checks."""
    group = parser.getgroup("bmi", "Basic Model Interface conformance (dmg_bmi)")
    group.addoption("--bmi", metavar="MODULE:CLASS", help="Component to check, with --bmi-config.")
    group.addoption(
        "--bmi-config",
        metavar="FILE",
        action="append",
        default=[],
        help="Configuration that `initialize` reads; may be given several times.",
    )
    group.addoption(
        "--bmi-value",
        metavar="NAME=NUMBER",
        action="append",
        default=[],
        help="Legal value of an input, in its units; otherwise what it has after `initialize`, or 1.",
    )
    group.addoption("--bmi-steps", metavar="N", type=int, default=5, help="Updates of a run (default 5).")
    group.addoption("--bmi-ngen", action="store_true", help="Check also what NextGen asks for.")


def pytest_configure(config: pytest.Config) -> None:
    """Collect, with ``--bmi``, its configurations, and test files only where they are named."""
    if not config.getoption("--bmi"):
        return
    files = [str(Path(file).absolute()) for file in config.getoption("--bmi-config")]
    if not files:
        raise pytest.UsageError("--bmi needs --bmi-config FILE, what `initialize` of the component reads")
    for file in files:
        if not os.path.isfile(file):
            raise pytest.UsageError(f"--bmi-config: file {file} not found")
    explicit = config.args if config.args_source is pytest.Config.ArgsSource.ARGS else []
    config.args = [*(argument for argument in explicit if argument not in files), *files]
    config.pluginmanager.register(_Checks(_conformance(config), files), "dmg_bmi_checks")


class _Checks:
    """Collector of configurations as files of tests."""

    def __init__(self, options: dict[str, Any], files: list[str]) -> None:
        self.options, self.files = options, files

    def pytest_collect_file(self, file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
        """Collect one of the configurations."""
        if str(file_path) not in self.files:
            return None
        collector: pytest.Collector = _Configuration.from_parent(parent, path=file_path, options=self.options)
        return collector


class _Configuration(pytest.File):
    """A configuration; each check is a test."""

    def __init__(self, *, options: dict[str, Any], **others: Any) -> None:
        super().__init__(**others)
        kind = options["kind"]
        self.conformance: Conformance = kind(
            options["cls"], self.path, options["values"], options["steps"], options["time_steps"]
        )

    def collect(self) -> Iterator[pytest.Item]:
        """Yield the checks."""
        for name in self.conformance.names():
            yield _Check.from_parent(self, name=name)


class _Check(pytest.Item):
    """One check as a test."""

    parent: _Configuration

    def runtest(self) -> None:
        """Run the check."""
        result = self.parent.conformance.run_check(self.name)
        if result.outcome == "skipped":
            pytest.skip(result.reason)
        if result.outcome == "failed":
            pytest.fail(result.reason, pytrace=False)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Return what is reported as its place."""
        return self.path, None, f"{self.path.name}: {self.name}"


def _conformance(config: pytest.Config) -> dict[str, Any]:
    """Return what to check with, from the options."""
    from .conformance import Conformance
    from .nextgen.conformance import NextGenConformance

    steps = config.getoption("--bmi-steps")
    return {
        "kind": NextGenConformance if config.getoption("--bmi-ngen") else Conformance,
        "cls": _component(config.getoption("--bmi")),
        "values": dict(_value(text) for text in config.getoption("--bmi-value")),
        "steps": steps,
        "time_steps": max(steps, 100),
    }


def _component(target: str) -> Any:
    from .errors import ConfigError
    from .foreign_code import find_class

    try:
        return find_class(target, "--bmi")
    except ConfigError as problem:
        raise pytest.UsageError(str(problem)) from problem


def _value(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        return name, float(number)
    except ValueError:
        raise pytest.UsageError(f"--bmi-value {text}: must be NAME=NUMBER") from None
