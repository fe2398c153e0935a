"""What a run keeps of each step: outputs, states and parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..bmi import DeltaModelBmi
from ..errors import ConfigError, alternatives
from ..io.netcdf import Column
from ..model.variables import Variable
from ..physics import Parameter, State


@dataclass(frozen=True)
class _Values:
    """A parameter or state of each row that is kept: one series for each of its numbers."""

    key: str
    size: int
    column: Column

    @property
    def columns(self) -> dict[str, Column]:
        """Series, numbered from 1 where there are several."""
        if self.size == 1:
            return {self.key: self.column}
        return {f"{self.key}_{k + 1}": self.column for k in range(self.size)}

    def split(self, values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """Return each series of values ``[rows, size]``."""
        return dict(zip(self.columns, values.reshape(-1, self.size).T, strict=True))


class Recorder:
    """Reads what is kept of each step of a component.

    Parameters
    ----------
    bmi : DeltaModelBmi
        Initialized.
    names : sequence of str
        Outputs, states and parameters, by name or symbol, of a model without others of that name also
        without the model's key (``SM`` for ``phy.SM``); all outputs where empty.

    Attributes
    ----------
    outputs : list of Variable
        Those among them.
    columns : dict of str to Column
        All series.

    Raises
    ------
    ConfigError
        If one does not exist.
    """

    def __init__(self, bmi: DeltaModelBmi, names: Sequence[str]) -> None:
        component = bmi.component
        table = component.about.by_name
        every = [table[name] for name in bmi.get_output_var_names()]
        outputs = {v.symbol: v for v in every} | {v.name: v for v in every}
        states = _by_short_name((v.symbol, _Values(v.symbol, v.size, _column(v))) for v in _states(table))
        parameters = _by_short_name(_parameters(bmi))
        self.outputs: list[Variable] = [] if names else every
        self._states: list[_Values] = []
        self._parameters: list[_Values] = []
        for name in dict.fromkeys(names):
            if name in outputs:
                self.outputs += [outputs[name]] if outputs[name] not in self.outputs else []
            elif name in parameters:
                self._parameters.append(parameters[name])
            elif name in states:
                self._states.append(states[name])
            else:
                known = [v.symbol for v in every] + [p.key for p in (*states.values(), *parameters.values())]
                raise ConfigError(
                    f"--outputs: no output {name!r}; {alternatives(name, [*dict.fromkeys(known)])}"
                )
        of_rows = [*self._states, *self._parameters]
        if of_rows and len(component.ids) != len(component.catchments):
            raise ConfigError(
                f"--outputs: {of_rows[0].key} is of the members of an ensemble, which a run does not keep"
            )
        if self._parameters and component.clock.ratio != 1:
            raise ConfigError(
                f"--outputs: {self._parameters[0].key} is a parameter, which changes by the model's step; "
                "give forcing of that step"
            )
        self.columns = {v.symbol: _column(v) for v in self.outputs}
        for values in of_rows:
            self.columns |= values.columns
        self._component, self._state = component, State()
        self._arrays = {v.symbol: bmi.get_value_ptr(v.name) for v in self.outputs}
        self._shown = [(of, component.pointer(of.key)) for of in self._states]
        if self._parameters:
            self._model = component.info.load_model()
            component.group.keep_forcing()

    def before(self) -> None:
        """Note, before a step, what its parameters depend on."""
        if self._parameters:
            self._state = self._component.group.state(self._component)

    def read(self) -> Mapping[str, NDArray[Any]]:
        """Return the series of the step that was made, ``[catchments]`` each."""
        series = dict(self._arrays)
        for of, values in self._shown:
            series |= of.split(values)
        if self._parameters:
            found = self._values_of_parameters()
            for of in self._parameters:
                series |= of.split(found[of.key])
        return series

    def _values_of_parameters(self) -> dict[str, FloatArray]:
        """Return the parameters of the latest step by name, ``[rows, size]``."""
        component = self._component
        group, rows = component.group, component.rows
        constants = group.states.constants_of(rows)
        forcing = {n: torch.from_numpy(np.ascontiguousarray(v[rows]))[None] for n, v in group.forcing.items()}
        with torch.inference_mode():
            state, known = ({n: t.cpu() for n, t in held.items()} for held in (self._state, constants))
            dynamic = self._model.prepare(forcing, known, state).dynamic
        found = {}
        for of in self._parameters:
            model, _, name = of.key.partition(".")
            values = dynamic[model][name][0] if name in dynamic[model] else known[of.key]
            found[of.key] = values.to(torch.float64).numpy().reshape(len(rows), -1)
        return found


def _states(table: Mapping[str, Variable]) -> list[Variable]:
    return [*{v.symbol: v for v in table.values() if v.kind == "state"}.values()]


def _parameters(bmi: DeltaModelBmi) -> Iterable[tuple[str, _Values]]:
    """Yield the parameters that networks supply, by name."""
    model = bmi.component.group.model
    for name in model.learned:
        key, _, symbol = name.partition(".")
        yield name, _of_parameter(name, model.process_models[key].declaration.parameter(symbol))


def _of_parameter(name: str, declared: Parameter) -> _Values:
    return _Values(name, declared.size, Column(declared.units, declared.meaning))


def _by_short_name(values: Iterable[tuple[str, _Values]]) -> dict[str, _Values]:
    """Return values by their names, and without the key of their model where that is enough."""
    by_name = dict(values)
    short: dict[str, list[_Values]] = {}
    for name, of in by_name.items():
        short.setdefault(name.partition(".")[2], []).append(of)
    return by_name | {name: of[0] for name, of in short.items() if len(of) == 1 and name not in by_name}


def _column(v: Variable) -> Column:
    return Column(v.units, v.meaning, v.name if v.name != v.symbol else "", v.aggregation)
