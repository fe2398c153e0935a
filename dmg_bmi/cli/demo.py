"""Run a shipped model on synthetic weather: writes forcing, config, NetCDF and PNG."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..bundle import BundleInfo
from ..run_config import write_config

BUNDLE = "demo_daily"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi demo``."""
    parser.add_argument("--output", type=Path, default=Path("demo"), help="folder (default: %(default)s)")


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi demo``."""
    from .. import netcdf, synthetic
    from .run import drive

    folder: Path = given.output
    info = BundleInfo.read(BUNDLE)
    folder.mkdir(parents=True, exist_ok=True)
    dataset = synthetic.generate(basins=3, years=3, seed=20)
    config, forcing = folder / "config.yaml", folder / "forcing.nc"
    netcdf.write(forcing, dataset, title="synthetic weather and runoff")
    write_config(config, BUNDLE, dataset, [v.name for v in info.variables if v.kind == "attribute"])
    result = drive(config, forcing, folder)
    print(f"{info.name}: {len(dataset.ids)} catchments, {len(dataset.times)} steps through BMI")
    for path in (config, forcing, result.output, result.picture):
        print(f"  {path}")
