"""Files are read safely and written whole or not at all."""

import json
import os
import stat
import threading

import pytest

from dmg_bmi.errors import BundleError, ConfigError
from dmg_bmi.files import canonical, read_yaml, sha256, sweep, write_atomic


@pytest.fixture
def read(tmp_path):
    def of(text):
        path = tmp_path / "file.yaml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_yaml(path, ConfigError)

    return of


def test_plain_yaml_is_read(read):
    assert read("a: 1\nb: [x, 2.5, true, null]\nc: {d: Größe}\n1: one\n") == {
        "a": 1,
        "b": ["x", 2.5, True, None],
        "c": {"d": "Größe"},
        1: "one",
    }


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a: &x 1\nb: *x", r"aliases \(\*name\) are not allowed"),
        ("a: &x {b: 1}\nc: {<<: *x}", "aliases"),
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("a: {b: 1, b: 2}", "key 'b' stands twice"),
        ("a: 1\nb: 1\na: 2", r"file\.yaml, line 3: key 'a' stands twice"),
        (
            "a: 1\nids: ['02', 01333000]",
            r"line 2: 01333000 means 374272, .* octal .* id in quotes, '01333000'",
        ),
        ("[1, 2]: a", "keys must be names or numbers"),
        ("? {a: b}\n: c", "keys must be names or numbers"),
        ("2000-01-01: a", "keys must be names or numbers"),
        ("a: !!python/object/apply:os.getcwd []", "constructor"),
        ("!!python/object/apply:os.getcwd []", "constructor"),
        ("a: !!python/object/new:object {}", "constructor"),
        ("a: !private x", "constructor"),
        ("a: 'open", "is not valid YAML"),
        ("\ta: 1", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("a: 2000-13-45", "is not valid YAML"),
        ("a: " + "[" * 50_000, "is not valid YAML"),
        ("a: " + "9" * 10_000, "is not valid YAML"),
        ("just text", "must hold keys and values, not str"),
        ("", "must hold keys and values, not NoneType"),
        (b"a: \xff", "is not UTF-8"),
        (b"\xff\xfea\x00:\x00", "is not UTF-8"),
    ],
)
def test_what_is_no_plain_mapping_is_refused_with_the_file(read, text, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        read(text)
    assert "file.yaml" in str(caught.value)


def test_an_error_of_the_callers_kind_is_raised(tmp_path):
    with pytest.raises(BundleError, match="No such file"):
        read_yaml(tmp_path / "none.yaml", BundleError)
    with pytest.raises(BundleError, match="cannot be read"):
        read_yaml(tmp_path / "nul\0.yaml", BundleError)


def test_a_huge_file_is_not_read(tmp_path):
    file = tmp_path / "huge.yaml"
    with open(file, "wb") as handle:
        handle.truncate(65 * 2**20)
    with pytest.raises(ConfigError, match="larger than 64 MiB"):
        read_yaml(file, ConfigError)


def test_a_bomb_of_aliases_costs_nothing(read):
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 30)]
    with pytest.raises(ConfigError, match="aliases"):
        read("\n".join(lines))


# -- writing --------------------------------------------------------------------------


def test_a_file_is_replaced_whole_and_readable_by_all_that_the_umask_lets(tmp_path):
    path = tmp_path / "f"
    path.write_bytes(b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("fails", ["os.fsync", "os.replace"])
def test_a_failure_leaves_the_old_file_and_no_litter(tmp_path, monkeypatch, fails):
    path = tmp_path / "f"
    path.write_bytes(b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(fails, full)
    with pytest.raises(OSError, match="No space"):
        write_atomic(path, b"new")
    monkeypatch.undo()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_an_interrupt_leaves_no_litter(tmp_path, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(tmp_path / "f", b"new")
    monkeypatch.undo()
    assert not list(tmp_path.iterdir())


def test_what_a_killed_writer_left_is_swept_away_and_nothing_else(tmp_path, monkeypatch):
    (tmp_path / "inner").mkdir()
    kept = {tmp_path / "a.part", tmp_path / ".hidden", tmp_path / "inner" / "state"}
    for path in kept:
        path.write_text("kept", encoding="utf-8")
    # A kill between writing and renaming: nothing of ours runs any more.
    monkeypatch.setattr(os, "replace", lambda *_: os._exit(9))
    for path in (tmp_path / "state", tmp_path / "inner" / "state"):
        pid = os.fork()
        if pid == 0:
            write_atomic(path, b"half")
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    assert len(list(tmp_path.rglob(".*.part"))) == 2
    sweep(tmp_path)
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == kept


def test_writers_of_one_file_do_not_mix(tmp_path):
    path = tmp_path / "f"
    contents = [bytes([k]) * 200_000 for k in range(8)]
    writers = [threading.Thread(target=write_atomic, args=(path, c)) for c in contents]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert path.read_bytes() in contents
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_writing_into_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_atomic(tmp_path / "none" / "f", b"x")


# -- checksums --------------------------------------------------------------------------


def test_equal_data_have_one_canonical_form():
    a, b = {"x": 1, "y": [1.5, "ö", None]}, {"y": [1.5, "ö", None], "x": 1}
    assert canonical(a) == canonical(b)
    assert canonical(a).isascii()
    assert json.loads(canonical(a)) == a
    assert canonical(a) != canonical({**a, "x": 2})


def test_sha256_is_that_of_the_standard():
    assert sha256(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
