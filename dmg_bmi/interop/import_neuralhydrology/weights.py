"""Weights of a neuralhydrology checkpoint, under the names that they have here."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ...errors import ImportModelError
from ...io.files import read_bytes
from ...nn_models import Network
from ..state_dict import MAX_CHECKPOINT, mismatch, read_state_dict
from .run_config import NhRun

_PARTS = ("weight", "bias")
_LSTM = {f"lstm.{part}_l0": f"lstm.{part}_l0" for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
_CELL = {
    "lstm.weight_ih_l0": "cell.w_ih",
    "lstm.weight_hh_l0": "cell.w_hh",
    "lstm.bias_ih_l0": "cell.b_ih",
    "lstm.bias_hh_l0": "cell.b_hh",
}
_EA_LSTM = {
    "input_gate.weight": "input_gate.weight",
    "input_gate.bias": "input_gate.bias",
    "of_inputs.weight": "dynamic_gates.weight_ih",
    "of_inputs.bias": "dynamic_gates.bias",
    "of_hidden.weight": "dynamic_gates.weight_hh",
}
_PARAMETERS = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")
_MTS_LSTM = {f"{branch}.{name}": f"{branch}.{name}" for branch in ("slow", "fast") for name in _PARAMETERS}
_MTS_LSTM |= {name: name for name in (f"transfers.{state}.{part}" for state in "hc" for part in _PARTS)}
_LAYERS = {
    "cudalstm": _LSTM,
    "embcudalstm": _LSTM,
    "customlstm": _CELL,
    "lstm": _CELL,
    "ealstm": _EA_LSTM,
    "mtslstm": _LSTM | _MTS_LSTM,
}
#: Theirs multiplies from the other side.
_TRANSPOSED = ("dynamic_gates.weight_ih", "dynamic_gates.weight_hh")
#: The whole model once more.
_TWICE = "cudalstm."


def find_checkpoint(folder: Path, epoch: int | None) -> Path:
    """Return the checkpoint of an epoch, by default the last."""
    by_epoch = {
        int(match[1]): file
        for file in folder.glob("*.pt")
        if (match := re.fullmatch(r"model_epoch(\d+)\.pt", file.name))
    }
    chosen = epoch if epoch is not None else max(by_epoch, default=None)
    if chosen not in by_epoch:
        wanted = "model_epoch<number>.pt" if epoch is None else f"model_epoch{epoch:03d}.pt"
        available = ", ".join(sorted(f.name for f in folder.glob("*.pt"))) or "no checkpoint"
        raise ImportModelError(f"{folder}: has no {wanted}; available: {available}")
    return by_epoch[chosen]


def read_checkpoint(path: Path, run: NhRun, whole: bool) -> tuple[dict[str, Tensor], bytes]:
    """Read the weights of a run, by their own names, and the bytes of their file.

    Of a run of two time steps only the fast network is read unless `whole`, named without its frequency.
    """
    if not os.path.isfile(path):
        raise ImportModelError(f"{path}: no such file")
    content = read_bytes(path, ImportModelError, MAX_CHECKPOINT)
    weights = read_state_dict(content, path, ImportModelError)
    if run.model == "embcudalstm":
        weights = {k: v for k, v in weights.items() if not k.startswith(_TWICE)}
    if run.slow is not None:
        weights = run.slow.renamed(weights, whole)
    return weights, content


def load_weights(network: Network, theirs: Mapping[str, Tensor], run: NhRun, path: Path) -> None:
    """Load their weights into a network of the layout of the run.

    Raises
    ------
    ImportModelError
        Naming the file and what is missing, unknown or of another shape; nothing has changed then.
    """
    sources = {ours: _source(ours, run, theirs) for ours in network.state_dict()}
    _check(network, sources, theirs, path)
    loaded = {}
    for ours, source in sources.items():
        weight = theirs[source].float()
        if not bool(torch.isfinite(weight).all()):
            raise ImportModelError(f"{path}: {source} holds numbers that are not finite; take another epoch")
        loaded[ours] = weight.t() if source in _TRANSPOSED else weight
    network.load_state_dict(loaded)


def check_weights(network: Network, theirs: Mapping[str, Tensor], run: NhRun, path: Path) -> None:
    """Refuse weights that do not fit a network, which may have no memory of its own yet."""
    _check(network, {ours: _source(ours, run, theirs) for ours in network.state_dict()}, theirs, path)


def _source(ours: str, run: NhRun, theirs: Mapping[str, Tensor]) -> str:
    """Return their name of one of our weights."""
    layer = _LAYERS[run.model]
    if ours in layer:
        return layer[ours]
    part, _, rest = ours.partition(".")
    if part == "embed_static":
        return f"embedding_net.statics_embedding.net.{rest.removeprefix('layers.')}"
    if part == "embed_dynamic":
        rest = rest.removeprefix("layers.")
        grouped = f"embedding_net.dynamics_embeddings.0.net.{rest}"  # since 1.13
        return grouped if grouped in theirs else f"embedding_net.dynamics_embedding.net.{rest}"
    return {
        **{f"linear.{p}": f"head.net.0.{p}" for p in _PARTS},
        **{f"hidden.{p}": f"head.fc1.{p}" for p in _PARTS},
        **{f"parameters_of.{p}": f"head.fc2.{p}" for p in _PARTS},
    }[rest]


def _check(network: Network, sources: Mapping[str, str], theirs: Mapping[str, Tensor], path: Path) -> None:
    expected = {}
    for ours, weight in network.state_dict().items():
        shape = list(weight.shape)
        expected[sources[ours]] = shape[::-1] if sources[ours] in _TRANSPOSED else shape
    if wrong := mismatch(expected, {name: weight.shape for name, weight in theirs.items()}):
        raise ImportModelError(f"{path}: {wrong}")
