"""Components stepped together: exchanges between them, one clock, one state.

For a few components and a plain schedule; frameworks do the large cases.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import torch

from ..arrays import FloatArray
from ..errors import ConfigError, DmgBmiError, StateError
from ..foreign_code import Guarded, find_class, running
from ..io.atomic import make_folder
from ..io.cf_time import parse_date, unit_and_date
from ..io.csv_table import CsvTable
from ..io.netcdf import Column
from ..io.units import conversion
from ..model.variables import Variable
from ..runtime import state_codec
from ..runtime.config import utc
from ..runtime.forcing.series import model_input, read
from ..runtime.metadata import Metadata
from ..runtime.restart import stamp, steps_between
from .config import ComponentConfig, CouplingConfig, ExchangeConfig
from .links import Exchange

STATE, SIZE, CREATE, FREE = (f"ngen::serialization_{what}" for what in ("state", "size", "create", "free"))
log = logging.getLogger("dmg_bmi")


class CoupledComponent:
    """One component at work.

    Parameters
    ----------
    name : str
    part : ComponentConfig

    Attributes
    ----------
    step : float
        Seconds.
    substeps : int
        Updates in one step of the coupled clock.
    """

    def __init__(self, name: str, part: ComponentConfig) -> None:
        self.name, self.part = name, part
        cls = find_class(part.bmi, f"components.{name}.bmi:")
        log.info("%s is %s, configured by %s", name, part.bmi, part.config)
        with running(f"{name}: {part.bmi}()"):
            self.bmi = Guarded(cls(), name)
        self.bmi.initialize(str(part.config))
        try:
            self._begin()
        except BaseException:
            self.let_go()
            raise

    def _begin(self) -> None:
        part, name = self.part, self.name
        unit, self._date = unit_and_date(str(self.bmi.get_time_units()))
        try:
            self._unit = conversion(unit, "s")[0]
        except ConfigError as problem:
            raise problem.within(f"{name}: time units") from problem
        with running(f"{name}: get_time_step"):
            self.step = float(self.bmi.get_time_step()) * self._unit
        if not 0 < self.step < np.inf:
            raise ConfigError(f"{name}: its time step is {self.step:g} s; it must be a positive number")
        self.substeps = 1
        self.inputs, self.outputs = self._names("get_input_var_names"), self._names("get_output_var_names")
        self._given: dict[str, FloatArray] = {}
        self._record = 0
        self._ids = None if part.ids is None else _ids(part.ids)
        wanted = self.outputs if part.outputs is None else part.outputs
        self.written = {variable: self.read(variable) for variable in wanted}

    def check_clock(self, now: datetime) -> None:
        """Warn if the component dates itself, and otherwise than the run."""
        if not self._date:
            return
        try:
            origin = parse_date(self._date, f"{self.name}: time units", ConfigError)
            seconds = float(self.bmi.get_current_time()) * self._unit
            own = origin + np.timedelta64(round(seconds), "s")
        except (DmgBmiError, ValueError, TypeError, OverflowError) as problem:  # it does not tell its time
            log.warning("%s does not tell its time: %s", self.name, problem)
            return
        if abs(own - np.datetime64(now.replace(tzinfo=None), "s")) > np.timedelta64(1, "s"):
            log.warning("%s is at %s, the run at %s: records carry the dates of the run", self.name, own, now)

    def variable(self, name: str) -> Variable:
        """What the component says of a variable."""
        about = getattr(self.bmi.optional("component"), "about", None)
        known = about.by_name.get(name) if isinstance(about, Metadata) else None
        if known is not None:
            return known
        units = self._ask("get_var_units", name)
        return Variable(name, name, "output", units, units, name)

    def units(self, name: str) -> str:
        """Of a variable."""
        return self._ask("get_var_units", name)

    def ids(self, name: str) -> tuple[str, ...] | None:
        """Of the items of a variable, if they are known."""
        if self._ids is not None:
            return self._ids
        known = self.bmi.optional("item_ids")
        return None if known is None else known(name)

    def read(self, name: str) -> FloatArray:
        """A copy of a variable."""
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

    def let_go(self) -> None:
        """Finalize what has failed already; what that raises besides would hide why."""
        with suppress(DmgBmiError):
            self.bmi.finalize()

    def drive(self, fed: Sequence[str], start: datetime, updates: int) -> None:
        """Take all inputs that no exchange feeds from the file of forcing."""
        path = self.part.forcing
        rest = [name for name in self.inputs if name not in fed]
        if path is None:
            if rest:
                raise ConfigError(
                    f"{self.name}: nothing gives {', '.join(rest)}; add exchanges, or a forcing file"
                )
            return
        forcing = read(path)
        if forcing.step != self.step:
            raise ConfigError(f"{path}: steps by {forcing.step:g} s, {self.name} by {self.step:g} s")
        found = np.flatnonzero(forcing.times == np.datetime64(utc(start).replace(tzinfo=None), "s"))
        if not found.size or found[0] + updates > len(forcing.times):
            raise ConfigError(
                f"{path}: has no records for all of the run from {start} on; it has {forcing.times[0]} to "
                f"{forcing.times[-1]}"
            )
        self._record = int(found[0])
        for name in rest:
            ids = self.ids(name) or tuple(str(k) for k in range(self.read(name).size))
            self._given[name] = model_input(forcing, self.variable(name), ids, str(path))

    def update(self) -> None:
        """One step of its own.

        Raises
        ------
        DmgBmiError
            Naming the component.
        """
        for name, series in self._given.items():
            self.bmi.set_value(name, series[self._record])
        self._record += 1
        self.bmi.update()

    def columns(self) -> tuple[tuple[str, ...], dict[str, Column]]:
        """Ids and variables of its file of outputs."""
        sizes = {values.size for values in self.written.values()}
        if len(sizes) > 1:
            raise ConfigError(f"{self.name}: outputs of different sizes; choose some under `outputs`")
        ids = self.ids(next(iter(self.written))) or tuple(str(k) for k in range(sizes.pop()))
        table = {name: self.variable(name) for name in self.written}
        return ids, {
            v.symbol: Column(v.units, v.meaning, v.name if v.name != v.symbol else "", v.aggregation)
            for v in table.values()
        }

    def save(self) -> torch.Tensor:
        """Its state, by NextGen's protocol."""
        try:
            self.bmi.set_value(CREATE, np.ones(1, dtype=np.int32))
            content = np.array(self.bmi.get_value_ptr(STATE), dtype=np.uint8)
            self.bmi.set_value(FREE, np.ones(1, dtype=np.int32))
        except (DmgBmiError, ValueError, TypeError) as problem:  # it has no such variable
            raise StateError(f"{self.name}: cannot be saved by {CREATE}: {problem}") from problem
        return torch.from_numpy(content)

    def load(self, content: torch.Tensor) -> None:
        """Go on from a saved state."""
        try:
            self.bmi.set_value(SIZE, np.array([content.numel()], dtype=np.int64))
            self.bmi.set_value(STATE, content.numpy())
        except DmgBmiError as problem:
            raise StateError(f"{self.name}: cannot be restored: {problem}") from problem


