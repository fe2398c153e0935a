"""The cycle: an analysis of the window before each issue, then a forecast from its end.

Every analysis begins from the open loop, the model without observations, a window before its issue. So
issues depend on each other by the open loop alone, and many of them are rows of one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..assimilation.analysis import FLOW, analyse
from ..assimilation.options import Assimilation
from ..model.delta_model import DeltaModel
from ..physics import State

#: Issues times catchments of an analysis at once.
ROWS = 2**13
#: Steps times catchments of the open loop at once.
ADVANCED = 2**20

Steps = NDArray[np.int_]
#: From steps ``[...]`` to series ``[..., catchments]`` by name.
StepSeries = Callable[[Tensor], Mapping[str, Tensor]]


@dataclass(frozen=True)
class Window:
    """The windows before issues, run.

    Parameters
    ----------
    flow : Tensor ``[time, rows]``
    state : State
        At the end.
    factors : dict of name to Tensor ``[..., rows]``
        Of the analysis, if there was one.
    """

    flow: Tensor
    state: State
    factors: dict[str, Tensor]


class Cycle:
    """Analyses and forecasts of catchments, whose rows in a batch are issue after issue.

    Parameters
    ----------
    model : DeltaModel
    forcing : callable
        From steps to measured weather, which ahead of each issue is taken for its forecast where there is no
        other.
    constants : State
        Of :meth:`DeltaModel.precompute`.
    state : State
        Of the open loop, before step `at`.
    observed : callable
        From steps to observed flow, mm per step; NaN is missing.
    typical : Tensor ``[catchments]``
        Typical flow, see :func:`~dmg_bmi.assimilation.analysis.analyse`.
    options : Assimilation
    at : int

    Attributes
    ----------
    state, at
        Of the open loop as far as it has come.
    """

    def __init__(
        self,
        model: DeltaModel,
        forcing: StepSeries,
        constants: State,
        state: State,
        observed: StepSeries,
        typical: Tensor,
        options: Assimilation,
        at: int = 0,
    ) -> None:
        self.model, self.forcing, self.constants = model, forcing, constants
        self.observed, self.typical, self.options = observed, typical, options
        self.state, self.at = state, at
        self.catchments = len(typical)

    def blocks(self, issues: Steps) -> Iterator[tuple[Tensor, State]]:
        """Yield issues that are one batch, and the open loop's states a window before them; issues rise."""
        size = max(1, ROWS // self.catchments)
        for begin in range(0, len(issues), size):
            some = issues[begin : begin + size]
            states = [self._advanced(int(step) - self.options.window) for step in some]
            yield torch.from_numpy(some), {n: torch.cat([s[n] for s in states]) for n in states[0]}

    def _advanced(self, step: int) -> State:
        """Advance the open loop to the begin of a step."""
        while self.at < step:
            end = min(step, self.at + max(1, ADVANCED // self.catchments))
            with torch.inference_mode():
                forcing = self.forcing(torch.arange(self.at, end))
                # The flow, too: blocks that give other fluxes are compiled apart.
                _, self.state = self.model.run(forcing, self.constants, self.state, (FLOW,))
            self.at = end
        return self.state

    def analysed(self, issues: Tensor, state: State) -> Window:
        """Bring the window before each issue in line with the observations in it."""
        observed = self._before(self.observed, issues)[FLOW]
        found = analyse(
            self.model,
            self._before(self.forcing, issues),
            self._repeated(len(issues)),
            state,
            observed,
            self.typical.repeat(len(issues)),
            self.options,
            outputs=(FLOW,),
        )
        return Window(found.fluxes[FLOW], found.state, found.factors)

    def open_loop(self, issues: Tensor, state: State) -> Window:
        """Run the window before each issue without observations."""
        forcing = self._before(self.forcing, issues)
        with torch.inference_mode():
            fluxes, after = self.model.run(forcing, self._repeated(len(issues)), state, (FLOW,))
        return Window(fluxes[FLOW], after, {})

    def ahead(
        self, issues: Tensor, state: State, leads: int, weather: Mapping[str, Tensor] | None = None
    ) -> Tensor:
        """Forecast the flow from each issue on, ``[issues, leads, realizations, catchments]``.

        Parameters
        ----------
        issues : Tensor
        state : State
            At each issue.
        leads : int
        weather : mapping of name to Tensor ``[issues, leads, realizations, catchments]``, optional
            Forecast; by default the one that came.
        """
        if weather is None:
            steps = issues[:, None] + torch.arange(leads)
            weather = {name: values.unsqueeze(2) for name, values in self.forcing(steps).items()}
        count, _, realizations, catchments = next(iter(weather.values())).shape
        rows = torch.arange(count * catchments).reshape(count, 1, catchments)
        rows = rows.expand(-1, realizations, -1).flatten()
        forcing = {name: values.transpose(0, 1).flatten(1) for name, values in weather.items()}
        constants = {name: v[rows % catchments] for name, v in self.constants.items()}
        with torch.inference_mode():
            fluxes, _ = self.model.run(forcing, constants, {n: v[rows] for n, v in state.items()}, (FLOW,))
        return fluxes[FLOW].reshape(leads, count, realizations, catchments).transpose(0, 1)

    def _before(self, series: StepSeries, issues: Tensor) -> dict[str, Tensor]:
        """Gather the windows before issues, ``[time, rows]``."""
        steps = issues + torch.arange(-self.options.window, 0).unsqueeze(-1)
        return {name: values.flatten(1) for name, values in series(steps).items()}

    def _repeated(self, count: int) -> State:
        return {name: v.repeat(count, *[1] * (v.ndim - 1)) for name, v in self.constants.items()}
