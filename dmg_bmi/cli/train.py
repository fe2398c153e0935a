"""Train a model offline from a YAML file; the run folder ends with a bundle ready for BMI."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``dmg-bmi train``."""
    parser.add_argument("config", type=Path, help="training configuration (YAML)")
    parser.add_argument("--output", type=Path, required=True, help="run folder to make")


def command(given: argparse.Namespace) -> None:
    """``dmg-bmi train``."""
    from ..training import train

    train(given.config, given.output)
