"""Make one HTML page of a run: scores, hydrographs, training, parameters, storages."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi report``."""
    parser.add_argument("run", type=Path, help="run folder of dmg-bmi train")


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi report``."""
    from ..training.report import write_report

    print(write_report(given.run))
