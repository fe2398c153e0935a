"""Series in memory and mapped from disk: the same data, the same batches, and little memory."""

import os
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from dmg_bmi.errors import ForcingError, WriteError
from dmg_bmi.io import netcdf
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.data import Windows, require, statistics, tensors
from dmg_bmi.training.experiment import Experiment
from dmg_bmi.training.readers.cf import cf
from dmg_bmi.training.readers.loading import interpolate, load
from dmg_bmi.training.splits import splits


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    data = generate(5, 1, seed=2)
    data.target["Q"][100:200, 1] = np.nan
    path = tmp_path_factory.mktemp("blocks") / "forcing.nc"
    netcdf.write(path, data)
    return path


def batches(dataset, count=5, **options):
    data = tensors(dataset, ["P", "T", "PET"], ["area", "aridity"], ["Q"], **options)
    return list(islice(Windows(data, 90, 30, 8, torch.Generator().manual_seed(0)), count))


def test_batches_from_disk_are_bitwise_those_from_memory(file, tmp_path):
    memory, mapped = load(cf(file)), load(cf(file), cache=tmp_path)
    assert isinstance(mapped.forcing["P"], np.memmap)
    for one, other in zip(batches(memory), batches(mapped), strict=True):
        assert torch.equal(one.basins, other.basins)
        assert torch.equal(one.starts, other.starts)
        for part in ("forcing", "attributes", "target"):
            for name, values in getattr(one, part).items():
                found = getattr(other, part)[name]
                assert found.dtype == values.dtype == torch.float32
                assert torch.equal(found.nan_to_num(-1), values.nan_to_num(-1)), name


@pytest.mark.parametrize("damage", ["cut", "emptied", "other", "objects"])
def test_a_torn_cache_is_refused_with_the_remedy(file, tmp_path, damage):
    load(cf(file), cache=tmp_path)
    (torn,) = tmp_path.glob("*/P.npy")
    if damage in ("other", "objects"):
        np.save(torn, np.zeros((2, 2), np.float32) if damage == "other" else np.array([{}], object))
    else:
        torn.write_bytes(torn.read_bytes()[:-40] if damage == "cut" else b"")
    with pytest.raises(ForcingError, match=r"P\.npy: .*remove the folder"):
        load(cf(file), cache=tmp_path)


def test_batches_of_chosen_basins_are_of_these_alone(file, tmp_path):
    memory, mapped = load(cf(file)), load(cf(file), cache=tmp_path)
    for dataset in (memory, mapped):
        found = torch.cat([batch.basins for batch in batches(dataset, columns=[3, 1])])
        assert {*found.tolist()} == {1, 3}


def test_series_stay_on_disk_and_batches_go_where_the_model_is(file, tmp_path):
    mapped = load(cf(file), cache=tmp_path)
    data = tensors(mapped, ["P"], ["area"], ["Q"], device="meta")
    assert data.forcing["P"].device.type == data.target["Q"].device.type == "cpu"
    assert data.forcing["P"].data_ptr() == mapped.forcing["P"].ctypes.data  # no copy
    assert data.attributes["area"].device.type == "meta"
    batch = next(iter(Windows(data, 90, 30, 8, torch.Generator().manual_seed(0))))
    assert batch.forcing["P"].device.type == batch.target["Q"].device.type == "meta"


def test_statistics_differ_by_single_precision_alone(file, tmp_path):
    names = ["P", "T", "PET", "area"]
    memory = statistics(load(cf(file)), names, [0, 2])
    mapped = statistics(load(cf(file), cache=tmp_path), names, [0, 2])
    for name in names:
        assert mapped[name].mean == pytest.approx(memory[name].mean, rel=1e-6)
        assert mapped[name].std == pytest.approx(memory[name].std, rel=1e-6)


def test_the_disk_is_written_once_and_again_when_the_files_change(file, tmp_path):
    copy = tmp_path / "copy.nc"
    copy.write_bytes(file.read_bytes())
    load(cf(copy), cache=tmp_path / "cache")
    (written,) = (tmp_path / "cache").iterdir()
    before = {p: p.stat().st_mtime_ns for p in written.iterdir()}
    load(cf(copy), cache=tmp_path / "cache")
    assert {p: p.stat().st_mtime_ns for p in written.iterdir()} == before
    os.utime(copy, (1, 1))
    load(cf(copy), cache=tmp_path / "cache")
    load(cf(copy, ["synthetic-001"]), cache=tmp_path / "cache")
    assert len([*(tmp_path / "cache").iterdir()]) == 3


def test_a_reading_that_fails_leaves_nothing_that_looks_whole(file, tmp_path, monkeypatch):
    series = netcdf.Reader.series

    def torn(reader, name, steps):
        if name == "PET":
            raise ForcingError("torn")
        return series(reader, name, steps)

    monkeypatch.setattr(netcdf.Reader, "series", torn)
    with pytest.raises(ForcingError, match="torn"):
        load(cf(file), cache=tmp_path / "cache")
    assert [*(tmp_path / "cache").iterdir()] == []
    with pytest.raises(WriteError, match="cannot be written"):
        load(cf(file), cache=file)


# -- missing forcing --------------------------------------------------------------


def test_gaps_are_filled_along_a_line_and_ends_stay():
    nan = np.nan
    values = np.array([nan, 1.0, nan, nan, 4.0, 5.0, nan, 3.0, nan])
    assert interpolate(values) == 3
    np.testing.assert_allclose(values, [nan, 1, 2, 3, 4, 5, 4, 3, nan])
    nothing = np.full(3, nan)
    assert interpolate(nothing) == 0
    assert np.isnan(nothing).all()


