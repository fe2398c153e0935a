"""Forcing of many model steps at once: what a forecast reads of the past, and of the weather ahead."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray, TimeArray
from ..errors import ConfigError, ForcingError
from ..io import netcdf
from ..io.timeseries import day_of_year
from .clock import Clock
from .config import RunConfig, utc
from .forcing import series
from .forcing.aggregation import ForcingInputs, Place
from .forcing.pet_from_weather import make_forcing_inputs
from .shared_setup import SharedSetup


class HeldPart:
    """Series by step, of which the part that was read last is held.

    Parameters
    ----------
    read : callable
        From some neighbouring steps to series ``[time, rows]`` by name.
    length : int
        Steps that there are.
    at_once : int
        So many steps are read at once, or as many as are asked for.
    """

    def __init__(self, read: Callable[[range], Mapping[str, Tensor]], length: int, at_once: int) -> None:
        self._read, self._length, self._at_once = read, length, at_once
        self._held = range(0)
        self._series: Mapping[str, Tensor] = {}

    def __call__(self, steps: Tensor) -> dict[str, Tensor]:
        """Return the values of steps ``[...]`` by name, ``[..., rows]``."""
        first, last = int(steps.min()), int(steps.max())
        if first not in self._held or last not in self._held:
            ahead = min(first + self._at_once, self._length)
            self._series = {}  # not both in memory
            self._held = range(first, max(last + 1, ahead))
            self._series = self._read(self._held)
        return {name: values[steps - self._held.start] for name, values in self._series.items()}


class ModelForcing:
    """Forcing of consecutive model steps of a file, or of a store, in model units.

    Parameters
    ----------
    setup : SharedSetup
        Whose catchments are the rows.
    path : Path, optional
        As ``dmg-bmi run`` reads it; without one it is the store that the setup names.

    Attributes
    ----------
    times : ndarray of datetime64[s] ``[time]``
        Begins of the steps.

    Raises
    ------
    ConfigError
        If there is neither, or a store without the time at which a model step begins.
    ForcingError
        Naming file, variable and catchment of what is missing or not legal; of a value when it is read.
    """

    def __init__(self, setup: SharedSetup, path: Path | None) -> None:
        self._setup, self._closing = setup, ExitStack()
        self._read: Callable[[range], dict[str, Tensor]]
        if path is None:
            self.times = self._open_store()
        else:
            self._source = str(path)
            self._file = self._closing.enter_context(series.OpenSeries(path))
            self._begins, self._ratio = whole_steps(setup, self._file.step, self._file.times, self._source)
            self.times = self._file.times[self._begins.start : self._begins.stop : self._begins.step]
            self._read = self._of_file
            self._read(range(1))  # what is missing is told before the work

    def close(self) -> None:
        """Close its file."""
        self._closing.close()

    def held(self) -> HeldPart:
        """Return the forcing of any steps, read block by block."""
        at_once = netcdf.block_length(len(self._setup.table.ids))
        return HeldPart(self._read, len(self.times), at_once)

    def _of_file(self, steps: range) -> dict[str, Tensor]:
        records = slice(self._begins[steps.start], self._begins[steps.start] + len(steps) * self._ratio)
        times = self._file.times[records]
        part = self._file.part(records, series.covering(self._file.ids, self._setup.table.ids))
        return from_records(self._setup, part, times, self._source, self.times[0])

    def _open_store(self) -> TimeArray:
        setup = self._setup
        store, start = setup.store, start_of(setup.config)
        if store is None or start is None:
            raise ConfigError("forcing: name a file here, or stored forcing in the configuration of the run")
        if setup.new_clock().phase:
            raise ConfigError(f"start_time {start} lies within a model step; start at the begin of one")
        step, rows = setup.model.step, np.arange(len(setup.table.ids))
        length = len([*takewhile(lambda k: not store.missing_seconds(k), count())])
        times: TimeArray = start + np.arange(length).astype("timedelta64[s]") * int(step)

        def read(steps: range) -> dict[str, Tensor]:
            records = [store.read(k, False, rows, k * step) for k in steps]
            return _aggregated(setup, store.inputs, records, times[steps.start : steps.stop], rows, start)

        self._read = read
        return times


def start_of(config: RunConfig) -> np.datetime64 | None:
    """Return the start of a run in UTC, if it is known."""
    if config.start_time is None:
        return None
    return np.datetime64(utc(config.start_time).replace(tzinfo=None), "s")


def whole_steps(setup: SharedSetup, length: float, times: TimeArray, source: str) -> tuple[range, int]:
    """Return the records of a length in seconds with which model steps begin, and how many are one step."""
    step = setup.model.step
    try:
        ratio = Clock(length, step).ratio
    except ConfigError as problem:
        raise ForcingError(f"{source}: {problem}") from problem
    first = _first_whole(times, step, setup.config.day_start_hour) if ratio > 1 else 0
    begins = range(first, len(times) - ratio + 1, ratio)
    if not begins:
        raise ForcingError(f"{source}: holds no whole step of {step:g} s")
    return begins, ratio


def from_records(
    setup: SharedSetup,
    data: series.NamedSeries,
    times: TimeArray,
    source: str,
    origin: np.datetime64 | None = None,
) -> dict[str, Tensor]:
    """Aggregate the records of a dataset to whole model steps; rows are all of a catchment, then the next.

    Parameters
    ----------
    setup : SharedSetup
    data : NamedSeries
        ``[time, catchments]``, or with more axes behind, which become rows too.
    times : ndarray of datetime64[s] ``[time]``
        Begins of its records.
    source : str
        For messages.
    origin : datetime64[s], optional
        From which messages count; the first record by default.

    Returns
    -------
    dict of name to Tensor ``[time, rows]``
        In model units.
    """
    variables, ids = [v for v in setup.info.variables if v.kind == "input"], setup.table.ids
    begins, ratio = whole_steps(setup, data.step, times, source)
    inputs = make_forcing_inputs(variables, data.step, setup.model.step, setup.config.pet)
    values = [series.model_input(data, v, ids, source) for v in inputs.variables]
    rows = np.repeat(np.arange(len(ids)), values[0][0].size // len(ids))
    stacked = np.stack([array.reshape(len(times), -1) for array in values], axis=1)
    records = [stacked[begin : begin + ratio] for begin in begins]
    return _aggregated(
        setup, inputs, records, times[[*begins]], rows, times[begins[0]] if origin is None else origin
    )


def _first_whole(times: TimeArray, step: float, day_start_hour: float) -> int:
    """Return the first record with which a model step begins; past the last if there is none."""
    seconds = times.astype("datetime64[s]").astype(np.int64) - round(day_start_hour * 3600)
    found = np.flatnonzero(seconds % int(step) == 0)
    return int(found[0]) if found.size else len(times)


def _aggregated(
    setup: SharedSetup,
    inputs: ForcingInputs,
    records: Sequence[FloatArray],
    times: TimeArray,
    rows: np.ndarray,
    origin: np.datetime64,
) -> dict[str, Tensor]:
    """Aggregate records ``[time, variable, rows]`` of each model step, checked, to the model's forcing."""
    ids = [setup.table.ids[row] for row in rows]
    places = {name: setup.table.attributes[name][rows] for name in inputs.attributes}
    days = day_of_year(times)
    steps = []
    for number, (part, day) in enumerate(zip(records, days, strict=True)):
        for record in part:
            if not inputs.legal(record):
                raise inputs.refuse(record, ids, float((times[number] - origin).astype(np.int64)))
        steps.append(inputs.aggregate(part, Place(places, np.full(len(rows), day)) if places else None))
    return {name: torch.from_numpy(np.stack([step[name] for step in steps])) for name in steps[0]}
