"""Files and folders are written whole or not at all, by one writer at a time."""

import errno
import os
import stat
import time
from math import inf
from pathlib import Path

import pytest
from faults import Faults

from dmg_bmi.errors import DmgBmiError, WriteError
from dmg_bmi.io import atomic
from dmg_bmi.io.atomic import (
    LOCK,
    MARK,
    alone,
    locked,
    make_folder,
    replacing,
    replacing_folder,
    sweep,
    write_atomic,
)

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


def workspace(path):
    return path.with_name(f".{path.name}.dmg_bmi")


def killed(work):
    """Run `work` in a process that ends by ``os._exit`` in it."""
    pid = os.fork()
    if pid == 0:
        work()
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9


def half_written(path):
    with replacing(path) as temporary:
        temporary.write_bytes(b"half")
        os._exit(9)


# -- files ----------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_readable_by_all_that_the_umask_lets(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["f"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [OSError(errno.EIO, "I/O error"), KeyboardInterrupt(), MemoryError()])
def test_whatever_call_fails_the_file_is_old_or_new_and_can_be_written_again(tmp_path, error):
    path, n = tmp_path / "f", 0
    while True:
        n += 1
        path.write_bytes(b"old")
        faults = Faults(n, error)
        with faults.injected():
            try:
                write_atomic(path, b"new")
            except (WriteError, KeyboardInterrupt, MemoryError):
                assert faults.failed
        assert path.read_bytes() in (b"old", b"new")
        if not faults.failed:
            break
        write_atomic(path, b"next")
        assert path.read_bytes() == b"next"
        assert names(tmp_path) == ["f"]
    assert n > 8


def test_an_error_of_writing_names_the_file_and_is_of_the_family(tmp_path):
    with pytest.raises(WriteError, match=r"none.f: cannot be written \(No such file") as caught:
        write_atomic(tmp_path / "none" / "f", b"x")
    assert isinstance(caught.value, DmgBmiError)
    assert isinstance(caught.value, OSError)
    assert caught.value.filename == str(tmp_path / "none" / "f")
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file.inner: cannot be written"):
        make_folder(tmp_path / "file" / "inner")


@pytest.mark.parametrize("kind", ["folder", "pipe", "device"])
def test_what_is_no_regular_file_is_not_replaced(tmp_path, kind):
    path = tmp_path / "f"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/null")
    before = path.lstat().st_ino
    with pytest.raises(WriteError, match="not a regular file"):
        write_atomic(path, b"x")
    assert path.lstat().st_ino == before
    assert names(tmp_path) == ["f"]


# -- writers that were killed ---------------------------------------------------------


@FORKS
def test_what_a_killed_writer_left_goes_with_the_next_write(tmp_path):
    path = tmp_path / "f"
    write_atomic(path, b"old")
    killed(lambda: half_written(path))
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == [".f.dmg_bmi", "f"]
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["f"]


@FORKS
def test_sweeping_removes_what_killed_writers_left_and_nothing_else(tmp_path):
    kept = [".hidden", ".a.part", ".f.0a1b2c3d.part", "b.dmg_bmi"]
    for name in kept:
        (tmp_path / name).write_text("a user's")
    foreign = tmp_path / ".mine.dmg_bmi"
    foreign.mkdir()
    (foreign / "precious").write_text("a user's")
    disguised = tmp_path / ".theirs.dmg_bmi"
    disguised.mkdir()
    (disguised / LOCK).write_text("a user's")
    (tmp_path / ".linked.dmg_bmi").symlink_to(foreign)
    killed(lambda: half_written(tmp_path / "state"))
    workspace(tmp_path / "without-lock").mkdir()
    with replacing(tmp_path / "living") as temporary:
        temporary.write_bytes(b"x")
        sweep(tmp_path)
        assert temporary.exists()
    assert names(tmp_path) == sorted([*kept, ".linked.dmg_bmi", ".mine.dmg_bmi", ".theirs.dmg_bmi", "living"])
    assert names(foreign) == ["precious"]
    assert (disguised / LOCK).read_text() == "a user's"


def test_a_folder_of_a_user_that_has_the_name_of_a_workspace_is_left_alone(tmp_path):
    foreign = workspace(tmp_path / "f")
    foreign.mkdir()
    (foreign / "precious").write_text("a user's")
    with pytest.raises(WriteError, match=r"\.f\.dmg_bmi beside it .* not one of dmg_bmi's; move it away"):
        write_atomic(tmp_path / "f", b"x")
    assert names(foreign) == ["precious"]
    assert names(tmp_path) == [".f.dmg_bmi"]


@pytest.mark.parametrize("mark", [b"", MARK[:7], MARK])
def test_a_writer_killed_while_it_made_its_workspace_blocks_nobody(tmp_path, mark):
    workspace(tmp_path / "f").mkdir()
    if mark:
        (workspace(tmp_path / "f") / LOCK).write_bytes(mark)
    write_atomic(tmp_path / "f", b"x")
    assert names(tmp_path) == ["f"]


# -- several writers ------------------------------------------------------------------


def test_who_writes_what_another_writes_waits_and_is_then_told(tmp_path):
    with locked(tmp_path / "f"):
        began = time.monotonic()
        with pytest.raises(WriteError, match="another process is writing it"), locked(tmp_path / "f", 0.2):
            pass
        assert time.monotonic() - began >= 0.2
        with locked(tmp_path / "g", patience=0.0):
            pass
    with locked(tmp_path / "f", patience=0.0) as free:
        assert names(free) == [LOCK]
    assert not names(tmp_path)


