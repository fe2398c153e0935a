"""Forecasts issued again and again; a command that is killed and repeated goes on where it was."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor

from .. import __version__, processes
from ..arrays import TimeArray
from ..assimilation.analysis import FLOW, check_observed
from ..assimilation.options import Assimilation
from ..errors import ConfigError, ForcingError
from ..io import forecast_netcdf, netcdf
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
from ..runtime.forcing.series import Part, files_of, state_of
from ..runtime.row_shares import RowShare, own_share
from ..runtime.shared_setup import SharedSetup
from ..training.probabilistic import LEVELS
from . import corrected
from .config import ForecastConfig
from .cycle import Cycle, Steps, Window
from .hindcast import RECENT
from .issued import FROM, Issued, digest
from .learned_error import Distribution, LearnedError
from .memory import Memory
from .parts import Parts, forget

log = logging.getLogger("dmg_bmi")
#: And the folder of what processes have forecast of the file to come.
STATE, SHARES = "forecast.state", "forecast.shares"
#: CF standard name of flow in a channel.
DISCHARGE = "water_volume_transport_in_river_channel"


def forecast(config: ForecastConfig) -> list[Path]:
    """Issue all forecasts of a configuration that its folder does not have yet; return their files.

    Of processes that have joined (:mod:`dmg_bmi.processes`) each forecasts its share of the catchments; the
    first joins them file by file.

    Raises
    ------
    DmgBmiError
        Files that were written before it stay, and the state after the last of them.
    """
    make_folder(config.output)
    first = processes.rank() == 0
    written = []
    with ExitStack() as stack:
        # Years of forecasts take long, so whoever comes second is told at once.
        workspace = stack.enter_context(locked(config.output / STATE, patience=0.0)) if first else None
        issuing = stack.enter_context(Issuing(config))
        blocks = issuing.blocks()
        shown = stack.enter_context(progress(len(blocks), "forecast", "file", shown=first))
        for issues in blocks:
            path = config.output / f"forecast_{_stamp(issuing.time(issues[0]))}.nc"
            if processes.size() == 1:
                made, memory = issuing.forecast(issues), issuing.memory
            else:
                made, memory = _together(issuing, issues, config.output / SHARES / path.stem)
            if workspace is not None:
                issuing.write(workspace / path.name, issues, made)
                create(workspace / STATE, memory.encode(issuing.origin))
                places = [(workspace / path.name, path), (workspace / STATE, config.output / STATE)]
                exchange(places, (), workspace)
                forget(config.output / SHARES / path.stem)
            written.append(path)
            shown.update()
        if first:
            with suppress(OSError):
                (config.output / SHARES).rmdir()
    return written


def _together(issuing: Issuing, issues: Steps, folder: Path) -> tuple[Issued, Memory]:
    """Forecast the share of this process, or take up what it kept; the first returns those of all."""
    kept, rank, began = Parts(folder, issuing.identity(issues), ()), processes.rank(), issuing.memory.state
    tensors = kept.read(rank)
    if tensors is not None and torch.equal(tensors[FROM], digest(began)):
        issuing.take_up(issues, tensors)
        log.info("%s: goes on from what was forecast of its share", folder)
    else:
        made = issuing.forecast(issues)
        tensors = made.tensors(issuing.memory, began)
        kept.keep(rank, tensors)
    processes.wait()
    parts = [tensors] if rank else [kept.require(k) for k in range(processes.size())]
    made, state, typical, recent = Issued.joined(parts)
    return made, replace(issuing.memory, state=state, typical=typical, recent=recent)


def _stamp(time: np.datetime64) -> str:
    return str(time.astype("datetime64[m]")).replace(":", "")


class Issuing:
    """Forecasts of a configuration, and how far they have come: of all catchments, or of those of a process.

    Parameters
    ----------
    config : ForecastConfig

    Attributes
    ----------
    ids : tuple of str
        All catchments, of all processes.
    rows : slice
        Its own.
    memory : Memory
        After the forecasts so far, of its own.
    """

    def __init__(self, config: ForecastConfig) -> None:
        self.config = config
        run, share = _read_run(config.run)
        self.setup, initial, start = _set_up(run)
        self.ids = share.ids if share else self.setup.table.ids
        self.rows = share.rows[processes.rank()] if share else slice(0, len(self.ids))
        self.step = np.timedelta64(round(self.setup.model.step), "s")
        self.origin = {
            "kind": "forecast",
            "fingerprint": self.setup.info.fingerprint,
            "ids": [*self.ids],
            "every": config.every * self.setup.model.step,
        }
        self._forcing = whole_forcing.ModelForcing(self.setup, config.forcing)
        self.times, state = self._forcing.times, config.output / STATE
        source = state if state.exists() else config.start
        unknown = torch.full((len(self.setup.table.ids),), torch.nan, dtype=torch.float64)
        memory = (
            Memory(initial, start, None, unknown, torch.empty(0))
            if source is None
            else Memory.decode(source, self.origin, initial, self.rows)
        )
        self.error = corrected.of_config(config, self.setup.info, self.setup.table.ids)
        default = Assimilation() if self.error is None else self.error.options
        self.options = config.assimilation or default
        self.memory = replace(memory, typical=self._typical(memory.typical))
        self.weather = None if config.weather is None else _Weather(config.weather, self.setup, config.ahead)
        attributes = {n: torch.from_numpy(v) for n, v in self.setup.table.attributes.items()}
        with torch.inference_mode():
            constants = self.setup.precompute(attributes, len(self.setup.table.ids), {})
        self.cycle = Cycle(
            self.setup.model,
            self._forcing.held(),
            constants,
            memory.state,
            whole_forcing.HeldPart(self._observed, len(self.times), self._at_once),
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

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._forcing.close()

    @property
    def _at_once(self) -> int:
        """Steps whose observations are read at once."""
        return netcdf.block_length(len(self.setup.table.ids))

    def _observed(self, steps: range) -> dict[str, Tensor]:
        config, table = self.config, self.setup.table
        if config.loop == "open" or config.observations is None:
            return {FLOW: torch.full((len(steps), len(table.ids)), torch.nan, dtype=torch.float64)}
        times = self._times(steps)
        observed = torch.from_numpy(
            observations.read(config.observations, table, times, self.setup.model.step)
        )
        check_observed(observed, steps.start)
        return {FLOW: observed}

    def _typical(self, before: Tensor) -> Tensor:
        """Return the scale of errors: as configured, as it was, or the mean flow before the first issue."""
        count = len(self.setup.table.ids)
        if self.config.mean_flow is not None:
            given = np.asarray(self.config.mean_flow, dtype=np.float64)
            if given.shape not in ((), (len(self.ids),)):
                raise ConfigError(f"mean_flow has {given.size} values for {len(self.ids)} catchments")
            return torch.from_numpy(np.broadcast_to(given, (len(self.ids),))[self.rows].copy())
        if not before.isnan().all():
            return before
        learned = np.full(count, np.nan) if self.error is None else self.error.typical
        past = int((self.times < _time(self.config.first)).sum())
        total, known = np.zeros(count), np.zeros(count)
        for begin in range(0, past, self._at_once):
            observed = self._observed(range(begin, min(begin + self._at_once, past)))[FLOW].numpy()
            total += np.nansum(observed, axis=0)
            known += np.isfinite(observed).sum(0)
        # Where nothing was observed before, errors are of the share of the observed alone.
        return torch.from_numpy(np.where(np.isnan(learned), total / np.maximum(known, 1), learned))

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

    def forecast(self, issues: Steps) -> Issued:
        """Forecast the flow from some issues on, and remember it."""
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
                one = self._told(self.error, some, times, before, newest, flow, weather)
                told.append((one.mean, one.quantiles))
        new = torch.cat(parts)
        recent = self.memory.recent_of((config.lags - 1, *new.shape[1:]), self.time(issues[0]))
        every = torch.cat([recent, new])
        self._remember(issues, every[len(new) :])
        lagged = [
            every[config.lags - 1 - lag :][: len(new), lag * config.every :][:, : config.leads]
            for lag in range(config.lags)
        ]
        area = torch.from_numpy(self.setup.table.area)
        if not told:
            return Issued(torch.cat(lagged, dim=2), area)
        mean, quantiles = (np.concatenate(v, axis=-3) for v in zip(*told, strict=True))
        return Issued(torch.cat(lagged, dim=2), area, torch.from_numpy(mean), torch.from_numpy(quantiles))

    def take_up(self, issues: Steps, made: dict[str, Tensor]) -> None:
        """Remember the forecasts from some issues on that were made before."""
        state = {n.removeprefix("state."): v for n, v in made.items() if n.startswith("state.")}
        self.cycle.state, self.cycle.at = state, int(issues[-1]) - self.options.window
        self._remember(issues, made["recent"])

    def _remember(self, issues: Steps, recent: Tensor) -> None:
        valid, following = self.time(self.cycle.at), self.time(issues[-1] + self.config.every)
        self.memory = Memory(self.cycle.state, valid, following, self.memory.typical, recent)

    def identity(self, issues: Steps) -> dict[str, Any]:
        """Return all that forecasts depend on but for the state they begin from, as JSON takes it."""
        config, store = self.config, self.setup.store
        table = self.setup.config.catchments.file
        sources = [config.run, table, config.forcing, config.weather, config.observations]
        files = [file for path in sources if path is not None for file in files_of(path)]
        return {
            **self.origin,
            "version": __version__,
            "configuration": repr(config),
            "processes": processes.size(),
            "issues": [str(time) for time in self._times(issues.tolist())],
            "sources": state_of(files + (store.files if store else [])),
        }

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

    def write(self, path: Path, issues: Steps, made: Issued) -> None:
        """Write the forecasts of some issues, and their distribution, as a file."""
        config, seconds = self.config, self.setup.model.step
        values, told, area = made.flow.numpy(), made.distribution, made.area.numpy()
        realizations = values.shape[2] // config.lags
        what = "flow from the analysis" if config.loop == "closed" else "flow without observations"
        series = {FLOW: ForecastSeries(values, what)}
        if told is not None:
            series |= _distribution_series(told, config.quantiles)
        if not np.isnan(area).any():
            scale = (area * 1e3 / seconds).astype(np.float32)
            series |= {
                name.replace(FLOW, "discharge", 1): replace(
                    one, values=one.values * scale, units="m3 s-1", standard_name=DISCHARGE
                )
                for name, one in series.items()
            }
        lags = np.repeat(np.arange(config.lags) * config.every * seconds, realizations)
        about = {"title": f"forecasts by {self.setup.info.name}"}
        about |= {"bundle_fingerprint": self.setup.info.fingerprint, "loop": config.loop}
        forecast_netcdf.write(path, self.ids, self._times(issues), seconds, series, lags.tolist(), **about)


def _read_run(path: Path) -> tuple[RunConfig, RowShare | None]:
    """Return the configuration of a run, of several processes that of its share."""
    run = RunConfig.read(path)
    if not run.bundle:
        raise ConfigError(f"{path}: missing key 'bundle'; give a folder or a shipped bundle's name")
    if run.ensemble is not None:
        raise ConfigError(
            f"{path}: ensemble: members of forecasts are those of `weather` and `lags`; leave it out"
        )
    if whole_forcing.start_of(run) is None or run.device != "cpu":
        raise ConfigError(f"{path}: forecasts need a start_time, and run on device: cpu")
    if processes.size() == 1:
        return run, None
    share = own_share(run)
    return share.config, share


def _set_up(run: RunConfig) -> tuple[SharedSetup, State, np.datetime64]:
    """Return what the configuration of a run makes: the model at work, its cold state, and when that is."""
    start = whole_forcing.start_of(run)
    assert start is not None  # noqa: S101  it was read with one
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
        forcing = whole_forcing.from_records(self._setup, data, times, path)
        shape = (self._ahead, len(self._setup.table.ids), file.realizations)
        return {n: v[: self._ahead].reshape(shape).transpose(1, 2) for n, v in forcing.items()}
