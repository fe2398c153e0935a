"""Issue forecasts of a component again and again: analysis, forecast, next analysis.

The configuration (YAML) names that of the component, measured and forecast weather, observed flow, the
first and the last forecast and the folder for them. Each analysis brings rain and stores of a window in
line with the flow observed in it; forecasts start from it, with the weather that came or with forecast
weather, whose realizations become members, as do the forecasts of the analyses before (lagged ensemble).
Files hold flow by reference time, lead time, realization and catchment.

The folder also holds the state after the last file. A command that is repeated goes on from it, whether
it was killed, or `last` lies later now; without one it starts cold.

Many catchments can be shared out to several processes:
`torchrun --nproc-per-node 2 -m dmg_bmi.cli forecast ...`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

#: After Ctrl-C.
GOES_ON = "the same command goes on from the last file that was written"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi forecast``."""
    parser.add_argument("config", type=Path, help="configuration of the forecasts (YAML)")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi forecast``."""
    from .. import processes
    from ..forecast.config import ForecastConfig
    from ..forecast.operation import forecast

    with processes.joined(), processes.quiet_unless_first():
        written = forecast(ForecastConfig.read(arguments.config))
        for path in written if processes.rank() == 0 else ():
            print(path)
