"""The configuration of one component: what `initialize` reads."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..arrays import BoolArray, FloatArray
from ..errors import AttributeTableError, ConfigError
from ..io.atomic import write_atomic
from ..io.csv_table import CsvTable, write_csv
from ..io.files import as_path, reading
from ..io.timeseries import BasinDataset
from ..io.typed_yaml import from_mapping, read_yaml

if TYPE_CHECKING:
    from ..hydrofabric.reader import Hydrofabric

#: More than any machine has cores for.
MOST_THREADS = 4096


@dataclass(frozen=True)
class Catchments:
    """Which catchments, and their static attributes.

    Parameters
    ----------
    file : Path, optional
        CSV with a header; its first column holds the ids, the others numbers.
    ids : tuple of str
        With `file` a choice of its rows, in this order; without it names for the rows.
    attributes : mapping of str to number or list
        Attributes that `file` lacks; a number holds for all rows.
    area : number or list, optional
        km2; by default the column ``area_km2`` of `file`.
    hydrofabric : Path, optional
        GeoPackage, for a model of a river network: rows are the reaches of its network, in its order,
        with their channels as attributes. A `file` may add others.
    minimum_slope : float, optional
        Bed slope of reaches that have less; without it a slope of 0 is an error.
    """

    file: Path | None = None
    ids: tuple[str, ...] = ()
    attributes: dict[str, float | list[float]] = field(default_factory=dict)
    area: float | list[float] | None = None
    hydrofabric: Path | None = None
    minimum_slope: float | None = None


@dataclass(frozen=True)
class Restart:
    """State files.

    Parameters
    ----------
    read, write : Path, optional
        At initialize, and at finalize. ``{time}`` in a path stands for the time at which the state
        is valid, ``{id}`` for the catchment of a member of a shared configuration.
    every : float, optional
        Seconds after which to write again and again, so that a run that is killed can go on.
    """

    read: Path | None = None
    write: Path | None = None
    every: float | None = None

    def __post_init__(self) -> None:
        if self.every is not None and (self.write is None or not self.every > 0):
            raise ConfigError("every needs `write` and a positive number of seconds")

    def located(self, folder: Path) -> Restart:
        """With paths relative to a folder."""
        read, write = (None if p is None else folder / p for p in (self.read, self.write))
        return Restart(read, write, self.every)


PetMethod = Literal["penman_monteith", "priestley_taylor", "hargreaves", "oudin"]
MissingForcing = Literal["error", "hold"]


@dataclass(frozen=True)
class Pet:
    """How potential evapotranspiration is computed from the weather.

    Parameters
    ----------
    method : str
        ``penman_monteith`` (FAO-56, hour by hour), or by whole days ``priestley_taylor``,
        ``hargreaves``, ``oudin``, which need columns ``latitude`` (degrees north) and, the first,
        ``elevation`` (m) in the table of catchments, and `start_time`.
    """

    method: PetMethod


@dataclass(frozen=True)
class RunConfig:
    """Keys of a component's configuration file.

    Parameters
    ----------
    shared : Path, optional
        Configuration of many catchments of which this one describes a single `catchment`; besides
        these two keys there may only be `restart`. Components of one process that name the
        same file step as one group.
    catchment : str, optional
        The one catchment of the table that this component is.
    bundle : str
        Folder of the bundle, relative to this file, or the name of a shipped one.
    catchments : Catchments
    time_step : float, optional
        Seconds of one `update`; by default the model's step, of which it is a whole part.
    start_time : datetime, optional
        UTC date and time of BMI time 0.
    end_time : datetime or float, optional
        Date and time, or seconds after the start, that no update may pass.
    day_start_hour : float
        UTC hour at which a daily model's day begins.
    forcing : Path, optional
        A stored forcing (see :mod:`dmg_bmi.runtime.forcing.stored`). Without it forcing is set by
        the framework, step by step.
    pet : Pet, optional
        Take the weather instead of potential evapotranspiration, and compute that.
    missing_forcing : {"error", "hold"}
        What NaN in a forcing does: stop, or repeat the last value (counted and reported).
    engine : {"auto", "eager", "compiled"}
        See :func:`dmg_bmi.runtime.engines.choose.make_engine`.
    device : str
    network_precision : {"bfloat16"}, optional
        Round the weights of networks. It takes half the memory and, for hundreds of catchments on
        a processor with bfloat16 products, a fraction of the time; `docs/performance.md` has the error.
    threads : int
        Torch threads of this process. One by default: frameworks run a process per core, and the
        small steps of few catchments gain nothing from more.
    restart : Restart
    """

    shared: Path | None = None
    catchment: str | None = None
    bundle: str = ""
    catchments: Catchments = field(default_factory=Catchments)
    time_step: float | None = None
    start_time: datetime | None = None
    end_time: datetime | float | None = None
    day_start_hour: float = 0.0
    forcing: Path | None = None
    pet: Pet | None = None
    missing_forcing: MissingForcing = "error"
    engine: Literal["auto", "eager", "compiled"] = "auto"
    device: str = "cpu"
    network_precision: Literal["bfloat16"] | None = None
    threads: int = 1
    restart: Restart = field(default_factory=Restart)

    def __post_init__(self) -> None:
        if self.time_step is not None and not self.time_step > 0:
            raise ConfigError(f"time_step must be a positive number of seconds, not {self.time_step:g}")
        if not 0 <= self.day_start_hour < 24:
            raise ConfigError(f"day_start_hour must be at least 0 and below 24, not {self.day_start_hour:g}")
        if isinstance(self.end_time, datetime) and self.start_time is None:
            raise ConfigError("end_time is a date, so start_time is needed too; or give end_time in seconds")
        if not 1 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"threads must be from 1 to {MOST_THREADS}, not {self.threads}")
        if self.end_seconds is not None and not 0 <= self.end_seconds < inf:
            raise ConfigError("end_time must be a finite time that does not lie before start_time")

    @property
    def end_seconds(self) -> float | None:
        """`end_time` as seconds after the start."""
        if isinstance(self.end_time, datetime) and self.start_time is not None:
            return (utc(self.end_time) - utc(self.start_time)).total_seconds()
        return self.end_time  # type: ignore[return-value]  # a datetime without start is refused

    @classmethod
    def read(cls, path: str | Path) -> RunConfig:
        """Read a configuration file; relative paths in it are relative to its folder.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        path = as_path(path, ConfigError)
        content = read_yaml(path)
        folder = path.parent
        if "shared" in content:
            return cls._member(content, path)
        config = from_mapping(cls, content, str(path))

        def located(other: Path | None) -> Path | None:
            return None if other is None else folder / other

        bundle = config.bundle
        if bundle and os.path.isdir(folder / bundle):
            bundle = str(folder / bundle)
        return replace(
            config,
            bundle=bundle,
            catchments=replace(
                config.catchments,
                file=located(config.catchments.file),
                hydrofabric=located(config.catchments.hydrofabric),
            ),
            forcing=located(config.forcing),
            restart=config.restart.located(folder),
        )

    @classmethod
    def _member(cls, content: Mapping[str, object], path: Path) -> RunConfig:
        """The configuration of one catchment among those of a shared file."""
        own = from_mapping(cls, content, str(path))
        odd = sorted(content.keys() - {"shared", "catchment", "restart"})
        if odd or own.shared is None or own.catchment is None:
            wrong = f"unknown key {odd[0]!r}" if odd else "missing key 'catchment'"
            raise ConfigError(f"{path}: {wrong}; beside 'shared' it needs 'catchment' and may have 'restart'")
        shared = path.parent / own.shared
        with reading(f"{path}: shared: {shared}", ConfigError):
            status = shared.stat()
        base = _read_shared(shared, status.st_mtime_ns, status.st_size)
        restart = own.restart.located(path.parent) if "restart" in content else base.restart
        return replace(base, shared=shared, catchment=own.catchment, restart=restart)


