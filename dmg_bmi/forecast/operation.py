"""Forecasts issued again and again; a command that is killed and repeated goes on where it was."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray, TimeArray
from ..assimilation.analysis import FLOW
from ..assimilation.options import Assimilation
from ..errors import ConfigError, ForcingError
from ..io import forecast_netcdf
from ..io.atomic import create, locked, make_folder
from ..io.forecast_netcdf import ForecastReader, ForecastSeries
from ..io.journal import exchange
from ..model.bundle import BundleInfo
from ..model.variables import mean_name, quantile_name
from ..physics import State
from ..progress import progress
from ..runtime import whole_forcing
from ..runtime.component import Component
from ..runtime.config import Restart, RunConfig, utc
from ..runtime.forcing import observations
from ..runtime.forcing.series import Part
from ..runtime.shared_setup import SharedSetup
from ..training.probabilistic import LEVELS
from . import corrected
from .config import ForecastConfig
from .cycle import Cycle, Steps, Window
from .hindcast import RECENT
from .learned_error import Distribution, LearnedError
from .memory import Memory

STATE = "forecast.state"
#: CF standard name of flow in a channel.
DISCHARGE = "water_volume_transport_in_river_channel"


def forecast(config: ForecastConfig) -> list[Path]:
    """Issue all forecasts of a configuration that its folder does not have yet; return their files.

    Raises
    ------
    DmgBmiError
        Files that were written before it stay, and the state after the last of them.
    """
    make_folder(config.output)
    state = config.output / STATE
    written = []
    # Years of forecasts take long, so whoever comes second is told at once.
    with locked(state, patience=0.0) as workspace:
        issuing = _Issuing(config, state)
        blocks = issuing.blocks()
        with progress(len(blocks), "forecast", "file") as shown:
            for issues in blocks:
                path = config.output / f"forecast_{_stamp(issuing.time(issues[0]))}.nc"
                issuing.write(workspace / path.name, issues, *issuing.forecast(issues))
                create(workspace / STATE, issuing.memory.encode(issuing.origin))
                exchange([(workspace / path.name, path), (workspace / STATE, state)], (), workspace)
                written.append(path)
                shown.update()
    return written


def _stamp(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace(":", "")


class _Issuing:
    """Forecasts of a configuration, and how far they have come."""

    def __init__(self, config: ForecastConfig, state: Path) -> None:
        self.config = config
        self.setup, initial, start = _set_up(config.run)
        self.step = np.timedelta64(round(self.setup.model.step), "s")
        self.origin = {
            "kind": "forecast",
            "fingerprint": self.setup.info.fingerprint,
            "ids": [*self.setup.table.ids],
            "every": config.every * self.setup.model.step,
        }
        forcing = whole_forcing.read(self.setup, config.forcing)
        self.times = forcing.times
        source = state if state.exists() else config.start
        unknown = torch.full((len(self.setup.table.ids),), torch.nan, dtype=torch.float64)
        memory = (
            Memory(initial, start, None, unknown, torch.empty(0))
            if source is None
            else Memory.decode(source, self.origin, initial)
        )
        self.error = corrected.of_config(config, self.setup.info, self.setup.table.ids)
        default = Assimilation() if self.error is None else self.error.options
        self.options = config.assimilation or default
        observed = self._observed()
        self.memory = replace(memory, typical=self._typical(observed, memory.typical))
        self.weather = None if config.weather is None else _Weather(config.weather, self.setup, config.ahead)
        attributes = {n: torch.from_numpy(v) for n, v in self.setup.table.attributes.items()}
        with torch.inference_mode():
            constants = self.setup.precompute(attributes, len(self.setup.table.ids), {})
        self.cycle = Cycle(
            self.setup.model,
            forcing.series,
            constants,
            memory.state,
            torch.from_numpy(observed),
            self.memory.typical,
            self.options,
            self._index(memory.valid, f"{source or config.run}: is valid at"),
        )

    def _index(self, time: np.datetime64, what: str) -> int:
        """Return the number of the step that begins at a time, which may be the end of the forcing."""
        number, rest = divmod(time - self.times[0], self.step)
        if rest or not 0 <= number <= len(self.times):
            raise ForcingError(
                f"{what} {time}; the forcing has steps from {self.times[0]} to {self.times[-1]} and none then"
            )
        return int(number)

    def time(self, number: int) -> np.datetime64:
        """Return the begin of a step, also after the forcing."""
        begin: np.datetime64 = self.times[0] + int(number) * self.step
        return begin

    def _observed(self) -> FloatArray:
        config, table = self.config, self.setup.table
        if config.loop == "open" or config.observations is None:
            return np.full((len(self.times), len(table.ids)), np.nan)
        return observations.read(config.observations, table, self.times, self.setup.model.step)

    def _typical(self, observed: FloatArray, before: Tensor) -> Tensor:
        """Return the scale of errors: as configured, as it was, or the mean flow before the first issue."""
        count = observed.shape[1]
        if self.config.mean_flow is not None:
            given = np.asarray(self.config.mean_flow, dtype=np.float64)
            if given.shape not in ((), (count,)):
                raise ConfigError(f"mean_flow has {given.size} values for {count} catchments")
            return torch.from_numpy(np.broadcast_to(given, (count,)).copy())
        if not before.isnan().all():
            return before
        learned = np.full(count, np.nan) if self.error is None else self.error.typical
        past = observed[self.times < _time(self.config.first)]
        known = np.isfinite(past)
        mean = np.where(known, past, 0.0).sum(0) / np.maximum(known.sum(0), 1)
        # Where nothing was observed before, errors are of the share of the observed alone.
        return torch.from_numpy(np.where(np.isnan(learned), mean, learned))

    def blocks(self) -> list[Steps]:
        """Return the issues that are to come, those of one file together."""
        config = self.config
        first, last = _time(config.first), _time(config.last)
        every = np.arange(first, last + np.timedelta64(1, "s"), config.every * self.step)
        following = self.memory.following
        left = every if following is None else every[every >= following]
        if not left.size:
            return []
        begin, end = self._index(left[0], "a forecast begins"), self._index(left[-1], "a forecast begins")
        window = self.options.window
        if begin - window < self.cycle.at:
            raise ConfigError(
                f"first: a forecast from {left[0]} needs a state {window} steps before, and there is one of "
                f"{self.memory.valid}; begin later, or from an older state"
            )
        if self.error is not None and begin < RECENT:
            raise ForcingError(
                f"the forcing begins with {self.times[0]}; a forecast from {left[0]} that is corrected by a "
                f"learned error needs {RECENT} steps before it: begin later, or write learned_error: false"
            )
        if self.weather is None and end + config.ahead > len(self.times):
            raise ForcingError(
                f"the forcing ends with {self.times[-1]}; forecasts from {left[-1]} look {config.ahead} "
                "steps ahead: name forecast weather, or end earlier"
            )
        issues = np.arange(begin, end + 1, config.every)
        return [issues[k : k + config.per_file] for k in range(0, len(issues), config.per_file)]

    def forecast(self, issues: Steps) -> tuple[FloatArray, Distribution | None]:
        """Return the flow ``[issues, leads, realizations, catchments]``, mm per step, and remember it.

        Beside it stands its distribution, where there is a learned error.
        """
        config, cycle = self.config, self.cycle
        window = cycle.analysed if config.loop == "closed" else cycle.open_loop
        parts, told = [], []
        for some, before in cycle.blocks(issues):
            times = self._times(some.tolist())
            weather = None if self.weather is None else self.weather.at([*times])
            newest = window(some, before)
            flow = cycle.ahead(some, newest.state, config.ahead, weather)
            parts.append(flow.to(torch.float32))
            if self.error is not None:
                told.append(self._told(self.error, some, times, before, newest, flow, weather))
        new = torch.cat(parts)
        distribution = Distribution.joined(told) if told else None
        recent = self.memory.recent_of((config.lags - 1, *new.shape[1:]), self.time(issues[0]))
        every = torch.cat([recent, new])
        self.memory = Memory(
            cycle.state,
            self.time(cycle.at),
            self.time(issues[-1] + config.every),
            self.memory.typical,
            every[len(new) :],
        )
        lagged = [
            every[config.lags - 1 - lag :][: len(new), lag * config.every :][:, : config.leads]
            for lag in range(config.lags)
        ]
        return torch.cat(lagged, dim=2).numpy(), distribution

    def _told(
        self,
        error: LearnedError,
        issues: Tensor,
        times: TimeArray,
        before: State,
        newest: Window,
        flow: Tensor,
        weather: Mapping[str, Tensor] | None,
    ) -> Distribution:
        """Return what the learned error makes of the forecasts of some issues."""
        cycle, leads = self.cycle, self.config.leads
        weather = None if weather is None else {name: v[:, :leads] for name, v in weather.items()}
        # Without observations an analysis moves nothing.
        other = cycle.open_loop if newest.factors else cycle.analysed
        windows = (other(issues, before), newest) if newest.factors else (newest, other(issues, before))
        flows = (cycle.ahead(issues, windows[0].state, leads, weather), flow[:, :leads])
        return corrected.distribution(
            error, cycle, issues, times, self.setup.model.step, windows, flows, weather
        )

    def _times(self, steps: Iterable[int]) -> TimeArray:
        return np.array([self.time(k) for k in steps])

    def write(self, path: Path, issues: Steps, values: FloatArray, told: Distribution | None) -> None:
        """Write the forecasts of some issues, and their distribution, as a file."""
        config, table, seconds = self.config, self.setup.table, self.setup.model.step
        realizations = values.shape[2] // config.lags
        what = "flow from the analysis" if config.loop == "closed" else "flow without observations"
        series = {FLOW: ForecastSeries(values, what)}
        if told is not None:
            series |= _distribution_series(told, config.quantiles)
        if not np.isnan(table.area).any():
            scale = (table.area * 1e3 / seconds).astype(np.float32)
            series |= {
                name.replace(FLOW, "discharge", 1): replace(
                    one, values=one.values * scale, units="m3 s-1", standard_name=DISCHARGE
                )
                for name, one in series.items()
            }
        lags = np.repeat(np.arange(config.lags) * config.every * seconds, realizations)
        about = {"title": f"forecasts by {self.setup.info.name}"}
        about |= {"bundle_fingerprint": self.setup.info.fingerprint, "loop": config.loop}
        forecast_netcdf.write(path, table.ids, self._times(issues), seconds, series, lags.tolist(), **about)


def _set_up(path: Path) -> tuple[SharedSetup, State, np.datetime64]:
    """Return what the configuration of a run makes: the model at work, its cold state, and when that is."""
    run = RunConfig.read(path)
    if not run.bundle:
        raise ConfigError(f"{path}: missing key 'bundle'; give a folder or a shipped bundle's name")
    if run.ensemble is not None:
        raise ConfigError(
            f"{path}: ensemble: members of forecasts are those of `weather` and `lags`; leave it out"
        )
    start = whole_forcing.start_of(run)
    if start is None or run.device != "cpu":
        raise ConfigError(f"{path}: forecasts need a start_time, and run on device: cpu")
    component = Component(BundleInfo.read(run.bundle), replace(run, restart=Restart(read=run.restart.read)))
    state = component.group.state(component)
    component.leave()
    component.group.model.eval()
    return component.group.setup, state, start


def _distribution_series(told: Distribution, levels: Sequence[float]) -> dict[str, ForecastSeries]:
    """Return mean and quantiles of flow as a file has them."""
    mean = ForecastSeries(told.mean.astype(np.float32), "flow to be expected of the newest analysis")
    return {mean_name(FLOW): mean} | {
        quantile_name(FLOW, level): ForecastSeries(
            told.quantiles[LEVELS.index(level)].astype(np.float32),
            f"quantile {level:g} of flow",
            quantile=level,
        )
        for level in levels
    }


def _time(time: datetime) -> np.datetime64:
    return np.datetime64(utc(time).replace(tzinfo=None), "s")


class _Weather:
    """Forecast weather of a file, as forcing of model steps."""

    def __init__(self, path: Path, setup: SharedSetup, ahead: int) -> None:
        self._path, self._setup, self._ahead = path, setup, ahead
        with ForecastReader(path) as file:
            reach = file.leads * file.step
        if reach < ahead * setup.model.step:
            raise ForcingError(
                f"{path}: looks {reach:g} s ahead; leads and lags need {ahead * setup.model.step:g} s"
            )

    def at(self, issued: Sequence[np.datetime64]) -> dict[str, Tensor]:
        """Return the weather from some times on, ``[issues, leads, realizations, catchments]``."""
        with ForecastReader(self._path) as file:
            parts = [self._at(file, time) for time in issued]
        return {name: torch.stack([part[name] for part in parts]) for name in parts[0]}

    def _at(self, file: ForecastReader, time: np.datetime64) -> dict[str, Tensor]:
        path = str(self._path)
        found = np.flatnonzero(file.issued == time)
        if not found.size:
            raise ForcingError(f"{path}: has no forecast from {time}")
        series = {name: file.series(name, int(found[0])).transpose(0, 2, 1) for name in file.units}
        times = time + np.arange(file.leads) * np.timedelta64(round(file.step), "s")
        data = Part(file.ids, file.step, file.units, series)
        forcing = whole_forcing.from_records(self._setup, data, times, path).series
        shape = (self._ahead, len(self._setup.table.ids), file.realizations)
        return {n: v[: self._ahead].reshape(shape).transpose(1, 2) for n, v in forcing.items()}
