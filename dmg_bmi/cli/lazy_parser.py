"""A parser that learns its arguments when they are read, so that others answer without its imports."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any


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
        self._fill = fill

    def parse_known_args(self, *args: Any, **keys: Any) -> Any:
        """Add the arguments, if they are not there yet, and parse."""
        if self._fill is not None:
            fill, self._fill = self._fill, None
            fill(self)
        return super().parse_known_args(*args, **keys)
