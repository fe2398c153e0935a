"""Whole state of a component as a value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray
from ..physics import State

RUNTIME, CHANGED = "runtime.", "runtime.changed."


@dataclass(frozen=True)
class Snapshot:
    """Content of a state file: a plain header, and tensors with rows first.

    Parameters
    ----------
    header : mapping
        What it was saved by (fingerprint, ids, attributes, time step), and the model step.
    tensors : mapping of name to Tensor
        States of the model, arrays of the runtime as ``runtime.NAME``, attributes and multipliers
        that were set as ``runtime.changed.NAME``.
    """

    header: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    @classmethod
    def of(
        cls,
        header: Mapping[str, Any],
        state: State,
        runtime: Mapping[str, FloatArray],
        changed: Mapping[str, FloatArray],
    ) -> Snapshot:
        """Return a snapshot of arrays ``[..., rows]``, copied."""
        arrays = {f"{RUNTIME}{name}": np.moveaxis(array, -1, 0) for name, array in runtime.items()}
        arrays |= {f"{CHANGED}{name}": array for name, array in changed.items()}
        copies = {name: torch.from_numpy(np.array(array, order="C")) for name, array in arrays.items()}
        return cls(header, {**state, **copies})

    @property
    def state(self) -> State:
        """States of the model."""
        return {name: tensor for name, tensor in self.tensors.items() if not name.startswith(RUNTIME)}

    @property
    def runtime(self) -> dict[str, FloatArray]:
        """Arrays ``[..., rows]`` of the runtime, by name."""
        return {
            name.removeprefix(RUNTIME): np.moveaxis(tensor.numpy(), 0, -1)
            for name, tensor in self.tensors.items()
            if name.startswith(RUNTIME) and not name.startswith(CHANGED)
        }

    @property
    def changed(self) -> dict[str, FloatArray]:
        """Attributes and multipliers ``[rows]`` that were set, by name."""
        return {
            name.removeprefix(CHANGED): tensor.numpy()
            for name, tensor in self.tensors.items()
            if name.startswith(CHANGED)
        }
