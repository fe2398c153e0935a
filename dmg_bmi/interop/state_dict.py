"""State dicts of other packages, read without running code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DmgBmiError

MAX_CHECKPOINT = 8 * 2**30
#: What wrappers of PyTorch and Lightning add to the names of a model, in any order and number.
_WRAPPERS = (
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module",
)  # fmt: skip
_WRAPPED = re.compile(rf"(^|\.)(?:(?:{'|'.join(_WRAPPERS)})\.)+")
_FOREIGN = re.compile(r"GLOBAL ([\w.]+)")


def read_state_dict(content: bytes, path: Path, error: type[DmgBmiError]) -> dict[str, Tensor]:
    """Read the state dict of a checkpoint, under the names of the unwrapped model.

    Raises
    ------
    DmgBmiError
        Of the type `error`, naming `path`: it holds anything else.
    """
    try:
        if zipfile.is_zipfile(BytesIO(content)):
            with zipfile.ZipFile(BytesIO(content)) as parts:
                # torch.save does not compress; compressed parts could grow a thousandfold.
                if sum(part.file_size for part in parts.infolist()) > len(content):
                    raise ValueError("its parts are larger than the file")
        weights = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as problem:  # on corrupt bytes the unpickler raises whatever its parser meets
        raise error(f"{path}: holds more than weights, or is corrupt: {_reason(problem)}") from problem
    if not isinstance(weights, dict) or not all(isinstance(k, str) for k in weights):
        raise error(f"{path}: is not a state dict of weights")
    for name, weight in weights.items():
        if not _is_plain(weight):
            within = "; save what is in it alone" if isinstance(weight, Mapping) else ""
            raise error(
                f"{path}: is not a state dict of weights: {name} is not a tensor of plain numbers{within}"
            )
    unwrapped = {_WRAPPED.sub(r"\1", name): weight for name, weight in weights.items()}
    if len(unwrapped) != len(weights):
        raise error(f"{path}: holds weights of one name with a wrapper's prefix and without")
    return unwrapped


def mismatch(expected: Mapping[str, Sequence[int]], found: Mapping[str, Sequence[int]]) -> str:
    """Tell how names and shapes of weights differ from those that a configuration asks for; or nothing."""
    problems = [f"has no {name}" for name in expected if name not in found]
    problems += [
        f"holds {name}, for which this configuration has no place" for name in found if name not in expected
    ]
    problems += [
        f"{name} is {[*found[name]]}, the configuration says {[*shape]}"
        for name, shape in expected.items()
        if name in found and [*found[name]] != [*shape]
    ]
    if not problems:
        return ""
    more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
    return f"does not fit the configuration: {'; '.join(problems[:3])}{more}{_renaming(expected, found)}"


def _renaming(expected: Mapping[str, object], found: Mapping[str, object]) -> str:
    """Name the prefix by which all names differ."""
    for shorter, longer, remedy in (
        (expected, found, "before each of its names; take it off"),
        (found, expected, "missing before each of its names; put it there"),
    ):
        first = next(iter(shorter), "")
        prefix = next((name.removesuffix(first) for name in longer if name.endswith(f".{first}")), "")
        if first and prefix and {prefix + name for name in shorter} <= {*longer}:
            return f". {prefix!r} is {remedy}"
    return ""


def _reason(problem: Exception) -> str:
    """Say what PyTorch refused, but not its advice to read the file all the same."""
    said = str(problem)
    if foreign := _FOREIGN.search(said):
        return f"it names {foreign[1]}; save the state_dict of the model alone"
    return said.splitlines()[0] if said else type(problem).__name__


def _is_plain(weight: object) -> bool:
    return (
        isinstance(weight, Tensor)
        and weight.dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)
        and weight.layout is torch.strided
        and not weight.is_nested
        and weight.device.type == "cpu"  # "meta" tensors hold no numbers
    )
