"""Exchanges between components: units, areas, items by id, and steps of different lengths."""

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
    from .component import CoupledComponent

Pairs = tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]


class Exchange:
    """A variable of one component that becomes an input of another, step by step.

    Where several items go to one they add up, so they must be volumes or flows.

    Parameters
    ----------
    config : ExchangeConfig
    source : CoupledComponent
    source_variable : str
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
        config: ExchangeConfig,
        source: CoupledComponent,
        source_variable: str,
        target: CoupledComponent,
        variable: str,
    ) -> None:
        self.source, self.target, self.variable = source, target, variable
        self._source_variable, self._adds = source_variable, config.join == "sum"
        self._what = f"exchange {config.source} -> {config.target}"
        if variable not in target.inputs:
            raise ConfigError(
                f"{self._what}: {variable} is not an input of {target.name}; "
                f"{alternatives(variable, target.inputs)}"
            )
        self.value = source.read(source_variable)
        self._sum = np.zeros_like(self.value)
        self._collected = 0
        area, area_units = self._area(config.area)
        self._scale, self._offset = self._conversion(source.units(source_variable), area_units)
        self._scale = self._scale * area
        size = target.read(variable).size
        self._from, self._to, self._share = self._pairs(config, size)
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
        units, target_units = f"{units} {area_units}".strip(), self.target.units(self.variable)
        try:
            if is_rate_of(target_units, units):
                scale, offset = conversion(f"{units} s-1", target_units)
                scale /= self.source.step
            else:
                scale, offset = conversion(units, target_units)
        except ConfigError as problem:
            hint = "" if area_units else "; a depth needs `area` to become a volume"
            raise ConfigError(f"{self._what}: {problem}{hint}") from problem
        return scale, offset

    def _pairs(self, config: ExchangeConfig, size: int) -> Pairs:
        """Return items of the source, those of the target that they go to, and which share."""
        sources, targets = self.source.ids(self._source_variable), self.target.ids(self.variable)
        if config.map is None and (sources is None or targets is None):
            if self.value.size != size:
                raise ConfigError(
                    f"{self._what}: {self.value.size} items for {size}, and ids are not known on both "
                    "sides: give `ids` to the component, or a `map` of positions"
                )
            rows = np.arange(size)
            return rows, rows, np.ones(size)
        # Where no ids are known, positions are.
        source_row = _rows(sources, self.value.size)
        target_row = _rows(targets, size)
        pairs = self._mapped(config.map) if config.map else [(name, name, 1.0) for name in source_row]
        for name, other, _ in pairs:
            for side, row, item in ((self.source, source_row, name), (self.target, target_row, other)):
                if item not in row:
                    raise ConfigError(
                        f"{self._what}: {side.name} has no item {item!r}; {alternatives(item, row)}"
                    )
        return (
            np.array([source_row[name] for name, _, _ in pairs], dtype=np.int64),
            np.array([target_row[other] for _, other, _ in pairs], dtype=np.int64),
            np.array([share for _, _, share in pairs]),
        )

    def _mapped(self, path: Path) -> list[tuple[str, str, float]]:
        table = CsvTable.read(path, ConfigError)
        if not {"source", "target"} <= {*table.columns}:
            raise ConfigError(
                f"{path}: requires columns source and target; it has {', '.join(table.columns)}"
            )
        names, others = table.columns["source"], table.columns["target"]
        share = np.ones(len(names))
        if "share" in table.columns:
            share = np.nan_to_num(table.numbers("share", range(len(names))), nan=1.0)
        return [*zip(names, others, share.tolist(), strict=True)]

    def _check_items(self, size: int) -> None:
        """Check that volumes arrive whole and that anything else goes one to one."""
        unit = parse(self.target.units(self.variable))
        if unit.exponents[0] == 3 and not any(unit.exponents[2:]):
            shares = np.bincount(self._from, self._share, self.value.size)
            lost = np.flatnonzero(np.abs(shares - 1.0) > 1e-9)
            if lost.size:
                ids = self.source.ids(self._source_variable)
                name = ids[lost[0]] if ids else str(lost[0])
                raise ConfigError(
                    f"{self._what}: the shares of {name} add up to {shares[lost[0]]:g}, not to 1 "
                    f"({lost.size} such items), so water would not be conserved"
                )
        elif (np.bincount(self._to, minlength=size) != 1).any():
            raise ConfigError(
                f"{self._what}: each item of {self.variable} requires one source, as it is not a volume"
            )

    def collect(self) -> None:
        """Add what the source has after an update."""
        self._sum += self.source.read(self._source_variable)
        self._collected += 1
        if self._collected == self.source.substeps:
            self.value = self._sum if self._adds else self._sum / self._collected
            self._sum, self._collected = np.zeros_like(self.value), 0

    def deliver(self) -> None:
        """Set the latest value in the target, for all its updates of the step."""
        value = self.value * self._scale + self._offset
        if self._adds:
            value = value / self.target.substeps
        received = np.zeros(self._size)
        np.add.at(received, self._to, self._share * value[self._from])
        self.target.bmi.set_value(self.variable, received)

    def restore(self, value: FloatArray) -> None:
        """Set the latest value from a saved state."""
        self.value = np.array(value)


def _rows(ids: tuple[str, ...] | None, size: int) -> dict[str, int]:
    """Return the row of each id; of each position as text where there are no ids."""
    return {name: k for k, name in enumerate(ids or map(str, range(size)))}