class Coupling:
    """Components of one run.

    In a step of the clock, which is the longest of the components', each component in turn is
    given what others have for it and updates until the end of the step.

    Parameters
    ----------
    config : CouplingConfig

    Attributes
    ----------
    models : dict of name to Model
    steps : int
        Of the run.
    """

    def __init__(self, config: CouplingConfig) -> None:
        self.config = config
        self.models: dict[str, CoupledComponent] = {}
        try:
            self._start()
        except BaseException:
            self._let_go()
            raise

    def _start(self) -> None:
        config = self.config
        for name, part in config.components.items():
            self.models[name] = CoupledComponent(name, part)
        self.step = max(model.step for model in self.models.values())
        for name, model in self.models.items():
            model.substeps = round(self.step / model.step)
            if abs(model.substeps * model.step - self.step) > 1e-6 * model.step:
                raise ConfigError(
                    f"{name}: its step of {model.step:g} s does not divide the longest, {self.step:g} s"
                )
        self.steps = round(config.seconds / self.step)
        if abs(self.steps * self.step - config.seconds) > 1e-6 * self.step:
            raise ConfigError(
                f"end_time: {config.seconds:g} s are no whole number of steps of {self.step:g} s"
            )
        self.links = [Exchange(exchange, *self._ends(exchange)) for exchange in config.exchanges]
        fed = [(link.target.name, link.variable) for link in self.links]
        twice = next((pair for pair in fed if fed.count(pair) > 1), None)
        if twice is not None:
            raise ConfigError(f"exchanges: {'.'.join(twice)} is given twice")
        for name, model in self.models.items():
            model.drive([v for n, v in fed if n == name], config.start_time, self.steps * model.substeps)
        self.done = 0
        self._save_every = steps_between(config.restart.every, self.step)
        if config.restart.read is not None:
            self._load(config.restart.read)
        for model in self.models.values():
            model.check_clock(self.now)
        if config.restart.write is not None:
            self._state()  # whether it can be saved is told now, not at the end

    def _ends(self, exchange: ExchangeConfig) -> tuple[CoupledComponent, str, CoupledComponent, str]:
        ends: list[Any] = []
        for key in ("source", "target"):
            name, _, variable = getattr(exchange, key).partition(".")
            if name not in self.models or not variable:
                raise ConfigError(
                    f"exchanges: {key} {getattr(exchange, key)!r} must be component.variable; components "
                    f"are {', '.join(self.models)}"
                )
            ends += [self.models[name], variable]
        return ends[0], ends[1], ends[2], ends[3]

    @property
    def now(self) -> datetime:
        """UTC."""
        return utc(self.config.start_time) + timedelta(seconds=self.done * self.step)

    def advance(self) -> dict[str, list[dict[str, FloatArray]]]:
        """One step of the clock; what each component gives after each of its updates."""
        given: dict[str, list[dict[str, FloatArray]]] = {}
        for name, model in self.models.items():
            for link in self.links:
                if link.target is model:
                    link.give()
            leaving = [link for link in self.links if link.source is model]
            given[name] = []
            for _ in range(model.substeps):
                model.update()
                for link in leaving:
                    link.take()
                given[name].append({variable: model.read(variable) for variable in model.written})
        self.done += 1
        if self._save_every and self.done % self._save_every == 0:
            self.save()
        return given

    def save(self) -> None:
        """Write the states of all components into the file that the configuration names, if any."""
        path = self.config.restart.write
        if path is not None:
            path = Path(str(path).replace("{time}", stamp(self.now)))
            make_folder(path.parent)
            state_codec.write(path, self._state())

    def _header(self) -> dict[str, object]:
        return {
            "time": self.now.isoformat(),
            "components": {name: model.part.bmi for name, model in self.models.items()},
            "exchanges": [[e.source, e.target] for e in self.config.exchanges],
        }

    def _state(self) -> bytes:
        states = {f"component.{name}": model.save() for name, model in self.models.items()}
        values = {f"exchange.{k}": torch.from_numpy(link.value) for k, link in enumerate(self.links)}
        return state_codec.encode(self._header(), states | values)

    def _load(self, path: Path) -> None:
        path = Path(str(path).replace("{time}", stamp(self.now)))
        header, tensors = state_codec.decode(state_codec.read(path), str(path))
        for key, value in self._header().items():
            if header.get(key) != value:
                raise StateError(f"{path}: its {key} is {header.get(key)}, that of the run is {value}")
        for name, model in self.models.items():
            model.load(tensors[f"component.{name}"])
        for k, link in enumerate(self.links):
            link.restore(tensors[f"exchange.{k}"].numpy())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.finalize()
        else:
            self._let_go()

    def _let_go(self) -> None:
        for model in self.models.values():
            model.let_go()

    def finalize(self) -> None:
        """Let go of all components, also where one of them fails; the first that does is named."""
        failed: list[DmgBmiError] = []
        for model in self.models.values():
            try:
                model.bmi.finalize()
            except DmgBmiError as problem:
                failed.append(problem)
        if failed:
            raise failed[0]


def _ids(path: Path) -> tuple[str, ...]:
    return tuple(CsvTable.read(path, ConfigError).rows())
