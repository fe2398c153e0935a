"""The contract of a process model: its declaration, and the one step that everything else runs.

A process model is data (:class:`Declaration`) and a pure function
``step(forcing, state, parameters, static, dt, processes) -> (state, fluxes)``.
Sequence runs, training, compiled engines and BMI stepping all call that one step, so
an equation is written once. The state is a value, handed in and returned: a flat
``dict[str, Tensor]`` whose tensors have rows (catchments, leaves, reaches) first.
A model that somebody else wrote may have no such step: it brings its own loop over
time, says so in :attr:`ProcessModel.sequence_only`, and cannot be deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from itertools import repeat
from math import inf, prod
from typing import Literal

import torch
from torch import Tensor, nn

from ..options import constructor_options

State = dict[str, Tensor]
#: A network inside the step: ``(inputs, state) -> (value, entries of the state it renews)``.
ProcessFunction = Callable[[Mapping[str, Tensor], State], tuple[Tensor, State]]
#: How a quantity joins several steps into one: an amount per step adds up, a rate or a
#: mean level averages, a level at the end of the step is its last value.
Aggregation = Literal["sum", "mean", "min", "max", "last"]

NO_PROCESSES: Mapping[str, ProcessFunction] = {}


@dataclass(frozen=True)
class Quantity:
    """A named quantity.

    Parameters
    ----------
    name : str
        Its symbol in the equations.
    units : str
        UDUNITS string. With ``aggregation="sum"`` the amount per step, e.g. ``mm``.
    meaning : str
        One line for people.
    standard_name : str
        CSDMS standard name; empty for what no framework asks for.
    aggregation : {"sum", "mean", "min", "max", "last"}
        See :data:`Aggregation`.
    lower, upper : float
        Physical limits of a legal value in `units`; what lies outside is refused.
    """

    name: str
    units: str
    meaning: str
    standard_name: str = ""
    aggregation: Aggregation = "mean"
    lower: float = -inf
    upper: float = inf


class Forcing(Quantity):
    """A quantity that drives the model, ``[rows]`` each step."""


class Flux(Quantity):
    """A quantity that a step returns, ``[rows]``: a flux, or a level at the end of the step."""


class Attribute(Quantity):
    """A constant of each row that the equations use (elevation, upstream area), ``[rows]``."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the equations with the bounds that a network's output is scaled to.

    With `logarithmic` the logarithm is scaled instead: for bounds that are powers of ten apart.
    """

    name: str
    lower: float
    upper: float
    units: str
    meaning: str
    source: str = ""
    shape: tuple[int, ...] = ()
    logarithmic: bool = False

    @property
    def size(self) -> int:
        """Return the count of values per row."""
        return prod(self.shape)


@dataclass(frozen=True)
class StateVariable:
    """A state of shape ``[rows, *shape]``.

    `reduce` says how the trailing axes make one number per row: the ordinates of a queue
    are summed. The first `components` axes of `shape` are parallel components, which are
    averaged whatever `reduce` says. A store may be as low as minus `rounding`, which its step
    takes for empty.
    """

    name: str
    units: str
    meaning: str
    shape: tuple[int, ...] = ()
    reduce: Literal["mean", "sum"] = "mean"
    initial: float = 0.0
    components: int = 0
    rounding: float = 0.0


@dataclass(frozen=True)
class Balance:
    """A conserved quantity: in each row and step, into + exchange = out + change of stored.

    `into` names forcings, `out` fluxes, `stored` states, `exchange` fluxes counted
    positive into the row (regional groundwater, corrections by a network).
    """

    quantity: str
    units: str
    into: tuple[str, ...]
    out: tuple[str, ...]
    stored: tuple[str, ...]
    exchange: tuple[str, ...] = ()


@dataclass(frozen=True)
class Declaration:
    """Everything that is known about a process model without running it.

    Parameters
    ----------
    name : str
    forcings, attributes, parameters, states, fluxes : tuple
        Inputs, constants, parameters, stores and outputs.
    balances : tuple of Balance
        Empty for a model that conserves nothing.
    processes : mapping of str to tuple of str
        Fluxes that a network may replace, each with the quantities it is shown.
    derived : mapping of str to tuple of str
        Tensors that :meth:`ProcessModel.derive` makes of the named parameters, so that
        what is constant over steps is computed once.
    graph : tuple of str
        Names in `static` of what is not per row, such as which row flows into which. A model
        with one has rows that act on each other and step together; without it in `static` they
        stand alone.
    rate_form : bool
        Whether the step integrates differential equations, so that its error falls with
        the length of the step.
    source : str
        Where the equations are published.
    """

    name: str
    forcings: tuple[Forcing, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    parameters: tuple[Parameter, ...] = ()
    states: tuple[StateVariable, ...] = ()
    fluxes: tuple[Flux, ...] = ()
    balances: tuple[Balance, ...] = ()
    processes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    derived: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    graph: tuple[str, ...] = ()
    rate_form: bool = False
    source: str = ""

    def parameter(self, name: str) -> Parameter:
        """Return the declared parameter `name`; ``KeyError`` lists those that exist."""
        for parameter in self.parameters:
            if parameter.name == name:
                return parameter
        declared = ", ".join(p.name for p in self.parameters)
        raise KeyError(f"{self.name} has no parameter {name!r}; it has {declared}")

    def with_shape(self, shape: tuple[int, ...]) -> Declaration:
        """Return the same declaration with parameters and states repeated over `shape`."""
        return replace(
            self,
            parameters=tuple(replace(p, shape=shape + p.shape) for p in self.parameters),
            states=tuple(
                replace(s, shape=shape + s.shape, components=len(shape) + s.components) for s in self.states
            ),
        )


class ProcessModel(nn.Module):
    """Base of every process model: a declaration and a pure step.

    A subclass sets :attr:`declaration`, writes :meth:`step`, and keeps each option of its
    constructor as an attribute of the same name.

    Attributes
    ----------
    declaration : Declaration
    sequence_only : str
        Of a model that writes :meth:`run` instead of :meth:`step`: why it cannot step, and
        what to use where it must. It trains and runs forward; a bundle refuses it.
    unit_hydrograph : str
        Which of :data:`~.unit_hydrograph.SHAPES` its runoff is routed by in a catchment.
    """

    declaration: Declaration
    sequence_only: str = ""
    unit_hydrograph: str = "gamma"

    def step(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        processes: Mapping[str, ProcessFunction] = NO_PROCESSES,
    ) -> tuple[State, dict[str, Tensor]]:
        """Advance one step.

        Parameters
        ----------
        forcing : mapping of name to Tensor ``[rows]``
        state : State
            Tensors ``[rows, *shape]``. It is not changed.
        parameters : mapping of name to Tensor ``[rows, *shape]``
            Every declared parameter; derived tensors too where they are constant.
        static : mapping of name to Tensor
            Declared attributes ``[rows]``; also what is not per row, such as a graph.
        dt : float
            Length of the step in days.
        processes : mapping of flux name to callable
            Networks that replace declared processes. Their own recurrent state lives in
            `state`; what a callable returns of it is carried into the new state.

        Returns
        -------
        state : State
            The declared states, and the entries that `processes` renewed.
        fluxes : dict of name to Tensor ``[rows]``

        Raises
        ------
        NotImplementedError
            By a model that runs whole sequences only, with its reason.
        """
        raise NotImplementedError(
            f"{self.declaration.name} has no step: {self.sequence_only or 'its class has to write one'}"
        )

    def run(
        self,
        forcing: Mapping[str, Tensor],
        state: State,
        parameters: Mapping[str, Tensor],
        static: Mapping[str, Tensor],
        dt: float,
        dynamic: Mapping[str, Tensor],
        processes: Mapping[str, ProcessFunction],
        outputs: Collection[str],
    ) -> tuple[dict[str, Tensor], State]:
        """Step through a block for :func:`dmg_bmi.physics.run`, which documents the arguments.

        `parameters` and `dynamic` hold the derived tensors too, and `outputs` are fluxes to keep.
        """
        series: dict[str, list[Tensor]] = {name: [] for name in outputs}
        for now, varying in zip(_steps(forcing), _steps(dynamic) or repeat({}), strict=bool(dynamic)):
            state, fluxes = self.step(now, state, {**parameters, **varying}, static, dt, processes)
            for name, values in series.items():
                values.append(fluxes[name])
        return {name: _stack(values) for name, values in series.items()}, state

    def derive(self, parameters: Mapping[str, Tensor], dt: float) -> dict[str, Tensor]:
        """Compute the declared `derived` tensors, for parameters of any leading shape."""
        return {}

    def describe(self) -> dict[str, object]:
        """Return name and constructor options as plain data; options are attributes of the same names."""
        return {"name": self.declaration.name, **constructor_options(self)}

    def init_state(
        self, n: int, *, dtype: torch.dtype = torch.float64, device: torch.device | str | None = None
    ) -> State:
        """Return the declared initial state of `n` rows."""
        return {
            s.name: torch.full((n, *s.shape), s.initial, dtype=dtype, device=device)
            for s in self.declaration.states
        }


def _steps(series: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
    """Split series into one mapping per step.

    Unbinds instead of indexing: the backward of ``x[t]`` fills a tensor as long as the sequence.
    """
    columns = zip(*(tensor.unbind(0) for tensor in series.values()), strict=True)
    return [dict(zip(series, column, strict=True)) for column in columns]


def _stack(values: list[Tensor]) -> Tensor:
    return values[0].unsqueeze(0) if len(values) == 1 else torch.stack(values)


class Replaceable:
    """The replaceable processes of one step: each a network if one takes its place, else its equation.

    Parameters
    ----------
    state : State
        Before the step, with the recurrent states of the networks.
    processes : mapping of flux name to callable

    Attributes
    ----------
    renewed : State
        Entries of the state that the networks renewed, which the step returns with its own.
    """

    def __init__(self, state: State, processes: Mapping[str, ProcessFunction]) -> None:
        self._state, self._processes = state, processes
        self.renewed: State = {}

    def __call__(self, name: str, equation: Callable[[], Tensor], **shown: Tensor) -> Tensor:
        """Return the flux `name` from its network, which sees the quantities `shown`, or from `equation`."""
        if name not in self._processes:
            return equation()
        value, renewed = self._processes[name](shown, self._state)
        self.renewed |= renewed
        return value
