"""A bundle assembled from the run folder of neuralhydrology."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ...errors import ConfigError, ImportModelError
from ...io.files import read_yaml, sha256
from ...model.bundle import Bundle
from ...model.delta_model import DeltaModel
from ...model.normalisation import FeatureStatistics
from ...model.registry import build_network
from ...model.roles import OutputRole
from ...nn_models import Network
from .run_config import CONFIG, MOST_ALIASES, NhRun
from .scaler import Scaler, read_basin_numbers, read_statistics
from .weights import check_weights, find_checkpoint, load_weights, read_checkpoint

Stepping = Literal["continuous", "window"]
BASIN_NUMBER = "basin_number"
#: Parameters of a component of a distribution, in the order of the head's outputs, and whether each is scaled
#: as the target is: its place, its width, or not at all.
_PARAMETERS = {
    "gmm": {"mu": "place", "sigma": "width", "pi": ""},
    "cmal": {"mu": "place", "b": "width", "tau": "", "pi": ""},
    "umal": {"mu": "place", "b": "width"},
}


@dataclass(frozen=True)
class Member:
    """One trained network with its role.

    Parameters
    ----------
    run : NhRun
    network : Network
    role : OutputRole
        Its statistics are those of the run.
    provenance : mapping
    """

    run: NhRun
    network: Network
    role: OutputRole
    provenance: dict[str, Any]


def import_neuralhydrology(
    folder: str | Path,
    epoch: int | None = None,
    name: str | None = None,
    stepping: Stepping = "continuous",
    step: float | None = None,
) -> Bundle:
    """Make a bundle from a run folder of ``neuralhydrology``.

    Parameters
    ----------
    folder : path
        With ``config.yml``, the checkpoint and ``train_data/train_data_scaler.yml``.
    epoch : int, optional
        Of the checkpoint; by default the last.
    name : str, optional
        Of the bundle.
    stepping : {"continuous", "window"}
        Whether the state of the network goes on from step to step, or the network runs at each step
        over a window of `seq_length` steps from a zero state, as in training: exact, and that many times
        the cost.
    step : float, optional
        Seconds of a step, where the configuration does not tell.

    Returns
    -------
    Bundle
        Its provenance says what was imported.

    Raises
    ------
    ImportModelError, ConfigError
        When anything is unknown, missing or of another shape: nothing is imported in part.
    """
    member = build_member(Path(folder), epoch, stepping, step)
    run = member.run
    return Bundle(
        assemble([member]).eval(),
        name or f"neuralhydrology_{run.model}",
        f"{run.model} with {run.head} head, imported from neuralhydrology",
        member.provenance,
    )


def assemble(members: Sequence[Member]) -> DeltaModel:
    """Make one model of networks whose outputs are averaged; statistics are those of the first."""
    statistics = dict(members[0].role.statistics)
    roles, networks = [], {}
    for k, member in enumerate(members):
        key = "lstm" if len(members) == 1 else f"lstm_{k + 1}"
        own = {n: s for n, s in member.role.statistics.items() if statistics.setdefault(n, s) != s}
        roles.append(replace(member.role, network=key, statistics=own))
        networks[key] = member.network
    return DeltaModel(networks, None, roles, statistics=statistics, step=members[0].run.step)


def build_member(
    folder: Path, epoch: int | None = None, stepping: Stepping = "continuous", step: float | None = None
) -> Member:
    """Read a run folder, see :func:`import_neuralhydrology`."""
    if not os.path.isdir(folder):
        raise ImportModelError(f"{folder}: no such folder")
    run = NhRun.read(folder / CONFIG, step)
    scaler = Scaler(folder)
    checkpoint = find_checkpoint(folder, epoch)
    exact = stepping == "window"
    weights, content = read_checkpoint(checkpoint, run, exact)
    basins = read_basin_numbers(folder, run) if run.n_basins else {}
    statistics = read_statistics(scaler, run)
    role = make_role(run, statistics, run.inputs if exact else run.dynamic)
    described = describe_network(run, stepping)
    sizes = len(role.inputs) + len(role.attributes), len(role.outputs)
    try:
        with torch.device("meta"):  # sizes are checked before memory is allocated for them
            check_weights(build_network(described, *sizes), weights, run, checkpoint)
        network = build_network(described, *sizes)
    except (ConfigError, RuntimeError) as problem:
        raise ImportModelError(f"{run.path}: {problem}") from problem
    load_weights(network, weights, run, checkpoint)
    provenance: dict[str, Any] = {
        "imported_from": f"neuralhydrology {run.model}, head {run.head}",
        "checkpoint": checkpoint.name,
        "checkpoint_sha256": sha256(content),
        "trained_on_windows_of": run.seq_length,
        "stepping": _STEPPING[stepping],
    }
    if basins:
        provenance["basin_numbers"] = basins
    return Member(run, network.eval(), role, provenance)


_STEPPING = {
    "continuous": "the state goes on from step to step",
    "window": "exact: each step runs over a window from a zero state, as in training",
}


def make_role(run: NhRun, statistics: dict[str, FeatureStatistics], inputs: tuple[str, ...]) -> OutputRole:
    """Return the role of a network of these inputs; statistics of parameters of distributions are added."""
    named = run.symbols
    targets = tuple(named[name] for name in run.targets)
    outputs = list(targets)
    taus = run.head_options.get("taus", ())
    count = len(taus) or run.head_options.get("n_distributions", 0)
    for parameter, scaled in _PARAMETERS.get(run.head, {}).items():
        for target in targets:
            of = statistics[target]
            mean, std = {"place": (of.mean, of.std), "width": (0.0, of.std), "": (0.0, 1.0)}[scaled]
            names = [f"{target}_{parameter}_{k + 1}" for k in range(count)]
            units = of.units if scaled else "1"
            statistics |= dict.fromkeys(names, FeatureStatistics(mean, std, units=units))
            outputs += names
    return OutputRole(
        tuple(named[name] for name in inputs),
        run.static + ((BASIN_NUMBER,) if run.n_basins else ()),
        network="lstm",
        outputs=tuple(outputs),
        nonnegative=tuple(named[name] for name in run.clipped),
        statistics=statistics,
    )


def describe_network(run: NhRun, stepping: Stepping) -> dict[str, Any]:
    """Describe the network of a run for the registry."""
    described: dict[str, Any] = {
        "name": run.network,
        "hidden_size": run.hidden_size,
        "n_static": len(run.static) + bool(run.n_basins),
        "n_basins": run.n_basins,
        "head": {"name": run.head, **run.head_options},
    }
    if run.slow is None:
        window = run.seq_length if stepping == "window" else None
        return {**described, "embeddings": run.embeddings, "seq_length": window}
    if stepping == "window":
        return described | run.slow.options(run.inputs, run.dynamic, run.seq_length)
    # Once its state goes on, the fast network alone answers.
    return described | {"name": "cuda_lstm"}


def recognises(folder: str | Path) -> bool:
    """Tell whether a folder looks like a run of neuralhydrology; nothing but its configuration is read."""
    path = Path(folder) / CONFIG
    if not os.path.isfile(path):
        return False
    try:
        content = read_yaml(path, ImportModelError, aliases=MOST_ALIASES)
    except ImportModelError:
        return False
    return {"model", "dynamic_inputs", "target_variables", "seq_length"} <= content.keys()
