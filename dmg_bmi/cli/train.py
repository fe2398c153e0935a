"""Train a model offline from a YAML file; the result is a run folder with a bundle ready for BMI.

`--from BUNDLE` trains a trained model further, on other basins or years: all of its networks, or those that
`--learns` names. An interrupted training resumes when the same command is given again. Several processes or
GPUs: `torchrun --nproc-per-node 2 -m dmg_bmi.cli train ...`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import ConfigError

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
        "--from",
        dest="bundle",
        type=Path,
        metavar="BUNDLE",
        help="go on from a trained model, not the configuration's: a bundle, or the folder of a training",
    )
    parser.add_argument(
        "--learns",
        nargs="+",
        default=[],
        metavar="NETWORK",
        help="with --from: the networks whose weights change, by name or pattern (default: all)",
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
    from ..training.config import settings
    from ..training.fine_tuning import going_on

    if arguments.learns and arguments.bundle is None:
        raise ConfigError("--learns names networks of the bundle that --from gives; give both")
    overrides = settings(arguments.set)
    if arguments.bundle is not None:
        overrides |= going_on(arguments.bundle, arguments.learns)
    if arguments.search:
        from ..training.search import search

        best = search(arguments.config, arguments.search, arguments.output, arguments.trials, overrides)
        print("best        " + " ".join(f"--set {key}={value}" for key, value in best.items()))
        return
    run = train(arguments.config, arguments.output, overrides)
    if not run.scores:  # not the first of several processes
        return
    print(f"bundle      {run.bundle}\nmetrics     {run.folder / 'metrics.csv'}")
    print(f"look at it  dmg-bmi report {run.folder}\nstep it     dmg-bmi run {run.folder}")
