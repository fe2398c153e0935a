"""Compile a bundle's step ahead of time into your private cache, where `engine: auto` finds it.

A model of rivers is compiled for networks of one depth: give its configuration instead of a bundle.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path
from time import perf_counter

from torch import Tensor

from ..model.bundle import BundleInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi compile``."""
    parser.add_argument(
        "bundle", help="a bundle's folder, a shipped bundle's name, or a routing component's configuration"
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


def _meant(what: str) -> tuple[BundleInfo, dict[str, Tensor]]:
    """A bundle, or the sub-step of one with the graph of the network that a configuration names."""
    from ..hydrofabric import reader as hydrofabric
    from ..routing_bmi import RoutingConfig
    from ..runtime.engines.substeps import one_substep

    if not os.path.isfile(what):
        return BundleInfo.read(what), {}
    config = RoutingConfig.read(what)
    fabric = config.catchments.hydrofabric
    info = BundleInfo.read(config.bundle)
    if fabric is None:
        return info, {}
    network = hydrofabric.read(fabric).routable(config.catchments.minimum_slope)
    return one_substep(info)[0], network.graph()


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi compile``."""
    from ..runtime.engines import aot

    info, graph = _meant(given.bundle)
    info = replace(info, network_precision=given.network_precision)
    folder = given.output or aot.cache_folder(info, given.device, graph)
    print(f"compiling one step of {info.name}, once; about a minute ...", flush=True)
    begin = perf_counter()
    aot.build(info, folder, given.device, graph)
    print(f"done in {perf_counter() - begin:.0f} s: {folder}")
