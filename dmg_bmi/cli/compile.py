"""Compile a bundle's step ahead of time into your private cache, where `engine: auto` finds it.

A model of rivers is compiled for networks of one depth: give its configuration instead of a bundle.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from ..model.bundle import BundleInfo

#: After Ctrl-C.
GOES_ON = "the same command begins anew; until it is done, components step without compiled code"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi compile``."""
    parser.add_argument(
        "bundle",
        help="folder of a bundle or of a training, a shipped bundle's name, or a routing component's "
        "configuration",
    )
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0 (default: %(default)s)")
    parser.add_argument(
        "--network-precision", choices=["bfloat16"], help="as in the run configuration (default: as trained)"
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder, to be named in the environment variable DMG_BMI_TRUSTED_COMPILED (default: your cache)",
    )


def read_target(path: str) -> tuple[BundleInfo, dict[str, Tensor]]:
    """Return a bundle, or the sub-step of one with the network of a routing configuration.

    Parameters
    ----------
    path : str
        A bundle's folder or name, or a configuration file.
    """
    from .. import hydrofabric
    from ..model.bundle import BundleInfo
    from ..routing_bmi import RoutingConfig
    from ..runtime.config import find
    from ..runtime.engines.substeps import one_substep

    found = find(path)
    if found.is_dir():
        return BundleInfo.read(found), {}
    config = RoutingConfig.read(found)
    fabric = config.catchments.hydrofabric
    info = BundleInfo.read(config.bundle)
    if fabric is None:
        return info, {}
    network = hydrofabric.read(fabric).routable(config.catchments.minimum_slope)
    return one_substep(info)[0], network.graph()


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi compile``."""
    from ..runtime.engines import aot

    info, graph = read_target(arguments.bundle)
    info = replace(info, network_precision=arguments.network_precision)
    folder = arguments.output or aot.cache_folder(info, arguments.device, graph)
    print(f"compiling one step of {info.name}, once; about a minute ...", flush=True)
    begin = perf_counter()
    aot.build(info, folder, arguments.device, graph)
    print(f"done in {perf_counter() - begin:.0f} s: {folder}")
