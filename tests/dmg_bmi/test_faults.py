"""Whatever call of the system fails while a command writes, the old or the new stands there whole."""

import errno
import os

import pytest
from faults import Faults

from dmg_bmi.bundle import Bundle, BundleInfo
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.runtime import codec

#: How many calls fail at most, one after the other, of each writer; all where the variable says 0.
MOST = int(os.environ.get("DMG_BMI_FAULTS", "60")) or 10**6
FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
ERRORS = [FULL, OSError(errno.EIO, "I/O error"), KeyboardInterrupt(), MemoryError()]


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
