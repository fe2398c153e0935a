"""Shortcuts in plain Python 3.11: ``python3 tasks.py demo``, test, coverage, lint, types, docs, fuzz, build.

The first call makes the environment ``.venv`` and installs the project into it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent
VENV = ROOT / os.environ.get("DMG_BMI_VENV", ".venv")
BIN = VENV / ("Scripts" if os.name == "nt" else "bin")
PYTHON = BIN / "python"
#: What stands at top level and installs within ``dmg_bmi``.
FOLDERS = ("physics", "nn_models", "bmi_configs")


def run(*command: str | Path, cwd: Path = ROOT) -> None:
    """Run a command of the project; its failure is ours."""
    print("+", *command, flush=True)
    status = subprocess.run([str(part) for part in command], cwd=cwd).returncode
    if status:
        raise SystemExit(status)


def install(*extras: str) -> None:
    """Make the environment if it is not there, and install what is missing."""
    wanted = ",".join(extras)
    mark = VENV / f"installed-{'-'.join(extras)}"
    newest = max((ROOT / name).stat().st_mtime for name in ("pyproject.toml", "constraints.txt"))
    if mark.exists() and mark.stat().st_mtime >= newest:
        return
    if not PYTHON.exists():
        run(sys.executable, "-m", "venv", VENV)
    # torch first, so that nothing pulls another build of it
    run(PYTHON, "-m", "pip", "install", "-q", "-c", "constraints.txt", "torch")
    run(PYTHON, "-m", "pip", "install", "-q", "-c", "constraints.txt", "-e", f".[{wanted}]")
    mark.touch()


def demo(arguments: Sequence[str]) -> None:
    """Install, then run the demo into ./demo."""
    install("plot")
    run(BIN / "dmg-bmi", "demo", *arguments)


def test(arguments: Sequence[str]) -> None:
    """Install with tools, then run the tests."""
    install("dev")
    run(PYTHON, "-m", "pytest", "-n", "2", *arguments)


def coverage(arguments: Sequence[str]) -> None:
    """Run the tests and print which lines none of them ran."""
    test(["--cov", "--cov-report=term", *arguments])


def lint(arguments: Sequence[str]) -> None:
    """Format and lint; ``--check`` changes nothing."""
    install("dev")
    check = "--check" in arguments
    run(PYTHON, "-m", "ruff", "format", *(["--check"] if check else []), ".")
    run(PYTHON, "-m", "ruff", "check", *([] if check else ["--fix"]), ".")


def stage() -> Path:
    """Copy the package, with all folders in the places that they are installed to, into ./build/staged."""
    staged = ROOT / "build" / "staged"
    shutil.rmtree(staged, ignore_errors=True)
    without = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "dmg_bmi", staged / "dmg_bmi", ignore=without)
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, staged / "dmg_bmi" / folder, ignore=without)
    return staged


def types(arguments: Sequence[str]) -> None:
    """Type-check, and check that imports between the rooms run one way."""
    install("dev")
    staged = stage()
    os.environ["MYPYPATH"] = str(staged)
    run(PYTHON, "-m", "mypy", "-p", "dmg_bmi", *arguments)
    run(BIN / "lint-imports", "--no-logo", ROOT / "pyproject.toml", cwd=staged)


def docs(arguments: Sequence[str]) -> None:
    """Build the site into ./build/site, warnings as errors; ``--serve`` shows it and follows changes."""
    install("docs")
    stage()
    command = ["serve"] if "--serve" in arguments else ["build", "--strict"]
    os.environ.setdefault("NO_MKDOCS_2_WARNING", "1")
    run(PYTHON, "-m", "mkdocs", *command, *(a for a in arguments if a != "--serve"))


def fuzz(arguments: Sequence[str]) -> None:
    """Search for bytes that a reader of files does not take or refuse: ``fuzz READER [SECONDS]``.

    The corpus grows in ./build/fuzz; bytes that escaped lie beside it, and fail the command.
    """
    install("dev", "fuzz")
    reader, seconds = arguments[0], int(arguments[1]) if len(arguments) > 1 else 3600
    found = ROOT / "build" / "fuzz" / reader
    found.parent.mkdir(parents=True, exist_ok=True)
    os.environ["PYTHONPATH"] = str(ROOT / "tests")
    script = ROOT / "tests" / "fuzz" / "atheris_run.py"
    run(PYTHON, script, reader, found, f"-max_total_time={seconds}", "-rss_limit_mb=4000", cwd=found.parent)
    escaped = sorted(found.with_name(f"{reader}.escapes").iterdir())
    if escaped:
        raise SystemExit(f"{len(escaped)} escapes: {', '.join(map(str, escaped))}")


def build(arguments: Sequence[str]) -> None:
    """Build wheel and sdist into ./dist."""
    install("dev")
    run(PYTHON, "-m", "build", *arguments)


TASKS = {task.__name__: task for task in (demo, test, coverage, lint, types, docs, fuzz, build)}


def main() -> None:
    """Run the named task with the remaining arguments."""
    if len(sys.argv) < 2 or sys.argv[1] not in TASKS:
        print(__doc__)
        raise SystemExit(2)
    TASKS[sys.argv[1]](sys.argv[2:])


if __name__ == "__main__":
    main()
