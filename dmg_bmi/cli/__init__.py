"""The command line: ``dmg-bmi COMMAND``."""

from __future__ import annotations

import argparse
import ast
import logging
import os
import sys
import traceback
from collections.abc import Sequence
from functools import cache, partial
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path

from .. import __version__
from ..errors import DmgBmiError
from .lazy_parser import LazyParser, add_verbosity

#: Commands, and their modules.
COMMANDS = {
    "demo": "demo",
    "run": "run",
    "couple": "couple",
    "inspect": "inspect",
    "parameters": "parameters",
    "compile": "compile",
    "train": "train",
    "calibrate": "calibrate",
    "evaluate": "evaluate",
    "report": "report",
    "configs": "configs",
    "benchmark": "benchmark",
    "hindcast": "hindcast",
    "forecast": "forecast",
    "import": "import_model",
    "export": "export_model",
    "freeze": "freeze",
    "nextgen": "nextgen",
}

log = logging.getLogger("dmg_bmi")
REPORT = "please report it with the lines above, the command and, if you can, its files"


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands; the module of a command is imported when its turn comes."""
    top = argparse.ArgumentParser(
        prog="dmg-bmi", description="Trained differentiable models as Basic Model Interface components."
    )
    top.add_argument("--version", action="version", version=f"dmg_bmi {__version__}")
    add_verbosity(top)
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=LazyParser)
    for name, module in COMMANDS.items():
        description = _docstring(module)
        commands.add_parser(
            name,
            help=description.splitlines()[0],
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            fill=partial(_fill, module),
        )
    return top


@cache
def _docstring(module: str) -> str:
    """Read what a command's module says of it, without importing it."""
    source = Path(__file__).with_name(f"{module}.py").read_bytes()
    return ast.get_docstring(ast.parse(source)) or ""


def _fill(name: str, sub: argparse.ArgumentParser) -> None:
    module = import_module(f".{name}", __name__)
    module.add_arguments(sub)
    sub.set_defaults(command=module.command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a user's mistake ends with a message and status 2, not a traceback."""
    console = logging.StreamHandler()
    console.setFormatter(_Console())
    logging.basicConfig(level=logging.INFO, handlers=[console])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # names that the terminal's encoding lacks
    namespace = argparse.Namespace()
    try:
        namespace = parser().parse_args(arguments)
        _show(getattr(namespace, "level", logging.INFO))
        namespace.command(namespace)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has closed the pipe, as `head` does; drop what is still buffered.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + 13
    except DmgBmiError as error:
        log.debug("raised here", exc_info=error)
        print(f"dmg-bmi: error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"dmg-bmi: error: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"dmg-bmi: interrupted{_how_to_go_on(namespace)}", file=sys.stderr)
        return 130
    except Exception as error:
        if shortage := _shortage(error):
            print(f"dmg-bmi: error: {shortage}", file=sys.stderr)
            return 2
        traceback.print_exc()
        print(f"dmg-bmi: this is a bug ({type(error).__name__}): {REPORT}", file=sys.stderr)
        return 70
    return 0


class _Console(logging.Formatter):
    """Messages as they are, and before them their level where it is another than INFO."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text of a record."""
        text = super().format(record)
        return text if record.levelno == logging.INFO else f"dmg-bmi: {record.levelname.lower()}: {text}"


def _show(level: int) -> None:
    """Let the console show what is logged from a level on; log files of runs keep all from INFO on."""
    if level < logging.INFO:
        log.setLevel(level)  # of this package alone, not of all that it uses
    for handler in logging.getLogger().handlers:
        if type(handler) is logging.StreamHandler:
            handler.setLevel(level)


def _how_to_go_on(namespace: argparse.Namespace) -> str:
    """Say what the same command does after Ctrl-C, by ``GOES_ON`` of its module."""
    if not callable(command := getattr(namespace, "command", None)):
        return ""
    goes_on = getattr(sys.modules[command.__module__], "GOES_ON", "")
    return f"; {goes_on or 'the same command begins anew, nothing is half written'}"


def _shortage(error: Exception) -> str:
    """Say what the machine lacks: memory, of which Python, NumPy or PyTorch ran out, or a package."""
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError)
        and (type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error))
    ):
        return f"out of memory ({str(error) or 'no further details'})"
    package = (getattr(error, "name", None) or "").partition(".")[0]
    if isinstance(error, ModuleNotFoundError) and package not in ("", "dmg_bmi"):
        return f"needs the package {package}, which is not installed; dmg_bmi's own dependencies bring it"
    return ""
