"""A component: rows of a group with a clock and published arrays of their own.

All that the BMI adapter needs, in the model's own terms.
"""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..bundle import BundleInfo
from ..errors import StateError, ValueShapeError, VariableError
from ..run_config import RunConfig, check_attribute, implausible, utc
from ..variables import Kind, Variable, unknown_variable
from . import codec
from .group import group_of
from .ledger import Ledger
from .metadata import AREA, IDS

FloatArray = NDArray[np.float64]
log = logging.getLogger("dmg_bmi")

CHANGED = "runtime.changed."


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
        self.info, self.config = info, config
        self.group = group = group_of(info, config)
        self.clock = group.new_clock()
        self.ids = (config.catchment,) if config.catchment is not None else group.table.ids
        self.rows = group.join(self, self.ids)
        # Rows of a member stand side by side, so that its part of an array is a view.
        part = slice(int(self.rows[0]), int(self.rows[-1]) + 1)
        self.part: slice = part
        self._values, self._series = group.values[:, part], group.series[:, :, part]
        self._fluxes, self._published = group.fluxes[:, part], group.published[:, part]
        self._last = group.last[:, part]
        self._spread = np.array([[v.aggregation == "sum"] for v in group.outputs])
        self._scale = np.array([[v.from_model()[0]] for v in group.outputs])
        self._offset = np.array([[v.from_model()[1]] for v in group.outputs])
        self._shares = self.clock.ratio
        #: Whether the latest model step's fluxes are to be published by the next update.
        self.due: bool = False

        #: Attributes and multipliers: what is set once, and which of them was.
        self._settable = {n: v[part] for n, v in (group.attributes | group.multipliers).items()}
        self._changed: dict[str, None] = {}
        area = group.areas(self.rows)
        names = group.inputs.names if group.store is None else ()
        self.arrays: dict[str, NDArray[np.generic]] = {
            **self._settable,
            **dict(zip((v.name for v in group.outputs), self._published, strict=True)),
            **dict(zip(names, self._values, strict=bool(names))),
            IDS: np.array([_number(name, k) for k, name in enumerate(self.ids)], dtype=np.int64),
            AREA: area,
        }
        #: What BMI getters say of the variables.
        self.about = group.about(self.size)
        symbols = [v.symbol for v in group.outputs]
        #: Flows, each with the depth and the area per second that make it.
        self._flows = [
            (
                np.zeros(self.size),
                self._published[symbols.index(v.of)],
                area * 1e6 / self.clock.step,
            )
            for v in info.variables
            if v.kind == "output" and v.of
        ]
        flows = (v.name for v in info.variables if v.kind == "output" and v.of)
        self.arrays |= {name: flow for name, (flow, _, _) in zip(flows, self._flows, strict=True)}
        self._flow()
        self._watched: dict[str, FloatArray] = {}
        self._ledger: Ledger | None = None
        if config.restart.read is not None:
            try:
                self.load(codec.read(config.restart.read), str(config.restart.read))
            except StateError:
                group.leave(self)
                raise

    @property
    def size(self) -> int:
        """Catchments."""
        return len(self.rows)

    @property
    def unreleased(self) -> float:
        """Which part of the model step that is being released comes with later updates."""
        clock = self.clock
        return (clock.ratio - clock.position) % clock.ratio / self._shares

    def waiting(self) -> FloatArray:
        """Forcing ``[time, variable, rows]`` of the model step that is not yet complete."""
        return self._series[: self.clock.position]

    def book(self) -> Ledger:
        """The book of the rows' water, opened when it is first asked for."""
        if self._ledger is None:
            self._ledger = Ledger(self)
        return self._ledger

    def update(self) -> None:
        """Advance one step; on an error nothing has changed."""
        clock, group = self.clock, self.group
        clock.check_step()
        if group.store is not None:
            if clock.begins:
                group.begin(self)
                clock.begun = True
                self._shares = clock.ratio - clock.position
                self._publish()
        else:
            values = group.legal(self._values, self.part, clock.now)
            if clock.ratio == 1:
                group.advance(self, values)
                self._publish()
            else:
                if self.due:
                    group.flush()
                    self._publish()
                    self.due = False
                position = clock.position
                self._series[position] = values
                if self._ledger is not None:
                    self._ledger.receive(values)
                if position == clock.ratio - 1:
                    group.wait(self)
                    self.due = True
        clock.count += 1
        self._refresh()

    def _refresh(self) -> None:
        for name, array in self._watched.items():
            array[...] = self.state_values(name)
        if self._ledger is not None:
            self._ledger.close()

    def _publish(self) -> None:
        """What a framework step gets of the latest model step's fluxes."""
        factor = np.where(self._spread, self._scale / self._shares, self._scale)
        np.multiply(self._fluxes, factor, out=self._published)
        self._published += self._offset
        self._flow()
        if self._ledger is not None:
            self._ledger.consume()

    def _flow(self) -> None:
        for flow, depth, area_per_second in self._flows:
            np.multiply(depth, area_per_second, out=flow)

    # -- by name ------------------------------------------------------------------

    def variable(self, name: str) -> Variable | None:
        """The table's row for a name or symbol; None for ids and areas, which have none."""
        variable = self.about.by_name.get(name)
        if variable is None and name not in (IDS, AREA):
            raise unknown_variable(name)
        return variable

    def array(self, name: str) -> NDArray[np.generic]:
        """The one array of a variable, the same object each time; a state's is for reading."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            name = variable.symbol
            if name not in self._watched:
                self._watched[name] = self.state_values(name)
            return self._watched[name]
        name = name if variable is None else variable.name
        if name not in self.arrays:
            raise VariableError(f"{name!r} comes from the stored forcing; it is not set or read here")
        return self.arrays[name]

    def values(self, name: str) -> NDArray[np.generic]:
        """What a variable is now, one-dimensional; not to be written to."""
        variable = self.variable(name)
        if variable is not None and variable.kind == "state":
            return self.state_values(variable.symbol)
        return self.array(name)

    def by_kind(self, kind: Kind) -> dict[str, NDArray[Any]]:
        """Arrays of all variables of a kind, by name and by symbol."""
        return {
            name: self.arrays[v.name]
            for name, v in self.about.by_name.items()
            if v.kind == kind and v.name in self.arrays
        }

    def state_values(self, symbol: str) -> FloatArray:
        """A copy of a state, one-dimensional, rows first."""
        return self.group.state(self)[symbol].to("cpu", torch.float64).numpy().flatten()

    def set(self, name: str, values: NDArray[np.generic]) -> None:
        """Set an input, an attribute or a state, in place, from now on.

        Raises
        ------
        VariableError, ValueShapeError, AttributeTableError, StateError
        """
        variable = self.variable(name)
        if variable is None or variable.kind == "output":
            raise VariableError(f"{name!r} is given by the component and cannot be set")
        if variable.kind == "state":
            self._set_state(variable.symbol, values)
            return
        target = self.array(name)
        if values.size != target.size:
            raise ValueShapeError(f"{name!r} has {target.size} values, not {values.size}")
        if variable.kind in ("attribute", "multiplier"):
            new = np.asarray(values, dtype=np.float64).reshape(target.shape)
            check_attribute(name, new, self.ids, variable.lower, variable.upper, variable.kind)
            self._change(variable.name, new)
        else:
            target[...] = values.reshape(target.shape)

    def _change(self, name: str, values: FloatArray) -> None:
        """Change an attribute or a multiplier from now on."""
        if name in self.group.multipliers:
            self.group.changed_multiplier(self, name)
        else:
            self.group.changed_attributes(self)
        self._settable[name][...] = values
        self._changed[name] = None

    def _set_state(self, name: str, values: NDArray[np.generic]) -> None:
        old = self.group.state(self)[name]
        if values.size != old.numel():
            raise ValueShapeError(f"{name!r} has {old.numel()} values, not {values.size}")
        new = np.array(values, dtype=np.float64).reshape(self.size, -1)
        bad = implausible(new)
        if bad.any():
            row, k = (int(i) for i in np.argwhere(bad)[0])
            raise StateError(
                f"{name!r} of catchment {self.ids[row]!r} cannot be {new[row, k]}; it needs "
                f"{new.shape[1]} finite values per catchment"
            )
        ledger = self._ledger
        held = 0.0 if ledger is None else ledger.storage()
        self.group.set_state(self, {name: torch.from_numpy(new).reshape(old.shape)})
        if ledger is not None:
            ledger.add(ledger.storage() - held)
        if name in self._watched:
            self._watched[name][...] = new.ravel()

    # -- saving -------------------------------------------------------------------

    def save(self) -> bytes:
        """The whole state at the component's own clock; nothing changes."""
        return codec.encode(self._header(), self._tensors())

    def close(self) -> None:
        """Write the state file that the config names, say which gaps were filled, leave the group."""
        group = self.group
        try:
            if self.config.restart.write is not None:
                codec.write(self.config.restart.write, self.save())
        finally:
            group.leave(self)
        if group.filled.any() and not group.members:
            counts = dict(zip(group.inputs.names, group.filled.tolist(), strict=True))
            log.warning("%s: missing forcing was replaced by the last value: %s", self.info.name, counts)

    def _header(self) -> dict[str, object]:
        return {
            "fingerprint": self.info.fingerprint,
            "ids": list(self.ids),
            "time_step": self.clock.step,
            "stored_forcing": self.group.store is not None,
            "position": self.clock.position,
            "shares": self._shares,
            "due": self.due,
            "begun": self.clock.begun,
            "valid_time": self._valid_time(),
        }

    def _tensors(self) -> dict[str, torch.Tensor]:
        state = self.group.state(self)
        # A step that ran ahead for this row has left its fluxes already; its own are all published.
        fluxes = np.zeros_like(self._fluxes) if self in self.group.ahead else self._fluxes
        runtime = {"fluxes": fluxes, "published": self._published, "last": self._last}
        if self.group.store is None and self.clock.ratio > 1:
            series = self._series.copy()
            series[self.clock.position :] = np.nan
            runtime["series"] = series
        rows_first = {f"runtime.{name}": np.moveaxis(array, -1, 0) for name, array in runtime.items()}
        rows_first |= {f"{CHANGED}{name}": self._settable[name] for name in self._changed}
        return {
            **state,
            **{name: torch.from_numpy(np.array(array, order="C")) for name, array in rows_first.items()},
        }

    def _valid_time(self) -> str | None:
        if self.config.start_time is None:
            return None
        return (utc(self.config.start_time) + timedelta(seconds=self.clock.now)).isoformat()

    def load(self, content: bytes, source: str = "state") -> None:
        """Go on from a saved state; it takes effect whole or not at all.

        Raises
        ------
        StateError
            Torn, or of another model, other catchments, another step or another valid time.
        """
        header, tensors = codec.decode(content, source)
        own = self._header()
        for key, meaning in (
            ("fingerprint", "another bundle"),
            ("ids", "other catchments"),
            ("time_step", "another time step"),
            ("stored_forcing", "another kind of forcing"),
        ):
            if header.get(key) != own[key]:
                raise StateError(f"{source}: was saved by {meaning} ({key} differs)")
        if header.get("valid_time") != own["valid_time"]:
            raise StateError(
                f"{source}: is valid at {header.get('valid_time')}, the component is at "
                f"{own['valid_time']}: set start_time to the former"
            )
        changed = {
            name: tensors.pop(f"{CHANGED}{name}").numpy()
            for name in self._settable
            if f"{CHANGED}{name}" in tensors
        }
        expected = {k: (t.shape, t.dtype) for k, t in self._tensors().items() if not k.startswith(CHANGED)}
        if {name: (t.shape, t.dtype) for name, t in tensors.items()} != expected or any(
            values.shape != (self.size,) or values.dtype != np.float64 for values in changed.values()
        ):
            raise StateError(f"{source}: its tensors do not fit this component")
        try:
            position, shares = int(header["position"]), int(header["shares"])
            due, begun = bool(header["due"]), bool(header["begun"])
        except (KeyError, TypeError, ValueError) as problem:
            raise StateError(f"{source}: its header is not valid: {problem}") from problem
        if self.config.start_time is not None and position != self.clock.position:
            raise StateError(f"{source}: was saved with another day_start_hour")
        self.group.set_state(self, {k: v for k, v in tensors.items() if not k.startswith("runtime.")})
        self.clock.phase = (position - self.clock.count) % self.clock.ratio
        self.clock.begun, self._shares, self.due = begun, shares, due
        for name, array in (
            ("fluxes", self._fluxes),
            ("published", self._published),
            ("last", self._last),
            ("series", self._series),
        ):
            if f"runtime.{name}" in tensors:
                array[...] = np.moveaxis(tensors[f"runtime.{name}"].numpy(), 0, -1)
        for name in self._changed.keys() - changed:
            self._change(name, self.group.default(name, self.rows))
        for name, values in changed.items():
            self._change(name, values)
        self._changed = dict.fromkeys(changed)
        self._flow()
        if self._ledger is not None:
            self._ledger.open()
        self._refresh()


def _number(name: str, position: int) -> int:
    """The digits of an id as a number, its position where it has none."""
    digits = "".join(c for c in name if c.isdigit())[-18:]
    return int(digits) if digits else position
