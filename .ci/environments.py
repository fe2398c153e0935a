"""Tests that need an environment of their own, each made under .ci/venvs and printed with its skips.

``python3 .ci/environments.py [NAME ...]``: all of them, or those that are named. Two go on at a time; what
one prints stands in .ci/venvs/NAME.log, and is shown whole when it ends. PyTorch is installed once: the
others begin as copies of that environment.

- wheel: a clean environment with only the built wheel; then, beside numpy 2, a process model
  written in JAX, and the component in another process through the client of grpc4bmi.
- ngen: the pins of NextGen's images, numpy 1.26, pydantic < 2 and pandas < 3.
- locked: what requirements.lock holds to hashes, with the bill of materials of what came of it.
- peers: the public dmg and hydrodl2 (numpy 1.26), run beside ours.
- neuralhydrology: the public package, which trains tiny runs that are imported and compared.
- docs: the site, its notebooks executed, with warnings as errors.
- pythons: the wheel in each Python that it is promised for, as far as the machine has it.
- remotebmi: the component behind its server and client (whose dependencies differ from grpc4bmi's).
- ewatercycle: the plugin in the real eWaterCycle, which names conda alone but installs from PyPI, too.
- ngiab: what the page's Dockerfile fragment asks for is resolved against the pins of that image.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENVS = ROOT / ".ci" / "venvs"
TOOLS = (
    "pytest>=8",
    "pytest-xdist>=3.5",
    "pytest-timeout>=2.3",
    "hypothesis>=6.100",
    "psutil",
    "matplotlib",
    "gimli.units<0.4",
)
#: Pythons that the wheel is promised for.
PYTHONS = ("3.11", "3.12", "3.13")
#: Tests in which numpy has no part, or that start many processes: the README's command runs them once.
ONCE = ("model/test_delta_model_split.py", "test_pytest_plugin.py", "model/test_roles.py")


def run(*command: str | Path, cwd: Path = ROOT, **variables: str) -> None:
    """Run, with variables of the environment; a failure, or more than forty minutes, ends the environment."""
    print(time.strftime("%H:%M:%S +"), *command, flush=True)
    # A safe path: what is tested is what was installed, not the checkout around it.
    environment = {
        "DMG_BMI_SHARED": str(ROOT.parent / "shared" / "data"),
        **os.environ,
        "PYTHONSAFEPATH": "1",
        **variables,
    }
    subprocess.run([str(c) for c in command], cwd=cwd, check=True, env=environment, timeout=2400)


def base() -> None:
    """Make the environment of which others are copies: of all that they share, PyTorch takes longest."""
    run(sys.executable, "-m", "venv", "--clear", VENVS / "base")
    install(VENVS / "base" / "bin" / "python", "torch")


def copy_of_base(name: str) -> Path:
    """Make a fresh environment with what `base` has, and return its python.

    Files are linked, not copied: pip replaces files and never writes into them, so those of the base stay.
    """
    folder = VENVS / name
    run(sys.executable, "-m", "venv", "--clear", "--without-pip", folder)
    (packages,) = (VENVS / "base").glob("lib/python*/site-packages")
    target = folder / packages.relative_to(VENVS / "base")
    shutil.copytree(packages, target, copy_function=link, dirs_exist_ok=True)
    return folder / "bin" / "python"


def link(source: str, target: str) -> None:
    """Link a file, or copy it where the file system knows no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def environment(name: str, *packages: str) -> Path:
    """Make a fresh environment and return its python, with PyTorch, the project's wheel and `packages`."""
    python = copy_of_base(name)
    install(python, *packages)
    return python


def install(python: Path, *packages: str) -> None:
    """Into the environment of `python`, within the project's constraints."""
    # Old setup.py files read their own package, which a safe path hides from them.
    wanted = ("-q", "-c", ROOT / "constraints.txt", *packages)
    run(python, "-m", "pip", "install", *wanted, PYTHONSAFEPATH="")


