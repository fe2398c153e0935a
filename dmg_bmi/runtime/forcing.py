"""Where forcing comes from: pushed by a framework, or stored as memory-mapped arrays.

Both hand out the forcing of one model step, ``[rows, columns]`` in model units, when it is
complete. A *column* is a forcing of the model; several may come from one input variable
(daily minimum and maximum of one temperature).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..config import from_mapping, read_yaml
from ..errors import ConfigError, ForcingError, TimeError
from ..run_config import utc
from ..variables import Variable
from .clock import Aggregator, Clock

FloatArray = NDArray[np.float64]
INDEX = "forcing.yaml"


class ForcingSource(Protocol):
    """Forcing of model steps, as it becomes complete."""

    #: Whether a model step's forcing is known at its first framework step.
    leads: bool

    @property
    def inputs(self) -> Mapping[str, FloatArray]:
        """Arrays that a framework sets, by variable name; empty when nothing is to be set."""
        ...

    @property
    def filled(self) -> Mapping[str, int]:
        """NaN values replaced so far, by column."""
        ...

    def collect(self, clock: Clock) -> FloatArray | None:
        """Take the current framework step; the model step's forcing if one is due."""
        ...

    def state(self) -> dict[str, Tensor]:
        """What must be saved to go on, rows first."""
        ...

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Go on from a saved state."""
        ...


class Guard:
    """Refuses what no forcing can be; fills gaps where the config says so.

    Parameters
    ----------
    columns : sequence of Variable
    ids : sequence of str
    hold : bool
        Replace NaN by the row's last value instead of refusing it.
    """

    def __init__(self, columns: Sequence[Variable], ids: Sequence[str], hold: bool) -> None:
        self._columns, self._ids, self._hold = columns, ids, hold
        self._lower = np.array([v.lower for v in columns])
        self._upper = np.array([v.upper for v in columns])
        self.last: FloatArray = np.full((len(ids), len(columns)), np.nan)
        self.filled = {v.symbol: 0 for v in columns}

    def __call__(self, values: FloatArray, time: float) -> FloatArray:
        """Legal values ``[rows, columns]``, or ForcingError naming variable and catchment."""
        if self._hold:
            gaps = np.isnan(values)
            if gaps.any():
                values = np.where(gaps, self.last, values)
        good = (values >= self._lower) & (values <= self._upper) & np.isfinite(values)
        if not good.all():
            self._refuse(values, ~good, time)
        if self._hold:
            self.last = values
            for variable, count in zip(self._columns, gaps.sum(0), strict=True):
                self.filled[variable.symbol] += int(count)
        return values

    def _refuse(self, values: FloatArray, bad: NDArray[np.bool_], time: float) -> None:
        row, column = (int(i) for i in np.argwhere(bad)[0])
        variable, value = self._columns[column], values[row, column]
        where = f"{variable.name} of catchment {self._ids[row]!r} at {time:g} s"
        count = int(bad.sum())
        more = f" ({count} values in all)" if count > 1 else ""
        if np.isnan(value):
            raise ForcingError(
                f"{where} is NaN{more}: missing, or never set. Set it before update, or configure "
                "missing_forcing: hold"
            )
        raise ForcingError(
            f"{where} is {value:g} {variable.model_units}{more}, outside {variable.lower:g} to "
            f"{variable.upper:g}: is it in {variable.units}?"
        )


class Pushed:
    """Forcing set by a framework before each update; a model step is due at its end."""

    def __init__(self, columns: Sequence[Variable], ids: Sequence[str], clock: Clock, hold: bool) -> None:
        names = list(dict.fromkeys(v.name for v in columns))
        self._values: FloatArray = np.full((len(names), len(ids)), np.nan)
        self.inputs = dict(zip(names, self._values, strict=True))
        self._from = [names.index(v.name) for v in columns]
        scales = [v.to_model(clock.step) for v in columns]
        self._scale = np.array([s for s, _ in scales])
        self._offset = np.array([o for _, o in scales])
        self._aggregator = Aggregator([v.aggregation for v in columns], len(ids))
        self._guard = Guard(columns, ids, hold)
        self.leads = clock.ratio == 1

    @property
    def filled(self) -> Mapping[str, int]:
        """See :class:`ForcingSource`."""
        return self._guard.filled

    def collect(self, clock: Clock) -> FloatArray | None:
        """See :class:`ForcingSource`."""
        values = self._guard(self._values[self._from].T * self._scale + self._offset, clock.now)
        if clock.ratio == 1:
            return values
        self._aggregator.add(values)
        return self._aggregator.take() if clock.position == clock.ratio - 1 else None

    def state(self) -> dict[str, Tensor]:
        """The half-filled buffer and the last values."""
        count = torch.full((len(self._aggregator.buffer),), self._aggregator.count)
        buffer = torch.from_numpy(self._aggregator.buffer.copy())
        return {"buffer": buffer, "buffer_count": count, "last": torch.from_numpy(self._guard.last.copy())}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See :class:`ForcingSource`."""
        self._aggregator.buffer[...] = state["buffer"].numpy()
        self._aggregator.count = int(state["buffer_count"][0])
        self._guard.last = state["last"].numpy().copy()


