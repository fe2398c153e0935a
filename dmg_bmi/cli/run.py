"""Drive a component through its BMI over a file of forcing, or over the forcing that it stores.

The forcing is a NetCDF file with dimensions time and catchment, whose variables have units and the
model's symbols (P, T, PET) or standard names; a Zarr store of the same layout (extra `xarray`); or
what NextGen reads, a NetCDF file or a folder of CSV files. The outputs are a CF NetCDF file and, as PNG,
the hydrograph of one catchment. What the forcing file has of observations (Q with role = "target") stands
beside the outputs, as Q_observed.

The folder of a training brings its forcing, so that `dmg-bmi run runs/camels` is enough; a bundle alone
runs over the catchments of the file, which then also holds their attributes, along catchment.

Forcing is read and records are kept block by block, so memory does not grow with their number. A run
that was stopped goes on from its last minute if the same command is given again.

Many catchments can be shared out to several processes, which go on likewise:
`torchrun --nproc-per-node 2 -m dmg_bmi.cli run ...`.

With --assimilate the states are brought in line with observed flow, at the end of each step that has
some; the water that this gives or takes is an output too (assimilation_increment).
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import WHAT

#: After Ctrl-C.
GOES_ON = "the same command goes on from the last state that was kept, one a minute"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi run``."""
    parser.add_argument("what", type=Path, help=WHAT)
    parser.add_argument(
        "--forcing", type=Path, help="NetCDF file, Zarr store, or a folder of ngen's CSV files"
    )
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder (default: %(default)s)")
    parser.add_argument("--assimilate", type=Path, metavar="FILE", help="NetCDF file of observed flow")
    parser.add_argument("--catchment", help="catchment of the hydrograph (default: the first)")
    parser.add_argument(
        "--outputs",
        metavar="Q,SM,BETA,...",
        help="outputs, states and parameters to keep, see dmg-bmi inspect (default: all outputs)",
    )
    parser.add_argument("--float32", action="store_true", help="write outputs in half the bytes")
    parser.add_argument("--start", metavar="DAY", help="first day, instead of start_time")
    parser.add_argument("--end", metavar="DAY", help="last day, instead of end_time")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi run``."""
    from .. import processes
    from .driver import Wanted, drive

    wanted = Wanted(
        tuple(name.strip() for name in (arguments.outputs or "").split(",") if name.strip()),
        "float32" if arguments.float32 else "float64",
        arguments.start,
        arguments.end,
    )
    with processes.joined(), processes.quiet_unless_first():
        result = drive(
            arguments.what,
            arguments.forcing,
            arguments.output,
            arguments.catchment,
            observations_path=arguments.assimilate,
            wanted=wanted,
        )
        if processes.rank() == 0:
            print(*(path for path in (result.output, result.picture) if path), sep="\n")
