"""The variable table: what a bundle takes and gives, under the names that frameworks use.

One table per bundle is derived from the declarations of its models. BMI getters,
``dmg-bmi inspect``, file attributes and framework metadata are read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf
from typing import Any, Literal

from .delta_model import DAY, DeltaModel
from .errors import VariableError
from .physics import Quantity, forcings
from .physics.contract import Aggregation
from .units import conversion, is_rate_of

Kind = Literal["input", "output", "attribute", "state"]


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    Parameters
    ----------
    name : str
        As a framework calls it: the CSDMS standard name, or the symbol where there is none.
    symbol : str
        As the model calls it.
    kind : {"input", "output", "attribute", "state"}
        What is published are inputs and outputs with a standard name.
    units : str
        As a framework gives and takes it.
    model_units : str
        As the equations use it; of an amount (`aggregation` "sum") per step.
    aggregation : str
        How values of several steps become one.
    meaning : str
    lower, upper : float
        Limits of a legal value, in model units.
    size : int
        Numbers per row.
    """

    name: str
    symbol: str
    kind: Kind
    units: str
    model_units: str
    meaning: str
    aggregation: Aggregation = "mean"
    lower: float = -inf
    upper: float = inf
    size: int = 1

    dtype = "float64"

    @property
    def published(self) -> bool:
        """Whether the BMI lists it among its input or output variables."""
        return self.kind in ("input", "output") and self.name != self.symbol

    def to_model(self, step: float, units: str | None = None) -> tuple[float, float]:
        """Scale and offset from `units` (its own by default) to `model_units`.

        Where the model uses an amount per step, a rate becomes the amount of `step` seconds.
        """
        given = units or self.units
        if self.aggregation == "sum" and is_rate_of(given, self.model_units):
            return conversion(given, f"{self.model_units} s-1")[0] * step, 0.0
        return conversion(given, self.model_units)

    def from_model(self) -> tuple[float, float]:
        """Scale and offset from `model_units` to `units`."""
        return conversion(self.model_units, self.units)


def variable_table(model: DeltaModel) -> tuple[Variable, ...]:
    """Derive the table of a model: inputs, outputs, attributes, states."""
    several = len(model.process_models) > 1
    table = [_input(_forcing(model, name), model.step) for name in model.forcing_names]
    for key, process in model.process_models.items():
        for flux in process.declaration.fluxes:
            symbol = f"{key}.{flux.name}" if several else flux.name
            table.append(_output(flux, symbol))
    table += [_attribute(model, name) for name in model.attribute_names]
    for key, process in model.process_models.items():
        for state in process.declaration.states:
            size = _product(state.shape)
            symbol = f"{key}.{state.name}"
            table.append(
                Variable(symbol, symbol, "state", state.units, state.units, state.meaning, size=size)
            )
    return tuple(table)


def _forcing(model: DeltaModel, name: str) -> Quantity:
    for process in model.process_models.values():
        for forcing in process.declaration.forcings:
            if forcing.name == name:
                return forcing
    known = {f.name: f for f in vars(forcings).values() if isinstance(f, Quantity)}
    if name in known:
        return known[name]
    statistic = model.statistics.get(name)
    return Quantity(name, statistic.units if statistic and statistic.units else "1", f"network input {name}")


def _input(forcing: Quantity, step: float) -> Variable:
    units = forcing.units
    if forcing.aggregation == "sum":
        units += " d-1" if step >= DAY else " h-1"
    return Variable(
        forcing.standard_name or forcing.name,
        forcing.name,
        "input",
        units,
        forcing.units,
        forcing.meaning,
        forcing.aggregation,
        forcing.lower,
        forcing.upper,
    )


def _output(flux: Quantity, symbol: str) -> Variable:
    # Depths leave in metres: the one unit that NextGen turns into flow.
    units = "m" if flux.units == "mm" else flux.units
    name = flux.standard_name or symbol
    return Variable(name, symbol, "output", units, flux.units, flux.meaning, flux.aggregation)


def _attribute(model: DeltaModel, name: str) -> Variable:
    for process in model.process_models.values():
        for a in process.declaration.attributes:
            if a.name == name:
                return Variable(
                    name, name, "attribute", a.units, a.units, a.meaning, "mean", a.lower, a.upper
                )
    statistic = model.statistics.get(name)
    units = statistic.units if statistic and statistic.units else "1"
    return Variable(name, name, "attribute", units, units, f"static attribute {name}")


def _product(shape: Iterable[int]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def unknown_variable(name: str) -> VariableError:
    """The error for a name that is not in the table."""
    return VariableError(f"there is no variable {name!r}; `dmg-bmi inspect` lists those that exist")


def to_plain(table: Iterable[Variable]) -> list[dict[str, Any]]:
    """The table as plain data, without what is default."""
    defaults = {"aggregation": "mean", "lower": -inf, "upper": inf, "size": 1}
    return [{k: v for k, v in asdict(row).items() if defaults.get(k) != v} for row in table]


def from_plain(rows: Iterable[Mapping[str, Any]]) -> tuple[Variable, ...]:
    """The table from plain data."""
    return tuple(Variable(**row) for row in rows)
