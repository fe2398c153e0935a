"""Checkpoints of dmg: found by epoch, read without running code."""

from __future__ import annotations

import re
import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ImportDmgError

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
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as parts:
                # torch.save does not compress; compressed parts could grow a thousandfold.
                if sum(part.file_size for part in parts.infolist()) > len(content):
                    raise ValueError("its parts are larger than the file")
        weights = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # on corrupt bytes the unpickler raises whatever its parser meets
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise ImportDmgError(f"{path}: holds more than weights, or is corrupt: {reason}") from problem
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise ImportDmgError(f"{path}: is not a state dict of weights")
    for name, weight in weights.items():
        if not _is_plain(weight):
            raise ImportDmgError(
                f"{path}: is not a state dict of weights: {name} is not a tensor of plain numbers"
            )
    unwrapped = {_WRAPPED.sub(r"\1", name): weight for name, weight in weights.items()}
    if len(unwrapped) != len(weights):
        raise ImportDmgError(f"{path}: holds weights of one name with a wrapper's prefix and without")
    return unwrapped


def _is_plain(weight: object) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and weight.layout is torch.strided
        and not weight.is_nested
        and weight.device.type == "cpu"  # "meta" tensors hold no numbers
    )
