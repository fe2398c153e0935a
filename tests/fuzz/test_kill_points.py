"""Killed at any moment, every kind of writer leaves the old or the new, and the next start is clean."""

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import settings
from kill_points import KINDS, drive, kill, start, states

from dmg_bmi.errors import StateError
from dmg_bmi.runtime import state_codec

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
CASES = settings.default.max_examples * 3


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_killed_process_leaves_what_the_next_can_use(kind, tmp_path):
    outcomes = Counter()
    for seed in range(CASES):
        try:
            outcomes[kill(kind, seed, tmp_path / "case")] += 1
        except BaseException as error:
            error.add_note(f"kill({kind!r}, {seed})")
            raise
    assert outcomes["killed"] > CASES // 2, outcomes


def test_two_processes_on_one_path_leave_one_of_the_states(tmp_path):
    path, contents = tmp_path / "run.state", states()
    children = []
    for content in contents:
        child = os.fork()
        if child == 0:
            try:
                for _ in range(40):
                    state_codec.write(path, content)
            finally:
                os._exit(0)
        children.append(child)
    seen = set()
    while children:
        if path.exists():
            seen.add(state_codec.read(path))
        children = [child for child in children if os.waitpid(child, os.WNOHANG) == (0, 0)]
    assert seen <= {*contents}
    assert state_codec.read(path) in contents
    assert [p.name for p in tmp_path.iterdir()] == ["run.state"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk_leaves_the_old_file_whole(tmp_path, monkeypatch):
    """What the kernel says of a full disk, at the first write that it refuses."""
    path = tmp_path / "run.state"
    one, other = states()
    state_codec.write(path, one)
    real = os.open

    def full(name, flags, mode=0o777):
        return real("/dev/full", os.O_WRONLY) if str(name).endswith("run.state") else real(name, flags, mode)

    with monkeypatch.context() as patch:
        patch.setattr("os.open", full)
        with pytest.raises(
            StateError, match=r"run\.state: the state cannot be written \(No space left on device\)"
        ):
            state_codec.write(path, other)
    assert state_codec.read(path) == one
    state_codec.write(path, other)
    assert state_codec.read(path) == other


def test_a_folder_that_cannot_be_written_leaves_the_old_file_and_the_run_goes_on(tmp_path, monkeypatch):
    """As on a read-only file system, also for root."""
    bmi = start(tmp_path, restart={"write": "run.state", "every": 21600.0})
    drive(bmi, 2)
    before = (tmp_path / "run.state").read_bytes()

    def refused(name, flags, mode=0o777):
        raise OSError(30, os.strerror(30), str(name))

    with monkeypatch.context() as patch:
        patch.setattr("os.open", refused)
        with pytest.raises(StateError, match="Read-only file system"):
            drive(bmi, 1)
    assert (tmp_path / "run.state").read_bytes() == before
    drive(bmi, 1)
    assert (tmp_path / "run.state").read_bytes() != before
    bmi.finalize()