@dataclass(frozen=True)
class StoredSeries:
    """One variable of a store: an array file ``[time, catchment]`` and its units."""

    file: str
    units: str


@dataclass(frozen=True)
class StoreIndex:
    """Content of ``forcing.yaml``: what lies beside it.

    Parameters
    ----------
    ids : list of str
        Catchments, in the order of the arrays' columns.
    start_time : datetime
        UTC, start of the first step.
    step : float
        Seconds.
    variables : mapping of model symbol to StoredSeries
    """

    ids: list[str]
    start_time: datetime
    step: float
    variables: dict[str, StoredSeries]


class Stored:
    """Forcing in plain array files, mapped into memory; a model step is due at its start."""

    leads = True

    def __init__(
        self,
        path: Path,
        columns: Sequence[Variable],
        ids: Sequence[str],
        clock: Clock,
        start_time: datetime | None,
        hold: bool,
    ) -> None:
        source = path / INDEX
        index = from_mapping(StoreIndex, read_yaml(source), str(source))
        if start_time is None:
            raise ConfigError(f"{source}: stored forcing has dates, so the config needs start_time")
        self.inputs: Mapping[str, FloatArray] = {}
        self._source = source
        try:
            self._clock = Clock(index.step, clock.model_step)
        except ConfigError as problem:
            raise ConfigError(f"{source}: step: {problem}") from problem
        self._guard = Guard(columns, ids, hold)
        self._kinds = [v.aggregation for v in columns]
        absent = [i for i in ids if i not in set(index.ids)]
        if absent:
            raise ForcingError(f"{source}: has no catchment {', '.join(absent[:5])}")
        position = {i: k for k, i in enumerate(index.ids)}
        self._rows = np.array([position[i] for i in ids])
        self._begun = False
        lead = (utc(start_time) - utc(index.start_time)).total_seconds() - clock.phase * clock.step
        self._first = round(lead / index.step)
        if self._first * index.step != lead:
            raise ConfigError(f"{source}: its steps of {index.step:g} s do not meet start_time {start_time}")
        self._series, self._scale, self._offset = [], [], []
        for variable in columns:
            if variable.symbol not in index.variables:
                raise ForcingError(
                    f"{source}: has no {variable.symbol}; it holds {', '.join(index.variables)}"
                )
            stored = index.variables[variable.symbol]
            self._series.append(_map(path, stored.file, len(index.ids)))
            scale, offset = variable.to_model(index.step, stored.units)
            self._scale.append(scale)
            self._offset.append(offset)
        if len({len(series) for series in self._series}) > 1:
            raise ForcingError(f"{source}: its series differ in length")

    @property
    def filled(self) -> Mapping[str, int]:
        """See :class:`ForcingSource`."""
        return self._guard.filled

    def collect(self, clock: Clock) -> FloatArray | None:
        """See :class:`ForcingSource`."""
        if clock.position and self._begun:
            return None
        per = self._clock.ratio
        done = (clock.phase + clock.count) // clock.ratio
        first = self._first + done * per
        passed = clock.position * clock.step / self._clock.step
        if passed % 1:
            raise ForcingError(
                f"{self._source}: at {clock.now:g} s one of its steps has begun; start the run with it"
            )
        aggregator = Aggregator(self._kinds, len(self._rows))
        for k in range(first + int(passed), first + per):
            if not 0 <= k < len(self._series[0]):
                raise TimeError(f"{self._source}: holds no forcing at {clock.now:g} s after start_time")
            values = np.stack([s[k, self._rows] for s in self._series], axis=1).astype(np.float64)
            aggregator.add(self._guard(values * self._scale + self._offset, clock.now))
        self._begun = True
        return aggregator.take()

    def state(self) -> dict[str, Tensor]:
        """The last values, and whether the model step under way has had its forcing."""
        begun = torch.full((len(self._rows),), self._begun)
        return {"last": torch.from_numpy(self._guard.last.copy()), "begun": begun}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """See :class:`ForcingSource`."""
        self._guard.last = state["last"].numpy().copy()
        self._begun = bool(state["begun"][0])


def _map(folder: Path, name: str, n: int) -> NDArray[np.floating]:
    if Path(name).name != name:
        raise ForcingError(f"{folder / INDEX}: file {name!r} must lie in the same folder")
    try:
        array = np.lib.format.open_memmap(folder / name, mode="r")
    except (OSError, ValueError) as problem:
        raise ForcingError(f"{folder / name}: cannot be read: {problem}") from problem
    if array.ndim != 2 or array.shape[1] != n or array.dtype.kind != "f":
        raise ForcingError(f"{folder / name}: must be a float array [time, {n} catchments]")
    return array
