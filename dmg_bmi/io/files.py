"""Reading files so that neither a truncated nor a hostile one does harm."""

from __future__ import annotations

import hashlib
import json
import mmap
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from numpy.typing import NDArray

from ..errors import DmgBmiError

#: Bytes: of a file of any kind, of text, and of YAML, of which a second reads one to two MiB.
MAX_FILE, MAX_TEXT, MAX_YAML = 8 * 2**30, 2**30, 4 * 2**20


try:  # several times as fast
    from yaml import CBaseLoader as _TextLoader
    from yaml import CSafeLoader as _SafeLoader
except ImportError:
    from yaml import BaseLoader as _TextLoader  # type: ignore[assignment]
    from yaml import SafeLoader as _SafeLoader  # type: ignore[assignment]

#: How deep lists and mappings may lie within each other.
DEEPEST = 100
#: The largest whole number that NumPy and PyTorch hold.
LARGEST = 2**63 - 1
#: Names that Windows keeps for devices.
RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"{d}{n}" for d in ("COM", "LPT") for n in range(1, 10))}


class _Refused(yaml.constructor.ConstructorError):
    """Valid YAML that is refused."""

    def __init__(self, problem: str, where: Any) -> None:
        super().__init__(None, None, problem, where.start_mark)
        self.line = where.start_mark.line + 1


