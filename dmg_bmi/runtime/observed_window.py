"""Observations that are set, and analyses of them: the states of a component in line with its gauges.

A component with ``assimilation`` in its configuration takes the observed flow of the step that comes. It
holds the forcing and the observations of the latest model steps, the window, and the state before them,
which runs after without observations. At the end of a model step with an observation the window is
analysed (see :mod:`dmg_bmi.assimilation.analysis`), and the state at its end becomes that of the component.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..arrays import FloatArray
from ..assimilation.adjoint import adjoint
from ..assimilation.analysis import FLOW, LARGEST, analyse
from ..errors import ConfigError, ForcingError
from ..model.delta_model import DeltaModel
from ..model.roles.process import ProcessRole
from ..model.spin_up import SpinUpModel
from ..model.variables import Variable
from ..physics import State
from .config import ComponentAssimilation, RunConfig

WINDOW = "window."
_DEPTH, _FLOW = "runoff_depth", "volume_flow_rate"
OBSERVATIONS = tuple(
    Variable(f"{where}__{of}{what}", f"Q_{symbol}", "observation", units, units, f"{meaning} of the step")
    for where, what, units, end in (
        ("land_surface_water", _DEPTH, "m", ""),
        ("land_surface_water_source", _FLOW, "m3 s-1", "_flow"),
    )
    for of, symbol, meaning in (
        ("observed_", f"observed{end}", "observed flow"),
        ("standard_error_of_observed_", f"observed{end}_error", "standard error of the observed flow"),
    )
)
INCREMENT = Variable(
    "land_surface_water__assimilation_increment_depth",
    "assimilation_increment",
    "output",
    "m",
    "mm",
    "water that the analysis at the end of the step gave to the stores",
    "sum",
)


COST = Variable(
    "assimilation__cost",
    "assimilation__cost",
    "adjoint",
    "1",
    "1",
    "misfit of the window to its observations",
)


def _inverse(units: str) -> str:
    if units == "1":
        return units
    return f"{units}-1" if units.isalpha() else f"({units})-1"


def adjoint_variables(table: Sequence[Variable]) -> list[Variable]:
    """Return the misfit, and its gradient by each state of a table before the window."""
    states = [v for v in table if v.kind == "state"]
    gradients = [
        replace(
            v,
            name=f"adjoint__{v.name}",
            symbol=f"adjoint__{v.symbol}",
            kind="adjoint",
            units=_inverse(v.units),
            meaning=f"gradient of the misfit of the window by the {v.meaning} before it",
            lower=-inf,
        )
        for v in states
    ]
    return [COST, *gradients]


@dataclass(frozen=True)
class WindowState:
    """Content of a window; tensors are replaced and never written to.

    Parameters
    ----------
    before : State
        Of the model, before the first step that is held; rows first.
    forcing : mapping of name to Tensor ``[rows, steps]``
        In model units, the latest step last.
    observed, error : Tensor ``[rows, steps]``
        Mean flow of each step and its standard error, mm per model step; NaN is missing.
    sums : Tensor ``[rows, 4]``
        Of the model step under way: observed depths and how many, and the same of their errors.
    """

    before: State
    forcing: Mapping[str, Tensor]
    observed: Tensor
    error: Tensor
    sums: Tensor

    @property
    def steps(self) -> int:
        """Return how many model steps are held."""
        return self.observed.shape[1]

    def tensors(self) -> dict[str, Tensor]:
        """Return what a state file holds of it."""
        parts = {"observed": self.observed, "error": self.error, "sums": self.sums}
        parts |= {f"before.{name}": value for name, value in self.before.items()}
        return parts | {f"forcing.{name}": value for name, value in self.forcing.items()}


class ObservedWindow:
    """The window of a component's rows.

    Parameters
    ----------
    options : ComponentAssimilation
    model : DeltaModel
    typical : array ``[rows]``
        Typical flow, mm per model step.
    area : array ``[rows]``
        km2.
    step : float
        Seconds of a framework step.
    shares : int
        Framework steps of a model step.

    Attributes
    ----------
    arrays : dict of name to array ``[rows]``
        What is set, by :data:`OBSERVATIONS`, NaN again after each step; and :data:`INCREMENT`.
    """

    def __init__(
        self,
        options: ComponentAssimilation,
        model: DeltaModel,
        typical: FloatArray,
        area: FloatArray,
        step: float,
        shares: int,
    ) -> None:
        self._options, self._model, self._shares = options, model, shares
        self._typical = torch.from_numpy(typical)
        depth, flow = np.full(len(area), 1000.0), step / (area * 1e3)
        self.arrays = {v.name: np.full(len(area), np.nan) for v in OBSERVATIONS}
        #: Two kinds of observation and error, and what makes mm of them.
        values = [*self.arrays.values()]
        self._settable = ((*values[:2], depth), (*values[2:], flow))
        self.increment = self.arrays[INCREMENT.name] = np.zeros(len(area))
        self.state: WindowState | None = None
        #: Those of the model's declaration, by which a host may differentiate.
        self._states = tuple(state.name for state in model.declaration.states)

    # -- stepping -----------------------------------------------------------------

    def observed(self, ids: Sequence[str], now: float) -> tuple[FloatArray, FloatArray]:
        """Return what is set, mm in the step, and its standard error; NaN is missing.

        Raises
        ------
        ForcingError
            For a flow that no river has, an error that is not above zero, or flow without an area.
        """
        depth, error = np.full((2, len(ids)), np.nan)
        for value, of_value, scale in self._settable:
            known = ~np.isnan(value)
            if not known.any():
                continue
            depth, error = np.where(known, value * scale, depth), np.where(known, of_value * scale, error)
            wrong = known & ~((depth >= 0) & (depth <= LARGEST / self._shares) & ~(error <= 0))
            if wrong.any():
                row = int(np.argmax(wrong))
                raise ForcingError(
                    f"observed flow of catchment {ids[row]!r} at {now:g} s is {value[row]:g}, that is "
                    f"{depth[row]:g} mm, its error {error[row]:g} mm; flow must lie between 0 and "
                    f"{LARGEST / self._shares:g} mm, its error above 0, and m3 s-1 need the catchment's area"
                )
        return depth, error

    def start(self, state: State) -> None:
        """Hold nothing yet but the state from which the window begins."""
        rows = len(self._typical)
        none = torch.empty((rows, 0), dtype=torch.float64)
        forcing = dict.fromkeys(self._model.forcing_names, none)
        self.state = WindowState(state, forcing, none, none, torch.zeros((rows, 4), dtype=torch.float64))

    def collect(self, depth: FloatArray, error: FloatArray) -> None:
        """Add the observations of a framework step to those of the model step under way."""
        assert self.state is not None  # noqa: S101  `start` comes first
        both = torch.from_numpy(np.stack([depth, error], axis=1))
        known = ~both.isnan()
        added = torch.stack([torch.where(known, both, 0.0), known.to(torch.float64)], dim=-1).flatten(1)
        self.state = replace(self.state, sums=self.state.sums + added)
        self.increment.fill(0.0)
        for value, of_value, _ in self._settable:
            value.fill(np.nan)
            of_value.fill(np.nan)

    def close(self, forcing: Mapping[str, FloatArray], constants: State, state: State) -> State | None:
        """Take in a model step that has run; return the state after it, where an analysis finds another.

        Parameters
        ----------
        forcing : mapping of name to array ``[rows]``
            Of the step.
        constants : State
        state : State
            After the step.
        """
        held = self.state
        assert held is not None  # noqa: S101  `start` comes first
        if held.steps == self._options.window:
            held = self._without_first(held, constants)
        total, count, errors, of_errors = held.sums.unbind(1)
        observed, error = total / count * self._shares, errors / of_errors * self._shares
        self.state = held = WindowState(
            held.before,
            {
                n: torch.cat([v, torch.from_numpy(forcing[n])[:, None]], dim=1)
                for n, v in held.forcing.items()
            },
            torch.cat([held.observed, observed[:, None]], dim=1),
            torch.cat([held.error, error[:, None]], dim=1),
            torch.zeros_like(held.sums),
        )
        if self._options.method == "none":
            return None
        seen = (count > 0).nonzero().squeeze(1)
        return self._analysed(held, seen, constants, state) if len(seen) else None

    def _without_first(self, held: WindowState, constants: State) -> WindowState:
        """Run the state before the window over its first step, without observations."""
        first = {name: values[:, :1].T.contiguous() for name, values in held.forcing.items()}
        with torch.inference_mode():
            before = held.before | self._model.run(first, constants, held.before, ())[1]
        return WindowState(
            before,
            {name: values[:, 1:] for name, values in held.forcing.items()},
            held.observed[:, 1:],
            held.error[:, 1:],
            held.sums,
        )

    def _analysed(self, held: WindowState, seen: Tensor, constants: State, state: State) -> State:
        """Analyse the rows `seen`; the state of all others stays bit for bit."""
        found = analyse(
            self._model,
            {name: values[seen].T.contiguous() for name, values in held.forcing.items()},
            {name: values[seen] for name, values in constants.items()},
            {name: values[seen] for name, values in held.before.items()},
            held.observed[seen].T,
            self._typical[seen],
            self._options.within(held.steps),
            held.error[seen].T,
        )
        with torch.inference_mode():
            return {
                name: values.index_copy(0, seen, found.state[name].to(values.dtype))
                if name in found.state
                else values
                for name, values in state.items()
            }

    def adjoint(self, constants: State) -> dict[str, FloatArray]:
        """Return what :func:`adjoint_variables` name, rows first, of a window that holds a step."""
        held, names = self.state, [*self._states]
        assert held is not None  # noqa: S101  the caller asks
        observed, known = held.observed.T, held.error.T
        cost, gradients = adjoint(
            self._model,
            {name: values.T.contiguous() for name, values in held.forcing.items()},
            constants,
            held.before,
            observed,
            self._options.errors(observed, self._typical, known),
            names,
        )
        found = {f"adjoint__{name}": value.numpy().flatten() for name, value in gradients.items()}
        return {COST.name: cost.numpy(), **found}

    # -- undoing and saving ---------------------------------------------------------

    def mark(self) -> tuple[object, ...]:
        """Remember what :meth:`revert` brings back."""
        return self.state, {name: values.copy() for name, values in self.arrays.items()}

    def revert(self, marked: tuple[Any, ...]) -> None:
        """Bring back what was when :meth:`mark` was called."""
        self.state, arrays = marked
        for name, values in arrays.items():
            self.arrays[name][...] = values

    def runtime(self) -> dict[str, FloatArray]:
        """Return arrays ``[..., rows]`` for a snapshot; none before the first step."""
        if self.state is None:
            return {}
        return {f"{WINDOW}{n}": np.moveaxis(t.numpy(), 0, -1) for n, t in self.state.tensors().items()}

    def restored(self, runtime: Mapping[str, FloatArray], like: State) -> WindowState | None:
        """Return the content that a snapshot holds, if it does.

        Raises
        ------
        ValueError
            If it is not one of these rows and options, or cannot be.
        """
        tensors = {
            name.removeprefix(WINDOW): torch.from_numpy(np.ascontiguousarray(np.moveaxis(values, -1, 0)))
            for name, values in runtime.items()
            if name.startswith(WINDOW)
        }
        if not tensors:
            return None
        before, forcing = (_below(tensors, prefix) for prefix in ("before.", "forcing."))
        try:
            found = WindowState(before, forcing, *(tensors[n] for n in ("observed", "error", "sums")))
        except KeyError as problem:
            raise ValueError(f"its window lacks {problem}") from problem
        rows, steps = len(self._typical), found.steps if found.observed.ndim == 2 else -1
        shapes = {f"before.{name}": ((*t.shape,), t.dtype) for name, t in like.items()}
        names = [f"forcing.{name}" for name in self._model.forcing_names]
        shapes |= {n: ((rows, steps), torch.float64) for n in ("observed", "error", *names)}
        shapes["sums"] = ((rows, 4), torch.float64)
        if {n: ((*t.shape,), t.dtype) for n, t in tensors.items()} != shapes or steps > self._options.window:
            raise ValueError("its window does not fit: `assimilation` was another")
        legal = [t.abs() < LARGEST * 1e6 for n, t in tensors.items() if n not in ("observed", "error")]
        legal += [t.isnan() | ((t >= 0) & (t <= LARGEST)) for t in (found.observed, found.error)]
        if not all(part.all() for part in legal):
            raise ValueError("its window holds values that cannot be")
        return found


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}


def make_window(
    config: RunConfig,
    model: DeltaModel,
    columns: NDArray[np.int64],
    catchments: int,
    area: FloatArray,
    step: float,
) -> ObservedWindow | None:
    """Return the window of a component, if its configuration asks for one.

    Parameters
    ----------
    config : RunConfig
    model : DeltaModel
    columns : array of int
        Of the component's rows in the table of `catchments` catchments.
    area : array ``[rows]``
    step : float
        Seconds of a framework step.

    Raises
    ------
    ConfigError
        If the model cannot be analysed, or typical flows are of other catchments.
    """
    options = config.assimilation
    if options is None:
        return None
    options.stores(model)
    inside = any(isinstance(role, ProcessRole) for role in model.roles)
    if inside or isinstance(model, SpinUpModel) or model.declaration.graph:
        raise ConfigError(
            "assimilation: a model whose rows act on each other, that spins itself up, or that has a network "
            "inside its step cannot be adjusted"
        )
    if FLOW not in {flux.name for flux in model.declaration.fluxes} or config.device != "cpu":
        raise ConfigError(f"assimilation: needs a model with a flux {FLOW}, on device: cpu")
    given = np.asarray(options.mean_flow, dtype=np.float64)
    if given.shape not in ((), (catchments,)):
        raise ConfigError(f"assimilation.mean_flow has {given.size} values for {catchments} catchments")
    typical = np.broadcast_to(given, (catchments,))[columns]
    return ObservedWindow(options, model, typical, area, step, round(model.step / step))
