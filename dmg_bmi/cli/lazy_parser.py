"""A parser that learns its arguments when they are read, so that others answer without its imports."""

from __future__ import annotations

import argparse
import logging
from collections.abc import Callable
from typing import Any, Self


def add_verbosity(parser: argparse.ArgumentParser) -> None:
    """Add what is shown on the console, as ``level``; a command takes it before and after its name."""
    default = argparse.SUPPRESS  # a command would overwrite what stands before its name
    group = parser.add_mutually_exclusive_group()
    for short, name, level, what in (
        ("-q", "--quiet", logging.WARNING, "show warnings and results alone"),
        ("-v", "--verbose", logging.DEBUG, "show what is decided on the way, and where an error was raised"),
    ):
        group.add_argument(
            short, name, dest="level", action="store_const", const=level, default=default, help=what
        )


class LazyParser(argparse.ArgumentParser):
    """An argument parser whose arguments are added when it first parses.

    Parameters
    ----------
    fill : callable, optional
        Adds the arguments to the parser that it is given.
    """

    def __init__(
        self, *args: Any, fill: Callable[[argparse.ArgumentParser], None] | None = None, **keys: Any
    ) -> None:
        super().__init__(*args, **keys)
        add_verbosity(self)
        self._fill = fill

    def parse_known_args(self, *args: Any, **keys: Any) -> Any:
        """Add the arguments, if they are not there yet, and parse."""
        return super(LazyParser, self.filled()).parse_known_args(*args, **keys)

    def filled(self) -> Self:
        """Return the parser, with its arguments."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return self
