"""Make one interactive HTML page of a run: basins on a map, flow, scores, parameters, storages, water.

The page needs no network and nothing beside it: send it as it is.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi report``."""
    parser.add_argument(
        "run", type=Path, help="run folder of dmg-bmi train, calibrate, couple, demo or nextgen"
    )
    parser.add_argument(
        "--reference",
        type=Path,
        metavar="RUN",
        help="another run of dmg-bmi train, or its metrics.csv, whose scores are drawn beside",
    )
    parser.add_argument(
        "--hydrofabric",
        type=Path,
        metavar="FILE",
        help="of a run of couple or nextgen (default: the only .gpkg in its folder or its config/)",
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi report``."""
    from ..report.river import write_river_report
    from ..training.report import write_report
    from ..training.run_folder import RunFolder

    if RunFolder(arguments.run).is_run:
        print(write_report(arguments.run, arguments.reference))
    else:
        print(write_river_report(arguments.run, arguments.hydrofabric))
