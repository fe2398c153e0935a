"""A bundle assembled from configuration, statistics and weights of a dmg run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...errors import ImportDmgError
from ...io.files import read_bytes, sha256
from ...model.bundle import Bundle
from ...model.delta_model import DeltaModel
from ...model.normalisation import FeatureStatistics
from ...model.roles import ParameterRole
from ..state_dict import MAX_CHECKPOINT
from .checkpoint import find_checkpoint, read_weights
from .run_config import DmgRun, find_config
from .statistics import FILE, read_statistics

ROUTING_LENGTH = 15
_LSTM_KEYS = {
    "linear_in.weight": "linear_in.weight",
    "linear_in.bias": "linear_in.bias",
    "lstm.weight_ih_l0": "lstm.w_ih",
    "lstm.weight_hh_l0": "lstm.w_hh",
    "lstm.bias_ih_l0": "lstm.b_ih",
    "lstm.bias_hh_l0": "lstm.b_hh",
    "linear_out.weight": "linear_out.weight",
    "linear_out.bias": "linear_out.bias",
}
#: Their MLP has seven hidden layers; ours counts linear, ReLU and dropout.
_MLP_LAYERS = ("i2h", *(f"h2h{i}" for i in range(1, 7)), "h2o")
_MLP_KEYS = {
    f"layers.{3 * i}.{part}": f"{layer}.{part}"
    for i, layer in enumerate(_MLP_LAYERS)
    for part in ("weight", "bias")
}


def import_dmg(
    folder: str | Path, config: str | Path | None = None, epoch: int | None = None, name: str | None = None
) -> Bundle:
    """Make a bundle from a model directory of ``dmg`` or ``dhbv2``.

    Parameters
    ----------
    folder : path
        With the checkpoint and the statistics.
    config : path, optional
        The configuration of the run; by default ``config.yaml`` in or above `folder`.
    epoch : int, optional
        Of the checkpoint; by default the last.
    name : str, optional
        Of the bundle.

    Returns
    -------
    Bundle
        Its provenance says what was imported and how static parameters are frozen.

    Raises
    ------
    ImportDmgError, ConfigError
        When anything is unknown, missing or of another shape: nothing is imported in part.
    """
    folder = Path(folder)
    if not os.path.isdir(folder):
        raise ImportDmgError(f"{folder}: no such folder")
    run = DmgRun.read(find_config(folder, config))
    checkpoint = find_checkpoint(folder, run.phy_name, epoch)
    content = read_bytes(checkpoint, ImportDmgError, MAX_CHECKPOINT)
    weights = read_weights(content, checkpoint)
    _check_size(run, len(content), checkpoint)
    model = build_model(run, read_statistics(folder / FILE, run))
    _load(model, weights, run, checkpoint)
    return Bundle(
        model.eval(),
        name or f"{run.phy_name.lower()}_{run.nn_name.lower()}",
        f"{run.nn_name} + {run.phy_name}, imported from dmg",
        {
            "imported_from": f"dmg model {run.phy_name} with {run.nn_name}",
            "checkpoint": checkpoint.name,
            "checkpoint_sha256": sha256(content),
            "normalisation": "that of dmg's training: mean and standard deviation as stored, nothing added",
            "freezing": run.freezing,
        },
    )


def _check_size(run: DmgRun, size: int, path: Path) -> None:
    """Refuse hidden sizes that do not fit the checkpoint, before memory is allocated for them."""
    widest = max(run.sizes.values())
    # Each layer has that many weights, of two bytes at least.
    if widest * max(widest, run.nmul) > size:
        raise ImportDmgError(
            f"{path}: does not fit the configuration: it is too small for {widest} hidden units and "
            f"nmul {run.nmul}"
        )


def build_model(run: DmgRun, statistics: Mapping[str, FeatureStatistics]) -> DeltaModel:
    """Build a model of the layout of a run, its weights yet to be loaded."""
    inputs = tuple(run.symbols.get(name, name) for name in run.forcings)
    phy: dict[str, Any] = {"name": run.equations.name, "nmul": run.nmul}
    if run.equations.name == "hbv":
        phy["betaet"] = "BETAET" in run.equations.parameters
    phy["routing"] = ROUTING_LENGTH if run.routing else None
    roles: list[ParameterRole] = []
    networks: dict[str, Any] = {}
    if run.dynamic or not run.pair:
        static = () if run.pair else None
        roles.append(
            ParameterRole(
                inputs, run.attributes, run.dynamic, static, freeze_after=run.days_seen, network="lstm"
            )
        )
        networks["lstm"] = {"name": "lstm", "hidden_size": run.sizes["lstm"]}
    if run.pair:
        roles.append(ParameterRole((), run.attributes, network="mlp"))
        networks["mlp"] = {"name": "mlp", "hidden_sizes": [run.sizes["mlp"]] * (len(_MLP_LAYERS) - 1)}
    return DeltaModel.build(nn=networks, phy_model=phy, roles=roles, statistics=statistics)


def _load(model: DeltaModel, theirs: Mapping[str, Tensor], run: DmgRun, path: Path) -> None:
    """Load their weights into the model, output rows in its order."""
    routed = ("route_a", "route_b") if run.routing else ()
    if run.pair:
        static = tuple(name for name in run.equations.parameters if name not in run.dynamic)
        layout = {
            "lstm": ("nn_model.lstminv.", _LSTM_KEYS, run.dynamic),
            "mlp": ("nn_model.ann.", _MLP_KEYS, (*static, *routed)),
        }
    else:
        layout = {"lstm": ("nn_model.", _LSTM_KEYS, (*run.equations.parameters, *routed))}
    sources: dict[str, str] = {}
    rows: dict[str, list[int]] = {}
    for role in model.roles:
        assert isinstance(role, ParameterRole)  # noqa: S101  as built above
        prefix, keys, order = layout.pop(role.network)
        sources |= {f"nn.{role.network}.{ours}": prefix + name for ours, name in keys.items()}
        permuted = _output_rows(order, role.supplied, run.nmul)
        rows |= {f"nn.{role.network}.{name}": permuted for name in [*keys][-2:]}
    # The LSTM of a pair without dynamic parameters has no outputs, so nothing depends on it.
    idle = tuple(prefix for prefix, _, _ in layout.values())
    _check_shapes(
        {sources[k]: list(v.shape) for k, v in model.state_dict().items()},
        {k: list(v.shape) for k, v in theirs.items() if not (idle and k.startswith(idle))},
        path,
    )
    # Only now, since a tensor that fits no place may be of any size.
    loaded = {k: theirs[source].float() for k, source in sources.items()}
    for k, weight in loaded.items():
        if not bool(torch.isfinite(weight).all()):
            raise ImportDmgError(
                f"{path}: {sources[k]} holds numbers that are not finite; take an earlier epoch"
            )
    model.load_state_dict({k: v[rows[k]] if k in rows else v for k, v in loaded.items()})


def _output_rows(order: Sequence[str], supplied: Sequence[str], nmul: int) -> list[int]:
    """List their output rows, by parameter and component, in the order `supplied`."""
    rows_by_name, begin = {}, 0
    for name in order:
        rows_by_name[name] = range(begin, begin + (1 if name.startswith("route_") else nmul))
        begin = rows_by_name[name].stop
    return [row for name in supplied for row in rows_by_name[name]]


def _check_shapes(expected: Mapping[str, list[int]], actual: Mapping[str, list[int]], path: Path) -> None:
    problems = [f"has no {k}" for k in expected if k not in actual]
    problems += [f"holds {k}, which this configuration has no place for" for k in actual if k not in expected]
    problems += [
        f"{k} is {actual[k]}, the configuration says {shape}"
        for k, shape in expected.items()
        if actual.get(k, shape) != shape
    ]
    if problems:
        more = f"; and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ImportDmgError(f"{path}: does not fit the configuration: {'; '.join(problems[:3])}{more}")
