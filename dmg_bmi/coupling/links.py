"""An exchange at work: units, areas, items by id, and steps of different lengths."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import ConfigError, alternatives
from ..io.csv_table import CsvTable
from ..io.units import conversion, is_rate_of, parse
from .config import ExchangeConfig

if TYPE_CHECKING:
    from .components import CoupledComponent

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]


class Exchange:
    """What one component gives another, step by step.

    Items add up where several give to one, which therefore must be volumes or flows.

    Parameters
    ----------
    exchange : ExchangeConfig
    source : CoupledComponent
    given : str
        The variable of the source.
    target : CoupledComponent
    variable : str
        The variable of the target.

    Attributes
    ----------
    value : ndarray
        Of the source over the latest step of the clock, before conversion.
    """

    def __init__(
        self,
        exchange: ExchangeConfig,
        source: CoupledComponent,
        given: str,
        target: CoupledComponent,
        variable: str,
    ) -> None:
        self.source, self.target, self.variable = source, target, variable
        self._given, self._adds = given, exchange.join == "sum"
        self._what = f"exchange {exchange.source} -> {exchange.target}"
        if variable not in target.inputs:
            raise ConfigError(
                f"{self._what}: {variable} is no input of {target.name}: it takes {target.inputs}"
            )
        self.value = source.read(given)
        self._sum = np.zeros_like(self.value)
        self._taken = 0
        area, area_units = self._area(exchange.area)
        self._scale, self._offset = self._conversion(source.units(given), area_units)
        self._scale = self._scale * area
        size = target.read(variable).size
        self._from, self._to, self._share = self._pairs(exchange, size)
        self._size = size
        self._check_items(size)

    def _area(self, area: str | float | list[float] | None) -> tuple[FloatArray | float, str]:
        if area is None:
            return 1.0, ""
        if isinstance(area, str):
            values, units = self.source.read(area), self.source.units(area)
        else:
            values, units = np.asarray(area, dtype=np.float64), "km2"
        if values.size not in (1, self.value.size) or not (values > 0).all():
            raise ConfigError(f"{self._what}: area must be {self.value.size} numbers above 0")
        return values, units

    def _conversion(self, units: str, area_units: str) -> tuple[FloatArray | float, float]:
        wanted = self.target.units(self.variable)
        given = f"{units} {area_units}".strip()
        try:
            if is_rate_of(wanted, given):
                scale, offset = conversion(f"{given} s-1", wanted)
                scale /= self.source.step
            else:
                scale, offset = conversion(given, wanted)
        except ConfigError as problem:
            hint = "" if area_units else "; a depth needs `area` to become a volume"
            raise ConfigError(f"{self._what}: {problem}{hint}") from problem
        return scale, offset

    def _pairs(self, exchange: ExchangeConfig, size: int) -> Pairs:
        """Items of the source, those of the target that they give to, and which share."""
        own, others = self.source.ids(self._given), self.target.ids(self.variable)
        if exchange.map is None and (own is None or others is None):
            if self.value.size != size:
                raise ConfigError(
                    f"{self._what}: {self.value.size} items for {size}, and ids are not known on both "
                    "sides: give `ids` to the component, or a `map` of positions"
                )
            every = np.arange(size)
            return every, every, np.ones(size)
        # Where no ids are known, positions are.
        own = own or tuple(map(str, range(self.value.size)))
        others = others or tuple(map(str, range(size)))
        rows = self._mapped(exchange.map) if exchange.map else [(name, name, 1.0) for name in own]
        place, target = ({name: k for k, name in enumerate(names)} for names in (own, others))
        for name, other, _ in rows:
            if name not in place or other not in target:
                side, missing = (self.source, name) if name not in place else (self.target, other)
                there = alternatives(missing, place if side is self.source else target)
                raise ConfigError(f"{self._what}: {side.name} has no item {missing!r}; {there}")
        return (
            np.array([place[name] for name, _, _ in rows], dtype=np.int64),
            np.array([target[other] for _, other, _ in rows], dtype=np.int64),
            np.array([share for _, _, share in rows]),
        )

    def _mapped(self, path: Path) -> list[tuple[str, str, float]]:
        table = CsvTable.read(path, ConfigError)
        if not {"source", "target"} <= {*table.columns}:
            raise ConfigError(f"{path}: needs columns source and target, it has {', '.join(table.columns)}")
        names, others = table.columns["source"], table.columns["target"]
        share = np.ones(len(names))
        if "share" in table.columns:
            share = np.nan_to_num(table.numbers("share", range(len(names))), nan=1.0)
        return [*zip(names, others, share.tolist(), strict=True)]

    def _check_items(self, size: int) -> None:
        """Volumes may be shared out and add up; what else there is meets one to one."""
        wanted = parse(self.target.units(self.variable))
        if wanted.exponents[0] == 3 and not any(wanted.exponents[2:]):
            given = np.bincount(self._from, self._share, self.value.size)
            lost = np.flatnonzero(np.abs(given - 1.0) > 1e-9)
            if lost.size:
                ids = self.source.ids(self._given)
                name = ids[lost[0]] if ids else str(lost[0])
                raise ConfigError(
                    f"{self._what}: {given[lost[0]]:g} of what {name} gives arrives ({lost.size} such "
                    "items); the shares of an item must add up to 1"
                )
        elif (np.bincount(self._to, minlength=size) != 1).any():
            raise ConfigError(
                f"{self._what}: each item of {self.variable} needs one source, as it is no volume"
            )

    def take(self) -> None:
        """Note what the source has after an update."""
        self._sum += self.source.read(self._given)
        self._taken += 1
        if self._taken == self.source.substeps:
            self.value = self._sum if self._adds else self._sum / self._taken
            self._sum, self._taken = np.zeros_like(self.value), 0

    def give(self) -> None:
        """Hand the latest value to the target, for all its updates of the step."""
        value = self.value * self._scale + self._offset
        if self._adds:
            value = value / self.target.substeps
        given = np.zeros(self._size)
        np.add.at(given, self._to, self._share * value[self._from])
        self.target.bmi.set_value(self.variable, given)

    def restore(self, value: FloatArray) -> None:
        """The latest value, from a saved state."""
        self.value = np.array(value)
