"""One component of a coupled run: its variables, forcing, clock and state."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import numpy as np
import torch

from ..arrays import FloatArray
from ..errors import ConfigError, DmgBmiError, StateError
from ..foreign_code import Guarded, find_class, running
from ..io import netcdf
from ..io.cf_time import parse_date, unit_and_date
from ..io.csv_table import CsvTable
from ..io.netcdf import Column
from ..io.units import conversion
from ..model.variables import Variable
from ..runtime.config import utc
from ..runtime.forcing.series import OpenSeries, model_input
from ..runtime.metadata import Metadata
from .config import ComponentConfig

STATE, SIZE, CREATE, FREE = (f"ngen::serialization_{what}" for what in ("state", "size", "create", "free"))
log = logging.getLogger("dmg_bmi")


class CoupledComponent:
    """A BMI component at work in a coupled run.

    Parameters
    ----------
    name : str
    config : ComponentConfig

    Attributes
    ----------
    step : float
        Seconds.
    substeps : int
        Updates in one step of the coupled clock.
    """

    def __init__(self, name: str, config: ComponentConfig) -> None:
        self.name, self.config = name, config
        cls = find_class(config.bmi, f"components.{name}.bmi:")
        log.info("%s is %s, configured by %s", name, config.bmi, config.config)
        with running(f"{name}: {config.bmi}()"):
            self.bmi = Guarded(cls(), name)
        self.bmi.initialize(str(config.config))
        self.substeps, self._record = 1, 0
        self._forcing: OpenSeries | None = None
        #: Ids of the items of each input that is read, records of the run, and series of those in memory.
        self._read_ids: dict[str, tuple[str, ...]] = {}
        self._records, self._block = range(0), range(0)
        self._series: dict[str, FloatArray] = {}
        try:
            self._unit, self._date = self._time_units()
            self.step = self._time_step()
            self.inputs = self._names("get_input_var_names")
            self.outputs = self._names("get_output_var_names")
            self._ids = None if config.ids is None else tuple(CsvTable.read(config.ids, ConfigError).rows())
            names = self.outputs if config.outputs is None else config.outputs
            self.written = {variable: self.read(variable) for variable in names}
        except BaseException:
            self.abandon()
            raise

    def _time_units(self) -> tuple[float, str]:
        """Return the seconds of a unit of time, and the date from which it counts, if any."""
        unit, date = unit_and_date(str(self.bmi.get_time_units()))
        try:
            return conversion(unit, "s")[0], date
        except ConfigError as problem:
            raise problem.within(f"{self.name}: time units") from problem

    def _time_step(self) -> float:
        with running(f"{self.name}: get_time_step"):
            step = float(self.bmi.get_time_step()) * self._unit
        if not 0 < step < np.inf:
            raise ConfigError(f"{self.name}: its time step is {step:g} s; it must be a positive number")
        return step

    def check_clock(self, now: datetime) -> None:
        """Warn if the component has a date, and another than the run."""
        if not self._date:
            return
        try:
            origin = parse_date(self._date, f"{self.name}: time units", ConfigError)
            seconds = float(self.bmi.get_current_time()) * self._unit
            date = origin + np.timedelta64(round(seconds), "s")
        except (DmgBmiError, ValueError, TypeError, OverflowError) as problem:
            log.warning("%s: its time cannot be read: %s", self.name, problem)
            return
        if abs(date - np.datetime64(now.replace(tzinfo=None), "s")) > np.timedelta64(1, "s"):
            log.warning(
                "%s is at %s, the run at %s: records carry the dates of the run", self.name, date, now
            )

    def variable(self, name: str) -> Variable:
        """Return name, units and meaning of a variable, as far as the component tells them."""
        about = getattr(self.bmi.optional("component"), "about", None)
        if isinstance(about, Metadata) and name in about.by_name:
            return about.by_name[name]
        units = self._ask("get_var_units", name)
        return Variable(name, name, "output", units, units, name)

    def units(self, name: str) -> str:
        """Return the units of a variable."""
        return self._ask("get_var_units", name)

    def ids(self, name: str) -> tuple[str, ...] | None:
        """Return the ids of the items of a variable, if they are known."""
        if self._ids is not None:
            return self._ids
        item_ids = self.bmi.optional("item_ids")
        return None if item_ids is None else item_ids(name)

    def read(self, name: str) -> FloatArray:
        """Return a copy of the values of a variable."""
        nbytes, itemsize = self._ask("get_var_nbytes", name), self._ask("get_var_itemsize", name)
        kind = self._ask("get_var_type", name)
        with running(f"{self.name}: {name!r} has {nbytes} bytes by {itemsize} and is {kind!r}", ConfigError):
            dest = np.zeros(nbytes // itemsize, kind)
        values = self.bmi.get_value(name, dest)
        with running(f"{self.name}: get_value({name!r})"):
            return np.array(dest if values is None else values, dtype=np.float64).reshape(dest.shape)

    def _names(self, getter: str) -> tuple[str, ...]:
        names = getattr(self.bmi, getter)()
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{self.name}: {getter} gives {names!r}; it must give a tuple of names")
        return tuple(names)

    def _ask(self, getter: str, name: str) -> Any:
        try:
            return getattr(self.bmi, getter)(name)
        except DmgBmiError as problem:
            raise ConfigError(f"{self.name} has no variable {name!r}: {problem}") from problem

    def abandon(self) -> None:
        """Finalize after a failure, and hide errors of that, which would hide the cause."""
        with suppress(DmgBmiError):
            self.finalize()

    def finalize(self) -> None:
        """Close the forcing, and finalize the component."""
        if self._forcing is not None:
            self._forcing.close()
        self.bmi.finalize()

    def read_forcing(self, fed: Sequence[str], start: datetime, updates: int) -> None:
        """Open the forcing for all inputs that no exchange feeds; it is read block by block."""
        path = self.config.forcing
        rest = [name for name in self.inputs if name not in fed]
        if path is None:
            if rest:
                raise ConfigError(
                    f"{self.name}: nothing provides {', '.join(rest)}; add exchanges, or a forcing file"
                )
            return
        self._forcing = forcing = OpenSeries(path)
        if forcing.step != self.step:
            raise ConfigError(f"{path}: its step is {forcing.step:g} s, that of {self.name} {self.step:g} s")
        first = np.flatnonzero(forcing.times == np.datetime64(utc(start).replace(tzinfo=None), "s"))
        if not first.size or first[0] + updates > len(forcing.times):
            raise ConfigError(
                f"{path}: does not cover the run from {start} on; it has records from {forcing.times[0]} to "
                f"{forcing.times[-1]}"
            )
        self._record = int(first[0])
        self._records = range(self._record, self._record + updates)
        self._read_ids = {
            name: self.ids(name) or tuple(str(k) for k in range(self.read(name).size)) for name in rest
        }
        if rest:
            self._read_block()  # what is missing is told before the work

    def _read_block(self) -> None:
        """Read forcing from the coming record on.

        Not ahead in a thread, as a run of one component does: NetCDF allows one, which writes outputs.
        """
        forcing, path, begin = self._forcing, str(self.config.forcing), self._record
        assert forcing is not None  # noqa: S101  inputs are read where there is a file
        self._block = range(begin, min(begin + netcdf.block_length(len(forcing.ids)), self._records.stop))
        part, self._series = forcing.part(slice(self._block.start, self._block.stop)), {}
        for name, ids in self._read_ids.items():
            self._series[name] = model_input(part, self.variable(name), ids, path)

    def update(self) -> None:
        """Advance by one step of the component's own.

        Raises
        ------
        DmgBmiError
            Naming the component.
        """
        if self._read_ids and self._record not in self._block:
            self._read_block()
        for name, series in self._series.items():
            self.bmi.set_value(name, series[self._record - self._block.start])
        self._record += 1
        self.bmi.update()

    def columns(self) -> tuple[tuple[str, ...], dict[str, Column]]:
        """Return ids and variables of the output file."""
        sizes = {values.size for values in self.written.values()}
        if len(sizes) > 1:
            raise ConfigError(f"{self.name}: outputs differ in size; choose some of one size under `outputs`")
        ids = self.ids(next(iter(self.written))) or tuple(str(k) for k in range(sizes.pop()))
        table = {name: self.variable(name) for name in self.written}
        return ids, {
            v.symbol: Column(v.units, v.meaning, v.name if v.name != v.symbol else "", v.aggregation)
            for v in table.values()
        }

    def save(self) -> torch.Tensor:
        """Return the state, by NextGen's protocol."""
        try:
            self.bmi.set_value(CREATE, np.ones(1, dtype=np.int32))
            content = np.array(self.bmi.get_value_ptr(STATE), dtype=np.uint8)
            self.bmi.set_value(FREE, np.ones(1, dtype=np.int32))
        except (DmgBmiError, ValueError, TypeError) as problem:  # it has no such variable
            raise StateError(f"{self.name}: cannot be saved by {CREATE}: {problem}") from problem
        return torch.from_numpy(content)

    def load(self, content: torch.Tensor) -> None:
        """Restore a saved state."""
        try:
            self.bmi.set_value(SIZE, np.array([content.numel()], dtype=np.int64))
            self.bmi.set_value(STATE, content.numpy())
        except DmgBmiError as problem:
            raise StateError(f"{self.name}: cannot be restored: {problem}") from problem
