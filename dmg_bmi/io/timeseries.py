"""Time series and attributes of several basins, as readers return and training takes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from ..arrays import FloatingArray, TimeArray
from ..errors import ConfigError, alternatives
from ..findings import listed

Series = dict[str, FloatingArray]
#: Attributes that say where a basin is: for maps, and inputs of a network only if it asks for them.
LATITUDE = ("gauge_lat", "latitude", "lat", "lat_outlet")
LONGITUDE = ("gauge_lon", "longitude", "lon", "long_outlet")
COORDINATES = {n: "degree_north" for n in LATITUDE} | {n: "degree_east" for n in LONGITUDE}


@dataclass(frozen=True)
class BasinDataset:
    """Aligned series of several basins.

    Parameters
    ----------
    ids : tuple of str
        Basins, in the order of the last axis of everything else.
    times : ndarray of datetime64[s] ``[time]``
        Start of each step, regularly spaced.
    step : float
        Seconds.
    forcing : dict of name to ndarray ``[time, basins]``
    attributes : dict of name to ndarray ``[basins]``
    target : dict of name to ndarray ``[time, basins]``
        Observations; NaN is missing.
    units : mapping of name to str
        Of forcings, attributes and targets.
    """

    ids: tuple[str, ...]
    times: TimeArray
    step: float
    forcing: Series
    attributes: Series
    target: Series
    units: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        shape = (len(self.times), len(self.ids))
        for name, values in {**self.forcing, **self.target}.items():
            if values.shape != shape:
                raise ValueError(f"{name} has shape {values.shape}; times and basins make {shape}")
        for name, values in self.attributes.items():
            if values.shape != shape[1:]:
                raise ValueError(f"attribute {name} has shape {values.shape}; there are {shape[1]} basins")

    def period(self, start: np.datetime64, end: np.datetime64) -> Self:
        """Select the steps that begin in ``[start, end)``, as views of the same arrays."""
        steps = self.steps(start, end)
        return replace(
            self,
            times=self.times[steps],
            forcing={name: values[steps] for name, values in self.forcing.items()},
            target={name: values[steps] for name, values in self.target.items()},
        )

    def steps(self, start: np.datetime64, end: np.datetime64) -> slice:
        """Return the slice of steps that begin in ``[start, end)``; ConfigError if there are none."""
        first, last = np.searchsorted(self.times, np.array([start, end], dtype="datetime64[s]"))
        if first >= last:
            raise ConfigError(
                f"no data from {start} to {end}; available: {self.times[0]} to {self.times[-1]}"
            )
        return slice(int(first), int(last))

    def unobserved(self, start: np.datetime64, end: np.datetime64) -> Self:
        """Return the data without observations of the steps that begin in ``[start, end)``."""
        hidden = (self.times >= start) & (self.times < end)
        target = {name: np.where(hidden[:, None], np.nan, values) for name, values in self.target.items()}
        return replace(self, target=target)

    def basins(self, ids: Iterable[str]) -> Self:
        """Select basins by id, in the order asked for."""
        ids = tuple(ids)
        place = {name: column for column, name in enumerate(self.ids)}
        unknown = [name for name in ids if name not in place]
        if unknown:
            raise ConfigError(f"no basin {listed(unknown)}; {alternatives(unknown[0], self.ids)}")
        return self.columns([place[name] for name in ids])

    def columns(self, columns: slice | list[int]) -> Self:
        """Select basins by position; a slice gives views of the same arrays."""
        chosen = np.array(self.ids, dtype=object)[columns]
        return replace(
            self,
            ids=tuple(chosen),
            forcing={name: values[:, columns] for name, values in self.forcing.items()},
            attributes={name: values[columns] for name, values in self.attributes.items()},
            target={name: values[:, columns] for name, values in self.target.items()},
        )


def day_of_year(times: TimeArray) -> NDArray[np.int64]:
    """Return the day of the year, 1 to 366, of each time."""
    days = times.astype("datetime64[D]")
    return (days - days.astype("datetime64[Y]")).astype(np.int64) + 1
