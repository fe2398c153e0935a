"""Train a model offline from a YAML file; the run folder ends with a bundle ready for BMI."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi train``."""
    parser.add_argument("config", help="training configuration (YAML), or the name of a shipped one: camels")
    parser.add_argument("--output", type=Path, required=True, help="run folder to make")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="in place of what the file says, e.g. data.path=/data/camels; may be repeated",
    )


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi train``."""
    from ..training import train

    run = train(given.config, given.output, given.set)
    print(f"bundle      {run.bundle}\nmetrics     {run.folder / 'metrics.csv'}")
    print(f"step it     dmg-bmi run {run.folder / 'bmi.yaml'} --forcing {run.folder / 'forcing.nc'}")
