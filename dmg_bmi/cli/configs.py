"""List the shipped configurations, or copy one to begin with.

Without a name: every configuration of a component, of a training and of a benchmark, and what it is for.
With one: the file is copied into --output, with the tables that it names, ready to be edited.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi configs``."""
    parser.add_argument("name", nargs="?", help="configuration to copy (default: list them all)")
    parser.add_argument(
        "--output", type=Path, default=Path("."), help="folder to copy into (default: this one)"
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi configs``."""
    if arguments.name is None:
        print(listing())
        return
    for path in copy(arguments.name, arguments.output):
        print(path)


def shipped() -> dict[str, dict[str, Path]]:
    """Return the shipped files by the command that reads them and by name."""
    from ..runtime.config import shipped_folder
    from ..training.benchmark.protocol import SHIPPED as PROTOCOLS
    from ..training.config import SHIPPED as TRAININGS

    trainings = {path.stem: path for path in sorted(TRAININGS.glob("*.yaml"))}
    calibrations = {name: path for name, path in trainings.items() if name.startswith("calibrate")}
    protocols = {p.stem: p for p in sorted(PROTOCOLS.glob("*.yaml")) if not p.name.startswith("rivals")}
    return {
        "run": {path.stem: path for path in sorted(shipped_folder().glob("*.yaml"))},
        "train": {name: path for name, path in trainings.items() if name not in calibrations},
        "calibrate": calibrations,
        "benchmark": protocols,
    }


def listing() -> str:
    """Return a line for each configuration, by the command that reads it."""
    groups = shipped()
    width = max(len(name) for files in groups.values() for name in files)
    parts = []
    for command_name, files in groups.items():
        lines = [f"  {name:{width}}  {_purpose(path)}" for name, path in files.items()]
        parts.append("\n".join([f"dmg-bmi {command_name} NAME ...", *lines]))
    return "\n\n".join(parts) + "\n\ndmg-bmi configs NAME copies one, to be edited"


def _purpose(path: Path) -> str:
    """Return the summary of a file, or the first sentence of the comment that it begins with."""
    from ..io.typed_yaml import read_yaml

    summary = read_yaml(path).get("summary")
    if summary:
        return str(summary)
    comment = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        comment.append(line.removeprefix("#").strip())
    return " ".join(comment).partition(". ")[0].partition(":")[0].rstrip(".")


def copy(name: str, folder: Path) -> list[Path]:
    """Copy a configuration and the files that it names; return the copies.

    Raises
    ------
    ConfigError
        If there is none of that name, or a file would be written over; nothing is copied then.
    """
    from ..errors import ConfigError, alternatives
    from ..io.atomic import make_folder, write_atomic

    every = {stem: path for files in shipped().values() for stem, path in files.items()}
    if name not in every:
        raise ConfigError(f"{name}: no such configuration; {alternatives(name, every, len(every))}")
    sources = [every[name], *_files_of(every[name])]
    copies = [folder / source.name for source in sources]
    for target in copies:
        if target.exists():
            raise ConfigError(f"{target}: exists; give another folder by --output, or move it away")
    make_folder(folder)
    for source, target in zip(sources, copies, strict=True):
        write_atomic(target, source.read_bytes())
    return copies


def _files_of(path: Path) -> list[Path]:
    """Return the files beside a configuration that it names."""
    from ..io.typed_yaml import read_yaml

    def texts(value: object) -> Iterator[str]:
        if isinstance(value, str):
            yield value
        elif isinstance(value, Mapping):
            for item in value.values():
                yield from texts(item)
        elif isinstance(value, list):
            for item in value:
                yield from texts(item)

    named = (path.with_name(text) for text in texts(read_yaml(path)) if Path(text).name == text != "")
    return [file for file in dict.fromkeys(named) if file.is_file() and file != path]
