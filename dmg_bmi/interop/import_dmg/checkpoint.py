"""Checkpoints of dmg: found by epoch, read without running code."""

from __future__ import annotations

import re
from pathlib import Path

from torch import Tensor

from ...errors import ImportDmgError
from ..state_dict import read_state_dict

#: Prefixes that torch.compile and DataParallel add to the names of the model, in any order and number.
_WRAPPED = re.compile(r"(^|\.)(?:(?:module|_orig_mod)\.)+")


_CHECKPOINT = re.compile(r"\w+_ep\d+\.pt")


def recognises(folder: Path) -> bool:
    """Tell whether a path is a model folder of ``dmg`` or ``dhbv2``: it has a checkpoint named as theirs."""
    return any(_CHECKPOINT.fullmatch(file.name) for file in folder.glob("*.pt"))


def find_checkpoint(folder: Path, model: str, epoch: int | None) -> Path:
    """Return the checkpoint of an epoch, by default the last."""
    by_epoch = {
        int(match[1]): file
        for file in folder.glob("*.pt")
        if (match := re.fullmatch(rf"{re.escape(model.lower())}_ep(\d+)\.pt", file.name))
    }
    chosen = epoch if epoch is not None else max(by_epoch, default=None)
    if chosen not in by_epoch:
        available = ", ".join(sorted(f.name for f in folder.glob("*.pt"))) or "no checkpoint"
        name = f"{model.lower()}_ep{'<epoch>' if epoch is None else epoch}.pt"
        raise ImportDmgError(f"{folder}: has no {name}; available: {available}")
    return by_epoch[chosen]


def read_weights(content: bytes, path: Path) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint, under the names of the unwrapped model."""
    weights = read_state_dict(content, path, ImportDmgError)
    unwrapped = {_WRAPPED.sub(r"\1", name): weight for name, weight in weights.items()}
    if len(unwrapped) != len(weights):
        raise ImportDmgError(f"{path}: holds weights of one name with a wrapper's prefix and without")
    return unwrapped
