"""Drive a component through its BMI over a file of forcing.

The forcing is a NetCDF file with dimensions time and catchment, whose variables have units and the
model's symbols (P, T, PET) or standard names; or what NextGen reads, a NetCDF file or a folder of
CSV files. The outputs are a CF NetCDF file of all output variables and, as PNG, the hydrograph of
one catchment, with observed flow where the forcing file has it (Q with role = "target").

With --assimilate the states are brought in line with observed flow, at the end of each step that has
some; the water that this gives or takes is an output too (assimilation_increment).
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi run``."""
    parser.add_argument("config", type=Path, help="configuration of the component (YAML)")
    parser.add_argument(
        "--forcing", type=Path, required=True, help="NetCDF file, or a folder of ngen's CSV files"
    )
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder (default: %(default)s)")
    parser.add_argument("--assimilate", type=Path, metavar="FILE", help="NetCDF file of observed flow")
    parser.add_argument("--catchment", help="catchment of the hydrograph (default: the first)")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi run``."""
    from .driver import drive

    result = drive(
        arguments.config,
        arguments.forcing,
        arguments.output,
        arguments.catchment,
        observations_path=arguments.assimilate,
    )
    print(*(path for path in (result.output, result.picture) if path), sep="\n")
