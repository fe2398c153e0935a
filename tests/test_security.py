"""Reading files never runs code, and the static check that says so has no unexplained waiver."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import signal
import subprocess
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi.coupling import CouplingConfig
from dmg_bmi.errors import BundleError, ConfigError, DmgBmiError, ForcingError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.interop.import_dmg import import_dmg
from dmg_bmi.io.csv_table import CsvTable
from dmg_bmi.io.files import read_yaml
from dmg_bmi.io.ngen_forcing import open_forcing
from dmg_bmi.model import aot_cache
from dmg_bmi.model.bundle import Bundle, BundleInfo
from dmg_bmi.model.bundle_files import SHIPPED, checksum_of
from dmg_bmi.nextgen.check.realization import check
from dmg_bmi.nextgen.prepare import tables
from dmg_bmi.runtime import state_codec
from dmg_bmi.runtime.clock import Clock
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.forcing import series as forcing_file
from dmg_bmi.runtime.forcing.stored import StoredForcing, _map
from dmg_bmi.training import checkpoint
from dmg_bmi.training.config import TrainingConfig

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("dmg_bmi", "physics", "nn_models")
CODE = [path for name in PACKAGES for path in sorted((ROOT / name).rglob("*.py"))]
#: What runs what it reads.
RUNS_CODE = {"eval", "exec", "compile", "__import__", "pickle", "marshal", "shelve", "dill", "joblib"}
#: Modules that import by name: of this package, an entry point, or what the user's own command says.
IMPORTS_BY_NAME = {
    "dmg_bmi/__init__.py",
    "dmg_bmi/cli/__init__.py",
    "dmg_bmi/foreign_code.py",
    "dmg_bmi/plotting/hydrographs.py",
    "dmg_bmi/model/registry.py",
}


def name_of(call: ast.Call) -> str:
    return ast.unparse(call.func)


def test_the_static_check_is_on_for_all_that_is_installed():
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "S" in ruff["select"]
    assert not any(rule.startswith("S") for rule in ruff["ignore"])
    exempt = [pattern for pattern, rules in ruff["per-file-ignores"].items() if "S" in rules]
    not_installed = {
        "tests/**",
        "plugins/*/tests/**",
        "benchmarks/**",
        "docs/notebooks/**",
        "{tasks.py,.ci/**}",
    }
    assert {*exempt} <= not_installed


def test_every_waiver_says_why():
    """Beside it, or in a comment just above."""
    waived = re.compile(r"# noqa: S\d\d\d(, S\d\d\d)*(?P<why>.*)$")
    silent = []
    for path in CODE:
        lines = path.read_text(encoding="utf-8").splitlines()
        for k, line in enumerate(lines):
            found = waived.search(line)
            if found and not found["why"].strip() and not lines[k - 1].strip().startswith("#"):
                silent.append(f"{path.relative_to(ROOT)}:{k + 1}: {line.strip()}")
    assert not silent, "\n".join(silent)


@pytest.mark.parametrize("path", CODE, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_runs_what_it_reads(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = str(path.relative_to(ROOT))
    for node in ast.walk(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            assert not {name.partition(".")[0] for name in names} & RUNS_CODE, f"{where}:{node.lineno}"
        if not isinstance(node, ast.Call):
            continue
        name, keywords = name_of(node), {k.arg: ast.unparse(k.value) for k in node.keywords}
        assert name not in RUNS_CODE, f"{where}:{node.lineno}"
        if name == "torch.load":
            assert keywords.get("weights_only") == "True", f"{where}:{node.lineno}"
        if name in ("np.load", "numpy.load"):
            assert keywords.get("allow_pickle", "False") == "False", f"{where}:{node.lineno}"
        if name == "yaml.load":
            assert where == "dmg_bmi/io/files.py", f"{where}:{node.lineno}"
        if name.endswith("import_module"):
            assert where in IMPORTS_BY_NAME, f"{where}:{node.lineno}"


# -- files that would do harm -----------------------------------------------------------


@pytest.fixture
def forge(tmp_path):
    """Make ``forge(**changes) -> folder``: a shipped bundle whose description says something else."""

    def make(**changes):
        content = yaml.safe_load((SHIPPED / "demo_daily" / "bundle.yaml").read_text(encoding="utf-8"))
        content.pop("checksum")
        content |= changes
        content["checksum"] = checksum_of(content)
        (tmp_path / "bundle").mkdir()
        (tmp_path / "bundle" / "bundle.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        return tmp_path / "bundle"

    return make


@pytest.mark.parametrize("file", ["../weights.safetensors", "/etc/passwd", "a/b", "..", "", "a\0b"])
def test_a_bundle_reaches_nothing_outside_its_folder(forge, file):
    folder = forge(weights={"file": file, "sha256": "0" * 64})
    with pytest.raises(BundleError):
        BundleInfo.read(folder).load_model()


def test_sizes_are_compared_with_the_weights_before_memory_is_taken(tmp_path, monkeypatch):
    """A hidden size of a million would take terabytes."""
    folder = tmp_path / "bundle"
    bundle = Bundle.load("demo_daily")
    bundle.save(folder)
    path = folder / "bundle.yaml"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.pop("checksum")
    content["model"]["nn"]["dynamic"]["hidden_size"] = 1_000_000
    content["checksum"] = checksum_of(content)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    with pytest.raises(BundleError, match="other names or sizes"):
        BundleInfo.read(folder).load_model()


@pytest.mark.parametrize(
    ("key", "value"), [("nmul", 10**12), ("routing", 10**9), ("nmul", 0), ("routing", "x")]
)
def test_absurd_counts_are_refused(forge, key, value):
    info = BundleInfo.read("demo_daily")
    model = {**info.description, "phy_model": {"phy": {**info.description["phy_model"]["phy"], key: value}}}
    folder = forge(model=model)
    (SHIPPED / "demo_daily" / info.weights_file).read_bytes()
    (folder / info.weights_file).write_bytes((SHIPPED / "demo_daily" / info.weights_file).read_bytes())
    with pytest.raises(BundleError, match="whole number from 1 to"):
        BundleInfo.read(folder).load_model()


@pytest.mark.parametrize("step", ["1.0e-320", "1.0e-9", ".nan", ".inf", "0", "-1"])
def test_a_step_that_would_need_endless_memory_is_refused(tmp_path, step):
    from dmg_bmi.bmi import DeltaModelBmi

    path = tmp_path / "run.yaml"
    path.write_text(
        f"bundle: demo_daily\ncatchments: {{file: many.csv}}\ntime_step: {step}\n", encoding="utf-8"
    )
    with pytest.raises(ConfigError, match="time_step"):
        DeltaModelBmi().initialize(str(path))


def test_an_array_file_with_objects_is_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "sprung",))

    trap = np.empty((2, 1), dtype=object)
    trap[:] = Trap()
    np.save(tmp_path / "P.npy", trap, allow_pickle=True)
    with pytest.raises(ForcingError, match=r"P\.npy"):
        _map(tmp_path, "P.npy", 1, 1)
    assert not (tmp_path / "sprung").exists()


def test_an_array_file_that_promises_more_than_it_holds_takes_no_memory(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000, 1), }"
    header += b" " * (117 - len(header)) + b"\n"
    (tmp_path / "P.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(ForcingError, match=r"P\.npy"):
        _map(tmp_path, "P.npy", 1, 1)


def test_a_weights_file_whose_header_is_longer_than_it_is_refused(tmp_path):
    import hashlib

    content = (2**62).to_bytes(8, "little") + b"{}"
    shipped = yaml.safe_load((SHIPPED / "demo_daily" / "bundle.yaml").read_text(encoding="utf-8"))
    shipped.pop("checksum")
    shipped["weights"] = {"file": "w.safetensors", "sha256": hashlib.sha256(content).hexdigest()}
    shipped["checksum"] = checksum_of(shipped)
    (tmp_path / "bundle.yaml").write_text(yaml.safe_dump(shipped), encoding="utf-8")
    (tmp_path / "w.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match="do not fit"):
        BundleInfo.read(tmp_path).load_model()


def read_all(forcing):
    """Read all of it; raise the first problem."""
    for name in forcing.units:
        forcing.read(name, forcing.ids)
    if wrong := forcing.misread():
        raise ForcingError(str(wrong))


def said(result):
    """Raise what `aot.load` says instead of a function."""
    if isinstance(result, str):
        raise DmgBmiError(result)


@pytest.fixture
def not_for_ever():
    """End the process of a test that hangs."""
    signal.alarm(30)
    yield
    signal.alarm(0)


WEIGHTS = BundleInfo.read("demo_daily").weights_file
#: Every door by which a file of somebody else comes in, and its usual name.
DOORS = {
    "configuration": ("f.yaml", RunConfig.read),
    "coupling": ("f.yaml", CouplingConfig.read),
    "training": ("f.yaml", TrainingConfig.read),
    "bundle": ("bundle.yaml", lambda path: BundleInfo.read(path.parent)),
    "weights": (WEIGHTS, lambda path: BundleInfo.read(path.parent).load_model()),
    "state": ("f.state", state_codec.read),
    "checkpoint of a training": ("f.safetensors", checkpoint.load),
    "configuration of dmg": ("config.yaml", lambda path: import_dmg(path.parent)),
    "store": ("forcing.yaml", lambda path: StoredForcing(path.parent, (), (), Clock(86400.0, 86400.0), None)),
    "array": ("f.npy", lambda path: _map(path.parent, path.name, 1, 1)),
    "forcing": ("f.nc", forcing_file.read),
    "forcing of ngen": ("f.nc", open_forcing),
    "folder of ngen": ("cat-1.csv", lambda path: read_all(open_forcing(path.parent))),
    "hydrofabric": ("f.gpkg", hydrofabric.read),
    "realization": ("f.json", lambda path: check(path, path)),
    "table": ("f.csv", tables.read),
    "table in NetCDF": ("f.nc", tables.read),
    "CSV": ("f.csv", lambda path: CsvTable.read(path, ConfigError)),
    "compiled code": (aot_cache.INDEX, lambda path: said(aot_cache.load(path.parent, {}))),
}


@pytest.mark.parametrize("kind", ["pipe", "device"])
@pytest.mark.parametrize("door", DOORS)
def test_no_door_waits_for_a_pipe_or_reads_a_device(tmp_path, door, kind, not_for_ever):
    name, read = DOORS[door]
    if door == "weights":
        shutil.copy(SHIPPED / "demo_daily" / "bundle.yaml", tmp_path)
    path = tmp_path / name
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("/dev/zero")
    with pytest.raises(
        DmgBmiError, match=r"not a regular file|there is no |no such |no bundle|found none of|symbolic links"
    ):
        read(path)


def test_yaml_that_names_python_objects_is_refused(tmp_path):
    path = tmp_path / "run.yaml"
    path.write_text("bundle: !!python/object/apply:os.system ['true']\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"run\.yaml"):
        read_yaml(path, ConfigError)


# -- what is installed ------------------------------------------------------------------


LOCKS = (
    "requirements.lock",
    "docs/frameworks/requirements.lock",
    "docs/frameworks/requirements-remotebmi.lock",
)


@pytest.mark.parametrize("name", LOCKS)
def test_the_lock_has_a_hash_for_everything_and_names_no_host(name):
    lock = (ROOT / name).read_text(encoding="utf-8")
    assert "://" not in lock
    assert "--index-url" not in lock
    entries = re.split(r"\n(?=[A-Za-z])", lock.partition("\n\n")[2].strip())
    assert all("--hash=sha256:" in entry for entry in entries), entries[:2]
    pinned = {entry.partition("==")[0].strip() for entry in entries}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {re.split(r"[<>=!~ ]", need)[0] for need in project["dependencies"]} <= pinned


@pytest.mark.parametrize(
    ("file", "lock", "server"),
    [("Containerfile", LOCKS[1], "grpc4bmi"), ("Containerfile.remotebmi", LOCKS[2], "remotebmi")],
)
def test_the_container_installs_nothing_without_a_hash(file, lock, server):
    text = (ROOT / "docs" / "frameworks" / file).read_text(encoding="utf-8")
    assert Path(lock).name in text
    commands = [line for line in text.splitlines() if line.startswith("RUN") and "pip install" in line]
    assert len(commands) == 2
    assert all("--require-hashes" in c or "--no-deps --no-build-isolation" in c for c in commands)
    content = (ROOT / lock).read_text(encoding="utf-8")
    assert f"\n{server}==" in content
    assert "\nsetuptools==" in content


# -- SECURITY.md ------------------------------------------------------------------------


def test_every_test_that_the_threat_model_names_is_there():
    named = re.findall(r"`(tests/\S+?\.py)::(\w+)`", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    missing = [
        f"{file}::{name}"
        for file, name in named
        if f"\ndef {name}(" not in (ROOT / file).read_text(encoding="utf-8")
    ]
    assert not missing


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")
def test_a_signature_tells_a_forged_bundle_from_a_signed_one(tmp_path):
    """By the commands of SECURITY.md, as they stand there."""
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    sign, verify = re.findall(r"^    (ssh-keygen .*)$", text, re.MULTILINE)
    key, signers, bundle = tmp_path / "key", tmp_path / "signers", tmp_path / "my_bundle"

    def run(command: str) -> int:
        command, _, given = command.partition(" < ")
        names = {"KEY": "key", "SIGNERS": "signers", "WHO": "lab"}
        words = [names.get(word, word) for word in shlex.split(command)]
        content = (tmp_path / given).read_bytes() if given else b""
        return subprocess.run(words, cwd=tmp_path, input=content, capture_output=True).returncode

    assert run("ssh-keygen -q -t ed25519 -N '' -f KEY") == 0
    signers.write_text(f"lab {key.with_suffix('.pub').read_text()}", encoding="utf-8")
    info = BundleInfo.read(shutil.copytree(SHIPPED / "demo_daily", bundle))
    assert run(sign) == 0
    assert run(verify) == 0
    assert BundleInfo.read(bundle).fingerprint == info.fingerprint

    # Other weights under checksums that fit them: only the signature tells.
    forged = Bundle.load(bundle)
    with torch.no_grad():
        next(forged.model.parameters()).mul_(1.01)
    forged.save(tmp_path / "other")
    shutil.copytree(tmp_path / "other", bundle, dirs_exist_ok=True)
    assert BundleInfo.read(bundle).load_model() is not None
    assert run(verify) != 0
