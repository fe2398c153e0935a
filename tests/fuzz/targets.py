"""One small harness per reader of somebody's files: it reads what it is given, or says why not.

A harness takes bytes and a folder to put them in. Whatever else than an error of the family comes out of it
is an escape. `atheris_run.py` searches for such bytes, `test_corpus.py` replays those that were kept.

What is checksummed is sealed anew, and what is binary is described by JSON and made here, so that a change
of a few bytes reaches what lies behind the first check. `seeds` gives whole files to begin with.
"""

from __future__ import annotations

import functools
import io
import json
import shutil
import sqlite3
import struct
import zipfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from hashlib import sha256
from itertools import zip_longest
from pathlib import Path
from typing import Any

import netCDF4
import nh_runs
import numpy as np
import torch
import yaml
from safetensors import SafetensorError

import dmg_bmi
from dmg_bmi import NoaaLstmBmi, bmi_configs
from dmg_bmi.coupling import CouplingConfig
from dmg_bmi.errors import ConfigError, DmgBmiError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.interop.import_dmg import import_dmg
from dmg_bmi.interop.import_neuralhydrology import import_neuralhydrology
from dmg_bmi.io import units
from dmg_bmi.io.csv_table import CsvTable
from dmg_bmi.io.ngen_forcing import open_forcing
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.bundle_files import DESCRIPTION, SHIPPED, checksum_of
from dmg_bmi.nextgen.check.realization import check
from dmg_bmi.nextgen.prepare import tables
from dmg_bmi.runtime import state_codec
from dmg_bmi.runtime.catchments import CatchmentTable
from dmg_bmi.runtime.clock import Clock
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.forcing import series
from dmg_bmi.runtime.forcing.stored import INDEX, StoredForcing
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
    for file in (CONFIGS / "many.csv", CONFIGS / "river.gpkg"):
        (folder / file.name).symlink_to(file)
    config = RunConfig.read(_put(folder, "run.yaml", content))
    _ = config.end_seconds
    CatchmentTable.load(config.catchments, [*config.catchments.attributes] or NAMES)


def river(content: bytes, folder: Path) -> None:
    """The configuration of a component that routes."""
    (folder / "river.gpkg").symlink_to(CONFIGS / "river.gpkg")
    component = dmg_bmi.RoutingBmi()
    try:
        component.initialize(str(_put(folder, "river.yaml", content)))
    finally:
        component.finalize()


def coupling_config(content: bytes, folder: Path) -> None:
    CouplingConfig.read(_put(folder, "couple.yaml", content))


def training_config(content: bytes, folder: Path) -> None:
    TrainingConfig.read(_put(folder, "train.yaml", content))


def _bundle(described: Any, folder: Path, weights: bytes | None = None) -> None:
    """A bundle of somebody who can compute checksums."""
    copy = folder / "bundle"
    copy.mkdir()
    for file in SHIPPED.glob("*/*.safetensors"):
        shutil.copy(file, copy)
    if weights is not None:
        digest = sha256(weights).hexdigest()
        described["weights"] = {"file": f"weights-{digest[:12]}.safetensors", "sha256": digest}
        _put(copy, described["weights"]["file"], weights)
    described.pop("checksum", None)
    described["checksum"] = checksum_of(described)
    _put(copy, DESCRIPTION, yaml.dump(described, Dumper=yaml.CSafeDumper).encode())
    BundleInfo._read.cache_clear()
    BundleInfo.read(copy).load_model()


def bundle(content: bytes, folder: Path) -> None:
    """A description, sealed anew so that what lies behind its checksum is reached too."""
    try:
        described = yaml.load(content, yaml.CSafeLoader)
        described.pop("checksum", None)
        json.dumps(described)
    except Exception:
        (folder / "bundle").mkdir()
        _put(folder / "bundle", DESCRIPTION, content)
        BundleInfo._read.cache_clear()
        BundleInfo.read(folder / "bundle")
    else:
        _bundle(described, folder)


