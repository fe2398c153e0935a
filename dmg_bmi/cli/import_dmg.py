"""Make a bundle of a model that was trained with dmg 1.5 or dhbv2 0.6.

DIR is the model's folder, with the checkpoint (hbv_ep50.pt) and normalization_statistics.json.
Imported are LSTM with Hbv or Hbv_1_1p, and LSTM-MLP with Hbv_2, whole or not at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi import-dmg``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="the model's folder")
    parser.add_argument(
        "--config", type=Path, help="configuration of the run (default: config.yaml in or above DIR)"
    )
    parser.add_argument("--epoch", type=int, help="epoch of the checkpoint (default: the last)")
    parser.add_argument("--output", type=Path, required=True, metavar="BUNDLE", help="folder of the bundle")


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi import-dmg``."""
    from ..interop.import_dmg import import_dmg

    bundle = import_dmg(arguments.folder, arguments.config, arguments.epoch, arguments.output.name)
    info = bundle.save(arguments.output)
    print(f"{info.path}\nfreezing: {bundle.provenance['freezing']}")
