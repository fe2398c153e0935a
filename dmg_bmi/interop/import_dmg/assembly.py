"""A bundle assembled from configuration, statistics and weights of a dmg run."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ...errors import ImportDmgError
from ...model.bundle import Bundle
from ...model.delta_model import DeltaModel
from ...model.normalisation import FeatureStatistics
from ...model.roles import ParameterRole, WeightRole
from ...model.roles.base import Role
from .checkpoint import Checkpoint, find_checkpoint
from .dialects import read_configuration
from .pair_assembly import import_pair, is_pair
from .run_config import DmgRun, Weighting, find_config, read_runs
from .statistics import FILE, read_statistics

ROUTING_LENGTH = 15
#: The name of an ensemble's weights.
WEIGHTS = "wNN"
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


@dataclass(frozen=True)
class Source:
    """Where the weights of a network are in a checkpoint.

    Parameters
    ----------
    network : str
        Key of the network here.
    prefix : str
        Of their names.
    keys : mapping of str to str
        Our name of a weight to theirs without the prefix; the last two are of the outputs.
    rows : list of int
        Their output for each of ours.
    """

    network: str
    prefix: str
    keys: Mapping[str, str]
    rows: list[int]


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
    top = read_configuration(find_config(folder, config))
    if is_pair(top):
        return import_pair(folder, top, epoch, name)
    runs, weighting = read_runs(top)
    names = [run.phy_name for run in runs] + ([WEIGHTS] if weighting else [])
    checkpoints: list[Checkpoint] = []
    for model_name, size in zip(names, _sizes(runs, weighting), strict=True):
        path = find_checkpoint(folder, model_name, epoch)
        # All of an ensemble are of one epoch.
        epoch = int(path.stem.rpartition("p")[2])
        checkpoints.append(Checkpoint.read(path))
        checkpoints[-1].check_size(*size)
    model = build_model(runs, weighting, read_statistics(folder / FILE, runs[0]))
    sources = [_sources(run, model) for run in runs] + ([[_weights_source(model)]] if weighting else [])
    loaded: dict[str, Tensor] = {}
    for checkpoint, of_checkpoint in zip(checkpoints, sources, strict=True):
        loaded |= _weights(model, checkpoint, of_checkpoint)
    model.load_state_dict(loaded)
    what = " and ".join(names[: len(runs)])
    return Bundle(
        model.eval(),
        name or "_".join(run.phy_name.lower() for run in runs) + f"_{runs[0].nn_name.lower()}",
        f"{runs[0].nn_name} + {what}, imported from dmg",
        {
            "imported_from": f"dmg model {what} with {runs[0].nn_name}",
            "checkpoint": ", ".join(checkpoint.path.name for checkpoint in checkpoints),
            "checkpoint_sha256": ", ".join(checkpoint.digest for checkpoint in checkpoints),
            "normalisation": "that of dmg's training: mean and standard deviation as stored, nothing added",
            "freezing": runs[0].freezing,
        },
    )


def _sizes(runs: Sequence[DmgRun], weighting: Weighting | None) -> list[tuple[list[int], int]]:
    """List the hidden sizes and components that each checkpoint has to hold."""
    sizes = [([*run.sizes.values()], run.nmul) for run in runs]
    return sizes + ([([weighting.size], len(runs))] if weighting else [])


def build_model(
    runs: Sequence[DmgRun], weighting: Weighting | None, statistics: Mapping[str, FeatureStatistics]
) -> DeltaModel:
    """Build a model of the layout of a run or an ensemble, its weights yet to be loaded."""
    inputs = tuple(runs[0].symbols.get(name, name) for name in runs[0].forcings)
    roles: list[Role] = []
    networks: dict[str, Any] = {}
    process_models: dict[str, Any] = {}
    for run in runs:
        key = run.key if weighting else "phy"
        process_models[key] = _equations(run)
        lstm, mlp = _network_keys(run, key)
        if run.dynamic or not run.pair:
            static = () if run.pair else None
            roles.append(
                ParameterRole(
                    inputs,
                    run.attributes,
                    run.dynamic,
                    static,
                    freeze_after=run.days_seen,
                    network=lstm,
                    model=key,
                )
            )
            networks[lstm] = {"name": "lstm", "hidden_size": run.sizes["lstm"]}
        if run.pair:
            roles.append(ParameterRole((), run.attributes, network=mlp, model=key))
            networks[mlp] = {"name": "mlp", "hidden_sizes": [run.sizes["mlp"]] * (len(_MLP_LAYERS) - 1)}
    if weighting:
        roles.append(WeightRole(inputs, runs[0].attributes, scaling="sigmoid", network="weights"))
        networks["weights"] = {"name": "lstm", "hidden_size": weighting.size}
    return DeltaModel.build(nn=networks, phy_model=process_models, roles=roles, statistics=statistics)


def _equations(run: DmgRun) -> dict[str, Any]:
    described: dict[str, Any] = {"name": run.equations.name, "nmul": run.nmul}
    if run.equations.name == "hbv":
        described["betaet"] = "BETAET" in run.equations.parameters
    return {**described, "routing": ROUTING_LENGTH if run.routing else None}


def _network_keys(run: DmgRun, model: str) -> tuple[str, str]:
    """Return the keys of LSTM and MLP, which in an ensemble tell whose they are."""
    return ("lstm", "mlp") if model == "phy" else (f"lstm_{model}", f"mlp_{model}")


def _sources(run: DmgRun, model: DeltaModel) -> list[Source]:
    """List where the networks of one of their models are in its checkpoint."""
    lstm, mlp = _network_keys(run, run.key if run.key in model.process_models else "phy")
    routed = ("route_a", "route_b") if run.routing else ()
    if run.pair:
        static = tuple(name for name in run.equations.parameters if name not in run.dynamic)
        layout = {
            lstm: ("nn_model.lstminv.", _LSTM_KEYS, run.dynamic),
            mlp: ("nn_model.ann.", _MLP_KEYS, (*static, *routed)),
        }
    else:
        layout = {lstm: ("nn_model.", _LSTM_KEYS, (*run.equations.parameters, *routed))}
    return [
        Source(
            role.network,
            *layout[role.network][:2],
            _output_rows(layout[role.network][2], role.supplied, run.nmul),
        )
        for role in model.roles
        if isinstance(role, ParameterRole) and role.network in layout
    ]


def _weights_source(model: DeltaModel) -> Source:
    return Source("weights", "nn_model.", _LSTM_KEYS, [*range(len(model.process_models))])


def _weights(model: DeltaModel, checkpoint: Checkpoint, sources: Sequence[Source]) -> dict[str, Tensor]:
    """Read the weights of some networks, under our names, output rows in our order."""
    theirs = {
        f"nn.{source.network}.{ours}": source.prefix + name
        for source in sources
        for ours, name in source.keys.items()
    }
    shapes = {theirs[k]: [*v.shape] for k, v in model.state_dict().items() if k in theirs}
    # The LSTM of a pair without dynamic parameters has no outputs, so nothing depends on it.
    prefixes = {source.prefix for source in sources}
    idle = ("nn_model.lstminv.",) if prefixes == {"nn_model.ann."} else ()
    taken = checkpoint.take(shapes, idle)
    rows = {f"nn.{s.network}.{name}": s.rows for s in sources for name in [*s.keys][-2:]}
    return {k: taken[name][rows[k]] if k in rows else taken[name] for k, name in theirs.items()}


def _output_rows(order: Sequence[str], supplied: Sequence[str], nmul: int) -> list[int]:
    """List their output rows, by parameter and component, in the order `supplied`."""
    rows_by_name, begin = {}, 0
    for name in order:
        rows_by_name[name] = range(begin, begin + (1 if name.startswith("route_") else nmul))
        begin = rows_by_name[name].stop
    return [row for name in supplied for row in rows_by_name[name]]
