"""The variable table: inputs and outputs of a bundle, under the names that frameworks use.

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

Kind = Literal["input", "output", "attribute", "state", "multiplier", "observation", "adjoint"]
#: Runoff as a depth, and as flow over a catchment's area.
RUNOFF = "land_surface_water__runoff_depth"
FLOW = "land_surface_water_source__volume_flow_rate"


@dataclass(frozen=True)
class Variable:
    """One row of the table.

    Parameters
    ----------
    name : str
        Name for frameworks: the CSDMS standard name, or the symbol where there is none.
    symbol : str
        Name in the model.
    kind : {"input", "output", "attribute", "state", "multiplier", "observation", "adjoint"}
        Inputs, and outputs with a standard name, are published. A multiplier scales a learned
        parameter, for calibration. An observation is for the step that comes; an adjoint is the gradient by
        a state of the misfit to those that came.
    units : str
        Units of frameworks.
    model_units : str
        Units of the equations; of an amount (`aggregation` "sum") per step.
    aggregation : str
        How values of several steps are combined.
    meaning : str
    lower, upper : float
        Limits of a legal value, in model units.
    size : int
        Values per row.
    of : str
        For a flow, the symbol of the depth from which it is computed; for a multiplier, the
        parameter (``phy.FC``).
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
        """Return whether the BMI lists it among its input or output variables."""
        return self.kind == "input" or (self.kind == "output" and self.name != self.symbol)

    def to_model(self, step: float, units: str | None = None) -> tuple[float, float]:
        """Return scale and offset from `units` (its own by default) to `model_units`.

        Where the model uses an amount per step, a rate becomes the amount of `step` seconds.
        """
        source = units or self.units
        if self.aggregation == "sum" and is_rate_of(source, self.model_units):
            return conversion(source, f"{self.model_units} s-1")[0] * step, 0.0
        return conversion(source, self.model_units)

    def from_units(self, units: str, step: float) -> tuple[float, float]:
        """Return scale and offset from other units to its own; amounts of `step` seconds become rates."""
        to_model, offset = self.to_model(step, units)
        back, shift = self.to_model(step)
        return to_model / back, (offset - shift) / back

    def from_model(self) -> tuple[float, float]:
        """Return scale and offset from `model_units` to `units`."""
        return conversion(self.model_units, self.units)


def variable_table(model: DeltaModel) -> tuple[Variable, ...]:
    """Derive the table of a model: inputs, outputs, attributes, states, multipliers."""
    declaration = model.declaration
    stored = {name for balance in declaration.balances for name in balance.stored}
    return (
        *(input_variable(forcing, model.step) for forcing in declaration.forcings),
        *(_output(flux) for flux in declaration.fluxes),
        *(_flow(flux) for flux in declaration.fluxes if flux.standard_name == RUNOFF),
        *(_attribute(attribute) for attribute in declaration.attributes),
        *(_state(state, state.name in stored) for state in declaration.states),
        *(_multiplier(name, len(model.process_models) > 1) for name in model.learned),
    )


def input_variable(forcing: Quantity, step: float) -> Variable:
    """Return the entry of a forcing of a model with steps of `step` seconds."""
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
    # Depths are published in metres, the only unit that NextGen converts into flow.
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
    # A conserved store is never below empty.
    lower = 0.0 - state.rounding if stored else -inf
    return Variable(name, name, "state", units, units, state.meaning, lower=lower, size=prod(state.shape))


def quantile_name(name: str, level: float) -> str:
    """Return the name of a quantile of a variable, in components and in files."""
    return f"{name}__quantile_{level:g}"


def mean_name(name: str) -> str:
    """Return the name of the mean over a distribution of a variable, likewise."""
    return f"{name}__mean"


def unknown_variable(name: str) -> VariableError:
    """Return the error for a name that is not in the table."""
    return VariableError(f"unknown variable {name!r}; `dmg-bmi inspect` lists those that exist")


def to_plain(table: Iterable[Variable]) -> list[dict[str, Any]]:
    """Return the table as plain data, without default values."""
    defaults = {"aggregation": "mean", "lower": -inf, "upper": inf, "size": 1, "of": ""}
    return [{k: v for k, v in asdict(row).items() if defaults.get(k) != v} for row in table]


def from_plain(rows: Iterable[Mapping[str, Any]]) -> tuple[Variable, ...]:
    """Build the table from plain data; TypeError if it is not valid."""
    return check_table(tuple(Variable(**row) for row in rows))


def check_table(table: tuple[Variable, ...]) -> tuple[Variable, ...]:
    """Return the table if every entry is of its type; TypeError otherwise."""
    for v in table:
        texts = (v.name, v.symbol, v.units, v.model_units, v.meaning, v.of)
        if not all(isinstance(text, str) for text in texts):
            raise TypeError(f"names, units and meanings of a variable must be strings: {v}")
        if v.kind not in get_args(Kind) or v.aggregation not in get_args(Aggregation):
            raise TypeError(f"unknown kind or aggregation: {v}")
        if type(v.size) is not int or v.size < 1 or not v.lower <= v.upper:
            raise TypeError(f"unusable size or limits: {v}")
    return table
