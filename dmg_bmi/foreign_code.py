"""Code that somebody else wrote: found by its name, and named in whatever it raises."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from traceback import extract_tb
from typing import Any

from .errors import ConfigError, DmgBmiError

#: What is of the user and of Python, and nobody's mistake.
PASSING = (KeyboardInterrupt, GeneratorExit)


def told(problem: BaseException) -> str:
    """Describe what was raised, and by which line."""
    if isinstance(problem, SyntaxError):
        return f"{type(problem).__name__}: {problem}"  # says where itself
    said = f"{type(problem).__name__}: {problem}".rstrip(": ")
    frames = extract_tb(problem.__traceback__)
    # What was raised by a library is known best by the line that called it.
    theirs = [f for f in frames if f.filename.endswith(".py") and "site-packages" not in f.filename]
    where = (theirs or frames)[-1:]
    own = Path(__file__).parent
    if not where or own in Path(where[0].filename).parents:
        return said
    return f"{said} ({where[0].filename}, line {where[0].lineno})"


@contextmanager
def running(what: str, error: type[DmgBmiError] = DmgBmiError) -> Iterator[None]:
    """Name `what` in whatever comes out of somebody's code, which may also try to end the process.

    Raises
    ------
    DmgBmiError
        Of its own type if it is one, else of the type `error`.
    """
    try:
        yield
    except DmgBmiError as problem:
        raise problem.within(what) from problem
    except PASSING:
        raise
    except BaseException as problem:
        raise error(f"{what}: {told(problem)}") from problem


def find_class(target: str, what: str) -> type[Any]:
    """Import the class that ``package.module:Class`` names.

    Raises
    ------
    ConfigError
        Beginning with `what` and `target`: it is not there, is no class, or its module cannot be imported.
    """
    where = f"{what} {target}"
    module, _, name = target.partition(":")
    if not module or not name:
        raise ConfigError(f"{where}: must be package.module:Class")
    try:
        found: Any = import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except PASSING:
        raise
    except BaseException as problem:  # a module may raise anything as it is imported, pytest's outcomes too
        raise ConfigError(f"{where}: {told(problem)}; it must be package.module:Class") from problem
    if not isinstance(found, type):
        raise ConfigError(f"{where}: is not a class; it must be package.module:Class")
    return found


class Guarded:
    """A component of which every call is named in what it raises.

    Parameters
    ----------
    component : object
    name : str
        For messages.
    """

    def __init__(self, component: Any, name: str) -> None:
        self._component, self._name = component, name

    def __getattr__(self, attribute: str) -> Any:
        with running(f"{self._name}: {attribute}"):
            return self._guarded(attribute, getattr(self._component, attribute))

    def optional(self, attribute: str) -> Any:
        """Return what not every component has; None where it is missing."""
        with running(f"{self._name}: {attribute}"):
            return self._guarded(attribute, getattr(self._component, attribute, None))

    def _guarded(self, attribute: str, found: Any) -> Any:
        if callable(found):
            found = self._guard(found, attribute)
            setattr(self, attribute, found)
        return found

    def _guard(self, function: Callable[..., Any], called: str) -> Callable[..., Any]:
        what = f"{self._name}: {called}"

        def guarded(*arguments: Any) -> Any:
            with running(what):
                return function(*arguments)

        return guarded
