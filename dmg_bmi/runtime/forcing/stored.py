"""Forcing stored as plain arrays, mapped into memory.

A store is a folder with ``forcing.yaml`` and one ``.npy`` file ``[time, catchment]`` per variable, or
``[time, catchment, realization]`` for the members of an ensemble. It
requires no NetCDF library, which may conflict with that of a framework, and is known in advance,
so that a daily model's flow falls on its own day.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ...arrays import FloatArray, FloatingArray
from ...errors import ConfigError, ForcingError, TimeError, alternatives
from ...io.atomic import write_atomic
from ...io.files import give_back, mapped
from ...io.typed_yaml import from_mapping, read_yaml
from ...model.variables import Variable
from ..clock import Clock
from ..config import Pet, utc
from .pet_from_weather import make_forcing_inputs

INDEX = "forcing.yaml"
#: Bytes of the arrays that a process holds in memory at most.
HELD = 2**28


@dataclass(frozen=True)
class StoredVariable:
    """One variable of a store: an array file, see the module, and its units."""

    file: str
    units: str


@dataclass(frozen=True)
class StoreIndex:
    """Content of ``forcing.yaml``.

    Parameters
    ----------
    ids : list of str
        Catchments, in the order of the arrays' columns.
    start_time : datetime
        UTC, start of the first record.
    step : float
        Seconds of a record; a whole part of the model's step.
    variables : mapping of model symbol or standard name to StoredVariable
    partial_end : bool
        Whether the last model step may be made of fewer records, those that the arrays still hold. A
        run that ends within a model step has no more.
    """

    ids: list[str]
    start_time: datetime
    step: float
    variables: dict[str, StoredVariable]
    partial_end: bool = False


class StoredForcing:
    """Series of a store, cut into model steps.

    Parameters
    ----------
    folder : Path
    forcings : sequence of Variable
    ids : sequence of str
        Catchments that will be asked for.
    clock : Clock
    start_time : datetime, optional
        UTC, of time zero.
    pet : Pet, optional
        How potential evapotranspiration is computed from the weather that is stored.
    members : int
        Rows of each catchment, side by side. Member `k` takes realization `k`, and begins again after the
        last one.
    """

    def __init__(
        self,
        folder: Path,
        forcings: Sequence[Variable],
        ids: Sequence[str],
        clock: Clock,
        start_time: datetime | None,
        pet: Pet | None = None,
        members: int = 1,
    ) -> None:
        self.path = folder / INDEX
        index = from_mapping(StoreIndex, read_yaml(self.path), str(self.path))
        if start_time is None:
            raise ConfigError(f"{self.path}: stored forcing has dates, so the config needs start_time")
        try:
            self._records = Clock(index.step, clock.model_step).ratio
        except ConfigError as problem:
            raise ConfigError(f"{self.path}: step: {problem}") from problem
        self.inputs = make_forcing_inputs(forcings, index.step, clock.model_step, pet)
        column = {name: k for k, name in enumerate(index.ids)}
        if len(column) != len(index.ids):
            raise ConfigError(f"{self.path}: an id appears twice in ids")
        absent = [name for name in ids if name not in column]
        if absent:
            what = alternatives(absent[0], column)
            raise ForcingError(f"{self.path}: has no catchment {', '.join(absent[:5])}; {what}")
        self._columns = np.repeat(np.array([column[name] for name in ids]), members)
        self._members = members
        self._partial_end = index.partial_end
        lead = (utc(start_time) - utc(index.start_time)).total_seconds()
        skipped = clock.phase * clock.step
        self._first = round((lead - skipped) / index.step)
        self._skip = skipped / index.step
        if (lead - skipped) % index.step:
            raise ConfigError(
                f"{self.path}: its records of {index.step:g} s do not meet start_time {start_time}"
            )
        self._series: list[FloatingArray] = []
        self._scale: list[float] = []
        self._offset: list[float] = []
        self._sizes: dict[Path, int] = {}
        self._held = 0
        for variable in self.inputs.variables:
            self._map_variable(folder, index, variable)

    def _map_variable(self, folder: Path, index: StoreIndex, variable: Variable) -> None:
        symbols = [v.symbol for v in self.inputs.forcings if v.name == variable.name]
        names = [name for name in (*symbols, variable.name) if name in index.variables]
        if not names:
            raise ForcingError(
                f"{self.path}: has no {variable.symbol} ({variable.name}); "
                f"it holds {', '.join(index.variables)}"
            )
        stored = index.variables[names[0]]
        self._series.append(_map(folder, stored.file, len(index.ids), self._members))
        self._sizes[folder / stored.file] = (folder / stored.file).stat().st_size
        try:
            scale, offset = variable.from_units(stored.units, index.step)
        except ConfigError as problem:
            raise ConfigError(f"{self.path}: units of {variable.symbol}: {problem}") from problem
        self._scale.append(scale)
        self._offset.append(offset)

    @property
    def _length(self) -> int:
        return min(len(series) for series in self._series)

    def missing_seconds(self, step: int) -> float:
        """Return the seconds of forcing that are missing to complete a model step.

        Parameters
        ----------
        step : int
            Which, as :meth:`dmg_bmi.runtime.model_step.ModelStep.number`.
        """
        needed = self._first + (step + 1) * self._records
        if self._partial_end:
            needed -= self._records - 1
        return max(0, needed - self._length) * self.inputs.step

    @property
    def files(self) -> list[Path]:
        """Files that it is read from."""
        return [self.path, *self._sizes]

    @property
    def seconds(self) -> float:
        """Seconds from time zero to the end of the last model step that it completes."""
        records = self._length - self._first
        whole = records if self._partial_end else records // self._records * self._records
        return (whole - self._skip) * self.inputs.step

    def reaches_back(self, steps: int) -> bool:
        """Tell whether the store holds as many whole model steps before time zero."""
        return self._first - steps * self._records >= 0

    def read(self, step: int, first: bool, rows: NDArray[np.int_], now: float) -> FloatArray:
        """Read the records ``[time, variable, rows]`` of a model step, in the units of the inputs.

        Parameters
        ----------
        step : int
            Which model step, as :meth:`dmg_bmi.runtime.model_step.ModelStep.number`.
        first : bool
            Whether the run begins in it, perhaps after its start.
        """
        if first and self._skip % 1:
            raise ConfigError(
                f"{self.path}: start_time lies within one of its records; start the run at the start of one"
            )
        begin = self._first + step * self._records + (int(self._skip) if first else 0)
        end = self._first + (step + 1) * self._records
        if self._partial_end and begin < self._length:
            end = min(end, self._length)
        if begin < 0 or end > self._length:
            raise TimeError(f"{self.path}: holds no forcing at {now:g} s after start_time")
        for path, size in self._sizes.items():
            # Reading beyond the end of a mapped file would end the process.
            if path.stat().st_size < size:
                raise ForcingError(f"{path}: has become shorter since the run began; write the store again")
        columns = self._columns[rows]
        values = np.stack(
            [
                series[begin:end, columns]
                if series.ndim == 2
                else series[begin:end, columns, rows % self._members % series.shape[2]]
                for series in self._series
            ],
            axis=1,
        )
        self._held += sum(series[begin:end].nbytes for series in self._series)
        if self._held > HELD:
            for series in self._series:
                give_back(series)
            self._held = 0
        return values.astype(np.float64) * np.array(self._scale)[:, None] + np.array(self._offset)[:, None]


def _map(folder: Path, name: str, n: int, members: int) -> FloatingArray:
    if Path(name).name != name:
        raise ForcingError(f"{folder / INDEX}: file {name!r} must lie in the same folder")
    array = mapped(folder / name, ForcingError)
    if array.ndim not in (2, 3) or array.shape[1] != n or array.dtype.kind != "f":
        raise ForcingError(f"{folder / name}: must be a float array [time, {n} catchments]")
    if array.ndim == 3 and not 1 <= array.shape[2] <= members:
        raise ForcingError(
            f"{folder / name}: has {array.shape[2]} realizations [time, catchment, realization], and each "
            f"catchment {members} member{'s' * (members > 1)}: set ensemble.members in the configuration"
        )
    return array


def write_index(
    folder: Path,
    ids: Sequence[str],
    start: np.datetime64,
    variables: dict[str, dict[str, str]],
    partial_end: bool = False,
) -> None:
    """Write the index of a store of hourly records, after all other files: it makes the folder a store."""
    index: dict[str, Any] = {"ids": [*ids], "start_time": str(start), "step": 3600.0, "variables": variables}
    if partial_end:
        index["partial_end"] = True
    write_atomic(folder / INDEX, yaml.safe_dump(index, sort_keys=False).encode("utf-8"))
