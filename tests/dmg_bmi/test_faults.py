"""Whatever call of the system fails while a command writes, the old or the new stands there whole."""

import errno
import os

import netCDF4
import pytest
from faults import Faults

from dmg_bmi.bundle import Bundle, BundleInfo
from dmg_bmi.cli import main
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.runtime import codec
from dmg_bmi.training import train
from dmg_bmi.training.experiment import CHECKPOINT

#: How many calls fail at most, one after the other, of each writer; all where the variable says 0.
MOST = int(os.environ.get("DMG_BMI_FAULTS", "60")) or 10**6
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
ERRORS = [FULL, OSError(errno.EIO, "I/O error"), KeyboardInterrupt(), MemoryError()]

CONFIG = """
name: small
data: {reader: synthetic, basins: 5, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], validation: [2001-10-01, 2002-03-31], spin_up: 20}
model:
  nn:
    static: {name: mlp, hidden_sizes: [4]}
    dynamic: {name: lstm, hidden_size: 4, dropout: 0.3}
  phy_model: {name: hbv, nmul: 1, routing: 3}
  roles:
    - {network: static}
    - {network: dynamic, inputs: [P, T, PET], attributes: [], dynamic: [BETA], dropout: 0.2}
training: {steps: 24, batch: 7, window: 50, average: 0.1, check_every: 5, save_every: 1, seed: 1}
"""
BRIEF = ["training.steps=4"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--output", str(folder)]) == 0
    return folder


def every(write, check, error):
    """Let each call fail in turn; `check` is told whether the write went through. How many failed."""
    for n in range(1, MOST + 1):
        faults = Faults(n, error)
        done = True
        with faults.injected():
            try:
                write()
            except (DmgBmiError, KeyboardInterrupt, MemoryError):
                assert faults.failed
                done = False
        check(done)
        if not faults.failed:
            return n - 1
    return MOST


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_bundle_that_is_saved_over_another_is_one_of_the_two(bundles, tmp_path, error):
    old, new = (Bundle(bundles(kind).load_model(), kind) for kind in ("lstm", "fixed"))
    folder = tmp_path / "b"
    old.save(folder)
    (folder / "mine.txt").write_text("of a user")

    def check(done):
        info = BundleInfo.read(folder)
        info.load_model()
        assert info.name == "fixed" or (not done and info.name == "lstm")
        assert (folder / "mine.txt").read_text() == "of a user"
        old.save(folder)
        assert BundleInfo.read(folder).name == "lstm"
        assert len(list(folder.iterdir())) == 3

    assert every(lambda: new.save(folder), check, error) > 10


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_bundle_that_is_copied_over_another_is_one_of_the_two(bundles, tmp_path, error):
    old, new = Bundle(bundles("lstm").load_model(), "old"), bundles("fixed")
    folder = tmp_path / "b"
    old.save(folder)

    def check(done):
        info = BundleInfo.read(folder)
        info.load_model()
        assert info.fingerprint == new.fingerprint or (not done and info.name == "old")
        old.save(folder)
        assert len(list(folder.iterdir())) == 2

    assert every(lambda: new.copy(folder), check, error) > 10


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_a_state_is_the_old_or_the_new_one(tmp_path, error):
    path, old, new = tmp_path / "run.state", b"old" * 100, b"new" * 100

    codec_write = codec.write
    codec_write(path, old)

    def check(done):
        content = path.read_bytes()
        assert content == new or (not done and content == old)
        codec_write(path, old)
        assert [p.name for p in tmp_path.iterdir()] == ["run.state"]

    assert every(lambda: codec_write(path, new), check, error) > 5


def left(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.name.endswith(".dmg_bmi"))


def test_a_run_leaves_the_output_whole_and_can_be_repeated(demo, tmp_path):
    command = ["run", str(demo / "runoff.yaml"), "--forcing", str(demo / "forcing.nc"), "--output"]
    folder, n = tmp_path / "o", 0
    assert main([*command, str(folder)]) == 0
    (folder / "mine.txt").write_text("of a user")
    with netCDF4.Dataset(folder / "output.nc") as data:
        flow = data["Q"][:]
    refused = 0
    while n < max(MOST // 8, 1) * 3:
        n += 1 if MOST > 10**3 else 3
        faults = Faults(n, ERRORS[n // 3 % 2])
        with faults.injected():
            refused += main([*command, str(folder)]) != 0
        with netCDF4.Dataset(folder / "output.nc") as data:
            assert (data["Q"][:] == flow).all()
        assert (folder / "mine.txt").read_text() == "of a user"
        if not faults.failed:
            break
    assert refused > 1
    assert not left(folder)


def test_a_training_goes_on_after_whatever_failed(tmp_path):
    config = tmp_path / "small.yaml"
    config.write_text(CONFIG)
    total = Faults()
    with total.injected():
        train(config, tmp_path / "count", BRIEF)
    tried = 0
    for n in range(1, total.count + 1, max(1, total.count * 12 // MOST)):
        folder = tmp_path / f"run{n}"
        folder.mkdir()
        (folder / "mine.txt").write_text("of a user")
        faults = Faults(n, ERRORS[n % 4])
        with faults.injected():
            try:
                train(config, folder, BRIEF)
            except (DmgBmiError, KeyboardInterrupt, MemoryError):
                assert faults.failed
        if (folder / "bundle" / "bundle.yaml").exists():
            BundleInfo.read(folder / "bundle").load_model()
        if not (folder / "metrics.csv").exists() or (folder / CHECKPOINT).exists():
            train(config, folder, BRIEF)
        BundleInfo.read(folder / "bundle").load_model()
        assert (folder / "metrics.csv").exists()
        assert (folder / "mine.txt").read_text() == "of a user"
        tried += 1
    assert tried > 3
