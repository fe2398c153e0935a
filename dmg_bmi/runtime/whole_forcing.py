"""Forcing of many model steps at once: what a forecast reads of the past, and of the weather ahead."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count, takewhile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray, TimeArray
from ..errors import ConfigError, ForcingError
from ..io.timeseries import day_of_year
from .clock import Clock
from .config import RunConfig, utc
from .forcing import series
from .forcing.aggregation import ForcingInputs, Place
from .forcing.pet_from_weather import make_forcing_inputs
from .shared_setup import SharedSetup


@dataclass(frozen=True)
class WholeForcing:
    """Forcing of consecutive model steps.

    Parameters
    ----------
    times : ndarray of datetime64[s] ``[time]``
        Begins of the steps.
    series : dict of name to Tensor ``[time, rows]``
        In model units.
    """

    times: TimeArray
    series: dict[str, Tensor]


def read(setup: SharedSetup, path: Path | None) -> WholeForcing:
    """Read the forcing of all catchments of a setup: of a file, or of the store that it names.

    Raises
    ------
    ConfigError
        If there is neither, or a store without the time at which a model step begins.
    ForcingError
        Naming file, variable and catchment of what is missing or not legal.
    """
    if path is not None:
        data = series.read(path)
        return from_records(setup, data, data.times, str(path))
    store, start = setup.store, start_of(setup.config)
    if store is None or start is None:
        raise ConfigError("forcing: name a file here, or stored forcing in the configuration of the run")
    if setup.new_clock().phase:
        raise ConfigError(f"start_time {start} lies within a model step; start at the begin of one")
    step, rows = setup.model.step, np.arange(len(setup.table.ids))
    numbers = [*takewhile(lambda k: not store.missing_seconds(k), count())]
    records = [store.read(k, False, rows, k * step) for k in numbers]
    times = start + np.array(numbers, dtype="timedelta64[s]") * int(step)
    return WholeForcing(times, _aggregated(setup, store.inputs, records, times, rows))


def start_of(config: RunConfig) -> np.datetime64 | None:
    """Return the start of a run in UTC, if it is known."""
    if config.start_time is None:
        return None
    return np.datetime64(utc(config.start_time).replace(tzinfo=None), "s")


def from_records(setup: SharedSetup, data: series.NamedSeries, times: TimeArray, source: str) -> WholeForcing:
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
    """
    variables, ids = [v for v in setup.info.variables if v.kind == "input"], setup.table.ids
    step = setup.model.step
    try:
        ratio = Clock(data.step, step).ratio
    except ConfigError as problem:
        raise ForcingError(f"{source}: {problem}") from problem
    inputs = make_forcing_inputs(variables, data.step, step, setup.config.pet)
    values = [series.model_input(data, v, ids, source) for v in inputs.variables]
    rows = np.repeat(np.arange(len(ids)), values[0][0].size // len(ids))
    stacked = np.stack([array.reshape(len(times), -1) for array in values], axis=1)
    first = _first_whole(times, step, setup.config.day_start_hour) if ratio > 1 else 0
    begins = range(first, len(times) - ratio + 1, ratio)
    records = [stacked[begin : begin + ratio] for begin in begins]
    if not records:
        raise ForcingError(f"{source}: holds no whole step of {step:g} s")
    return WholeForcing(times[[*begins]], _aggregated(setup, inputs, records, times[[*begins]], rows))


def _first_whole(times: TimeArray, step: float, day_start_hour: float) -> int:
    """Return the first record with which a model step begins; past the last if there is none."""
    seconds = times.astype("datetime64[s]").astype(np.int64) - round(day_start_hour * 3600)
    found = np.flatnonzero(seconds % int(step) == 0)
    return int(found[0]) if found.size else len(times)


def _aggregated(
    setup: SharedSetup, inputs: ForcingInputs, records: list[FloatArray], times: TimeArray, rows: np.ndarray
) -> dict[str, Tensor]:
    """Aggregate records ``[time, variable, rows]`` of each model step, checked, to the model's forcing."""
    ids = [setup.table.ids[row] for row in rows]
    places = {name: setup.table.attributes[name][rows] for name in inputs.attributes}
    days = day_of_year(times)
    steps = []
    for number, (part, day) in enumerate(zip(records, days, strict=True)):
        for record in part:
            if not inputs.legal(record):
                raise inputs.refuse(record, ids, float((times[number] - times[0]).astype(np.int64)))
        steps.append(inputs.aggregate(part, Place(places, np.full(len(rows), day)) if places else None))
    return {name: torch.from_numpy(np.stack([step[name] for step in steps])) for name in steps[0]}
