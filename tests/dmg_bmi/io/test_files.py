"""Files are read safely and written whole or not at all."""

import os
import socket
from contextlib import chdir

import pytest

from dmg_bmi.errors import BundleError, ConfigError
from dmg_bmi.io.files import read_bytes, read_json, read_text, read_yaml


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
        ("a: 1\na: 2", "key 'a' appears twice"),
        ("a: {b: 1, b: 2}", "key 'b' appears twice"),
        ("a: 1\nb: 1\na: 2", r"file\.yaml, line 3: key 'a' appears twice"),
        (
            "a: 1\nids: ['02', 01333000]",
            r"line 2: 01333000 means 374272, .* octal .* id in quotes, '01333000'",
        ),
        ("[1, 2]: a", "keys must be names or numbers"),
        ("? {a: b}\n: c", "keys must be names or numbers"),
        ("2000-01-01: a", "keys must be names or numbers"),
        ("a: !!python/object/apply:os.getcwd []", "the tag .* is not allowed"),
        ("!!python/object/apply:os.getcwd []", "the tag .* is not allowed"),
        ("a: !!python/object/new:object {}", "the tag .* is not allowed"),
        ("a: !private x", "the tag '!private' is not allowed"),
        ("a: 'open", "is not valid YAML"),
        ("\ta: 1", "is not valid YAML"),
        ("a: \x00", "is not valid YAML"),
        ("a: 2000-13-45", "'2000-13-45' is not a valid date"),
        ("a: 0001-01-01T00:00:00+14:00", "is not a valid date"),
        ("a: 9999-12-31T23:59:59-14:00", "is not a valid date"),
        ("a: 2001-12-14t21:59:43-99:99", "is not a valid date"),
        ('a: !!int ""', "'' is not a valid whole number"),
        ("a: !!bool x", "'x' is not a valid bool"),
        ("a: !!timestamp x", "'x' is not a valid date"),
        ("a: !!set x", "the tag .* is not allowed"),
        ("!!map [1]", "the tag .* is not allowed"),
        ("a: 12:30", "12:30 means 750, .* base 60; .* quotes"),
        ("b: 1\na: " + "9" * 400, "line 2: '9+...' is too large a number"),
        ("a: " + "[" * 50_000, "nesting depth|more than 100 deep"),
        ("a:\n" + "- " * 3000 + "x", "more than 100 deep"),
        ("a: " + "9" * 10_000, "is not a valid whole number"),
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
    with pytest.raises(ConfigError, match="is too large, 68157440 bytes"):
        read_yaml(file, ConfigError)


def test_a_bomb_of_aliases_costs_nothing(read):
    lines = ["a0: &a0 [x, x]"] + [f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]" for k in range(1, 30)]
    with pytest.raises(ConfigError, match="aliases"):
        read("\n".join(lines))


# -- files that are none ---------------------------------------------------------------


@pytest.fixture(params=["pipe", "device", "folder", "socket"])
def no_file(request, tmp_path):
    path = tmp_path / "given.yaml"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as own, chdir(tmp_path):
            own.bind("given.yaml")
    return path


@pytest.mark.parametrize("read", [read_yaml, read_json, read_text, read_bytes])
def test_what_is_no_regular_file_is_refused_at_once(no_file, read):
    with pytest.raises(ConfigError, match=r"given.yaml: (is not a regular file|cannot be read)"):
        read(no_file, ConfigError)


@pytest.mark.parametrize("read", [read_yaml, read_json, read_text, read_bytes])
@pytest.mark.parametrize("name", ["none", "a" * 300, "nul\0", "\ud800"])
def test_a_name_that_no_file_has_is_refused(tmp_path, read, name):
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path / name, ConfigError)


def test_a_byte_order_mark_is_passed_over(tmp_path):
    (tmp_path / "f").write_bytes(b"\xef\xbb\xbf{}")
    assert read_json(tmp_path / "f", ConfigError) == {}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, "NaN]", '{"a": ' * 5000])
def test_what_is_no_json_is_refused(tmp_path, text):
    (tmp_path / "f.json").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"f\.json: is not valid JSON"):
        read_json(tmp_path / "f.json", ConfigError)
