"""A state as bytes, and as a file: versioned, fingerprinted, checksummed, free of code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from ..errors import StateError, WriteError
from ..io.atomic import write_atomic
from ..io.files import read_bytes

MAGIC = b"DMG_BMI_STATE\x00"
VERSION = 1
MAX_SIZE = 16 * 2**30
_HEAD = len(MAGIC) + 2 + 32


def encode(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> bytes:
    """Return a plain header and named tensors as bytes: magic, version, SHA-256, safetensors."""
    contiguous = {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}
    payload = safetensors.torch.save(contiguous, {"header": json.dumps(header, sort_keys=True)})
    return MAGIC + VERSION.to_bytes(2, "little") + sha256(payload).digest() + payload


def decode(content: bytes, source: str = "state") -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the header and the tensors that :func:`encode` made bytes of.

    Raises
    ------
    StateError
        Foreign, corrupt or truncated, or of a newer version.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise StateError(f"{source}: is not a state saved by dmg_bmi")
    version = int.from_bytes(content[len(MAGIC) : len(MAGIC) + 2], "little")
    if version != VERSION:
        raise StateError(f"{source}: has state version {version}; this dmg_bmi reads {VERSION}")
    payload = content[_HEAD:]
    if sha256(payload).digest() != content[_HEAD - 32 : _HEAD]:
        raise StateError(f"{source}: does not match its checksum: it is corrupt or truncated")
    try:
        length = int.from_bytes(payload[:8], "little")
        header = dict(json.loads(json.loads(payload[8 : 8 + length])["__metadata__"]["header"]))
        return header, safetensors.torch.load(payload)
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as problem:
        raise StateError(f"{source}: cannot be read: {problem}") from problem


def write(path: Path, content: bytes) -> None:
    """Write a state file whole or not at all."""
    try:
        write_atomic(path, content)
    except WriteError as problem:
        raise StateError(f"{path}: the state cannot be written ({problem.strerror})") from problem


def read(path: Path) -> bytes:
    """Read a state file, of any bytes that fit in memory."""
    return read_bytes(path, StateError, MAX_SIZE)