def _safetensors(content: bytes) -> bytes:
    """JSON as the header of a safetensors file, over as much data as it speaks of, within reason."""
    try:
        ends = [int(t["data_offsets"][1]) for n, t in json.loads(content).items() if n != "__metadata__"]
        size = min(max(ends, default=0), 2**20)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, OverflowError):
        size = 64
    return struct.pack("<Q", len(content)) + content + struct.pack("<f", 0.5) * (max(size, 0) // 4)


def weights(content: bytes, folder: Path) -> None:
    """The header of a file of weights."""
    described = yaml.load((SHIPPED / "demo_daily" / DESCRIPTION).read_bytes(), yaml.CSafeLoader)
    _bundle(described, folder, _safetensors(content))


def state(content: bytes, folder: Path) -> None:
    """The payload of a state, sealed anew: JSON is the header of its tensors."""
    if content[:1] == b"{":
        content = _safetensors(content)
    content = (
        state_codec.MAGIC + state_codec.VERSION.to_bytes(2, "little") + sha256(content).digest() + content
    )
    state_codec.decode(state_codec.read(_put(folder, "x.state", content)))


@functools.cache
def _running() -> Any:
    bmi = dmg_bmi.DeltaModelBmi()
    bmi.initialize(str(CONFIGS / "daily.yaml"))
    for _ in range(3):
        for name in bmi.get_input_var_names():
            bmi.set_value(name, np.ones(1))
        bmi.update()
    return bmi


def state_header(content: bytes, folder: Path) -> None:
    """A state of a running component, whose header was merged with some JSON; `tensors` has values in it."""
    component = _running().component
    header, tensors = state_codec.decode(component.save())
    try:
        changed = json.loads(content)
        for name, (kind, values) in (changed.pop("tensors", None) or {}).items():
            tensors[name] = torch.tensor(values, dtype=getattr(torch, kind))
    except (ValueError, RecursionError, TypeError, AttributeError, RuntimeError, OverflowError):
        return
    try:
        sealed = state_codec.encode({**header, **changed} if isinstance(changed, dict) else changed, tensors)
    except (ValueError, RecursionError, SafetensorError):
        return
    component.load(sealed)


def training_checkpoint(content: bytes, folder: Path) -> None:
    """A safetensors file by its header, or JSON as what it says of the training."""
    if b"__metadata__" not in content:
        try:
            content = json.dumps({"__metadata__": {"dmg_bmi.training": content.decode()}}).encode()
        except UnicodeDecodeError:
            return
    checkpoint.load(_put(folder, "c.safetensors", _safetensors(content)))


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
    """A GeoPackage as bytes, or described: table to column to values."""
    path = _put(folder, "h.gpkg", content)
    if content[:1] == b"{":
        path.unlink()
        try:
            _write_geopackage(path, json.loads(content))
        except _NOT_MADE:
            return
    hydrofabric.read(path).routable(1e-4)


#: What cannot be made from a description is no case.
_NOT_MADE = (
    *(ValueError, TypeError, LookupError, AttributeError, RuntimeError, OverflowError, RecursionError),
    *(sqlite3.Error, OSError, MemoryError),
)


def _write_geopackage(path: Path, described: dict[str, dict[str, list[Any]]]) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA synchronous=OFF")
        for table, columns in described.items():
            names = ", ".join('"' + name.replace('"', '""') + '"' for name in columns)
            database.execute('CREATE TABLE "' + table.replace('"', '""') + f'" ({names})')
            plain = [[v if isinstance(v, _CELL) else json.dumps(v) for v in c] for c in columns.values()]
            rows = [*zip_longest(*plain)]
            marks = ", ".join("?" * len(columns))
            database.executemany('INSERT INTO "' + table.replace('"', '""') + f'" VALUES ({marks})', rows)
        database.commit()


_CELL = (str, int, float, type(None))


def forcing(content: bytes, folder: Path) -> None:
    """A NetCDF file as bytes, or described: format, dimensions, variables; by all doors that read one."""
    path = _put(folder, "f.nc", content)
    if content[:1] == b"{":
        path.unlink()
        try:
            _write_netcdf(path, json.loads(content))
        except _NOT_MADE:
            return
    refused = []
    for door in (series.read, lambda path: check_values(open_forcing(path)), tables.read):
        try:
            door(path)
        except DmgBmiError as error:
            refused.append(error)
    if len(refused) == 3:
        raise refused[0]


def check_values(forcing: Any) -> None:
    """Read all that a forcing file of ngen holds."""
    for name in forcing.units:
        forcing.read(name, forcing.ids)


def _write_netcdf(path: Path, described: dict[str, Any]) -> None:
    with netCDF4.Dataset(path, "w", format=described.get("format", "NETCDF3_CLASSIC")) as data:
        for name, size in described["dimensions"].items():
            data.createDimension(name, min(size, 10**4) if size else None)
        for name, about in described["variables"].items():
            variable = data.createVariable(
                name, about["type"], about["dimensions"], fill_value=about.get("fill")
            )
            variable.setncatts(about.get("attributes", {}))
            values = np.array(about["values"], dtype=variable.dtype if about["type"] is not str else object)
            if about["type"] == "S1":
                values = np.array([list(text) for text in about["values"]], dtype="S1")
            variable[:] = values


def store(content: bytes, folder: Path) -> None:
    """The index of a stored forcing, beside an array of two days."""
    inputs = [v for v in BundleInfo.read("demo_daily").variables if v.kind == "input"]
    np.save(folder / "a.npy", np.ones((2, 1), np.float32))
    _put(folder, INDEX, content)
    clock = Clock(86400.0, 86400.0)
    stored = StoredForcing(folder, inputs, ("cat-1",), clock, datetime(2000, 1, 1, tzinfo=UTC))
    stored.missing_seconds(0)
    stored.read(0, True, np.array([0]), 0.0)


def store_array(content: bytes, folder: Path) -> None:
    """An array of a stored forcing: its header, behind the mark of NumPy."""
    inputs = [v for v in BundleInfo.read("demo_daily").variables if v.kind == "input"]
    text = content.ljust(118)
    _put(folder, "a.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) % 65536) + text + bytes(64))
    _put(folder, INDEX, _index(inputs))
    clock = Clock(86400.0, 86400.0)
    StoredForcing(folder, inputs, ("cat-1",), clock, datetime(2000, 1, 1, tzinfo=UTC)).read(
        0, True, np.array([0]), 0.0
    )


def _index(inputs: list[Any]) -> bytes:
    of = {v.symbol: {"file": "a.npy", "units": v.units} for v in inputs}
    index = {"ids": ["cat-1"], "start_time": "2000-01-01", "step": 86400.0, "variables": of}
    return yaml.safe_dump(index).encode()


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
    """The checkpoint of an epoch: an archive, or the pickle within one, whose sums of CRC are made anew."""
    if content[:2] != b"PK":
        content = _zipped(content)
    _dmg(folder, dmg_ep5=content)


def _run(folder: Path, **changed: bytes) -> None:
    """A run folder of neuralhydrology, with one file changed."""
    config, weights, scaler = nh_runs.parts(head="gmm", n_distributions=2)
    nh_runs.write(folder, config, weights, scaler)
    for name, content in changed.items():
        _put(
            folder,
            {"nh_config": "config.yml", "nh_scaler": "train_data/train_data_scaler.yml"}[name],
            content,
        )
    import_neuralhydrology(folder, stepping="window")


def nh_config(content: bytes, folder: Path) -> None:
    """The configuration of a run of neuralhydrology."""
    _run(folder, nh_config=content)


def nh_scaler(content: bytes, folder: Path) -> None:
    """The scaler of a run of neuralhydrology."""
    _run(folder, nh_scaler=content)


def noaa_lstm(content: bytes, folder: Path) -> None:
    """The configuration of a catchment of NOAA's LSTM."""
    nh_runs.write(folder / "run", *_hourly())
    path = _put(folder, "cat-1.yml", content)
    NoaaLstmBmi().initialize(str(path))


def _hourly() -> tuple[Any, Any, Any]:
    return nh_runs.parts(dataset="hourly_camels_us")


def _zipped(pickle: bytes) -> bytes:
    whole = zipfile.ZipFile(next((CORPUS / "dmg_ep5").glob("whole*")))
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name in whole.namelist():
            archive.writestr(name, pickle if name.endswith("data.pkl") else whole.read(name))
    return made.getvalue()


def realization(content: bytes, folder: Path) -> None:
    check(_put(folder, "realization.json", content), CONFIGS / "river.gpkg")


TARGETS: dict[str, Callable[[bytes, Path], None]] = {
    function.__name__: function
    for function in (
        *(
            run_config,
            river,
            coupling_config,
            training_config,
            bundle,
            state,
            state_header,
            training_checkpoint,
            csv,
        ),
        *(unit, geopackage, forcing, store, store_array, weights, realization),
        *(dmg_config, dmg_statistics, dmg_ep5, nh_config, nh_scaler, noaa_lstm),
    )
}


#: Those that read YAML or JSON, which are mutated as plain data too.
TREES = {
    *(
        "run_config",
        "river",
        "coupling_config",
        "training_config",
        "bundle",
        "state_header",
        "training_checkpoint",
    ),
    *("store", "realization", "dmg_config", "dmg_statistics", "geopackage", "forcing", "weights", "state"),
    *("nh_config", "nh_scaler", "noaa_lstm"),
}


def seeds(name: str) -> list[bytes]:
    """Whole files that the reader takes, made of what is shipped."""
    return _SEEDS[name]() if name in _SEEDS else []


def _headers(content: bytes) -> bytes:
    """The JSON in front of a safetensors file."""
    return content[8 : 8 + struct.unpack("<Q", content[:8])[0]]


def _of_state() -> bytes:
    return _running().component.save()[len(state_codec.MAGIC) + 34 :]


def _header_seed() -> bytes:
    header, tensors = state_codec.decode(_running().component.save())
    listed = {n: [str(t.dtype).removeprefix("torch."), t.tolist()] for n, t in tensors.items()}
    return json.dumps(header | {"tensors": listed}).encode()


def _fabric() -> bytes:
    """The tables of the river that is shipped, as JSON."""
    described: dict[str, dict[str, list[Any]]] = {}
    with closing(sqlite3.connect(CONFIGS / "river.gpkg")) as database:
        listed = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in listed:
            if table.startswith(("gpkg_", "sqlite_", "rtree_")):
                continue
            cursor = database.execute(f'SELECT * FROM "{table}"')
            names = [column[0] for column in cursor.description]
            columns = zip(names, zip(*cursor.fetchall(), strict=True), strict=True)
            described[table] = {n: list(c) for n, c in columns if not isinstance(c[0], bytes)}
    return json.dumps(described).encode()


_DAYS = {"units": "days since 2000-01-01", "standard_name": "time"}


def _netcdf_seeds() -> list[bytes]:
    """The layout of the package, with ids of text and of characters, and that of ngen."""
    rain = {"units": "mm d-1", "standard_name": "lwe_precipitation_rate"}
    p = {
        "type": "f8",
        "dimensions": ["time", "catchment"],
        "values": [[1.0], [2.0], [0.0]],
        "attributes": rain,
    }
    days = {"type": "i4", "dimensions": ["time"], "values": [0, 1, 2], "attributes": _DAYS}
    ids = {"type": "S1", "dimensions": ["catchment", "length"], "values": ["cat-1"]}
    sizes = {"time": 3, "catchment": 1, "length": 5}
    own = {"dimensions": sizes, "variables": {"time": days, "catchment": ids, "P": p}}
    seconds = {"units": "seconds since 1970-01-01"}
    of_ngen = {
        "dimensions": {"catchment-id": 1, "time": 3, "length": 5},
        "variables": {
            "ids": {"type": "S1", "dimensions": ["catchment-id", "length"], "values": ["cat-1"]},
            "Time": {
                **{"type": "f8", "dimensions": ["catchment-id", "time"], "attributes": seconds},
                "values": [[0.0, 3600.0, 7200.0]],
            },
            "RAINRATE": {
                **{"type": "f4", "dimensions": ["catchment-id", "time"], "attributes": {"units": "mm/s"}},
                "values": [[0.0, 1e-3, 0.0]],
            },
        },
    }
    table = {
        "dimensions": {"divide": 1, "length": 5},
        "variables": {
            "divide_id": {"type": "S1", "dimensions": ["divide", "length"], "values": ["cat-1"]},
            "slope": {"type": "f4", "dimensions": ["divide"], "values": [0.1], "attributes": {"units": "1"}},
        },
    }
    described = (own, {"format": "NETCDF4", **own}, of_ngen, table)
    return [json.dumps(each).encode() for each in described]


def _nh_seeds() -> list[bytes]:
    return [yaml.safe_dump(nh_runs.parts(head="gmm", n_distributions=2)[0]).encode()]


def _noaa_seed() -> bytes:
    values = {"area_sqkm": 7.5, "slope": 40.0, "area": 300.0, "initial_state": "zero", "basin_id": "01022500"}
    return yaml.safe_dump({"train_cfg_file": ["run/config.yml"], **values}).encode()


_SEEDS: dict[str, Callable[[], list[bytes]]] = {
    "nh_config": _nh_seeds,
    "nh_scaler": lambda: [yaml.safe_dump(nh_runs.parts()[2]).encode()],
    "noaa_lstm": lambda: [_noaa_seed()],
    "run_config": lambda: [f.read_bytes() for f in sorted(CONFIGS.glob("*.yaml")) if f.stem != "river"],
    "river": lambda: [(CONFIGS / "river.yaml").read_bytes()],
    "bundle": lambda: [file.read_bytes() for file in sorted(SHIPPED.glob(f"*/{DESCRIPTION}"))],
    "weights": lambda: [_headers(f.read_bytes()) for f in sorted(SHIPPED.glob("demo_daily/*.safetensors"))],
    "state": lambda: [_headers(_of_state())],
    "state_header": lambda: [_header_seed()],
    "training_checkpoint": lambda: [
        json.dumps({"format": 1, "step": 3}).encode(),
        json.dumps(
            {
                "__metadata__": {"dmg_bmi.training": '{"format": 1}'},
                "a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
            }
        ).encode(),
    ],
    "geopackage": lambda: [_fabric()],
    "forcing": _netcdf_seeds,
    "store": lambda: [_index([v for v in BundleInfo.read("demo_daily").variables if v.kind == "input"])],
    "store_array": lambda: [b"{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }"],
    "dmg_ep5": lambda: [
        zipfile.ZipFile(next((CORPUS / "dmg_ep5").glob("whole*"))).read(name)
        for name in zipfile.ZipFile(next((CORPUS / "dmg_ep5").glob("whole*"))).namelist()
        if name.endswith("data.pkl")
    ],
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


SEEDED = {*_SEEDS}
