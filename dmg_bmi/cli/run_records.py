"""Records that a run steps through."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ..arrays import FloatArray, TimeArray
from ..bmi import DeltaModelBmi
from ..errors import ConfigError, ForcingError
from ..io import netcdf
from ..io.timeseries import Series
from ..io.units import conversion, is_rate_of
from ..model.bundle import BundleInfo
from ..model.variables import Variable
from ..runtime.config import RunConfig, utc
from ..runtime.forcing import series


class RunRecords:
    """Records that a run takes: of a file, or of the forcing that its configuration stores.

    Parameters
    ----------
    bmi : DeltaModelBmi
        Initialized.
    config : RunConfig
    forcing : OpenSeries, optional
        File of the forcing; None where it is stored.
    source : str
        Its path, or else that of the configuration, for messages.
    observed : mapping of name to array ``[record, catchment]``
        What is set beside the forcing, for each record of the file.

    Attributes
    ----------
    times : ndarray of datetime64[s]
        Begin of each.
    step : float
        Seconds.
    """

    def __init__(
        self,
        bmi: DeltaModelBmi,
        config: RunConfig,
        forcing: series.OpenSeries | None,
        source: str,
        observed: Mapping[str, FloatArray],
    ) -> None:
        self.forcing, self.source = forcing, source
        self._bmi, self._observed = bmi, observed
        self.step = bmi.get_time_step()
        stored = bmi.component.group.store
        if forcing is None:
            if stored is None:
                raise ConfigError(f"{source}: stores no forcing (key forcing), so the run needs --forcing")
            assert config.start_time is not None  # noqa: S101  stored forcing has dates
            start = np.datetime64(utc(config.start_time).replace(tzinfo=None), "s")
            held = int(stored.seconds // self.step)
            every: TimeArray = start + np.arange(held) * np.timedelta64(int(self.step), "s")
            self._range = range(_steps(config, every, self.step, str(stored.path)))
            self.times = every[: len(self._range)]
            return
        if stored is not None:
            raise ConfigError(f"{source}: the component reads stored forcing, so --forcing has no use")
        self._range = _range_of(forcing, config, bmi, source)
        self.times = forcing.times[self._range.start : self._range.stop]
        self._columns = series.covering(forcing.ids, bmi.component.catchments)
        self._inputs(self.place(slice(1)))  # what is missing is told before the work

    def __len__(self) -> int:
        return len(self._range)

    def place(self, block: slice) -> slice:
        """Return where in the file some records of the run are."""
        return slice(self._range[block].start, self._range[block].stop)

    def blocks(self, begin: int, length: int) -> Iterator[tuple[int, dict[str, FloatArray]]]:
        """Yield how many records a block has, and what is set at each; the next one is read meanwhile."""
        parts = [self.place(slice(k, k + length)) for k in range(begin, len(self), length)]
        with ThreadPoolExecutor(1) as reader:
            coming = deque(reader.submit(self._inputs, part) for part in parts[:1])
            for k, part in enumerate(parts):
                inputs = coming.popleft().result()
                coming.extend(reader.submit(self._inputs, following) for following in parts[k + 1 : k + 2])
                yield part.stop - part.start, inputs

    def daily(self, symbol: str, catchment: str, info: BundleInfo) -> FloatArray | None:
        """Read precipitation or observed flow of one catchment, mm d-1; None where the file has none."""
        file = self.forcing
        if file is None:
            return None
        name: str | None = symbol if symbol in file.targets else None
        if symbol != "Q" and symbol in info.by_name:
            name = series.series_of(file.part(slice(0)), info.by_name[symbol], self.source)
        if name is None:
            return None
        column, length = file.ids.index(catchment), netcdf.block_length(len(file.ids))
        values = np.concatenate(
            [
                file.series(name, self.place(slice(k, k + length)), slice(column, column + 1))[:, 0]
                for k in range(0, len(self), length)
            ]
        )
        units = file.units[name]
        is_rate = is_rate_of(units, "mm")
        scale, _ = conversion(units, "mm d-1" if is_rate else "mm")
        return values * (scale if is_rate else scale * 86400.0 / file.step)

    def observed_outputs(self, outputs: Sequence[Variable]) -> dict[str, Variable]:
        """Return the outputs of which the file has observations, by the names of these beside them."""
        targets = [] if self.forcing is None else self.forcing.targets
        return {f"{v.symbol}_observed": v for v in outputs if v.symbol in targets}

    def observations(self, observed: Mapping[str, Variable], block: slice, ids: Sequence[str]) -> Series:
        """Read observations of catchments at some records, in the units of the outputs, ``[record, ids]``."""
        file, part = self.forcing, self.place(block)
        if file is None or not observed:
            return {}
        place = {name: column for column, name in enumerate(file.ids)}
        columns = [place[name] for name in ids]
        values: Series = {}
        for name, v in observed.items():
            scale, offset = v.from_units(file.units[v.symbol], file.step)
            values[name] = file.series(v.symbol, part, series.EVERY)[:, columns] * scale + offset
        return values

    def _inputs(self, part: slice) -> dict[str, FloatArray]:
        if self.forcing is None:
            return {}
        component, some = self._bmi.component, self.forcing.part(part, self._columns)
        names = [name for name in self._bmi.get_input_var_names() if name not in self._observed]
        table = component.about.by_name
        inputs = {n: series.model_input(some, table[n], component.catchments, self.source) for n in names}
        return inputs | {name: values[part] for name, values in self._observed.items()}


def _range_of(forcing: series.OpenSeries, config: RunConfig, bmi: DeltaModelBmi, path: str) -> range:
    """Return which records of the file the run takes."""
    if forcing.step != bmi.get_time_step():
        raise ForcingError(
            f"{path}: its step is {forcing.step:g} s, that of the component {bmi.get_time_step():g} s; "
            "set time_step in the config, or give forcing of that step"
        )
    first = 0
    if config.start_time is not None:
        start = np.datetime64(utc(config.start_time).replace(tzinfo=None), "s")
        matches = np.flatnonzero(forcing.times == start)
        if not matches.size:
            raise ForcingError(f"{path}: has no record at start_time {start}; it begins {forcing.times[0]}")
        first = int(matches[0])
    return range(first, first + _steps(config, forcing.times[first:], forcing.step, path))


def _steps(config: RunConfig, times: TimeArray, step: float, path: str) -> int:
    """Return how many steps a run has whose forcing holds records from its start on."""
    if not len(times):
        raise ForcingError(f"{path}: holds no whole step of {step:g} s after start_time {config.start_time}")
    if config.end_seconds is None:
        return len(times)
    steps = int(config.end_seconds // step)
    if steps > len(times):
        raise ForcingError(f"{path}: ends {times[-1]}, before end_time {config.end_time}")
    if not steps:
        raise ConfigError(f"end_time {config.end_time}: the run has no whole step of {step:g} s")
    return steps
