"""Whatever fails while a command writes, the old or the new stands there whole, and it can be repeated."""

import os
import shutil
from itertools import count

import pytest
from commands import CALIBRATED, COMMANDS, PROTOCOL, SAID, SMALL, contents
from faults import ALL, ERRORS, FULL, Faults, chosen, killed, limited

from dmg_bmi.errors import DmgBmiError
from dmg_bmi.io.atomic import sweep
from dmg_bmi.model.bundle import Bundle, BundleInfo
from dmg_bmi.runtime import state_codec
from dmg_bmi.training import calibrate, train
from dmg_bmi.training.benchmark import Options, benchmark
from dmg_bmi.training.benchmark.rivals import CPU_MINUTES
from dmg_bmi.training.run_folder import BUNDLE, RunFolder

pytestmark = pytest.mark.slow

#: How many calls of a command fail, each in one way; with DMG_BMI_FAULTS all of them, each in every way.
SOME = {"run": 6, "couple": 5, "demo": 3, "compile": 4, "evaluate": 3, "report": 2}
SOME |= {"hindcast": 4}
#: Bytes beyond which no file can grow.
SIZES = (100, 20_000)
#: Of these, which take seconds, all calls fail in one way each.
SLOW = ("demo", "evaluate")
MINE = {"mine.txt": b"of a user", ".mine.part": b"of a user too", "config/mine.yml": b"bundle: mine\n"}


