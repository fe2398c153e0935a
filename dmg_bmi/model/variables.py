"""The variable table: what a bundle takes and gives, under the names that frameworks use.

One table per bundle is derived from the declarations of its models. BMI getters,
``dmg-bmi inspect``, file attributes and framework metadata are read from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import inf, prod
from typing import Any, Literal, get_args

from ..errors import VariableError
from ..io.units import conversion, is_rate_of
from ..physics import Quantity, StateVariable
from ..physics.contract import Aggregation
from .delta_model import DAY, DeltaModel

Kind = Literal["input", "output", "attribute", "state", "multiplier"]
#: Runoff in depth, and the flow that it makes over a catchment's area.
RUNOFF = "land_surface_water__runoff_depth"
FLOW = "land_surface_water_source__volume_flow_rate"


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    Parameters
    ----------
    name : str
        As a framework calls it: the CSDMS standard name, or the symbol where there is none.
    symbol : str
        As the model calls it.
    kind : {"input", "output", "attribute", "state", "multiplier"}
        What is published are inputs and outputs with a standard name. A multiplier scales a
        learned parameter, for calibration.
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
    of : str
        Of a flow the symbol of the depth that makes it over the area of a row, of a multiplier
        the parameter (``phy.FC``).
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
    of: str = ""

    dtype = "float64"

    @property
    def published(self) -> bool:
        """Whether the BMI lists it among its input or output variables."""
        return self.kind == "input" or (self.kind == "output" and self.name != self.symbol)

    def to_model(self, step: float, units: str | None = None) -> tuple[float, float]:
        """Scale and offset from `units` (its own by default) to `model_units`.

        Where the model uses an amount per step, a rate becomes the amount of `step` seconds.
        """
        given = units or self.units
        if self.aggregation == "sum" and is_rate_of(given, self.model_units):
            return conversion(given, f"{self.model_units} s-1")[0] * step, 0.0
        return conversion(given, self.model_units)

    def from_units(self, units: str, step: float) -> tuple[float, float]:
        """Scale and offset from other units to its own; amounts of `step` seconds become rates."""
        to_model, offset = self.to_model(step, units)
        back, shift = self.to_model(step)
        return to_model / back, (offset - shift) / back

    def from_model(self) -> tuple[float, float]:
        """Scale and offset from `model_units` to `units`."""
        return conversion(self.model_units, self.units)


def variable_table(model: DeltaModel) -> tuple[Variable, ...]:
    """Derive the table of a model: inputs, outputs, attributes, states, multipliers."""
    declaration = model.declaration
    stored = {name for balance in declaration.balances for name in balance.stored}
    return (
        *(_input(forcing, model.step) for forcing in declaration.forcings),
        *(_output(flux) for flux in declaration.fluxes),
        *(_flow(flux) for flux in declaration.fluxes if flux.standard_name == RUNOFF),
        *(_attribute(attribute) for attribute in declaration.attributes),
        *(_state(state, state.name in stored) for state in declaration.states),
        *(_multiplier(name, len(model.process_models) > 1) for name in model.learned),
    )


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


def _output(flux: Quantity) -> Variable:
    # Depths leave in metres: the one unit that NextGen turns into flow.
    units = "m" if flux.units == "mm" else flux.units
    name = flux.standard_name or flux.name
    return Variable(name, flux.name, "output", units, flux.units, flux.meaning, flux.aggregation)


def _flow(depth: Quantity) -> Variable:
    return Variable(FLOW, f"{depth.name}_flow", "output", "m3 s-1", "m3 s-1", "runoff as flow", of=depth.name)


def _multiplier(parameter: str, several: bool) -> Variable:
    key, _, symbol = parameter.partition(".")
    name = f"multiplier__{parameter if several else symbol}"
    meaning = f"factor on the learned parameter {symbol}" + (f" of {key}" if several else "")
    return Variable(name, name, "multiplier", "1", "1", meaning, lower=0.01, upper=100.0, of=parameter)


def _attribute(a: Quantity) -> Variable:
    return Variable(a.name, a.name, "attribute", a.units, a.units, a.meaning, "mean", a.lower, a.upper)


def _state(state: StateVariable, stored: bool) -> Variable:
    name, units = state.name, state.units
    # Of what is conserved there is never less than nothing.
    lower = 0.0 - state.rounding if stored else -inf
    return Variable(name, name, "state", units, units, state.meaning, lower=lower, size=prod(state.shape))


def unknown_variable(name: str) -> VariableError:
    """The error for a name that is not in the table."""
    return VariableError(f"there is no variable {name!r}; `dmg-bmi inspect` lists those that exist")


def to_plain(table: Iterable[Variable]) -> list[dict[str, Any]]:
    """The table as plain data, without what is default."""
    defaults = {"aggregation": "mean", "lower": -inf, "upper": inf, "size": 1, "of": ""}
    return [{k: v for k, v in asdict(row).items() if defaults.get(k) != v} for row in table]


def from_plain(rows: Iterable[Mapping[str, Any]]) -> tuple[Variable, ...]:
    """The table from plain data; TypeError if it is none."""
    return checked(tuple(Variable(**row) for row in rows))


def checked(table: tuple[Variable, ...]) -> tuple[Variable, ...]:
    """The table, if every entry is of its type; TypeError otherwise."""
    for v in table:
        texts = (v.name, v.symbol, v.units, v.model_units, v.meaning, v.of)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"names, units and meanings of a variable are texts: {v}")
        if v.kind not in get_args(Kind) or v.aggregation not in get_args(Aggregation):
            raise TypeError(f"unknown kind or aggregation: {v}")
        if type(v.size) is not int or v.size < 1 or not v.lower <= v.upper:
            raise TypeError(f"unusable size or limits: {v}")
    return table
