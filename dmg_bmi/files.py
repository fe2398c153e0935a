"""Reading and writing files so that neither a torn nor a hostile one does harm."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from secrets import token_hex
from typing import Any

import yaml

from .errors import DmgBmiError

MAX_YAML = 64 * 2**20


class _Refused(yaml.constructor.ConstructorError):
    """Valid YAML that is not taken."""

    def __init__(self, problem: str, where: Any) -> None:
        super().__init__(None, None, problem, where.start_mark)
        self.line = where.start_mark.line + 1


class _Loader(yaml.SafeLoader):
    """Safe loader that refuses duplicate keys, octal numbers, and aliases, which can grow without bound."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            event = self.peek_event()
            raise _Refused("aliases (*name) are not allowed", event)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, (str, int, float, bool)):
                raise _Refused("keys must be names or numbers", key_node)
            if key in seen:
                raise _Refused(f"key {key!r} stands twice", key_node)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: Any) -> int:
        number: int = super().construct_yaml_int(node)
        if node.value[0] == "0" and node.value.isdigit() and number:
            raise _Refused(
                f"{node.value} means {number}, since a number that begins with 0 is octal in YAML; "
                f"write an id in quotes, '{node.value}', and a number without the 0",
                node,
            )
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def read_yaml(path: Path, error: type[DmgBmiError]) -> dict[str, Any]:
    """A YAML file whose top level is a mapping; raises `error` naming file and line."""
    try:
        with open(path, "rb") as file:
            raw = file.read(MAX_YAML + 1)
    except (OSError, ValueError) as problem:
        # ValueError: a name that the file system's encoding cannot express
        reason = getattr(problem, "strerror", None) or problem
        raise error(f"{path}: cannot be read ({reason})") from problem
    if len(raw) > MAX_YAML:
        raise error(f"{path}: larger than {MAX_YAML >> 20} MiB; this is no configuration")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise error(f"{path}: is not UTF-8 text") from problem
    content = parse_yaml(text, str(path), error)
    if not isinstance(content, dict):
        raise error(f"{path}: must hold keys and values, not {type(content).__name__}")
    return content


def parse_yaml(text: str, source: str, error: type[DmgBmiError]) -> Any:
    """What YAML text says; raises `error` naming its source and line."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506  _Loader is a SafeLoader
    except _Refused as problem:
        line = f", line {problem.line}" if "\n" in text else ""
        raise error(f"{source}{line}: {problem.problem}") from problem
    except (yaml.YAMLError, ValueError, RecursionError) as problem:
        raise error(f"{source}: is not valid YAML: {problem}") from problem


def sweep(folder: Path) -> None:
    """Remove what writers that were killed left in a folder that nobody else writes to."""
    # What follows the suffix is a journal that a database keeps beside its file.
    for rest in folder.rglob(".*.part*"):
        rest.unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what is written there takes its place whole, or not at all."""
    temporary = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        yield temporary
        _sync(temporary, os.O_RDWR)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync(path.parent, os.O_RDONLY)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all: temporary name, flush, rename."""
    with replacing(Path(path)) as temporary:
        # not tempfile.mkstemp: it would hide the result from everybody but its owner
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        with os.fdopen(handle, "wb") as file:
            file.write(content)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(content: bytes) -> str:
    """Hexadecimal SHA-256."""
    return hashlib.sha256(content).hexdigest()


def canonical(content: Any) -> bytes:
    """One byte string for equal plain data, whatever the order of its keys."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