def test_who_has_a_place_alone_is_told_of_and_keeps_its_own_errors(tmp_path):
    place = tmp_path / "training"

    def work():
        with alone(place):
            with pytest.raises(WriteError, match="another process is writing it"), alone(place):
                pytest.fail("two at once")
            sweep(tmp_path)
            raise OSError("its own")

    with pytest.raises(OSError, match="its own") as caught:
        work()
    assert not isinstance(caught.value, WriteError)
    with alone(place):
        pass
    assert not list(tmp_path.iterdir())


def test_without_locks_each_writer_has_a_workspace_of_its_own(tmp_path, monkeypatch):
    def no_locks(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(atomic, "flock", no_locks)
    with replacing(tmp_path / "f") as one, replacing(tmp_path / "f") as other:
        assert one.parent != other.parent
        one.write_bytes(b"one")
        other.write_bytes(b"other")
    assert (tmp_path / "f").read_bytes() == b"one"


@pytest.mark.parametrize("kind", ["threads", pytest.param("processes", marks=FORKS)])
def test_writers_of_one_file_do_not_mix(tmp_path, kind, race):
    path = tmp_path / "f"
    write_atomic(path, b"0" * 200_000)

    def check():
        content = path.read_bytes()
        assert content == content[:1] * 200_000

    def write(k):
        with replacing(path, patience=inf) as temporary:  # a busy machine may be slow
            temporary.write_bytes(f"{k}".encode() * 200_000)

    race(kind, write, check)
    assert names(tmp_path) == ["f"]


# -- folders --------------------------------------------------------------------------


def write_folder(path, text):
    with replacing_folder(path, {"a", "b"}, "*.npy") as new:
        for name in ("a", "b", f"{text}.npy"):
            (new / name).write_text(text)


def test_a_folder_takes_the_place_of_one_that_we_wrote(tmp_path):
    write_folder(tmp_path / "d", "old")
    write_folder(tmp_path / "d", "new")
    assert names(tmp_path / "d") == ["a", "b", "new.npy"]
    assert names(tmp_path) == ["d"]


@pytest.mark.parametrize("other", ["thesis.tex", ".hidden", "sub/a"])
def test_a_folder_that_holds_anything_else_is_left_alone(tmp_path, other):
    (tmp_path / "d" / other).parent.mkdir(parents=True)
    (tmp_path / "d" / other).write_text("a user's")
    with pytest.raises(WriteError, match=r"it holds other files \(.*\); choose a new or an empty folder"):
        write_folder(tmp_path / "d", "new")
    assert (tmp_path / "d" / other).read_text() == "a user's"
    assert names(tmp_path) == ["d"]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_what_is_no_folder_is_not_replaced_by_one(tmp_path, kind):
    (tmp_path / "real").mkdir()
    if kind == "file":
        (tmp_path / "d").write_text("a user's")
    else:
        (tmp_path / "d").symlink_to(tmp_path / "real")
    with pytest.raises(WriteError, match="not a folder"):
        write_folder(tmp_path / "d", "new")
    assert (tmp_path / "d").is_symlink() == (kind == "link")


def test_whatever_call_fails_the_folder_is_old_or_new(tmp_path):
    n = 0
    while True:
        n += 1
        write_folder(tmp_path / "d", "old")
        faults = Faults(n)
        with faults.injected():
            try:
                write_folder(tmp_path / "d", "new")
            except OSError:
                assert faults.failed
        with locked(tmp_path / "d"):  # what a fault left in the workspace is put back
            pass
        assert names(tmp_path / "d") in (["a", "b", "old.npy"], ["a", "b", "new.npy"])
        assert names(tmp_path) == ["d"]
        if not faults.failed:
            break
    assert n > 10


@FORKS
def test_a_writer_killed_between_old_and_new_loses_neither(tmp_path, monkeypatch):
    write_folder(tmp_path / "d", "old")
    real = os.rename

    def die(source, target, **options):
        if os.path.basename(source) == "new":
            os._exit(9)
        real(source, target, **options)

    def work():
        monkeypatch.setattr(os, "rename", die)
        write_folder(tmp_path / "d", "new")

    killed(work)
    assert names(tmp_path) == [".d.dmg_bmi"]
    sweep(tmp_path)
    assert names(tmp_path) == ["d"]
    assert names(tmp_path / "d") == ["a", "b", "old.npy"]


@pytest.mark.parametrize("spelling", [".", "../{name}", "{whole}", "a/.."])
def test_the_working_folder_is_not_exchanged_by_any_of_its_names(tmp_path, monkeypatch, spelling):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    path = Path(spelling.format(name=tmp_path.name, whole=tmp_path))
    with pytest.raises(WriteError, match="working folder"), atomic.replacing_folder(path, ["a"]):
        pass
    assert [f.name for f in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("write", [atomic.replacing, atomic.locked, atomic.alone])
def test_the_root_of_the_file_system_is_refused_in_words(write):
    with pytest.raises(WriteError, match="root of the file system"), write(Path("/")):
        pass


@pytest.mark.parametrize("spelling", ["file", "./file", "a/../file", "{whole}/file"])
def test_one_file_has_one_lock_by_whatever_name(tmp_path, monkeypatch, spelling):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path)
    with (
        atomic.locked(tmp_path / "file"),
        pytest.raises(WriteError, match="another process"),
        atomic.locked(Path(spelling.format(whole=tmp_path)), patience=0.0),
    ):
        pass


def test_a_folder_that_was_never_written_needs_no_recovery_even_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    atomic.recover(Path())
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["a\0b", "\ud800", "folder\0/file"])
@pytest.mark.parametrize("write", [make_folder, lambda path: write_atomic(path, b"")])
def test_a_name_that_no_file_can_have_is_refused_in_words(tmp_path, write, name):
    with pytest.raises(WriteError, match="no file can have such a name"):
        write(tmp_path / name)
    assert not [*tmp_path.iterdir()]
