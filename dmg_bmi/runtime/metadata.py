"""Answers of BMI getters, looked up once: a framework may ask for them at every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from ..model.variables import Variable

IDS, AREA = "catchment__id", "catchment__area"


@dataclass(frozen=True)
class Reserved:
    """Metadata of a variable that is not in the table of a component."""

    units: str
    dtype: str


class ReservedVariables(Protocol):
    """Answers for variables that are not in the table of a component."""

    def find(self, name: str) -> Reserved:
        """Return metadata."""
        ...

    def array(self, name: str) -> NDArray[np.generic]:
        """Return the one array of a variable."""
        ...

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Do what setting it means."""
        ...


class ExtraVariables(ReservedVariables, Protocol):
    """Reserved variables that all stand in a table of their own."""

    @property
    def table(self) -> Mapping[str, Reserved]:
        """Metadata by name."""
        ...


class Metadata:
    """Names and metadata of variables, by name and by symbol.

    Parameters
    ----------
    table : sequence of Variable, optional
        Without it there are none.
    size : int, optional
        Number of catchments, where it is known.
    stored : bool
        Whether forcing is stored, so that there are no inputs.
    """

    def __init__(self, table: Sequence[Variable] = (), size: int | None = None, stored: bool = False) -> None:
        by_name = {v.symbol: v for v in table} | {v.name: v for v in table}
        kinds = ("output",) if stored else ("input", "output")
        self.by_name = by_name
        self.inputs, self.outputs = (
            tuple(dict.fromkeys(v.name for v in table if v.kind == kind and v.published and kind in kinds))
            for kind in ("input", "output")
        )
        self.units = {name: v.units for name, v in by_name.items()}
        self.types = {name: v.dtype for name, v in by_name.items()}
        self.nbytes: dict[str, int] = {}
        if table:
            self.units |= {IDS: "1", AREA: "km2"}
            self.types |= {IDS: "int64", AREA: "float64"}
        if size is not None:
            self.nbytes = {
                name: 8 * size * (by_name[name].size if name in by_name else 1) for name in self.units
            }
        self.itemsizes = dict.fromkeys(self.units, 8)

    def extended(self, table: Mapping[str, Reserved]) -> Self:
        """Return the same with variables whose size may change, so that it is looked up each time."""
        new = copy(self)
        new.units = self.units | {name: v.units for name, v in table.items()}
        new.types = self.types | {name: v.dtype for name, v in table.items()}
        new.itemsizes = {name: np.dtype(dtype).itemsize for name, dtype in new.types.items()}
        new.nbytes = {name: n for name, n in self.nbytes.items() if name not in table}
        return new


def id_number(name: str, position: int) -> int:
    """Return the digits of an id as a number, or its position where it has none."""
    digits = "".join(c for c in name if c.isdigit())[-18:]
    return int(digits) if digits else position
