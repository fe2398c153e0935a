"""A learned error as a bundle holds it: a plain description and a safetensors file, read without code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from itertools import count, pairwise, takewhile
from typing import Any

import numpy as np
import safetensors.torch
import torch
from torch import Tensor

from ..arrays import FloatArray
from ..assimilation.options import Assimilation
from ..errors import BundleError
from ..io.typed_yaml import from_mapping
from ..model.bundle import BundleInfo
from ..model.bundle_files import LearnedPart
from ..nn_models.mlp import MLP
from ..training.probabilistic import LEVELS
from .error_correction import ErrorCorrection
from .learned_error import DROPOUT, OF_PLACE, REGIMES, Calibration, LearnedError

#: Of the two calibrations.
_KINDS = ("with_observations", "without_observations")


def to_part(error: LearnedError, info: BundleInfo) -> LearnedPart:
    """Return a learned error as the bundle of its model holds it."""
    tensors = {
        f"network_{k}.{n}": t for k, one in enumerate(error.networks) for n, t in one.state_dict().items()
    }
    tensors |= {"centre": error.centre, "width": error.width}
    arrays = {"shares": error.correction.shares, "typical": error.typical}
    for kind, one in zip(_KINDS, error.calibrations or (), strict=False):
        arrays |= {f"{kind}.regimes": one.regimes, f"{kind}.offsets": one.offsets}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(values)) for name, values in arrays.items()}
    options = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(error.options).items()}
    return LearnedPart(
        {"model": info.fingerprint, "basins": [*error.ids], "leads": error.leads, "assimilation": options},
        safetensors.torch.save(tensors),
    )


def of_bundle(info: BundleInfo) -> LearnedError | None:
    """Return the learned error that a bundle holds, if it does.

    Raises
    ------
    BundleError
        If it is damaged, or of another model.
    """
    part = info.learned_part()
    if part is None:
        return None
    try:
        if part.description["model"] != info.fingerprint:
            raise BundleError("was learned of another model's forecasts; learn it again")
        return _read(part.description, safetensors.torch.load(part.weights))
    except Exception as problem:  # a description may be wrong in any way
        raise BundleError(f"{info.path}: the learned error of its forecasts: {problem}") from problem


def _read(described: Mapping[str, Any], tensors: dict[str, Tensor]) -> LearnedError:
    wrong = [name for name, t in tensors.items() if not (t.is_floating_point() and t.isfinite().all())]
    if wrong:
        raise BundleError(f"tensor {wrong[0]!r} holds what is no number")
    options = from_mapping(Assimilation, described["assimilation"], "assimilation")
    ids = described["basins"]
    if not (isinstance(ids, list) and all(isinstance(name, str) for name in ids) and len({*ids}) == len(ids)):
        raise BundleError("basins are not different names")
    basins, leads = len(ids), described["leads"]
    centre, width = tensors.pop("centre"), tensors.pop("width")
    calibrations = tuple(
        Calibration(
            _array(tensors, f"{kind}.regimes", (len(REGIMES), basins)),
            _array(tensors, f"{kind}.offsets", (len(REGIMES) + 1, len(LEVELS), leads)),
        )
        for kind in _KINDS
        if f"{kind}.regimes" in tensors
    )
    correction = ErrorCorrection(_array(tensors, "shares", (leads, basins)))
    typical = _array(tensors, "typical", (basins,))
    networks = tuple(
        _network(state, len(centre))
        for k in takewhile(lambda k: any(name.startswith(f"network_{k}.") for name in tensors), count())
        if (state := _below(tensors, f"network_{k}."))
    )
    both = (calibrations[0], calibrations[1]) if len(calibrations) == len(_KINDS) else None
    if tensors or not networks or centre.shape != width.shape or (calibrations and both is None):
        raise BundleError(f"its tensors do not fit ({', '.join(tensors) or 'too few'})")
    if not ((width > 0).all() and (typical > 0).all()):
        raise BundleError("a scale is not above zero")
    return LearnedError(networks, centre, width, correction, tuple(ids), typical, options, both)


def _array(tensors: dict[str, Tensor], name: str, shape: tuple[int, ...]) -> FloatArray:
    """Take an array out, checked."""
    found = tensors.pop(name)
    if (*found.shape,) != shape:
        raise BundleError(f"tensor {name!r} has shape {(*found.shape,)}, not {shape}")
    return np.asarray(found.numpy(), dtype=np.float64)


def _below(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take out what begins with a prefix, without it."""
    return {n.removeprefix(prefix): tensors.pop(n) for n in [*tensors] if n.startswith(prefix)}


def _network(state: Mapping[str, Tensor], inputs: int) -> MLP:
    """Return the network of weights; what they say of its size must agree before memory is taken for it."""
    numbers = sorted(int(name.split(".")[1]) for name in state if name.endswith(".weight"))
    weights = [state[f"layers.{number}.weight"] for number in numbers]
    sizes = [inputs, *(len(weight) for weight in weights)]
    if [(*weight.shape,) for weight in weights] != [(after, before) for before, after in pairwise(sizes)]:
        raise BundleError("the layers of a network do not fit each other")
    network = MLP(inputs, OF_PLACE + len(LEVELS), sizes[1:-1], DROPOUT)
    network.load_state_dict(state)
    return network.eval()
