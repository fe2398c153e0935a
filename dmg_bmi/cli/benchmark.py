"""Run a published protocol on whatever of its basins there are, and compare models and published figures.

Protocols: kratzert (531 basins of CAMELS-US, gauged), feng (671 basins, gauged), pub (12 folds, basins
without a gauge), pur (regions without a gauge), or a file. Each names its models; a run folder for each
model, seed and part that is held out lies below --output, with the table benchmark.csv and the page
benchmark.html. Given again, the command reads back what is finished and resumes what was stopped.
"""

from __future__ import annotations

import argparse
from pathlib import Path

#: After Ctrl-C.
GOES_ON = (
    "the same command goes on: what is finished is read back, what was under way goes on from its checkpoint"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of ``dmg-bmi benchmark``."""
    parser.add_argument("protocol", help="kratzert, feng, pub, pur, or a YAML file")
    parser.add_argument(
        "--output", type=Path, required=True, help="folder of the run folders, to make or to resume"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="YAML",
        help="keys of the section data of all models (default: those of each)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="for all models, e.g. data.path=/data/camels; may be repeated",
    )
    parser.add_argument(
        "--models", nargs="+", default=[], metavar="NAME", help="some of the protocol's models"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds of each model (default: 0)")
    parser.add_argument(
        "--minutes",
        type=float,
        default=0.0,
        help="CPU minutes of each training, an equal budget (default: steps of each configuration)",
    )
    parser.add_argument(
        "--published",
        type=Path,
        metavar="CSV",
        help="published NSE by basin (default: published_nse.csv in data.path)",
    )


def command(arguments: argparse.Namespace) -> None:
    """Run ``dmg-bmi benchmark``."""
    from ..errors import ConfigError
    from ..io.typed_yaml import read_yaml
    from ..training.benchmark import Options, benchmark, markdown

    if not arguments.minutes >= 0:
        raise ConfigError(f"--minutes must not be negative, it is {arguments.minutes}")
    data = None if arguments.data is None else read_yaml(arguments.data)
    options = Options(arguments.output, data, tuple(arguments.set), arguments.minutes)
    result = benchmark(arguments.protocol, options, arguments.models, arguments.seeds, arguments.published)
    print(f"{markdown(result)}\n\ntable       {result.table}\npage        {result.page}")
