"""One small harness per reader of somebody's files: it reads what it is given, or says why not.

A harness takes bytes and a folder to put them in. Whatever else than an error of the family comes out of it
is an escape. `atheris_run.py` searches for such bytes, `test_corpus.py` replays those that were kept.
"""

from __future__ import annotations

import functools
import json
import shutil
import struct
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import yaml

import dmg_bmi
from dmg_bmi import bmi_configs, hydrofabric, netcdf, units
from dmg_bmi.bundle import DESCRIPTION, SHIPPED, BundleInfo, _checksum
from dmg_bmi.coupling import CouplingConfig
from dmg_bmi.csv_table import CsvTable
from dmg_bmi.errors import ConfigError, DmgBmiError
from dmg_bmi.import_dmg import import_dmg
from dmg_bmi.nextgen.check import check
from dmg_bmi.run_config import CatchmentTable, RunConfig
from dmg_bmi.runtime import codec
from dmg_bmi.runtime.clock import Clock
from dmg_bmi.runtime.store import INDEX, Store
from dmg_bmi.training import checkpoint
from dmg_bmi.training.config import TrainingConfig

CONFIGS = Path(bmi_configs.__file__).parent
CORPUS = Path(__file__).parent / "corpus"
#: Attributes that a table of catchments is asked for.
NAMES = ("elev_mean", "aridity")


def _put(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


def run_config(content: bytes, folder: Path) -> None:
    config = RunConfig.read(_put(folder, "run.yaml", content))
    _ = config.end_seconds
    CatchmentTable.load(config.catchments, [*config.catchments.attributes] or NAMES)


def coupling_config(content: bytes, folder: Path) -> None:
    CouplingConfig.read(_put(folder, "couple.yaml", content))


def training_config(content: bytes, folder: Path) -> None:
    TrainingConfig.read(_put(folder, "train.yaml", content))


def bundle(content: bytes, folder: Path) -> None:
    """A description, sealed anew so that what lies behind its checksum is reached too."""
    shutil.copytree(SHIPPED / "demo_daily", folder / "bundle")
    try:
        described = yaml.safe_load(content)
        described.pop("checksum", None)
        described["checksum"] = _checksum(described)
        content = yaml.safe_dump(described).encode()
    except Exception:
        pass
    (folder / "bundle" / DESCRIPTION).write_bytes(content)
    BundleInfo._read.cache_clear()
    BundleInfo.read(folder / "bundle").load_model()


def state(content: bytes, folder: Path) -> None:
    """The payload of a state, sealed anew."""
    content = codec.MAGIC + codec.VERSION.to_bytes(2, "little") + sha256(content).digest() + content
    codec.decode(codec.read(_put(folder, "x.state", content)))


@functools.cache
def _running() -> Any:
    bmi = dmg_bmi.DeltaModelBmi()
    bmi.initialize(str(CONFIGS / "daily.yaml"))
    return bmi


def state_header(content: bytes, folder: Path) -> None:
    """A state of a running component, whose header was merged with some JSON."""
    component = _running().component
    header, tensors = codec.decode(component.save())
    try:
        changed = json.loads(content)
    except (ValueError, RecursionError):
        return
    try:
        sealed = codec.encode({**header, **changed} if isinstance(changed, dict) else changed, tensors)
    except (ValueError, RecursionError):
        return
    component.load(sealed)


def training_checkpoint(content: bytes, folder: Path) -> None:
    """JSON in the header of a safetensors file."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return
    head = json.dumps({"__metadata__": {"dmg_bmi.training": text}}).encode()
    checkpoint.load(_put(folder, "c.safetensors", struct.pack("<Q", len(head)) + head))


def csv(content: bytes, folder: Path) -> None:
    table = CsvTable.read(_put(folder, "t.csv", content), ConfigError)
    table.rows()
    for name in table.columns:
        table.numbers(name, range(len(table.lines)))


def unit(content: bytes, folder: Path) -> None:
    given, _, wanted = content.decode("utf-8", "surrogateescape").partition("|")
    scale, offset = units.conversion(given, wanted)
    assert np.isfinite([scale, offset]).all()
    units.is_rate_of(given, wanted)


def geopackage(content: bytes, folder: Path) -> None:
    hydrofabric.read(_put(folder, "h.gpkg", content)).routable(1e-4)


def forcing(content: bytes, folder: Path) -> None:
    netcdf.read(_put(folder, "f.nc", content))


def store(content: bytes, folder: Path) -> None:
    """The index of a stored forcing."""
    inputs = [v for v in BundleInfo.read("demo_daily").variables if v.kind == "input"]
    _put(folder, INDEX, content)
    Store(folder, inputs, ("cat-1",), Clock(86400.0, 86400.0), datetime(2000, 1, 1, tzinfo=UTC))


def _dmg(folder: Path, **changed: bytes) -> None:
    """A model directory of dmg, with one file changed."""
    for name in ("config.yaml", "normalization_statistics.json", "hbv_ep5.pt"):
        kind = f"dmg_{name.partition('.')[0].split('_')[-1]}"
        seed = next((CORPUS / kind).glob("whole*"))
        _put(folder, name, changed.get(kind, seed.read_bytes()))
    import_dmg(folder)


def dmg_config(content: bytes, folder: Path) -> None:
    _dmg(folder, dmg_config=content)


def dmg_statistics(content: bytes, folder: Path) -> None:
    _dmg(folder, dmg_statistics=content)


def dmg_ep5(content: bytes, folder: Path) -> None:
    """The checkpoint of an epoch."""
    _dmg(folder, dmg_ep5=content)


def realization(content: bytes, folder: Path) -> None:
    check(_put(folder, "realization.json", content), CONFIGS / "river.gpkg")


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    function.__name__: function
    for function in (
        *(
            run_config,
            coupling_config,
            training_config,
            bundle,
            state,
            state_header,
            training_checkpoint,
            csv,
        ),
        *(unit, geopackage, forcing, store, realization, dmg_config, dmg_statistics, dmg_ep5),
    )
}


def attempt(name: str, content: bytes, folder: Path) -> bool:
    """Whether a reader took some bytes; what is no error of the family comes out."""
    folder.mkdir()
    try:
        TARGETS[name](content, folder)
    except DmgBmiError as error:
        if not str(error).strip():
            raise AssertionError("an error without a message") from error
        return False
    finally:
        shutil.rmtree(folder)
    return True