class Tried:
    """A command whose older files stand in `folder` again before each attempt."""

    def __init__(self, name, tools):
        self.command, self.folder, self.template = COMMANDS[name](tools), tools.folder, tools.template
        self.folder.mkdir()
        for file, content in MINE.items():
            (self.folder / file).parent.mkdir(exist_ok=True)
            (self.folder / file).write_bytes(content)
        assert self.command.old(self.folder) == 0
        shutil.copytree(self.folder, self.template)
        self.old = contents(self.folder)
        faults = Faults()
        with faults.injected():
            assert self.command.new(self.folder) == 0
        self.new, self.calls = contents(self.folder, weights=True), faults.count

    def attempt(self, failing):
        """Whether the command went through; what is wrong then."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.template, self.folder)
        with failing:
            done = self.command.new(self.folder) == 0
        wrong = self.wrong(done)
        if self.command.new(self.folder) != 0 or contents(self.folder, weights=True) != self.new:
            wrong.append("a second attempt does not work")
        wrong += [f"{path} is left" for path in self.folder.rglob("*.dmg_bmi")]
        return done, wrong

    def killed(self, n):
        """Whether the command was killed before its n-th call; what is wrong after it was repeated."""
        shutil.rmtree(self.folder)
        shutil.copytree(self.template, self.folder)
        was = killed(lambda: self.command.new(self.folder), n)
        mine = [file for file, content in MINE.items() if (self.folder / file).read_bytes() != content]
        wrong = [f"{file} of a user is changed" for file in mine]
        if self.command.new(self.folder) != 0 or contents(self.folder, weights=True) != self.new:
            wrong.append("a second attempt does not work")
        return was, wrong + [f"{path} is left" for path in self.folder.rglob("*.dmg_bmi")]

    def wrong(self, done):
        found = contents(self.folder)
        if done:
            return [] if found == self.new else ["it says that all is well"]
        if self.command.at_once:
            return [] if found in (self.old, self.new) else [f"mixed: {self.kinds(found)}"]
        lost = [name for name in self.old if name in self.new and name not in found]
        other = [name for name in found if found[name] not in (self.old.get(name), self.new.get(name))]
        return [f"{name} is lost" for name in lost] + [f"{name} is neither" for name in other]

    def kinds(self, found):
        names = sorted({*self.old, *self.new, *found})
        kinds = {"old": self.old, "new": self.new}
        said = {}
        for name in names:
            if self.old.get(name) != self.new.get(name):
                said[name] = [k for k, of in kinds.items() if of.get(name) == found.get(name)]
        return said


@pytest.mark.parametrize("name", COMMANDS)
def test_whatever_call_fails_and_wherever_the_disk_is_full_nothing_is_lost(name, tools):
    tried = Tried(name, tools)
    calls = chosen(tried.calls, SOME.get(name, 8))
    cases = [(n, ERRORS[k % len(ERRORS)]) for k, n in enumerate(calls)]
    if ALL and name not in SLOW:
        cases = [(n, error) for n in calls for error in ERRORS]
    problems, refused = [], 0
    for n, error in cases:
        faults = Faults(n, error)
        done, wrong = tried.attempt(faults.injected())
        refused += not done
        problems += [f"{n} {faults.failed} {error!r}: {what}" for what in wrong]
    # Libraries in C meet this one too.
    sizes = [2**k for k in range(20)] if ALL else SIZES
    for size in sizes:
        done, wrong = tried.attempt(limited(size))
        refused += not done
        problems += [f"{size} bytes: {what}" for what in wrong]
    print(f"{name}: {tried.calls} calls, {len(cases)} and {len(sizes)} sizes tried, {refused} refused")
    assert not problems
    assert refused


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_is_killed_before_any_call_is_simply_repeated(name, tools):
    tried = Tried(name, tools)
    results = {n: tried.killed(n) for n in chosen(tried.calls, SOME.get(name, 8))}
    print(f"{name}: {tried.calls} calls, {len(results)} tried")
    assert [f"{n}: {what}" for n, (_, wrong) in results.items() for what in wrong] == []
    assert any(was for was, _ in results.values())


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="room cannot be taken beforehand")
def test_a_disk_without_room_for_a_store_is_told_before_it_is_filled(tools, monkeypatch):
    def full(*_):
        raise FULL

    monkeypatch.setattr(os, "posix_fallocate", full)
    assert COMMANDS["nextgen prepare"](tools).new(tools.folder) == 2
    assert f"{tools.folder / 'forcings' / 'store'}: cannot be written (No space left" in SAID[-1]
    assert not contents(tools.folder)


def every(write, check, error):
    """Let each call fail in turn; `check` is told whether the write went through. How many failed."""
    for n in count(1):
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

    codec_write = state_codec.write
    codec_write(path, old)

    def check(done):
        content = path.read_bytes()
        assert content == new or (not done and content == old)
        codec_write(path, old)
        assert [p.name for p in tmp_path.iterdir()] == ["run.state"]

    assert every(lambda: codec_write(path, new), check, error) > 5


def _benchmarked(config, folder):
    benchmark(config.with_name("one.yaml"), Options(folder))
    return RunFolder(folder / "alone-0")


RUNS = {
    "train": (SMALL, lambda config, folder: RunFolder(train(config, folder).folder)),
    "calibrate": (CALIBRATED, lambda config, folder: RunFolder(calibrate(config, folder).folder)),
    "benchmark": (CALIBRATED, _benchmarked),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_run_goes_on_to_the_same_result_after_whatever_failed(name, tmp_path, monkeypatch):
    """The bundle, and every table of numbers; a benchmark is a table of such runs. One is killed."""
    text, run = RUNS[name]
    config = tmp_path / "alone.yaml"
    config.write_text(text)
    (tmp_path / "one.yaml").write_text(PROTOCOL)
    monkeypatch.chdir(tmp_path)
    total = Faults()
    with total.injected():
        whole = run(config, tmp_path / "whole")
    names, tables = _left(tmp_path / "whole"), _tables(tmp_path / "whole")
    assert tables
    refused = 0
    ways = [*ERRORS, *([None] if hasattr(os, "fork") else [])]  # None kills
    for k, n in enumerate(chosen(total.count, len(ways))):
        folder = tmp_path / f"run{n}"
        folder.mkdir()
        (folder / "mine.txt").write_text("of a user")
        refused += _cut(lambda folder=folder: run(config, folder), n, ways[k % len(ways)])
        for bundle in folder.rglob("bundle.yaml"):
            BundleInfo.read(bundle.parent).load_model()
        again = RunFolder(folder / whole.path.relative_to(tmp_path / "whole"))
        if name == "benchmark" or not again.is_finished:
            again = run(config, folder)
        assert BundleInfo.read(again / BUNDLE).fingerprint == BundleInfo.read(whole / BUNDLE).fingerprint, n
        assert _tables(folder) == tables, n
        sweep(folder)  # a workspace whose removal failed waits for the next writer
        sweep(again.path)
        # How long it took nobody knows of a run that was killed.
        timed = {file for file in names if file.endswith(CPU_MINUTES)}
        assert _left(folder) | timed == names | {"mine.txt"}, n
        assert (folder / "mine.txt").read_text() == "of a user"
        shutil.rmtree(folder)
    print(f"{name}: {total.count} calls, {k + 1} tried, {refused} refused")
    assert refused


def _cut(work, n, error):
    """Do work whose n-th call fails, or kills; whether it ended there."""
    if error is None:
        return killed(work, n)
    faults = Faults(n, error)
    with faults.injected():
        try:
            work()
        except (DmgBmiError, KeyboardInterrupt, MemoryError):
            assert faults.failed
            return True
    return False


def _left(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if p.parent.name != BUNDLE}


def _tables(folder):
    """Each table by its name, but those of times."""
    return {p.name: p.read_bytes() for p in folder.rglob("*.csv")}
