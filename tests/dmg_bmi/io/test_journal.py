"""What is exchanged together is all old or all new, whatever fails and whenever the process is killed."""

import json
import os
import signal
from pathlib import Path

import pytest
from faults import ERRORS, Faults

from dmg_bmi.errors import WriteError
from dmg_bmi.io.atomic import locked, recover, sweep
from dmg_bmi.io.journal import JOURNAL, exchange

FORKS = pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
OLD = {"a/one": "old", "a/gone": "old", "b/two": "old", "store/x.npy": "old", "mine": "a user's"}
NEW = {"a/one": "new", "a/three": "new", "b/two": "new", "store/x.npy": "new", "mine": "a user's"}


@pytest.fixture
def target(tmp_path):
    return tmp_path / "run" / "a"


def begin(target):
    root = target.parent
    for name, text in OLD.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "a" / "three").unlink(missing_ok=True)


def write(target):
    root = target.parent
    with locked(target, patience=0.0) as workspace:
        made = []
        for place, name in (("store", "x.npy"), ("a/one", ""), ("a/three", ""), ("b/two", "")):
            new = workspace / place.replace("/", "-")
            if name:
                new.mkdir()
            (new / name if name else new).write_text("new")
            made.append((new, root / place))
        exchange(made, [root / "a" / "gone"], workspace)


def contents(target):
    root = target.parent
    files = [p for p in root.rglob("*") if p.is_file() and ".a.dmg_bmi" not in p.parts]
    return {str(p.relative_to(root)): p.read_text() for p in files}


def test_an_exchange_takes_all_and_leaves_nothing(target):
    begin(target)
    write(target)
    assert contents(target) == NEW
    assert not (target.parent / ".a.dmg_bmi").exists()


@pytest.mark.parametrize("folder", ["run/a", "./run/a", "run/../run/a"])
def test_places_may_be_named_from_the_working_folder(target, tmp_path, monkeypatch, folder):
    begin(target)
    monkeypatch.chdir(tmp_path)
    write(Path(folder))
    assert contents(target) == NEW


@pytest.mark.parametrize("error", ERRORS, ids=repr)
def test_whatever_call_fails_all_is_old_or_all_is_new(target, error):
    for n in range(1, 100):
        begin(target)
        faults = Faults(n, error)
        with faults.injected():
            try:
                write(target)
            except (WriteError, KeyboardInterrupt, MemoryError):
                assert faults.failed
        assert contents(target) in (OLD, NEW), (n, faults.failed)
        assert not (target.parent / ".a.dmg_bmi" / JOURNAL).exists()
        if not faults.failed:
            break
    assert n > 30


@FORKS
@pytest.mark.parametrize("reader", [recover, lambda target: sweep(target.parent), write])
def test_killed_before_any_call_all_is_old_again_for_the_next(target, reader):
    for n in range(1, 100):
        begin(target)
        pid = os.fork()
        if pid == 0:
            faults = Faults(n, meanwhile=lambda: os.kill(os.getpid(), signal.SIGKILL))
            with faults.injected():
                write(target)
            os._exit(0)
        killed = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        reader(target)
        if reader is write:
            assert contents(target) == NEW, n
            assert not (target.parent / ".a.dmg_bmi").exists()
        else:
            assert contents(target) in (OLD, NEW), n
        if not killed:
            break
    assert n > 30


def test_what_cannot_be_brought_back_now_is_brought_back_by_the_next(target, monkeypatch):
    """A disk that is gone in the middle is there again later."""
    begin(target)
    renamed, real = [], os.rename

    def rename(here, there):
        if len(renamed) > 4:
            raise OSError(5, os.strerror(5), str(here))
        renamed.append(here)
        real(here, there)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(WriteError, match="Input/output error"):
            write(target)
    assert contents(target) not in (OLD, NEW)
    with locked(target):
        pass
    assert contents(target) == OLD


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}x",
        b"[1]",
        b'[["a"]]',
        b'[["a", 5]]',
        b"[" * 100_000,
        json.dumps([["../victim", ".a.dmg_bmi/x"]]).encode(),
        json.dumps([["/tmp/victim", ".a.dmg_bmi/x"]]).encode(),
        json.dumps([["a/../../victim", ".a.dmg_bmi/x"]]).encode(),
        json.dumps([["a/one", "../victim"]]).encode(),
        "\ud800".encode("utf-8", "surrogatepass"),
    ],
)
def test_a_journal_that_somebody_made_moves_nothing_and_is_told(target, content):
    begin(target)
    (target.parent.parent / "victim").write_text("a user's")
    workspace = target.parent / ".a.dmg_bmi"
    workspace.mkdir()
    (workspace / "x").write_text("planted")
    (workspace / "lock").write_bytes(b"workspace of dmg_bmi, removed when its file is written\n")
    (workspace / JOURNAL).write_bytes(content)
    with pytest.raises(
        WriteError, match=r"\.a\.dmg_bmi/journal\.json beside it is corrupt; move that folder"
    ):
        write(target)
    assert contents(target) == OLD
    assert (target.parent.parent / "victim").read_text() == "a user's"
