"""Checkpoints of dmg: found by epoch, read without running code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ImportDmgError
from ...io.files import read_bytes, sha256
from ..state_dict import MAX_CHECKPOINT, mismatch, read_state_dict

#: Names since 1.4, ``hbv_ep50.pt``, and before, ``dHbv_Ep50.pt``.
_CHECKPOINT = re.compile(r"\w+_[eE]p\d+\.pt")


def recognises(folder: Path) -> bool:
    """Tell whether a path is a model folder of ``dmg`` or ``dhbv2``: it has a checkpoint named as theirs."""
    return any(_CHECKPOINT.fullmatch(file.name) for file in folder.glob("*.pt"))


@dataclass(frozen=True)
class Checkpoint:
    """Weights of one epoch.

    Parameters
    ----------
    path : Path
    size : int
        Bytes.
    digest : str
    weights : mapping of str to Tensor
        Under the names of the unwrapped model, as they are in the file: of any shape.
    """

    path: Path
    size: int
    digest: str
    weights: Mapping[str, Tensor]

    @classmethod
    def read(cls, path: Path) -> Checkpoint:
        """Read a file without running code."""
        content = read_bytes(path, ImportDmgError, MAX_CHECKPOINT)
        return cls(path, len(content), sha256(content), read_state_dict(content, path, ImportDmgError))

    def check_size(self, sizes: Sequence[int], nmul: int) -> None:
        """Refuse hidden sizes that do not fit the file, before memory is allocated for them."""
        widest = max(sizes)
        # Each layer has that many weights, of two bytes at least.
        if widest * max(widest, nmul) > self.size:
            raise ImportDmgError(
                f"{self.path}: does not fit the configuration: it is too small for {widest} hidden units and "
                f"nmul {nmul}"
            )

    def take(self, expected: Mapping[str, Sequence[int]], idle: tuple[str, ...] = ()) -> dict[str, Tensor]:
        """Return all weights in single precision, if they are those of these names and shapes.

        What has a prefix of `idle` is left out.
        """
        actual = {k: [*v.shape] for k, v in self.weights.items() if not (idle and k.startswith(idle))}
        if wrong := mismatch(expected, actual):
            raise ImportDmgError(f"{self.path}: {wrong}")
        # Only now, since a tensor that fits no place may be of any size.
        taken = {k: self.weights[k].float() for k in expected}
        for k, weight in taken.items():
            if not bool(torch.isfinite(weight).all()):
                raise ImportDmgError(
                    f"{self.path}: {k} holds numbers that are not finite; take an earlier epoch"
                )
        return taken


def find_checkpoint(folder: Path, model: str, epoch: int | None) -> Path:
    """Return the checkpoint of an epoch, by default the last."""
    by_epoch = {
        int(match[1]): file
        for file in sorted(folder.glob("*.pt"))
        if (match := re.fullmatch(rf"d?{re.escape(model)}_ep(\d+)\.pt", file.name, re.IGNORECASE))
    }
    chosen = epoch if epoch is not None else max(by_epoch, default=None)
    if chosen not in by_epoch:
        available = ", ".join(sorted(f.name for f in folder.glob("*.pt"))) or "no checkpoint"
        name = f"{model.lower()}_ep{'<epoch>' if epoch is None else epoch}.pt"
        raise ImportDmgError(f"{folder}: has no {name}; available: {available}")
    return by_epoch[chosen]
