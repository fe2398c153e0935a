"""Variables that NextGen reserves: the water balance, and saving and restoring the state.

They are reached by name and never published. ``ngen::mass_*`` follow NOAA-OWP/ngen's
``mass_balance`` protocol, ``ngen::serialization_*`` the state-saving protocol v0.2 proposed
in NOAA-OWP/ngen#957; the same words without the prefix are an older convention.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import StateError, ValueShapeError, VariableError
from ..model.variables import unknown_variable
from .metadata import Reserved
from .state_codec import MAX_SIZE

if TYPE_CHECKING:
    from .component import Component

Array = NDArray[np.generic]
PREFIX = "ngen::"


_TRIGGER, _OPAQUE = "ngen::trigger", "ngen::opaque"
SERIALIZATION = {
    f"{PREFIX}serialization_create": Reserved(_TRIGGER, "int32"),
    f"{PREFIX}serialization_free": Reserved(_TRIGGER, "int32"),
    f"{PREFIX}serialization_size": Reserved("bytes", "int64"),
    f"{PREFIX}serialization_state": Reserved(_OPAQUE, "uint8"),
    # The older convention reads the size where it asked for the state.
    "serialization_create": Reserved("bytes", "uint64"),
    "serialization_free": Reserved(_TRIGGER, "int32"),
    "serialization_size": Reserved("bytes", "uint64"),
    "serialization_state": Reserved(_OPAQUE, "uint8"),
}
#: Name to the total of a :class:`WaterBudget`.
MASS = {
    f"{PREFIX}mass_in": "mass_in",
    f"{PREFIX}mass_out": "mass_out",
    f"{PREFIX}mass_stored": "stored",
    f"{PREFIX}mass_leaked": "mass_leaked",
}


class NgenProtocols:
    """Reserved variables of one component.

    Parameters
    ----------
    component : Component
    """

    def __init__(self, component: Component) -> None:
        self._component = component
        self._arrays: dict[str, Array] = {}
        self._announced: int | None = None

    def find(self, name: str) -> Reserved:
        """Return metadata of a reserved name.

        Raises
        ------
        VariableError
            If there is no such variable, or the model has no balance of water.
        """
        balance = self._component.group.balance
        if name in MASS and balance is not None:
            return Reserved(balance.units, "float64")
        if name not in SERIALIZATION:
            raise unknown_variable(name)
        return SERIALIZATION[name]

    def array(self, name: str) -> Array:
        """Return the one array of a reserved variable; of the state, until another is saved."""
        if name in MASS:
            return self._component.water_total(MASS[name])
        if name not in self._arrays:
            count = 0 if name.endswith("state") else 1
            self._arrays[name] = np.zeros(count, dtype=SERIALIZATION[name].dtype)
        return self._arrays[name]

    def set(self, name: str, values: Array) -> None:
        """Save the state (``create``), drop it (``free``), announce one (``size``), restore it (``state``).

        Raises
        ------
        VariableError, ValueShapeError, StateError
        """
        if name in MASS:
            raise VariableError(f"{name!r} is given by the component and cannot be set")
        if name.endswith("create"):
            self._hold(np.frombuffer(bytearray(self._component.save()), dtype=np.uint8))
        elif name.endswith("free"):
            self._hold(np.zeros(0, dtype=np.uint8))
        elif name.endswith("size"):
            # compared before it is made whole, since NaN cannot be
            if values.size != 1 or not 0 <= float(values.flat[0]) <= MAX_SIZE:
                raise ValueShapeError(f"{name!r} must be set to one number of bytes, at most {MAX_SIZE}")
            try:
                self._hold(np.zeros(int(values.flat[0]), dtype=np.uint8))
            except MemoryError as problem:
                raise StateError(f"{name}: {values.flat[0]} bytes do not fit into memory") from problem
            self._announced = int(values.flat[0])
        else:
            self._restore(name, values)

    def _restore(self, name: str, values: Array) -> None:
        if values.dtype.itemsize != 1:
            raise ValueShapeError(f"{name!r} must be set from bytes, not {values.dtype}")
        if self._announced is not None and values.size != self._announced:
            raise StateError(f"{name}: {values.size} bytes came, {self._announced} were announced")
        self._component.load(values.tobytes(), name)
        self._hold(np.zeros(0, dtype=np.uint8))

    def _hold(self, content: Array) -> None:
        self._announced = None
        for prefix in (PREFIX, ""):
            self._arrays[f"{prefix}serialization_state"] = content
            self.array(f"{prefix}serialization_size")[0] = content.size
        self.array("serialization_create")[0] = content.size