@pytest.fixture
def gappy(tmp_path):
    data = generate(4, 1, seed=2)
    data.forcing["T"][50:53, 2] = np.nan
    data.forcing["P"][300:, 3] = np.nan
    netcdf.write(tmp_path / "forcing.nc", data)
    (tmp_path / "small.yaml").write_text(
        f"""
name: small
data: {{reader: netcdf, path: {tmp_path}/forcing.nc}}
periods: {{train: [2000-11-01, 2001-05-31], spin_up: 30}}
model:
  nn: {{name: mlp, hidden_sizes: [4]}}
  phy_model: {{name: hbv}}
training: {{max_steps: 1, batch_size: 4, seq_length: 60}}
"""
    )
    return tmp_path


def trained_on(folder, *overrides):
    config = TrainingConfig.read(folder / "small.yaml", overrides)
    experiment = Experiment.load(config)
    columns = experiment.splits["train"].columns
    require(experiment.observed, experiment.build_model(), ["Q"], columns)
    return [experiment.dataset.ids[column][-1] for column in columns]


@pytest.mark.parametrize("cache", [False, True])
def test_missing_forcing_is_reported_or_filled_or_its_basin_left_out(gappy, caplog, cache):
    more = [f"data.cache={gappy}/cache"] if cache else []
    said = r"synthetic-003: T is missing on 2000-11-20.*2 other.*missing_forcing"
    with pytest.raises(ForcingError, match=said):
        trained_on(gappy, *more)
    assert trained_on(gappy, "data.missing_forcing=interpolate", *more) == [*"1234"]
    assert "basin synthetic-003: steps interpolated: 3 of T" in caplog.text
    assert trained_on(gappy, "data.missing_forcing=drop", *more) == [*"124"]
    assert "basin synthetic-003 is left out: no T on 2000-11-20T00:00:00 and on 2 other steps" in caplog.text


def test_a_gap_outside_the_periods_leaves_no_basin_out(gappy):
    config = TrainingConfig.read(gappy / "small.yaml", ["data.missing_forcing=drop"])
    found = splits(config, load(cf(gappy / "forcing.nc")))
    assert found["train"].columns == [0, 1, 3]


def test_a_training_splits_its_data_once_and_so_reports_a_dropped_basin_once(gappy):
    run = train(gappy / "small.yaml", gappy / "run", ["data.missing_forcing=drop"])
    log = (run.folder / "train.log").read_text()
    assert log.count("basin synthetic-003 is left out") == 1


# -- larger than memory -----------------------------------------------------------

TRAIN = """
import resource, sys
from pathlib import Path
import numpy as np, torch
from itertools import islice
from dmg_bmi import DeltaModel
from dmg_bmi.training.readers.loading import Chunk, Source, load
from dmg_bmi.training.data import Windows, require, statistics, tensors
from dmg_bmi.training.losses import Objective
from dmg_bmi.training.evaluate import evaluate
from dmg_bmi.training.splits import Split
from datetime import datetime

torch.set_num_threads(1)
basins, days, cache, allowance = int(sys.argv[1]), 4000, sys.argv[2], int(sys.argv[3])
ids = tuple(f"b{k}" for k in range(basins))

def chunks():
    rng = np.random.default_rng(0)
    for row in range(basins):
        rain = rng.uniform(0.0, 9.0, (1, days))
        yield Chunk(slice(row, row + 1), slice(0, days), {"P": rain, "T": rain, "PET": rain, "Q": rain})

source = Source(
    ids, np.datetime64("1980-01-01", "s") + np.arange(days) * np.timedelta64(86400, "s"), 86400.0,
    {"area": np.arange(basins) + 1.0}, {}, ("P", "T", "PET"), ("Q",), chunks, (), {},
)
model = DeltaModel.build(
    nn={"name": "mlp", "hidden_sizes": [2]}, phy_model={"name": "hbv"}, roles=[{"attributes": ["area"]}]
)
held = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmData"))
resource.setrlimit(resource.RLIMIT_DATA, (1024 * held + allowance,) * 2)
dataset = load(source, cache=None if cache == "memory" else cache)
dataset = dataset.period(dataset.times[0], dataset.times[3000])
statistics(dataset, ["P", "T", "PET", "area"])
require(dataset, model, ["Q"])
data = tensors(dataset, model.forcing_names, model.attribute_names, ["Q"])
objective = Objective({"nse": 1.0}, data.target)
for batch in islice(Windows(data, 365, 30, 64, torch.Generator().manual_seed(0)), 20):
    pass
period = datetime(1981, 1, 1), datetime(1981, 3, 1)
few = dataset.period(np.datetime64("1980-10-01"), np.datetime64("1981-03-01"))
print(evaluate(model, few, [Split("train", period, list(range(0, basins, 10)))], ["Q"], 30)[0].ids[-1])
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's account of memory")
def test_data_larger_than_the_memory_allowed_is_trained_on(tmp_path):
    basins, allowance = 3000, 64 * 2**20
    assert basins * 4000 * 4 * 4 > 2.8 * allowance

    def run(cache):
        command = [sys.executable, "-c", TRAIN, str(basins), str(cache), str(allowance)]
        limits = os.environ | {"OMP_NUM_THREADS": "1"}
        return subprocess.run(command, capture_output=True, text=True, env=limits, check=False)

    refused = run("memory")
    assert refused.returncode != 0
    assert "memory" in refused.stderr.lower()
    done = run(tmp_path / "cache")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip() == "b2990"
