"""Components for CSDMS pymt: one class per shipped bundle, and a factory for bundles of others.

pymt finds the classes through entry points in the group ``pymt.plugins``. It makes them without
arguments, asks for their variables before `initialize`, and stages the folder that ``METADATA``
names for ``model.setup()``. One whose folder is missing breaks ``import pymt`` for everybody, so
the folders are package data, written by ``python -m dmg_bmi.pymt`` from the variable table.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..bmi import DeltaModelBmi, bundle_component
from ..errors import ConfigError
from ..io.files import read_yaml
from ..lazy import make_lazy
from ..model.bundle import BundleInfo

#: Name in ``pymt.models`` to shipped bundle.
SHIPPED = {"DmgDemoDaily": "demo_daily", "DmgDemoHourly": "demo_hourly"}
INPUTS = "inputs.yaml"

__all__ = ["PymtComponent", "plugin", *SHIPPED]


class PymtComponent(DeltaModelBmi):
    """A component that begins with the inputs in ``inputs.yaml`` beside its configuration.

    They are parameters of ``model.setup()`` and hold until they are set, so that a model runs as it
    was set up.
    """

    bundle: ClassVar[BundleInfo]
    #: Folder, relative to the module of the class.
    METADATA: ClassVar[str]

    def _after_initialize(self, config_file: str) -> None:
        """Set the inputs of ``inputs.yaml``."""
        path = Path(config_file).with_name(INPUTS)
        if not path.is_file():
            return
        for name, value in read_yaml(path, ConfigError).items():
            if (
                name not in self._about.by_name
                or isinstance(value, bool)
                or not isinstance(value, (int, float))
            ):
                inputs = ", ".join(v.symbol for v in self.bundle.variables if v.kind == "input")
                raise ConfigError(
                    f"{path}: {name}: {value!r} is not a number for an input; inputs are {inputs}"
                )
            self.set_value(name, np.full(len(self.component.catchments), float(value)))


def plugin(name: str, bundle: str | Path, module: str, metadata: str | None = None) -> type[PymtComponent]:
    """Make a class for pymt of a bundle of your own.

    Parameters
    ----------
    name : str
        Name of the class, and of the entry point by which pymt finds it.
    bundle : path
        Folder of the bundle, or the name of a shipped one.
    module : str
        ``__name__`` of the package that holds the class and, as package data, its metadata.
    metadata : str, optional
        Folder within that package, ``metadata/NAME`` by default; write it with
        ``python -m dmg_bmi.pymt NAME BUNDLE FOLDER``.

    Examples
    --------
    In ``my_package/__init__.py``, with ``MyModel = "my_package:MyModel"`` under
    ``[project.entry-points."pymt.plugins"]``::

        MyModel = plugin("MyModel", Path(__file__).parent / "bundle", __name__)
    """
    component = bundle_component(name, bundle)
    members: dict[str, Any] = {
        "__module__": module,
        "__doc__": component.__doc__,
        "bundle": component.bundle,
        "METADATA": metadata or f"metadata/{name}",
    }
    return type(name, (PymtComponent,), members)


def __getattr__(name: str) -> type[PymtComponent]:
    if name not in SHIPPED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = made = plugin(name, SHIPPED[name], __name__)
    return made


make_lazy(__name__)
