"""Pairs of a slow model, which runs through the past, and a fast one that continues from there.

A year of spin-up takes 365 steps of a daily model and 8760 of an hourly one. In a pair the
daily model runs through the past and hands over its stores and the memory of its networks to
the hourly one (Gauch et al., 2021, https://doi.org/10.5194/hess-25-2045-2021, for LSTMs). Both
are ordinary models. Deployed is the fast one, with the state handed over; or both as one
model that spins itself up (:mod:`~.spin_up`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Self

import safetensors.torch
from safetensors import SafetensorError

from ..errors import BundleError
from ..io.atomic import locked, make_folder, write_atomic
from ..io.files import read_bytes, read_json, sha256
from .bundle import Bundle, BundleInfo
from .pair import ModelPair
from .spin_up import SpinUpModel

INDEX, WEIGHTS = "pair.json", "transfer.safetensors"


class MultiTimescale(ModelPair):
    """Two models of the same catchments at two steps, trained together; see :class:`ModelPair`."""

    def deployed(self, steps: int) -> SpinUpModel:
        """Return both as one model, which spins each row up by `steps` of the slow one."""
        return SpinUpModel(self, steps)

    def save(self, folder: str | Path) -> None:
        """Write two bundles, ``slow`` and ``fast``, and the maps that connect them.

        The index lists the parts of one save, so that an interrupted save is noticed.
        """
        folder = Path(folder)
        make_folder(folder)
        weights = {k: v.detach().contiguous().cpu() for k, v in self.memory.state_dict().items()}
        content = safetensors.torch.save(weights)
        with locked(folder / "pair"):
            parts = {WEIGHTS: sha256(content)}
            for name, model in (("slow", self.slow), ("fast", self.fast)):
                parts[name] = Bundle(model, name).save(folder / name).fingerprint
            write_atomic(folder / WEIGHTS, content)
            index = {"shared": self.shared, "transfer": self.transfer, "parts": parts}
            write_atomic(folder / INDEX, json.dumps(index).encode())

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a pair that :meth:`save` wrote; BundleError if it is not valid."""
        folder = Path(folder)
        slow, fast = (Bundle.load(folder / name).model for name in ("slow", "fast"))
        try:
            index = read_json(folder / INDEX, BundleError)
            parts = {name: BundleInfo.read(folder / name).fingerprint for name in ("slow", "fast")}
            weights = read_bytes(folder / WEIGHTS, BundleError)
            parts[WEIGHTS] = sha256(weights)
            if index.pop("parts", parts) != parts:
                raise BundleError(f"{folder}: its parts were not saved together; save the pair again")
            pair = cls(slow, fast, **index)
            pair.memory.load_state_dict(safetensors.torch.load(weights))
        except (OSError, SafetensorError, RuntimeError, ValueError, TypeError) as problem:
            raise BundleError(f"{folder}: is not a pair of models: {problem}") from problem
        return pair.eval().requires_grad_(False)
