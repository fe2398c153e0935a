"""Hindcast: forecasts of the past with the weather that came, and what they are worth by lead time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray, FloatingArray, TimeArray
from ..assimilation.analysis import FLOW, check_observed
from ..assimilation.options import Assimilation
from ..errors import ConfigError
from ..io.timeseries import BasinDataset
from ..model.delta_model import DeltaModel
from ..progress import progress
from ..training.data import tensors
from ..training.metrics import per_basin
from .cycle import Cycle, Window
from .error_correction import ErrorCorrection
from .parts import Parts

#: Steps before each issue that are kept.
RECENT = 8
#: Typical flow of a river that hardly flows, mm per step.
SMALLEST = 1e-3
#: Values of states at all issues together: each takes plain code 10 us, and the compiler takes two minutes.
WORTH_COMPILING = 2e7
_KINDS = ("open_loop", "analysed")


@dataclass(frozen=True)
class Forecasts:
    """Forecasts of one kind.

    Parameters
    ----------
    flow : ndarray ``[issues, leads, basins]``
        mm per step.
    recent : ndarray ``[issues, steps, basins]``
        Simulated flow of the last steps before each issue.
    """

    flow: FloatArray
    recent: FloatArray

    @property
    def latest(self) -> FloatArray:
        """Return the flow of the last step before each issue, ``[issues, basins]``."""
        return self.recent[:, -1]


@dataclass(frozen=True)
class Hindcast:
    """Forecasts issued over a period, of the open loop (without observations) and from analyses.

    Parameters
    ----------
    ids : tuple of str
    issued : ndarray of datetime64[s] ``[issues]``
        Begin of the first step that is forecast.
    step : float
        Seconds.
    open_loop, analysed : Forecasts
    observed : ndarray ``[issues, leads, basins]``
    observed_recent : ndarray ``[issues, steps, basins]``
        Of the last steps before each issue; a forecast knows none later. NaN is missing.
    weather : dict of name to ndarray ``[issues, steps + leads, basins]``
        Forcing of those steps and of the leads.
    moved : dict of name to ndarray ``[issues, ..., basins]``
        Logarithms of the factors of each analysis.
    typical : ndarray ``[basins]``
        Typical flow, not less than :data:`SMALLEST`.
    options : Assimilation
        Of the analyses.
    """

    ids: tuple[str, ...]
    issued: TimeArray
    step: float
    open_loop: Forecasts
    analysed: Forecasts
    observed: FloatArray
    observed_recent: FloatArray
    weather: dict[str, FloatArray]
    moved: dict[str, FloatArray]
    typical: FloatArray
    options: Assimilation = field(default_factory=Assimilation)

    @property
    def observed_before(self) -> FloatArray:
        """Return the latest observation that each forecast knows, ``[issues, basins]``."""
        return self.observed_recent[:, -1]

    def correction(self, forecasts: Forecasts) -> ErrorCorrection:
        """Fit the error correction of these forecasts, for another period."""
        return ErrorCorrection.fit(self.observed_before - forecasts.latest, self.observed - forecasts.flow)

    def corrected(self, forecasts: Forecasts, correction: ErrorCorrection) -> FloatArray:
        """Return these forecasts ``[issues, leads, basins]``, their errors corrected."""
        return correction(forecasts.flow, self.observed_before - forecasts.latest)

    def some(self, issues: slice) -> Hindcast:
        """Return the hindcast of some of the issues."""

        def of(forecasts: Forecasts) -> Forecasts:
            return Forecasts(forecasts.flow[issues], forecasts.recent[issues])

        return replace(
            self,
            issued=self.issued[issues],
            open_loop=of(self.open_loop),
            analysed=of(self.analysed),
            observed=self.observed[issues],
            observed_recent=self.observed_recent[issues],
            weather={name: values[issues] for name, values in self.weather.items()},
            moved={name: values[issues] for name, values in self.moved.items()},
        )

    @classmethod
    def joined(cls, parts: Sequence[Hindcast]) -> Hindcast:
        """Join the hindcasts of issues that follow each other."""

        def of(forecasts: Sequence[Forecasts]) -> Forecasts:
            return Forecasts(
                np.concatenate([f.flow for f in forecasts]), np.concatenate([f.recent for f in forecasts])
            )

        first = parts[0]
        return replace(
            first,
            issued=np.concatenate([p.issued for p in parts]),
            open_loop=of([p.open_loop for p in parts]),
            analysed=of([p.analysed for p in parts]),
            observed=np.concatenate([p.observed for p in parts]),
            observed_recent=np.concatenate([p.observed_recent for p in parts]),
            weather={name: np.concatenate([p.weather[name] for p in parts]) for name in first.weather},
            moved={name: np.concatenate([p.moved[name] for p in parts]) for name in first.moved},
        )

    def blind(self) -> Hindcast:
        """Return the hindcast of one who has no observations: its analyses are the open loop."""
        return replace(
            self,
            analysed=self.open_loop,
            observed_recent=np.full_like(self.observed_recent, np.nan),
            moved={name: np.zeros_like(values) for name, values in self.moved.items()},
        )

    def persistence(self) -> FloatArray:
        """Return the latest observation as the forecast of every lead."""
        return np.broadcast_to(self.observed_before[:, None], self.observed.shape)

    def skill(self, forecasts: FloatArray, metric: str = "NSE") -> FloatingArray:
        """Return a metric of forecasts, ``[leads, basins]``."""
        return np.stack(
            [
                per_basin(forecasts[:, lead], self.observed[:, lead], self.step, [metric])[metric]
                for lead in range(self.observed.shape[1])
            ]
        )


def hindcast(
    model: DeltaModel,
    dataset: BasinDataset,
    first: np.datetime64,
    last: np.datetime64,
    typical: FloatArray,
    options: Assimilation | None = None,
    leads: int = 7,
    every: int = 1,
    keep: Path | None = None,
) -> Hindcast:
    """Forecast again and again over a period, with the weather that came.

    Each analysis begins from the open loop, a window before its time. Where there is much to do the model
    is compiled.

    Parameters
    ----------
    model : DeltaModel
    dataset : BasinDataset
        From the begin of the spin-up on; with observed flow.
    first, last : datetime64
        The first and the last issue, as far as the data reach.
    typical : ndarray ``[basins]``
        Typical flow, see :func:`~dmg_bmi.forecast.analyse`.
    options : Assimilation, optional
    leads : int
        Steps that each forecast looks ahead.
    every : int
        Steps between issues.
    keep : Path, optional
        Folder for what is done, from which the same hindcast goes on if this one is killed.

    Raises
    ------
    ConfigError, ForcingError
        If there is no issue in the data, or an observation no river can have.
    """
    options = options or Assimilation()
    steps = np.arange(len(dataset.times))[max(options.window, RECENT) : len(dataset.times) - leads + 1]
    times = dataset.times[steps]
    issues = steps[(times >= first) & (times <= last)][::every]
    if not len(issues):
        raise ConfigError(
            f"no forecast can be issued from {first} to {last}: the data reach from {dataset.times[0]} to "
            f"{dataset.times[-1]}, and a window of {options.window} steps and {leads} leads must fit in"
        )
    model.eval()
    data = tensors(dataset, model.forcing_names, model.attribute_names, (FLOW,), torch.float64)
    observed, basins = data.target[FLOW], len(dataset.ids)
    with torch.inference_mode():
        constants, state = model.precompute(data.attributes, basins), model.init_state(basins)
    scale = torch.from_numpy(np.asarray(typical, dtype=np.float64))
    check_observed(observed)
    model.compiled |= len(issues) * sum(values.numel() for values in state.values()) > WORTH_COMPILING
    cycle = Cycle(
        model,
        lambda steps: {name: values[steps] for name, values in data.forcing.items()},
        constants,
        state,
        lambda steps: {FLOW: observed[steps]},
        scale,
        options,
    )
    kept = None
    if keep is not None:
        about = {"ids": dataset.ids, "issues": issues.tolist(), "leads": leads, "options": asdict(options)}
        given = (*data.forcing.values(), *data.attributes.values(), observed, scale)
        weights = model.state_dict().values()
        kept = Parts(keep, about | {"model": model.describe()}, (*weights, *given))
    parts = []
    with progress(len(issues), "hindcast", "forecast") as shown:
        for number, (some, before) in enumerate(cycle.blocks(issues)):
            made = None if kept is None else kept.read(number)
            if made is None:
                windows = (cycle.open_loop(some, before), cycle.analysed(some, before))
                flows = [cycle.ahead(some, window.state, leads).squeeze(2) for window in windows]
                made = _made(cycle, windows, flows)
                if kept is not None:
                    kept.keep(number, made)
            parts.append(_gathered(cycle, dataset.ids, dataset.times[some], dataset.step, some, made))
            shown.update(len(some))
    return Hindcast.joined(parts)


def _made(cycle: Cycle, windows: tuple[Window, Window], flows: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return what took the work, by name; :func:`_gathered` makes a hindcast of it."""
    found: dict[str, Tensor] = {}
    for kind, window, ahead in zip(_KINDS, windows, flows, strict=True):
        flow = window.flow
        recent = flow.new_full((RECENT, flow.shape[1]), torch.nan)
        recent[-len(flow) :] = flow[-RECENT:]  # a window may be shorter
        found |= {f"{kind}.flow": ahead, f"{kind}.recent": _by_issue(recent, cycle.catchments)}
    moved = windows[1].factors.items()
    found |= {f"moved.{name}": _by_issue(factor.log(), cycle.catchments) for name, factor in moved}
    # As they are read from a file, so that sums over them have the same bits.
    return {name: values.contiguous() for name, values in found.items()}


