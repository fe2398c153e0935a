"""Train a model offline from a YAML file; the run folder ends with a bundle ready for BMI.

A training that was stopped goes on when the same command is given again. Several processes or GPUs:
`torchrun --nproc-per-node 2 -m dmg_bmi.cli train ...`.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi train``."""
    parser.add_argument("config", help="training configuration (YAML), or the name of a shipped one: camels")
    parser.add_argument("--output", type=Path, required=True, help="run folder to make, or to go on with")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of what the file says, e.g. data.path=/data/camels; may be repeated",
    )
    parser.add_argument(
        "--search",
        type=Path,
        metavar="SPACE",
        help="YAML of keys and what they may be: train once per trial and name the best (needs Optuna)",
    )
    parser.add_argument("--trials", type=int, default=20, help="of the search (default: %(default)s)")


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi train``."""
    from ..training import train

    if given.search:
        from ..training.search import search

        best = search(given.config, given.search, given.output, given.trials, given.set)
        print("best        " + " ".join(f"--set {key}={value}" for key, value in best.items()))
        return
    run = train(given.config, given.output, given.set)
    if not run.scores:  # not the first of several processes
        return
    print(f"bundle      {run.bundle}\nmetrics     {run.folder / 'metrics.csv'}")
    print(f"step it     dmg-bmi run {run.folder / 'bmi.yaml'} --forcing {run.folder / 'forcing.nc'}")
