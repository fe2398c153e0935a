"""Make a bundle of a model that another package has trained.

Says what the folder holds, what it becomes, and how equal the two are. Read are model folders of dmg 1.1
to 1.5 and dhbv2 0.6 (a checkpoint such as hbv_ep50.pt, normalization_statistics.json and the run's
configuration), run folders of neuralhydrology 1.3 to 1.13 (config.yml, a checkpoint such as
model_epoch030.pt, train_data/train_data_scaler.yml), and bundles, such as downloaded ones. A model is
imported whole or not at all, and no code of it runs.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi import``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder of the model or of its run")
    parser.add_argument(
        "--config", type=Path, help="configuration of a dmg run (default: config.yaml in or above DIR)"
    )
    parser.add_argument("--epoch", type=int, help="epoch of the checkpoint (default: the last)")
    parser.add_argument(
        "--stepping",
        choices=("continuous", "window"),
        help="of a neuralhydrology run: let the state go on (default), or run, at each step, over the window "
        "that it was trained with: exact, and that many times the cost",
    )
    parser.add_argument(
        "--step",
        type=float,
        metavar="SECONDS",
        help="of a neuralhydrology run that does not tell its time step",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi import``."""
    from ..interop.importers import import_model

    importer, bundle = import_model(
        arguments.folder,
        arguments.output.name,
        config=arguments.config,
        epoch=arguments.epoch,
        stepping=arguments.stepping,
        step=arguments.step,
    )
    info = bundle.save(arguments.output)
    print(f"found     a model of {importer.package} in {arguments.folder}")
    print(f"becomes   {info.path}: {info.summary}")
    print(f"equality  {importer.equality}")
    if "freezing" in bundle.provenance:
        print(f"freezing  {bundle.provenance['freezing']}")
