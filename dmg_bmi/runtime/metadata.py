"""Answers of BMI getters, looked up once: a framework may ask for them at every step."""

from __future__ import annotations

from collections.abc import Sequence

from ..model.variables import Variable

IDS, AREA = "catchment__id", "catchment__area"


class Metadata:
    """Names and metadata of variables, by name and by symbol.

    Parameters
    ----------
    table : sequence of Variable, optional
        Without it there are none.
    size : int, optional
        Catchments, where they are known.
    stored : bool
        Whether forcing is stored, so that there are no inputs.
    """

    def __init__(self, table: Sequence[Variable] = (), size: int | None = None, stored: bool = False) -> None:
        known = {v.symbol: v for v in table} | {v.name: v for v in table}
        kinds = ("output",) if stored else ("input", "output")
        self.by_name = known
        self.inputs, self.outputs = (
            tuple(dict.fromkeys(v.name for v in table if v.kind == kind and v.published and kind in kinds))
            for kind in ("input", "output")
        )
        self.units = {name: v.units for name, v in known.items()}
        self.types = {name: v.dtype for name, v in known.items()}
        self.nbytes: dict[str, int] = {}
        if table:
            self.units |= {IDS: "1", AREA: "km2"}
            self.types |= {IDS: "int64", AREA: "float64"}
        if size is not None:
            self.nbytes = {name: 8 * size * (known[name].size if name in known else 1) for name in self.units}
        self.itemsizes = dict.fromkeys(self.units, 8)


def id_number(name: str, position: int) -> int:
    """Return the digits of an id as a number, or its position where it has none."""
    digits = "".join(c for c in name if c.isdigit())[-18:]
    return int(digits) if digits else position
