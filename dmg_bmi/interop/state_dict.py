"""State dicts of other packages, read without running code."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DmgBmiError

MAX_CHECKPOINT = 8 * 2**30


def read_state_dict(content: bytes, path: Path, error: type[DmgBmiError]) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint; `error`, naming `path`, if it holds anything else."""
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as parts:
                # torch.save does not compress; compressed parts could grow a thousandfold.
                if sum(part.file_size for part in parts.infolist()) > len(content):
                    raise ValueError("its parts are larger than the file")
        weights = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # on corrupt bytes the unpickler raises whatever its parser meets
        reason = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise error(f"{path}: holds more than weights, or is corrupt: {reason}") from problem
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise error(f"{path}: is not a state dict of weights")
    for name, weight in weights.items():
        if not _is_plain(weight):
            raise error(f"{path}: is not a state dict of weights: {name} is not a tensor of plain numbers")
    return weights


def _is_plain(weight: object) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and weight.layout is torch.strided
        and not weight.is_nested
        and weight.device.type == "cpu"  # "meta" tensors hold no numbers
    )
