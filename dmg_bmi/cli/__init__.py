"""The command line: ``dmg-bmi COMMAND``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from importlib import import_module

from .. import __version__
from ..errors import DmgBmiError

COMMANDS = (
    "demo",
    "run",
    "couple",
    "inspect",
    "compile",
    "train",
    "evaluate",
    "report",
    "import-dmg",
    "freeze",
    "nextgen",
)


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        prog="dmg-bmi", description="Trained differentiable models as Basic Model Interface components."
    )
    top.add_argument("--version", action="version", version=f"dmg_bmi {__version__}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        module = import_module(f".{name.replace('-', '_')}", __name__)
        summary = (module.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(sub)
        sub.set_defaults(command=module.command)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake ends with a message and status 2, not a traceback."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    given = parser().parse_args(arguments)
    try:
        given.command(given)
    except DmgBmiError as error:
        print(f"dmg-bmi: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"dmg-bmi: error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dmg-bmi: stopped", file=sys.stderr)
        return 130
    return 0