def locked(built: Path) -> None:
    """Install by hash, write the bill of materials (CycloneDX), and compare it with the lock."""
    folder, tool = VENVS / "locked", VENVS / "sbom"
    for made in (folder, tool):
        run(sys.executable, "-m", "venv", "--clear", made)
    python = folder / "bin" / "python"
    run(python, "-m", "pip", "install", "-q", "--require-hashes", "-r", ROOT / "requirements.lock")
    run(python, "-m", "pip", "install", "-q", "--no-deps", built)
    run(python, "-m", "pip", "check")
    run(
        tool / "bin" / "python",
        "-m",
        "pip",
        "install",
        "-q",
        "--require-hashes",
        "-r",
        ROOT / ".ci" / "sbom.lock",
    )
    bill = VENVS / "dmg_bmi.cdx.json"
    run(tool / "bin" / "cyclonedx-py", "environment", python, "--of", "JSON", "-o", bill)
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    wanted = set(re.findall(r"^([\w.-]+)==([\w.]+)", lock, re.MULTILINE))
    found = {
        (re.sub(r"[-_.]+", "-", part["name"]).lower(), part["version"])
        for part in json.loads(bill.read_text(encoding="utf-8"))["components"]
    }
    odd = {(name, version) for name, version in wanted ^ found if name not in ("pip", "dmg-bmi")}
    if odd:
        raise SystemExit(f"{bill}: is not what requirements.lock names: {sorted(odd)}")