@lru_cache(maxsize=8)
def _read_shared(path: Path, mtime_ns: int, size: int) -> RunConfig:
    if "shared" in read_yaml(path):
        raise ConfigError(f"{path}: key 'shared' again; a shared configuration stands on its own")
    return RunConfig.read(path)


def write_config(
    path: Path, bundle: str, dataset: BasinDataset, attributes: Sequence[str], start: str | None = None
) -> None:
    """Write a configuration for the basins of a dataset, their attributes as CSV beside it.

    Parameters
    ----------
    bundle : str
        Relative to `path`, or the name of a shipped bundle.
    attributes : sequence of str
        Those that the bundle needs.
    start : str, optional
        State file to start from, relative to `path`.
    """
    table = path.with_name("catchments.csv")
    columns = [dataset.attributes[a] for a in attributes]
    rows = ([name, *(float(c[row]) for c in columns)] for row, name in enumerate(dataset.ids))
    write_csv(table, ["id", *attributes], rows)
    text = (
        f"bundle: {bundle}\ncatchments: {{file: {table.name}}}\n"
        f"time_step: {dataset.step:g}\nstart_time: {dataset.times[0]}\n"
    )
    if start is not None:
        text += f"restart: {{read: {start}}}\n"
    write_atomic(path, text.encode("utf-8"))


