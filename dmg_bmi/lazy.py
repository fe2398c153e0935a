"""Modules that import their public names when these are first used."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """A module with a ``__getattr__`` that makes the names of ``__all__``.

    bmi-tester looks a class up in its module's ``__dict__``, as ``vars`` and debuggers do, so whoever looks
    there finds all names made.
    """

    @property
    def __dict__(self) -> dict[str, Any]:  # type: ignore[override]
        for name in self.__all__:
            getattr(self, name)
        return super().__dict__


def make_lazy(module: str) -> None:
    """Let a module, which calls this with its ``__name__``, be a :class:`LazyModule`."""
    sys.modules[module].__class__ = LazyModule
