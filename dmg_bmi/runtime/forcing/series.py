"""Forcing from files: NetCDF of :mod:`dmg_bmi.io.netcdf`, and the layouts that `ngen` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor

from ...arrays import FloatArray, FloatingArray
from ...errors import ConfigError, ForcingError, alternatives
from ...io import netcdf
from ...io.cf_time import parse_date
from ...io.netcdf_file import open_netcdf
from ...io.ngen_forcing import WELL_KNOWN, CsvFolder, Forcing, open_forcing
from ...io.timeseries import BasinDataset
from ...io.xarray_series import XarraySeries, is_zarr, open_zarr
from ...model.variables import Variable
from ...physics.forcings import PET

EVERY = slice(None)


class NamedSeries(Protocol):
    """Series ``[time, catchments, ...]`` by name, such as those of a dataset."""

    @property
    def ids(self) -> Sequence[str]:
        """Catchments."""
        ...

    @property
    def step(self) -> float:
        """Seconds of a record."""
        ...

    @property
    def units(self) -> Mapping[str, str]:
        """Units by name."""
        ...

    @property
    def forcing(self) -> Mapping[str, FloatingArray]:
        """Arrays by name."""
        ...


class OpenSeries:
    """A file or folder of any of these layouts, whose series are read part by part; a with closes it.

    Parameters
    ----------
    path : path

    Attributes
    ----------
    ids, times, step, units
        As of :class:`~dmg_bmi.io.timeseries.BasinDataset`.
    forcings, targets : list of str
        Names of series, those of observations apart.
    attributes : dict of str to array ``[catchment]``
        What does not change; none of ngen's layouts has any.

    Raises
    ------
    DmgBmiError
        Naming the file and what is wrong.
    """

    def __init__(self, path: str | Path) -> None:
        path = Path(path)
        self._closing = ExitStack()
        #: Read some steps and columns of a series, ``[time, catchment]``.
        self.series: Callable[[str, slice, slice], FloatingArray]
        if is_zarr(path):
            store = XarraySeries(self._closing.enter_context(open_zarr(path)), str(path))
            self.ids, self.times, self.step, self.units = store.ids, store.times, store.step, store.units
            self.forcings, self.targets, self.attributes = store.forcings, store.targets, store.attributes
            self.series = store.series
        elif _is_ngen_forcing(path):
            ngen = _open_ngen_forcing(path)
            self.ids, self.times, self.units = ngen.ids, ngen.times, ngen.units
            self.forcings, self.targets, self.attributes = [*ngen.units], [], {}
            self.step = netcdf.step_of(ngen.times, str(path))
            self.series = lambda name, steps, columns: ngen.read(name, ngen.ids[columns], steps).T
        else:
            file = self._closing.enter_context(netcdf.Reader(path))
            self.ids, self.times, self.step, self.units = file.ids, file.times, file.step, file.units
            self.forcings, self.targets = file.forcings, file.targets
            self.attributes = {name: file.attribute(name) for name in file.attributes}
            self.series = file.series

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._closing.close()

    def part(self, steps: slice, columns: slice = EVERY) -> Part:
        """Return some steps of neighbouring catchments; a series is read when it is looked up."""
        return Part(self.ids[columns], self.step, self.units, Lazy(self, steps, columns))


@dataclass(frozen=True)
class Part:
    """Some steps or one forecast of an open file; see :class:`NamedSeries`."""

    ids: Sequence[str]
    step: float
    units: Mapping[str, str]
    forcing: Mapping[str, FloatingArray]


class Lazy(Mapping[str, FloatingArray]):
    """Some steps and columns of series by name, read when they are looked up."""

    def __init__(self, file: OpenSeries, steps: slice, columns: slice) -> None:
        self._file, self._steps, self._columns = file, steps, columns

    def __getitem__(self, name: str) -> FloatingArray:
        if name not in self._file.forcings:
            raise KeyError(name)
        return self._file.series(name, self._steps, self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._file.forcings

    def __iter__(self) -> Iterator[str]:
        return iter(self._file.forcings)

    def __len__(self) -> int:
        return len(self._file.forcings)


def covering(ids: Sequence[str], chosen: Sequence[str]) -> slice:
    """Return the columns of a file from the first to the last that are needed; all where one is absent."""
    place = {name: column for column, name in enumerate(ids)}
    needed = [place.get(name, -1) for name in chosen]
    return slice(min(needed), max(needed) + 1) if min(needed) >= 0 else EVERY


def files_of(path: Path) -> list[Path]:
    """Return the files of a source: one, a folder of ngen's CSV files, or a Zarr store."""
    if is_zarr(path):
        return sorted(file for file in path.rglob("*") if file.is_file())
    return sorted(path.glob("*.csv")) if path.is_dir() else [path]