class _Loader(_SafeLoader):
    """Safe loader that refuses duplicate keys, octal numbers, and numbers out of range."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool)):
                raise _Refused("keys must be names or numbers", key_node)
            if key in seen:
                raise _Refused(f"key {key!r} appears twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        try:
            value = super().construct_object(node, deep)
            if isinstance(value, datetime) and value.tzinfo is not None:
                value.astimezone(UTC)
        except (ValueError, LookupError, AttributeError, OverflowError, TypeError) as problem:
            # A tag that the value does not fit, a date that does not exist, too many digits.
            tag = node.tag.removeprefix("tag:yaml.org,2002:")
            raise _Refused(f"{_shown(node.value)} is not a valid {_TAGS.get(tag, tag)}", node) from problem
        if isinstance(value, int) and abs(value) > LARGEST:
            raise _Refused(f"{_shown(node.value)} is too large a number", node)
        return value

    def construct_yaml_int(self, node: Any) -> int:
        number: int = super().construct_yaml_int(node)
        if ":" in node.value:
            raise _Refused(
                f"{node.value} means {number}, since numbers with colons have base 60; write it in quotes",
                node,
            )
        if node.value[0] == "0" and node.value.isdigit() and number:
            raise _Refused(
                f"{node.value} means {number}, since a number that begins with 0 is octal in YAML; "
                f"write an id in quotes, '{node.value}', and a number without the 0",
                node,
            )
        return number


_ALLOWED = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "timestamp")}
_TAGS = {"timestamp": "date", "int": "whole number", "float": "number"}


def _shown(value: Any) -> str:
    text = repr(value) if isinstance(value, str) else "a list or mapping"
    return text if len(text) < 60 else f"{text[:50]}...'"


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def as_path(path: Any, error: type[DmgBmiError]) -> Path:
    """Convert text or a path to a path; raise `error` for anything else."""
    try:
        return Path(path)
    except TypeError as problem:
        raise error(f"{path!r} is not a path; give text or a pathlib.Path") from problem


def require_file_name(name: str, source: str, error: type[DmgBmiError]) -> str:
    """Return `name` if it can name a file in any folder; raise `error` if it leads elsewhere."""
    bad = (
        not name
        or name != name.strip()
        or name in (".", "..")
        or any(c in '/\\:*?"<>|' or ord(c) < 32 for c in name)
        or len(name.encode("utf-8", "replace")) > 200
        or name.split(".")[0].upper() in RESERVED
    )
    if bad:
        shown = repr(name if len(name) < 60 else f"{name[:50]}...")
        raise error(f"{source}: {shown} cannot be part of a file's name; choose another")
    return name


@contextmanager
def opened(path: str | Path, error: type[DmgBmiError], limit: int = MAX_FILE) -> Iterator[BinaryIO]:
    """Open a file of unknown origin for reading: a regular file of at most `limit` bytes.

    A pipe would wait for ever and a device never end, so neither is opened.

    Raises
    ------
    DmgBmiError
        Of the type `error`, naming the file: it is not there, not regular, too large, or not to be read.
    """
    with reading(path, error):
        # Without waiting: what is opened may be a pipe that nobody writes to.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        os.close(descriptor)
        raise error(f"{path}: is not a regular file")
    with os.fdopen(descriptor, "rb") as file, reading(path, error):
        if status.st_size > limit:
            raise error(f"{path}: is too large, {status.st_size} bytes; at most {limit} are read")
        yield file


@contextmanager
def reading(path: str | Path, error: type[DmgBmiError]) -> Iterator[None]:
    """Raise `error`, naming the file, for what the system or Python says of reading it."""
    try:
        yield
    except OSError as problem:
        raise error(f"{path}: cannot be read ({problem.strerror or problem})") from problem
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 text") from problem
    except ValueError as problem:  # a name that no file can have
        if isinstance(problem, DmgBmiError):
            raise
        raise error(f"{path!r}: cannot be read ({problem})") from problem


def read_bytes(path: str | Path, error: type[DmgBmiError], limit: int = MAX_FILE) -> bytes:
    """Read the content of a file, opened as by :func:`opened`."""
    with opened(path, error, limit) as file:
        return file.read()


def mapped(path: str | Path, error: type[DmgBmiError]) -> NDArray[Any]:
    """Map the array of numbers in an ``.npy`` file into memory, read only."""
    with opened(path, error):
        pass
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except Exception as problem:  # NumPy evaluates the header as Python, which may fail in any way
        raise error(f"{path}: cannot be read as an array: {problem}") from problem


def give_back(array: NDArray[Any]) -> None:
    """Let the system have the memory of what was read of a mapped array; it is read again where needed."""
    mapping = array.base
    if isinstance(mapping, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        mapping.madvise(mmap.MADV_DONTNEED)


def read_text(path: str | Path, error: type[DmgBmiError], limit: int = MAX_TEXT) -> str:
    """Read a file of UTF-8 text, without the byte order mark that Windows may have put before it."""
    with reading(path, error):
        return read_bytes(path, error, limit).decode("utf-8-sig")


def read_json(path: str | Path, error: type[DmgBmiError]) -> Any:
    """Read a JSON file."""
    try:
        return json.loads(read_text(path, error))
    except (ValueError, RecursionError) as problem:
        if isinstance(problem, DmgBmiError):
            raise
        raise error(f"{path}: is not valid JSON: {problem}") from problem


def read_yaml(
    path: str | Path, error: type[DmgBmiError], aliases: int = 0, as_text: bool = False
) -> dict[str, Any]:
    """Read a YAML file whose top level is a mapping; raise `error` naming file and line.

    Parameters
    ----------
    path, error
    aliases : int
        More are refused: aliases of aliases grow without bound.
    as_text : bool
        Whether numbers, dates and ids such as 01022500 are left as the text that stands there.
    """
    content = parse_yaml(read_text(path, error, MAX_YAML), str(path), error, aliases, as_text)
    if not isinstance(content, dict):
        raise error(f"{path}: must hold keys and values, not {type(content).__name__}")
    return content


def parse_yaml(
    text: str, source: str, error: type[DmgBmiError], aliases: int = 0, as_text: bool = False
) -> Any:
    """Parse YAML text; raise `error` naming its source and line."""
    try:
        _refuse_unbounded(text, aliases)
        return yaml.load(text, _TextLoader if as_text else _Loader)  # noqa: S506  both make plain data
    except _Refused as problem:
        line = f", line {problem.line}" if "\n" in text else ""
        raise error(f"{source}{line}: {problem.problem}") from problem
    except (yaml.YAMLError, ValueError) as problem:
        raise error(f"{source}: is not valid YAML: {problem}") from problem


def _refuse_unbounded(text: str, aliases: int) -> None:
    """Refuse more aliases than these, tags, and nesting that would exhaust the stack."""
    depth = 0
    for event in yaml.parse(text, _SafeLoader):
        if isinstance(event, yaml.events.AliasEvent):
            aliases -= 1
            if aliases < 0:
                raise _Refused("aliases (*name) are not allowed", event)
        tag = getattr(event, "tag", None)
        if tag is not None and (tag not in _ALLOWED or not isinstance(event, yaml.events.ScalarEvent)):
            raise _Refused(f"the tag {tag!r} is not allowed; write the value without it", event)
        depth += isinstance(event, yaml.events.CollectionStartEvent)
        depth -= isinstance(event, yaml.events.CollectionEndEvent)
        if depth > DEEPEST:
            raise _Refused(f"lists and mappings lie more than {DEEPEST} deep in each other", event)


def sha256(content: bytes) -> str:
    """Return the hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def canonical(content: Any) -> bytes:
    """Encode plain data so that equal data give equal bytes, whatever the order of keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