def utc(time: datetime) -> datetime:
    """A time without a zone is UTC."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)


@dataclass(frozen=True)
class CatchmentTable:
    """Ids, attributes ``[rows]`` and areas of the rows of a component, and the network they may form."""

    ids: tuple[str, ...]
    attributes: Mapping[str, FloatArray]
    area: FloatArray
    fabric: Hydrofabric | None = None

    @classmethod
    def load(cls, catchments: Catchments, names: Sequence[str]) -> CatchmentTable:
        """Gather the attributes `names`.

        Raises
        ------
        AttributeTableError
            Naming the attribute and the catchments for which it is missing or no number.
        """
        columns: dict[str, FloatArray] = {}
        ids = catchments.ids
        fabric, network = None, None
        if catchments.hydrofabric is not None:
            from ..hydrofabric import reader as hydrofabric

            fabric = hydrofabric.read(catchments.hydrofabric)
            network = fabric.routable(catchments.minimum_slope)
            if ids:
                raise AttributeTableError(
                    "catchments: ids and hydrofabric exclude each other: a network is routed whole"
                )
            ids = network.ids
        if catchments.file is not None:
            ids, columns = _read_csv(catchments.file, ids, {*names, "area_km2"})
        if network is not None:
            known = network.columns()
            columns = {"area_km2": known["area"]} | {k: known[k] for k in names if k in known} | columns
        given = dict(catchments.attributes)
        n = len(ids) or max([len(v) for v in given.values() if isinstance(v, list)], default=1)
        if n == 0:
            raise AttributeTableError("catchments.attributes: a list is empty; give a value per catchment")
        ids = ids or tuple(str(i) for i in range(n))
        if len(set(ids)) != n:
            twice = next(i for i in ids if ids.count(i) > 1)
            raise AttributeTableError(f"catchment {twice!r} stands twice among the ids")
        unknown = sorted(given.keys() - set(names))
        if unknown:
            raise AttributeTableError(
                f"catchments.attributes: this bundle has no attribute {', '.join(unknown)}; "
                f"it uses {', '.join(names) or 'none'}"
            )
        columns |= {name: _column(name, value, n) for name, value in given.items()}
        for name in names:
            if name not in columns:
                raise AttributeTableError(
                    f"attribute {name!r} is missing: add it to the file of catchments or under "
                    "catchments.attributes"
                )
            check_attribute(name, columns[name], ids)
        area = columns.pop("area_km2", np.full(n, np.nan))
        stated = ~np.isnan(area)  # a table may leave it open
        if catchments.area is not None:
            area, stated = _column("area", catchments.area, n), np.ones(n, dtype=np.bool_)
        some = [name for name, there in zip(ids, stated, strict=True) if there]
        check_attribute("area", area[stated], some, float(np.finfo(np.float32).tiny))
        return cls(tuple(ids), {name: columns[name] for name in names}, area, fabric)


#: What files write where nothing is known, and no attribute or store ever is; greater ones are above 1e30.
FILLS = (-999.0, -9999.0, -99999.0, -999999.0, -32768.0, -2147483648.0, 1e20, float(np.float32(1e20)))


def implausible(values: FloatArray) -> BoolArray:
    """Which values are not finite, mark what is missing, or look like memory that nobody set."""
    size = np.abs(values)
    return ~(size < 1e30) | ((values != 0) & (size < 1e-200)) | np.isin(values, FILLS)


def check_attribute(
    name: str,
    values: FloatArray,
    ids: Sequence[str],
    lower: float = -inf,
    upper: float = inf,
    kind: str = "attribute",
) -> None:
    """Refuse what is no plausible number, or lies outside its limits."""
    bad = implausible(values) | (values < lower) | (values > upper)
    if bad.any():
        first = int(np.argmax(bad))
        count = int(bad.sum())
        more = f" and {count - 1} more" if count > 1 else ""
        raise AttributeTableError(
            f"{kind} {name!r} of catchment {ids[first]!r}{more} is {values[first]}; give it a finite value"
            + (f" from {lower:g} to {upper:g}" if lower > -inf or upper < inf else "")
        )


def _column(name: str, value: float | list[float], n: int) -> FloatArray:
    if isinstance(value, list) and len(value) != n:
        raise AttributeTableError(f"catchments: {name} has {len(value)} values for {n} catchments")
    return np.array(np.broadcast_to(np.asarray(value, dtype=np.float64), (n,)))


def _read_csv(
    path: Path, chosen: Sequence[str], wanted: set[str]
) -> tuple[tuple[str, ...], dict[str, FloatArray]]:
    table = CsvTable.read(path, AttributeTableError)
    place = table.rows()
    absent = [i for i in chosen if i not in place]
    if absent:
        raise AttributeTableError(f"{path}: has no catchment {', '.join(absent[:5])}")
    ids = tuple(chosen) or tuple(place)
    rows = [place[i] for i in ids]
    return ids, {name: table.numbers(name, rows) for name in [*table.columns][1:] if name in wanted}
