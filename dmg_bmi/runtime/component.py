"""A component: one group of rows with its clock, forcing and published arrays.

All that the BMI adapter needs, in the model's own terms.
"""

from __future__ import annotations

import logging
from datetime import timedelta

import numpy as np
import torch
from numpy.typing import NDArray

from ..bundle import BundleInfo
from ..errors import ConfigError, StateError, ValueShapeError, VariableError
from ..run_config import CatchmentTable, RunConfig, check_attribute, utc
from ..variables import Variable, unknown_variable
from . import codec
from .clock import FAR_FUTURE, Clock
from .engine import make_engine
from .forcing import ForcingSource, Pushed, Stored
from .group import Group

FloatArray = NDArray[np.float64]
log = logging.getLogger("dmg_bmi")

IDS, AREA = "catchment__id", "catchment__area"


class Component:
    """A model at work on its catchments.

    Parameters
    ----------
    info : BundleInfo
    config : RunConfig

    Attributes
    ----------
    arrays : dict of name to array
        Inputs, outputs, attributes, ids and areas: one-dimensional, C-contiguous, allocated once
        and refreshed in place.
    """

    def __init__(self, info: BundleInfo, config: RunConfig) -> None:
        if config.threads is not None:
            torch.set_num_threads(config.threads)
        self.info, self.config = info, config
        table = info.variables
        attributes = [v.name for v in table if v.kind == "attribute"]
        self.catchments = CatchmentTable.load(config.catchments, attributes)
        model = info.load_model()
        step = config.time_step or model.step
        try:
            self.clock = Clock(step, model.step, _or(config.end_seconds, FAR_FUTURE))
        except ConfigError as problem:
            raise ConfigError(f"time_step: {problem}") from problem
        self.clock.phase = _phase(config, self.clock)
        _check_device(config.device)

        n = len(self.catchments.ids)
        self._attributes = {name: self.catchments.attributes[name].copy() for name in attributes}
        engine = make_engine(config.engine, model, info, config.device, config.trusted_compiled)
        self.group = Group(model.to(config.device), engine, self._attributes, n, config.device)
        self.source = self._make_source([v for v in table if v.kind == "input"])

        outputs = [v for v in table if v.kind == "output"]
        self._symbols = [v.symbol for v in outputs]
        self._spreads = np.array([v.aggregation == "sum" for v in outputs])
        self._scale = np.array([v.from_model()[0] for v in outputs])
        self._offset = np.array([v.from_model()[1] for v in outputs])[:, None]
        # Fluxes of the model step whose share is being handed out, and over how many steps.
        self._release: FloatArray = np.zeros((len(outputs), n))
        self._share = float(self.clock.ratio)
        self._out: FloatArray = np.zeros((len(outputs), n))

        self.arrays: dict[str, NDArray[np.generic]] = {
            **self._attributes,
            **{v.name: row for v, row in zip(outputs, self._out, strict=True)},
            **self.source.inputs,
            IDS: np.array([_number(i, k) for k, i in enumerate(self.catchments.ids)], dtype=np.int64),
            AREA: np.ascontiguousarray(self.catchments.area),
        }
        self._watched: dict[str, FloatArray] = {}
        if config.restart.read is not None:
            self.load(codec.read(config.restart.read), str(config.restart.read))
        elif not self.source.leads:
            log.info(
                "%s steps by %g s on forcing of %g s: its outputs follow one model step behind, and "
                "those of the first follow from the initial state",
                info.name,
                model.step,
                step,
            )

    @property
    def size(self) -> int:
        """Catchments."""
        return self.group.n

    def update(self) -> None:
        """Advance one step; on an error nothing has changed."""
        self.clock.check_step()
        forcing = self.source.collect(self.clock)
        if not self.source.leads:
            self._publish()
        if forcing is not None:
            self._advance(forcing)
        if self.source.leads:
            self._publish()
        self.clock.count += 1
        self._refresh()

    def _advance(self, forcing: FloatArray) -> None:
        columns = [v.symbol for v in self.info.variables if v.kind == "input"]
        fluxes = self.group.advance({name: forcing[:, k][np.newaxis] for k, name in enumerate(columns)})
        for row, symbol in enumerate(self._symbols):
            self._release[row] = fluxes[symbol][0]
        steps = self.clock.ratio - self.clock.position if self.source.leads else self.clock.ratio
        self._share = float(steps)

    def _refresh(self) -> None:
        for name, array in self._watched.items():
            array[...] = self.state_values(name)

    def _publish(self) -> None:
        factor = np.where(self._spreads, self._scale / self._share, self._scale)
        np.multiply(self._release, factor[:, None], out=self._out)
        self._out += self._offset

    # -- by name ------------------------------------------------------------------

    def array(self, name: str) -> NDArray[np.generic]:
        """The one array of a variable, the same object each time; a state's is for reading."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            if name not in self._watched:
                self._watched[name] = self.state_values(name)
            return self._watched[name]
        key = variable.name if variable is not None else name
        if key not in self.arrays:
            raise VariableError(f"{name!r} comes from the stored forcing; the component has no array of it")
        return self.arrays[key]

    def variable(self, name: str) -> Variable | None:
        """The table's row for a name or symbol; None for ids and areas, which have none."""
        variable = self.info.by_name.get(name)
        if variable is not None:
            return variable
        if name in (IDS, AREA):
            return None
        raise unknown_variable(name)

    def values(self, name: str) -> NDArray[np.generic]:
        """What a variable is now, one-dimensional; not to be written to."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            return self.state_values(name)
        return self.array(name)

    def state_values(self, name: str) -> FloatArray:
        """A copy of a state, one-dimensional, rows first."""
        return self.group.state[name].to("cpu", torch.float64).numpy().flatten()

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Set an input, an attribute or a state, in place, from now on.

        Raises
        ------
        VariableError, ValueShapeError, AttributeTableError
        """
        variable = self.variable(name)
        if variable is None or variable.kind == "output":
            raise VariableError(f"{name!r} is given by the component and cannot be set")
        if variable.kind == "state":
            self._set_state(name, values)
            return
        if variable.kind == "input" and variable.name not in self.arrays:
            raise VariableError(f"{name!r} comes from the stored forcing and cannot be set")
        target = self.arrays[variable.name]
        if values.size != target.size:
            raise ValueShapeError(f"{name!r} has {target.size} values, not {values.size}")
        if variable.kind == "attribute":
            new = np.asarray(values, dtype=np.float64).reshape(target.shape)
            check_attribute(name, new, self.catchments.ids)
            target[...] = new
            self.group.set_attributes(self._attributes)
        else:
            target[...] = values.reshape(target.shape)

    def _set_state(self, name: str, values: NDArray[np.generic]) -> None:
        old = self.group.state[name]
        if values.size != old.numel():
            raise ValueShapeError(f"{name!r} has {old.numel()} values, not {values.size}")
        new = np.array(values, dtype=np.float64)
        if not np.isfinite(new).all():
            row = int(np.argwhere(~np.isfinite(new.reshape(self.size, -1)))[0, 0])
            raise StateError(f"{name!r} of catchment {self.catchments.ids[row]!r} must be finite")
        self.group.state[name] = torch.from_numpy(new).reshape(old.shape).to(old.device, old.dtype)
        if name in self._watched:
            self._watched[name][...] = new.ravel()

    # -- saving -------------------------------------------------------------------

    def save(self) -> bytes:
        """The whole state at the component's own clock; nothing changes."""
        return codec.encode(self._header(), self._tensors())

    def write(self) -> None:
        """Write the state file that the config names, if it names one."""
        if self.config.restart.write is not None:
            codec.write(self.config.restart.write, self.save())

    def close(self) -> None:
        """Write the state file, and say how many gaps in the forcing were filled."""
        self.write()
        filled = {name: count for name, count in self.source.filled.items() if count}
        if filled:
            log.warning("%s: missing forcing was replaced by the last value: %s", self.info.name, filled)

    def _header(self) -> dict[str, object]:
        return {
            "fingerprint": self.info.fingerprint,
            "ids": list(self.catchments.ids),
            "time_step": self.clock.step,
            "position": self.clock.position,
            "share": self._share,
            "valid_time": self._valid_time(),
        }

    def _tensors(self) -> dict[str, torch.Tensor]:
        own = {"release": self._release, "outputs": self._out}
        runtime = {name: torch.from_numpy(rows.T.copy()) for name, rows in own.items()} | self.source.state()
        return {**self.group.state, **{f"runtime.{name}": value for name, value in runtime.items()}}

    def _valid_time(self) -> str | None:
        if self.config.start_time is None:
            return None
        return (utc(self.config.start_time) + timedelta(seconds=self.clock.now)).isoformat()

    def load(self, content: bytes, source: str = "state") -> None:
        """Go on from a saved state; it takes effect whole or not at all.

        Raises
        ------
        StateError
            Of another model, other catchments, another step or another valid time.
        """
        header, tensors = codec.decode(content, source)
        for key, meaning in (
            ("fingerprint", "another bundle"),
            ("ids", "other catchments"),
            ("time_step", "another time step"),
        ):
            if header.get(key) != self._header()[key]:
                raise StateError(f"{source}: was saved by {meaning} ({key} differs)")
        then, now = header.get("valid_time"), self._valid_time()
        if then != now:
            raise StateError(
                f"{source}: is valid at {then}, the component is at {now}: set start_time to the former"
            )
        expected = self._tensors()
        if {k: (v.shape, v.dtype) for k, v in tensors.items()} != {
            k: (v.shape, v.dtype) for k, v in expected.items()
        }:
            raise StateError(f"{source}: its tensors do not fit this component")
        try:
            position, share = int(header["position"]), float(header["share"])
        except (KeyError, TypeError, ValueError) as problem:
            raise StateError(f"{source}: its header lacks {problem}") from problem
        if now is not None and position != self.clock.position:
            raise StateError(f"{source}: was saved with another day_start_hour")
        self.clock.phase = (position - self.clock.count) % self.clock.ratio
        self._share = share
        runtime = {k.removeprefix("runtime."): v for k, v in tensors.items() if k.startswith("runtime.")}
        self._release[...] = runtime["release"].numpy().T
        self._out[...] = runtime["outputs"].numpy().T
        self.source.load_state(runtime)
        self.group.state = {
            k: v.to(self.group.device) for k, v in tensors.items() if not k.startswith("runtime.")
        }
        self._refresh()

    def _make_source(self, columns: list[Variable]) -> ForcingSource:
        hold = self.config.missing_forcing == "hold"
        ids = self.catchments.ids
        if self.config.forcing is None:
            return Pushed(columns, ids, self.clock, hold)
        return Stored(self.config.forcing, columns, ids, self.clock, self.config.start_time, hold)


def _phase(config: RunConfig, clock: Clock) -> int:
    """Framework steps between the start of the model's step (day) and time zero."""
    if config.start_time is None:
        return 0
    start = utc(config.start_time)
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
    seconds = (start - midnight).total_seconds() - config.day_start_hour * 3600.0
    steps = (seconds % clock.model_step) / clock.step
    if clock.ratio > 1 and abs(steps - round(steps)) > 1e-6:
        raise ConfigError(
            f"start_time: {config.start_time} is no whole number of steps of {clock.step:g} s after "
            f"day_start_hour {config.day_start_hour:g}"
        )
    return round(steps) % clock.ratio


def _check_device(name: str) -> None:
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise ConfigError(f"device: {name!r} cannot be used here; choose cpu or cuda: {reason}") from problem


def _number(name: str, position: int) -> int:
    """The digits of an id as a number, its position where it has none."""
    digits = "".join(c for c in name if c.isdigit())[-18:]
    return int(digits) if digits else position


def _or(value: float | None, default: float) -> float:
    return default if value is None else value
