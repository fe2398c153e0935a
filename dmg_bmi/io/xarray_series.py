"""Series of many catchments in xarray Datasets, those in Zarr stores among them, read part by part.

The layout is that of :mod:`dmg_bmi.io.netcdf`: series ``(time, catchment)`` in either order, attributes
``(catchment)``, observations marked by ``role = "target"``. xarray (extra `xarray`) is imported when it is
used.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..arrays import FloatingArray, TimeArray
from ..errors import ConfigError, ForcingError
from .identifiers import ids_from
from .netcdf import no_dimension, require_bounds, step_of
from .timeseries import BasinDataset, Series

if TYPE_CHECKING:
    import xarray

#: What messages call a Dataset that is in memory.
SOURCE = "the dataset"


class XarraySeries:
    """What a Dataset holds; its series are read when they are asked for.

    Parameters
    ----------
    dataset : xarray.Dataset
        With dimensions ``time``, evenly spaced, and ``catchment``, whose coordinate holds the ids.
    source : str
        What messages call it.

    Attributes
    ----------
    ids, times, step, units
        As of :class:`~dmg_bmi.io.timeseries.BasinDataset`.
    forcings, targets : list of str
        Names of series, those of observations apart.
    attributes : dict of str to array ``[catchment]``

    Raises
    ------
    ForcingError
        Naming what is missing or wrong.
    """

    def __init__(self, dataset: xarray.Dataset, source: str) -> None:
        if not isinstance(dataset, require().Dataset):
            raise ForcingError(
                f"{source}: is {type(dataset).__name__}, not a Dataset of xarray; to_dataset() of a "
                "DataArray makes one"
            )
        for name in ("time", "catchment"):
            if name not in dataset.dims or name not in dataset.coords:
                raise ForcingError(no_dimension(source, name, dataset.dims))
        self._dataset = dataset
        self.ids = ids_from(dataset.catchment.values, f"{source}: catchment", ForcingError)
        self.times: TimeArray = _starts(dataset, source)
        self.forcings: list[str] = []
        self.targets: list[str] = []
        self.attributes: Series = {}
        self.units: dict[str, str] = {}
        for key, array in dataset.data_vars.items():
            if array.dtype.kind not in "fiu" or set(array.dims) not in ({"time", "catchment"}, {"catchment"}):
                continue  # names and notes
            symbol = str(key)
            if hasattr(array.variable._data, "magnitude"):
                raise ForcingError(
                    f"{source}: {symbol} is a quantity of pint; call ds.pint.dequantify() first"
                )
            self.units[symbol] = str(array.attrs.get("units", ""))
            if "time" not in array.dims:
                self.attributes[symbol] = array.values.astype(np.float64)
            else:
                (self.targets if array.attrs.get("role") == "target" else self.forcings).append(symbol)
        self.step = step_of(self.times, source)

    def series(self, name: str, steps: slice = slice(None), columns: slice = slice(None)) -> FloatingArray:
        """Read a part of a series ``[time, catchment]``, in the precision that it has."""
        part = self._dataset[name].isel(time=steps, catchment=columns)
        values: FloatingArray = part.transpose("time", "catchment").values
        return values


def _starts(dataset: xarray.Dataset, source: str) -> TimeArray:
    """When each record begins: by the bounds that the times name, where there are any, else its time."""
    times = _seconds(dataset.time, source)
    bounds = dataset.time.attrs.get("bounds")
    if bounds not in dataset.variables:
        return times
    edges = _seconds(dataset[bounds], source)
    if edges.shape != (len(times), 2):
        raise ForcingError(f"{source}: {bounds} has shape {edges.shape}, not {(len(times), 2)}")
    require_bounds(times, edges[:, 0], edges[:, 1], f"{source}: {bounds}")
    return edges[:, 0]


def _seconds(array: xarray.DataArray, source: str) -> TimeArray:
    if array.dtype.kind != "M":
        raise ForcingError(
            f"{source}: {array.name} is {array.dtype}; convert it to dates of NumPy "
            "(convert_calendar does, of other calendars)"
        )
    times: TimeArray = array.values.astype("datetime64[s]")
    if np.isnat(times).any():
        raise ForcingError(f"{source}: {array.name}: a time is missing (NaT)")
    return times


def from_xarray(dataset: xarray.Dataset) -> BasinDataset:
    """Return the series, observations and attributes of a Dataset.

    Parameters
    ----------
    dataset : xarray.Dataset
        With dimensions ``time``, evenly spaced, and ``catchment``, whose coordinate holds the ids.

    Returns
    -------
    BasinDataset

    Raises
    ------
    ForcingError
        Naming what is missing or wrong.
    """
    held = XarraySeries(dataset, SOURCE)
    return BasinDataset(
        held.ids,
        held.times,
        held.step,
        {name: held.series(name) for name in held.forcings},
        held.attributes,
        {name: held.series(name) for name in held.targets},
        held.units,
    )


def to_xarray(data: BasinDataset) -> xarray.Dataset:
    """Return a Dataset of which :func:`from_xarray` makes the same again."""
    series = {
        name: (("time", "catchment"), values, {"units": data.units.get(name, "")} | role)
        for group, role in ((data.forcing, {}), (data.target, {"role": "target"}))
        for name, values in group.items()
    }
    static = {
        name: ("catchment", values, {"units": data.units.get(name, "")})
        for name, values in data.attributes.items()
    }
    return require().Dataset(series | static, coordinates(data))


def coordinates(data: BasinDataset) -> dict[str, Any]:
    """Return the coordinates of a Dataset of the same steps and catchments."""
    times = data.times.astype("datetime64[ns]")  # as xarray keeps them, without its warning
    return {"time": times, "catchment": [*data.ids]}


def is_zarr(path: Path) -> bool:
    """Tell whether a folder is a Zarr store, of version 2 or 3."""
    return any((path / name).is_file() for name in ("zarr.json", ".zgroup"))


def open_zarr(path: Path) -> xarray.Dataset:
    """Open a Zarr store, of which nothing but its coordinates is read yet; a with closes it.

    Raises
    ------
    ForcingError
        If it cannot be read as one.
    """
    opener = require().open_zarr
    try:
        dataset: xarray.Dataset = opener(path, chunks=None)
    except ImportError as problem:
        raise ConfigError("Zarr stores need zarr: pip install 'dmg_bmi[xarray]'") from problem
    except Exception as problem:  # zarr has errors of its own, as do its codecs
        raise ForcingError(f"{path}: cannot be read as a Zarr store: {problem}") from problem
    return dataset


def require() -> Any:
    """Import xarray.

    Raises
    ------
    ConfigError
        If it is not installed.
    """
    try:
        import xarray
    except ImportError as problem:
        raise ConfigError("Datasets need xarray: pip install 'dmg_bmi[xarray]'") from problem
    return xarray
