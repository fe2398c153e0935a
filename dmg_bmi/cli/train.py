"""Train a model offline from a YAML file; the result is a run folder with a bundle ready for BMI.

An interrupted training resumes when the same command is given again. Several processes or GPUs:
`torchrun --nproc-per-node 2 -m dmg_bmi.cli train ...`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

#: After Ctrl-C.
GOES_ON = "the same command goes on from the last checkpoint"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi train``."""
    parser.add_argument("config", help="training configuration (YAML), or the name of a shipped one: camels")
    parser.add_argument("--output", type=Path, required=True, help="run folder to make, or to resume")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of the file's value, e.g. data.path=/data/camels; may be repeated",
    )
    parser.add_argument(
        "--search",
        type=Path,
        metavar="SPACE",
        help="YAML of keys and their choices or ranges: train once per trial, print the best (needs Optuna)",
    )
    parser.add_argument(
        "--trials", type=int, default=20, help="number of trials of the search (default: %(default)s)"
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi train``."""
    from ..training import train

    if arguments.search:
        from ..training.search import search

        best = search(arguments.config, arguments.search, arguments.output, arguments.trials, arguments.set)
        print("best        " + " ".join(f"--set {key}={value}" for key, value in best.items()))
        return
    run = train(arguments.config, arguments.output, arguments.set)
    if not run.scores:  # not the first of several processes
        return
    print(f"bundle      {run.bundle}\nmetrics     {run.folder / 'metrics.csv'}")
    print(f"step it     dmg-bmi run {run.folder / 'bmi.yaml'} --forcing {run.folder / 'forcing.nc'}")
