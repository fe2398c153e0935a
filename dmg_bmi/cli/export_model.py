"""Write a bundle's networks as plain PyTorch state dicts, with a page that says how to use them.

DIR then holds NETWORK.pt for each network, model.yaml and README.md; nothing of this package is needed to
read them. With --onnx it holds one whole step as ONNX, for hosts without Python.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from .options import BUNDLE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi export``."""
    parser.add_argument("bundle", help=BUNDLE)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--onnx", action="store_true", help="networks and equations of one step as ONNX, states in and out"
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi export``."""
    from ..model.bundle import Bundle, BundleInfo

    if arguments.onnx:
        from ..interop.onnx import export_onnx

        export_onnx(BundleInfo.read(arguments.bundle), arguments.output)
    else:
        from ..interop.export import export_networks

        export_networks(Bundle.load(arguments.bundle), arguments.output)
    print(arguments.output / "README.md")