def state_of(files: Iterable[Path]) -> list[tuple[str, int, int]]:
    """Return what tells whether files have changed: name, size and time of each."""
    return [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]


def read(path: str | Path) -> BasinDataset:
    """Read a file or folder of any of these layouts whole.

    Raises
    ------
    DmgBmiError
        Naming the file and what is wrong.
    """
    with OpenSeries(path) as file:
        forcing, target = (
            {name: file.series(name, EVERY, EVERY) for name in names}
            for names in (file.forcings, file.targets)
        )
        return BasinDataset(file.ids, file.times, file.step, forcing, file.attributes, target, file.units)


def _is_ngen_forcing(path: Path) -> bool:
    if path.is_dir():
        return True
    with open_netcdf(path) as data:
        return {"ids", "Time"} <= {*data.variables} and "catchment" not in data.variables


def _open_ngen_forcing(path: Path) -> Forcing:
    """Open what `ngen` reads; of CSV files, which are read whole, all that is wrong is told now."""
    forcing = open_forcing(path)
    if isinstance(forcing, CsvFolder):
        for name in forcing.units:
            forcing.read(name, forcing.ids)
        if wrong := forcing.misread():
            file, fault, _ = wrong[0]
            raise ForcingError(f"{file}: {fault}")
    return forcing


def series_of(forcing: NamedSeries, variable: Variable, path: str) -> str | None:
    """Return the name of the series of an input: by the model, by frameworks, or by `ngen`'s files.

    Raises
    ------
    ForcingError
        If there are several.
    """
    columns = (column for column, (name, _) in WELL_KNOWN.items() if name == variable.name)
    names = dict.fromkeys((variable.symbol, variable.name, *columns))
    matches = [name for name in names if name in forcing.forcing]
    if len(matches) > 1:
        raise ForcingError(
            f"{path}: holds {variable.meaning} several times, as {' and '.join(matches)}; keep one of them"
        )
    return matches[0] if matches else None


def model_input(forcing: NamedSeries, variable: Variable, ids: Sequence[str], path: str) -> FloatArray:
    """Return one input ``[time, catchments, ...]`` in the units that the component takes."""
    name = series_of(forcing, variable, path)
    if name is None:
        hint = "; to compute it set `pet` in the configuration" if variable.name == PET.standard_name else ""
        raise ForcingError(
            f"{path}: has no {variable.symbol} ({variable.name}); it holds {', '.join(forcing.forcing)}{hint}"
        )
    column = {i: k for k, i in enumerate(forcing.ids)}
    absent = sorted({*ids} - {*column})
    if absent:
        some = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
        raise ForcingError(f"{path}: has no catchment {some}; {alternatives(absent[0], forcing.ids)}")
    order = [column[i] for i in ids]
    units = forcing.units[name]
    if not units:
        raise ForcingError(f"{path}: {name} has no units; it should be convertible to {variable.units}")
    try:
        scale, offset = variable.from_units(units, forcing.step)
    except ConfigError as problem:
        raise ForcingError(f"{path}: {name}: {problem}") from problem
    return forcing.forcing[name][:, order].astype(np.float64) * scale + offset


def model_inputs(
    forcing: BasinDataset, variables: Iterable[Variable], ids: Sequence[str], path: str
) -> dict[str, Tensor]:
    """Return the inputs among some variables by symbol, in the model's units, ``[time, catchments]``.

    Raises
    ------
    ForcingError
        If one is absent or has a gap.
    """
    inputs = {}
    for variable in (v for v in variables if v.kind == "input"):
        scale, offset = variable.to_model(forcing.step)
        values = model_input(forcing, variable, ids, path) * scale + offset
        if not np.isfinite(values).all():
            raise ForcingError(f"{path}: {variable.symbol} is missing in the window; choose another")
        inputs[variable.symbol] = torch.from_numpy(values)
    return inputs


def window(data: BasinDataset, start: str | None, end: str | None) -> BasinDataset:
    """Cut a dataset to the days from `start` to `end`; its own first or last day by default."""
    first, last = data.times[0], data.times[-1] + 1
    if start:
        first = parse_date(start, "--start", ConfigError).astype("datetime64[D]")
    if end:
        last = parse_date(end, "--end", ConfigError).astype("datetime64[D]") + 1
    return data.period(first.astype("datetime64[s]"), last.astype("datetime64[s]"))
