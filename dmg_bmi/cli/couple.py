"""Step several BMI components together: runoff into rivers, for example.

The configuration names components (`package.module:Class` and its config), exchanges between
them, start and end. The output is one CF NetCDF file per component. The classes that it names are
imported, so use only configurations that you trust.
"""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

#: After Ctrl-C.
GOES_ON = (
    "the same command begins anew; with restart: {write: FILE, every: SECONDS} and then restart: "
    "{read: FILE} in the configuration it goes on from a state"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi couple``."""
    parser.add_argument("config", type=Path, help="configuration of the coupled run (YAML)")
    parser.add_argument("--output", type=Path, default=Path("output"), help="folder (default: %(default)s)")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi couple``."""
    for path in couple(arguments.config, arguments.output).values():
        print(path)


def couple(config_path: Path, folder: Path) -> dict[str, Path]:
    """Run a configuration; return the output files by component.

    Raises
    ------
    DmgBmiError
        Each output file is then either the previous one or complete.
    """
    from ..coupling import Coupling, CouplingConfig
    from ..coupling.output import Recorder
    from ..io.atomic import make_folder
    from ..progress import progress

    config = CouplingConfig.read(config_path)
    make_folder(folder)
    with ExitStack() as stack:
        coupling = stack.enter_context(Coupling(config))
        recorders = {
            name: stack.enter_context(Recorder(folder / f"{name}.nc", component, config.start_time))
            for name, component in coupling.components.items()
            if component.written
        }
        bar = stack.enter_context(progress(coupling.steps, "couple", "step"))
        for _ in range(coupling.steps):
            for name, records in coupling.advance().items():
                if name in recorders:
                    recorders[name].append(records)
            bar.update()
        coupling.save()
    return {name: recorder.path for name, recorder in recorders.items()}
