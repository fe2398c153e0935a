"""Promises of the Basic Model Interface, checked on any component.

bmi-tester reads metadata; it never sets a value, never updates, never looks at time. These
checks do. Each has fresh instances, so that none depends on another::

    for result in Conformance(MyBmi, "config.yaml", {"rain__rate": 2.0}).check():
        print(result)

With pytest, a test per check: ``pytest --bmi my_package:MyBmi --bmi-config config.yaml``. What
only NextGen asks for is in :mod:`dmg_bmi.nextgen.conformance`.
"""

from collections.abc import Mapping
from typing import ClassVar

from .checks import Result
from .life import LifeChecks
from .metadata import MetadataChecks
from .values import ValueChecks

__all__ = ["Conformance", "Result"]


class Conformance(MetadataChecks, ValueChecks, LifeChecks):
    """All checks of the Basic Model Interface; see :class:`~.checks.Checks` for what they are made with."""

    #: Checks of what the specification leaves open, and who relies on it.
    BEYOND: ClassVar[Mapping[str, str]] = {
        "exact_time": "hosts compare times, and a sum of many steps drifts",
        "finalize": "NextGen finalizes a routing component twice, and what failed to initialize too",
        "initialize": "pymt initializes an instance again",
        "pointer_layout": "NextGen ends at any other shape, and reads past a shorter array",
        "unknown_names": "hosts tell a missing variable from a fault by its error",
    }
    #: Checks that need no inputs.
    UNFED: ClassVar[tuple[str, ...]] = (
        "names",
        "variable_metadata",
        "grid_metadata",
        "time_metadata",
        "unknown_names",
    )
