"""Compile a bundle's step ahead of time into your private cache, where `engine: auto` finds it."""

from __future__ import annotations

import argparse
from pathlib import Path
from time import perf_counter

from ..bundle import BundleInfo


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi compile``."""
    parser.add_argument("bundle", help="a bundle's folder, or a shipped bundle's name")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0 (default: %(default)s)")
    parser.add_argument("--output", type=Path, help="folder to name under trusted_compiled in a run config")


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi compile``."""
    from ..runtime import package

    info = BundleInfo.read(given.bundle)
    folder = given.output or package.cache_folder(info, given.device)
    print(f"compiling one step of {info.name}, once; about a minute ...", flush=True)
    begin = perf_counter()
    package.build(info, folder, given.device)
    print(f"done in {perf_counter() - begin:.0f} s: {folder}")
