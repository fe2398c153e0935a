"""Training checkpoints: one file from which an interrupted training resumes bit for bit.

A safetensors file with JSON in its header: written whole or not at all, and reading it runs no code.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import TrainingError
from ..io.atomic import write_atomic
from ..io.files import opened

FORMAT = 1
_KEY = "dmg_bmi.training"


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn errors of writing into a :class:`TrainingError` with the remedy; saved files stay whole."""
    try:
        yield
    except OSError as problem:
        if problem.errno == errno.EAGAIN:
            raise TrainingError(
                f"{path}: another process is writing there; wait for it, or choose another folder"
            ) from problem
        raise TrainingError(
            f"{problem.filename or path}: cannot be written ({problem.strerror or problem}). Files saved "
            "before are whole: make room or make the folder writable, and the same command resumes from there"
        ) from problem


def save(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and plain data, in place of an older checkpoint in one step."""
    detached = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    header = json.dumps({"format": FORMAT, **facts})
    with writing(path):
        write_atomic(path, safetensors.torch.save(detached, {_KEY: header}))


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and plain data.

    Raises
    ------
    TrainingError
        If the file is corrupt or truncated, or of another format.
    """
    with opened(path, TrainingError):
        pass
    try:
        with safe_open(path, framework="pt") as file:
            facts = dict(json.loads((file.metadata() or {})[_KEY]))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a mapping
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as problem:
        raise TrainingError(f"{path}: is not a checkpoint ({problem}); remove it to start again") from problem
    if facts.pop("format", None) != FORMAT:
        raise TrainingError(f"{path}: is of another version of dmg_bmi; remove it to start again")
    return tensors, facts


def random_state(device: torch.device) -> Tensor:
    """Return the state of torch's generators that a step on this device draws from, bytes."""
    states = [torch.get_rng_state()]
    if device.type == "cuda":
        states.append(torch.cuda.get_rng_state(device))
    return torch.cat(states)


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Restore a state of :func:`random_state`."""
    size = len(torch.get_rng_state())
    torch.set_rng_state(state[:size].clone())  # a view would be read from its storage's start
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[size:].clone(), device)
