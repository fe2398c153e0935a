"""Every error that a user can meet, in one family.

A message says what is wrong, where, and what to do about it.
"""

from collections import Counter
from collections.abc import Hashable, Iterable
from difflib import get_close_matches
from typing import Self, TypeVar

Name = TypeVar("Name", bound=Hashable)


def alternatives(name: object, available: Iterable[object], shown: int = 10) -> str:
    """List what is available in place of a name that does not exist, for the end of a message.

    Keys of YAML need not be text.
    """
    name, names = str(name), [str(one) for one in available]
    # What differs in capital letters alone is closest.
    cases = {one.lower(): one for one in reversed(names)}
    close = [] if name in names else get_close_matches(name.lower(), cases, n=1, cutoff=0.8)
    meant = f"did you mean {cases[close[0]]}? " if close else ""
    more = f", ... ({len(names)} in all)" if len(names) > shown else ""
    return f"{meant}available: {', '.join(names[:shown]) or 'none'}{more}"


def repeated(names: Iterable[Name]) -> list[Name]:
    """List what appears more than once, once each, in the order of the first."""
    return [name for name, count in Counter(iter(names)).items() if count > 1]


class DmgBmiError(Exception):
    """Base of all errors of this package that a user's input can cause."""

    def within(self, where: str) -> Self:
        """Return the same error with `where` before its message."""
        return type(self)(f"{where}: {self}")


class ConfigError(DmgBmiError, ValueError):
    """A configuration file or description is wrong; the message names file, key and remedy."""


class WriteError(DmgBmiError, OSError):
    """A file or folder cannot be written; what was there before is whole."""

    def __str__(self) -> str:
        return f"{self.filename}: cannot be written ({self.strerror})"

    def within(self, where: str) -> Self:
        """Return itself: the file says where."""
        return self


class BundleError(DmgBmiError, ValueError):
    """A bundle is missing, corrupt, tampered with, or of a newer format."""


class ImportDmgError(DmgBmiError, ValueError):
    """A model directory of dmg cannot be imported whole; nothing of it is."""


class ImportModelError(DmgBmiError, ValueError):
    """A model that was trained with another package cannot be imported whole; nothing of it is."""


class StateError(DmgBmiError, ValueError):
    """A saved state is corrupt, foreign, or does not fit the component."""


class ForcingError(DmgBmiError, ValueError):
    """Forcing is missing, not finite, out of its physical range, or of the wrong length."""


class AttributeTableError(DmgBmiError, ValueError):
    """A static attribute of a catchment is missing or not usable."""


class HydrofabricError(DmgBmiError, ValueError):
    """A hydrofabric cannot be read, or water cannot be routed through its network."""


class VariableError(DmgBmiError, KeyError):
    """A BMI call names a variable that does not exist, or that cannot do what is asked."""

    def __str__(self) -> str:
        # KeyError would show the quoted repr of the message.
        return str(self.args[0]) if self.args else ""


class ValueShapeError(DmgBmiError, ValueError):
    """A BMI call hands over an array of the wrong size or kind."""


class TimeError(DmgBmiError, ValueError):
    """A BMI call asks for a time that has passed or lies beyond the end."""


class TimeStepError(TimeError, NotImplementedError):
    """`update_until` was given a time that is not a multiple of the step.

    It is also a NotImplementedError, which pymt takes for "step and interpolate".
    """


class GridError(DmgBmiError, NotImplementedError):
    """A grid function that does not apply to this component's grid."""


class NotInitializedError(DmgBmiError, RuntimeError):
    """A getter, setter or update was called before `initialize` or after `finalize`."""


class ModelError(DmgBmiError, ArithmeticError):
    """A model step produced values that are not finite; the step is undone."""


class NextGenError(DmgBmiError, ValueError):
    """What NextGen is to be given is missing, or would not run as meant."""


class TrainingError(DmgBmiError, RuntimeError):
    """A training cannot go on, or its run folder cannot be used."""