def build() -> None:
    """Build the wheel in a clean environment."""
    folder = VENVS / "build"
    run(sys.executable, "-m", "venv", "--clear", folder)
    run(folder / "bin" / "python", "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder / "dist", ".")


def newest_wheel() -> Path:
    """Return the wheel that :func:`build` made."""
    return max((VENVS / "build" / "dist").glob("*.whl"), key=lambda path: path.stat().st_mtime)


def pythons(built: Path) -> None:
    """Install and use the wheel in a clean environment of each Python, as somebody new would.

    Of the Pythons that do not run this, without PyTorch: it may come as gigabytes of CUDA there.
    """
    for version in PYTHONS:
        python = interpreter(version)
        if python is None:
            print(f"SKIPPED the wheel with Python {version}: this machine has no python{version}", flush=True)
            continue
        own = version == ".".join(map(str, sys.version_info[:2]))
        run(python, ROOT / ".ci" / "wheel_check.py", built.parent, *([] if own else ["--without-torch"]))


def interpreter(version: str) -> str | None:
    """Find a Python, on the path or among those of pyenv, that starts; its shims may not."""
    name = f"python{version}"
    installed = (Path.home() / ".pyenv" / "versions").glob(f"{version}.*/bin/{name}")
    for python in [shutil.which(name), *map(str, sorted(installed, reverse=True))]:
        if python and subprocess.run([python, "--version"], capture_output=True).returncode == 0:
            return python
    return None


def docs(_built: Path) -> None:
    """Build the site; a page that is not reachable, a broken link or a failing notebook is a failure.

    Notebooks take real data where there are some, and say so where there are none.
    """
    shared = Path(os.environ.get("DMG_BMI_SHARED", ROOT.parent / "shared" / "data"))
    for name, folder in (("CAMELS_US", shared / "camels_us"), ("NOAA_LSTM", shared / "noaa_lstm" / "model")):
        if folder.is_dir():
            os.environ.setdefault(name, str(folder))
        else:
            print(f"SKIPPED in notebooks: {folder} is not there, a stand-in is taken", flush=True)
    copy_of_base("docs")
    run(sys.executable, "tasks.py", "docs", DMG_BMI_VENV=str(VENVS / "docs"))


def wheel(built: Path) -> None:
    """Use the wheel with pictures alone; then test its extras beside numpy 2."""
    python = environment("wheel", f"{built}[plot]")
    with tempfile.TemporaryDirectory() as folder:
        away = Path(folder)
        run(python, "-c", "import importlib.util as u; assert u.find_spec('physics') is None", cwd=away)
        run(python, "-m", "dmg_bmi.cli", "demo", "--output", away / "demo", cwd=away)
        run(python, "-m", "dmg_bmi.cli", "inspect", "demo_daily", cwd=away)
    install(python, f"{built}[grpc,jax,onnx]", "onnxruntime", "numpy>=2", *TOOLS)
    pytest(python, "tests/interop", "tests/grpc")


def ngen(built: Path) -> None:
    """Run most tests beside the pins of NextGen's images."""
    python = environment("ngen", str(built), "numpy==1.26.4", "pydantic<2", "pandas<3", *TOOLS)
    once = [f"--ignore=tests/dmg_bmi/{name}" for name in ONCE]
    pytest(python, "tests/nn_models", "tests/dmg_bmi", "tests/nextgen", *once)


def peers(built: Path) -> None:
    """Run the public packages beside ours."""
    python = environment("peers", str(built), "dmg==1.5.0", "hydrodl2==1.4.0", *TOOLS)
    pytest(python, "tests/peers")


def neuralhydrology(built: Path) -> None:
    """Train tiny runs of the public package, import and compare them."""
    python = environment("neuralhydrology", str(built), "neuralhydrology==1.13.0", *TOOLS)
    pytest(python, "tests/neuralhydrology_runs")


def remotebmi(built: Path) -> None:
    """Run the component behind its server and client."""
    python = environment("remotebmi", f"{built}[remotebmi]", *TOOLS)
    pytest(python, "tests/remotebmi")


def ewatercycle(built: Path) -> None:
    """Run the plugin's tests in eWaterCycle; 2.5.0 is the last for Python 3.11."""
    python = environment("ewatercycle", str(built), *TOOLS)
    # paegan, which eWaterCycle asks for, builds with what newer setuptools have removed.
    install(python, "setuptools<80", "wheel")
    install(python, "--no-build-isolation", "paegan")
    install(python, "ewatercycle==2.5.0")
    plugin = ROOT / "plugins" / "ewatercycle_dmg_bmi"
    install(python, "--no-deps", str(plugin))
    run(
        python,
        "-m",
        "pytest",
        "-c",
        os.devnull,
        "--rootdir",
        plugin,
        "-p",
        "no:cacheprovider",
        plugin / "tests",
    )


def ngiab(built: Path) -> None:
    """Resolve what the page on NGIAB adds to the image, beside the image's pins; nothing is installed."""
    python = VENVS / "base" / "bin" / "python"
    page = (ROOT / "docs" / "frameworks" / "ngiab.md").read_text(encoding="utf-8")
    pins = re.findall(r"^ARG pins=\"(.+)\"$", page, re.MULTILINE)[0].split()
    dry = ("--dry-run", "--ignore-installed", "--only-binary=:all:", "--find-links", str(built.parent))
    run(python, "-m", "pip", "install", "-q", *dry, "-c", ROOT / "constraints.txt", str(built), *pins)


def pytest(python: Path, *arguments: str) -> None:
    """Run tests in an environment; its skips are printed with their reasons."""
    run(python, "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", *arguments)


#: The longest begin first, so that neither of two lines ends long before the other.
ENVIRONMENTS = {
    made.__name__: made
    for made in (ngen, docs, ewatercycle, wheel, pythons, neuralhydrology, peers, locked, remotebmi, ngiab)
}


def alone(name: str) -> bool:
    """Run an environment in a process of its own, then show what it printed; tell whether it succeeded."""
    log, begin = VENVS / f"{name}.log", time.monotonic()
    print(time.strftime("%H:%M:%S"), f"{name} begins: {log}", flush=True)
    with open(log, "w", encoding="utf-8") as file:
        command = [sys.executable, __file__, "--made", name]
        status = subprocess.run(command, stdout=file, stderr=subprocess.STDOUT).returncode
    minutes = (time.monotonic() - begin) / 60
    outcome = "ends" if status == 0 else f"FAILED with status {status}"
    said = log.read_text(encoding="utf-8", errors="replace")
    print(
        f"== {name}\n{said}{time.strftime('%H:%M:%S')} {name} {outcome} after {minutes:.1f} min", flush=True
    )
    return status == 0


def main() -> None:
    """Build wheel and base, then use them in environments, two at a time; all that fail are named."""
    if sys.argv[1:2] == ["--made"]:
        ENVIRONMENTS[sys.argv[2]](newest_wheel())
        return
    names = sys.argv[1:] or [*ENVIRONMENTS]
    if unknown := {*names} - ENVIRONMENTS.keys():
        raise SystemExit(f"no such environment: {', '.join(unknown)}; there are {', '.join(ENVIRONMENTS)}")
    VENVS.mkdir(parents=True, exist_ok=True)
    with ThreadPoolExecutor(2) as two:
        for made in [two.submit(build), two.submit(base)]:
            made.result()
        failed = [name for name, fine in zip(names, two.map(alone, names), strict=True) if not fine]
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
