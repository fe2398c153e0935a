"""The command line: ``dmg-bmi COMMAND``."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module
from io import TextIOWrapper

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

REPORT = "please report it with the lines above, the command and, if you can, its files"


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
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding lacks
    try:
        given = parser().parse_args(arguments)
        given.command(given)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever reads has had enough, as `head` has; what is still waiting goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except DmgBmiError as error:
        print(f"dmg-bmi: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"dmg-bmi: error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dmg-bmi: stopped", file=sys.stderr)
        return 130
    except Exception as error:
        if _no_memory(error):
            print(f"dmg-bmi: error: memory is full ({str(error) or 'no more is given'})", file=sys.stderr)
            return 2
        traceback.print_exc()
        print(f"dmg-bmi: this is a bug ({type(error).__name__}): {REPORT}", file=sys.stderr)
        return 70
    return 0


def _no_memory(error: Exception) -> bool:
    """Whether Python, NumPy or, by its own errors, PyTorch says so."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))
    )