def of_block(
    cycle: Cycle,
    ids: Sequence[str],
    issued: TimeArray,
    step: float,
    issues: Tensor,
    windows: tuple[Window, Window],
    flows: Sequence[Tensor],
    weather: Mapping[str, Tensor] | None = None,
) -> Hindcast:
    """Gather the forecasts of some issues, and what was known of them.

    Parameters
    ----------
    cycle : Cycle
    ids : sequence of str
    issued : ndarray of datetime64[s] ``[issues]``
    step : float
        Seconds.
    issues : Tensor ``[issues]``
        Steps; before each lie :data:`RECENT` or more.
    windows : pair of Window
        Of the open loop, and analysed.
    flows : pair of Tensor ``[issues, leads, basins]``
        Forecast from their ends.
    weather : mapping of name to Tensor ``[issues, leads, basins]``, optional
        That the forecasts had; by default the one that came.
    """
    return _gathered(cycle, ids, issued, step, issues, _made(cycle, windows, flows), weather)


def _gathered(
    cycle: Cycle,
    ids: Sequence[str],
    issued: TimeArray,
    step: float,
    issues: Tensor,
    made: Mapping[str, Tensor],
    weather: Mapping[str, Tensor] | None = None,
) -> Hindcast:
    before = issues[:, None] + torch.arange(-RECENT, 0)
    ahead = issues[:, None] + torch.arange(made["open_loop.flow"].shape[1])
    if weather is None:
        weather = cycle.forcing(ahead)
    recent = cycle.forcing(before)
    open_loop, analysed = (
        Forecasts(made[f"{kind}.flow"].numpy(), made[f"{kind}.recent"].numpy()) for kind in _KINDS
    )
    return Hindcast(
        tuple(ids),
        issued,
        step,
        open_loop,
        analysed,
        cycle.observed(ahead)[FLOW].numpy(),
        cycle.observed(before)[FLOW].numpy(),
        {name: torch.cat([values, weather[name]], dim=1).numpy() for name, values in recent.items()},
        {n.removeprefix("moved."): v.numpy() for n, v in made.items() if n.startswith("moved.")},
        np.maximum(np.nan_to_num(cycle.typical.numpy()), SMALLEST),
        cycle.options,
    )


def _by_issue(values: Tensor, basins: int) -> Tensor:
    """Return values ``[..., issues * basins]`` as ``[issues, steps, basins]``."""
    return values.reshape(-1, values.shape[-1] // basins, basins).transpose(0, 1)
