"""Calibrate a process model basin by basin, by gradients from many random starts.

The configuration is that of a training without networks. The result is a run folder with a table of
parameters and a bundle that `evaluate`, `report` and `run` take like any other. An interrupted run
resumes after the last basins that were finished, training.batch_size at a time.
"""

from __future__ import annotations

import argparse
from pathlib import Path

#: After Ctrl-C.
GOES_ON = "the same command goes on after the last basins that were finished"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi calibrate``."""
    parser.add_argument(
        "config", help="training configuration (YAML), or the name of a shipped one: calibrate"
    )
    parser.add_argument("--output", type=Path, required=True, help="run folder to make, or to resume")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of the file's value, e.g. data.path=/data/camels; may be repeated",
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi calibrate``."""
    from ..training import calibrate, run_folder

    run = calibrate(arguments.config, arguments.output, arguments.set)
    print(f"parameters  {run.folder / run_folder.PARAMETERS}\nmetrics     {run.folder / run_folder.METRICS}")
    print(f"look at it  dmg-bmi report {run.folder}\nstep it     dmg-bmi run {run.folder}")
