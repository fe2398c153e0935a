"""Files of a bundle: where they are, its description with a checksum, and weights, written before it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ..errors import BundleError
from ..io.atomic import LOCK, create, locked, make_folder, put
from ..io.files import as_path, canonical, read_bytes, sha256

log = logging.getLogger("dmg_bmi")
DESCRIPTION = "bundle.yaml"
#: Folder of the bundle in that of a training.
OF_RUN = "bundle"
SHIPPED = Path(__file__).parent.parent / "bundles"
MAX_WEIGHTS = 8 * 2**30
#: The name of a file of weights, whose digits are the first of its checksum.
_WEIGHTS = re.compile(r"(weights|error)-[0-9a-f]{12}\.safetensors")


@dataclass(frozen=True)
class LearnedPart:
    """The learned error of a model's forecasts, as a bundle holds it.

    Parameters
    ----------
    description : mapping
        Plain data; ``model`` is the fingerprint of the model whose forecasts it is about.
    weights : bytes
        Content of a safetensors file.
    """

    description: Mapping[str, Any]
    weights: bytes

    def named(self) -> tuple[dict[str, Any], dict[str, bytes]]:
        """Return its description with that of its file, and the file."""
        digest = sha256(self.weights)
        file = f"error-{digest[:12]}.safetensors"
        return {**self.description, "weights": {"file": file, "sha256": digest}}, {file: self.weights}


def is_weights(name: str) -> bool:
    """Tell whether a file of this name is one of weights that a bundle was saved with."""
    return _WEIGHTS.fullmatch(name) is not None


def read(file: Path) -> bytes:
    """Read a file of a bundle."""
    return read_bytes(file, BundleError, MAX_WEIGHTS)


def read_checked(file: Path, digest: object) -> bytes:
    """Read a file of weights, and check it against what the description says."""
    content = read(file)
    if sha256(content) != digest:
        raise BundleError(f"{file}: does not match its checksum: it is truncated or was replaced")
    return content


def checksum_of(content: Mapping[str, Any]) -> str | None:
    """Compute the checksum of plain data; None for data that no bundle holds, such as a date."""
    try:
        return sha256(canonical(content))
    except TypeError:
        return None


def sealed(content: dict[str, Any]) -> bytes:
    """Return a description as the content of a file, with its checksum."""
    content.pop("checksum", None)
    content["checksum"] = sha256(canonical(content))
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110).encode("utf-8")


def write(folder: Path, files: Mapping[str, bytes], description: bytes) -> None:
    """Write weights and then the description into a folder, and remove the weights of an older bundle."""
    make_folder(folder)
    with locked(folder / DESCRIPTION) as workspace:
        for name, content in (*files.items(), (DESCRIPTION, description)):
            create(workspace / name, content)
            put(workspace / name, folder / name)
        # Without locks, weights that look stale may be those that another process is about to publish.
        for stale in folder.iterdir() if (workspace / LOCK).exists() else ():
            if is_weights(stale.name) and stale.name not in files:
                stale.unlink(missing_ok=True)


def fingerprint_of(description: Mapping[str, Any], weights_sha256: str) -> str:
    """Compute the fingerprint of a model: description and weights."""
    return sha256(canonical({"model": description, "weights": weights_sha256}))


def find(path: str | Path) -> Path:
    """Return the folder that `path` names: itself, the bundle of a run's folder, or the shipped one."""
    folder = as_path(path, BundleError)
    if folder.name == DESCRIPTION:
        folder = folder.parent
    if not os.path.isfile(folder / DESCRIPTION):
        if os.path.isfile(folder / OF_RUN / DESCRIPTION):
            return folder / OF_RUN
        shipped = SHIPPED / str(path)
        if os.path.isfile(shipped / DESCRIPTION):
            if os.path.exists(folder):
                log.warning("%s: is not a bundle; the shipped bundle of that name is taken", folder)
            return shipped
        raise BundleError(
            f"{folder}: no bundle found (no {DESCRIPTION}); shipped: {', '.join(shipped_names()) or 'none'}"
        )
    return folder


def shipped_names() -> list[str]:
    """List the names of shipped bundles."""
    return sorted(p.parent.name for p in SHIPPED.glob(f"*/{DESCRIPTION}"))
