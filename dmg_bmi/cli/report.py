"""Make one HTML page of a run: scores, hydrographs, training, parameters, storages."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi report``."""
    parser.add_argument("run", type=Path, help="run folder of dmg-bmi train")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi report``."""
    from ..training.report import write_report

    print(write_report(arguments.run))
