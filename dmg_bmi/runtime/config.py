"""Configuration of one component, as `initialize` reads it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from importlib import resources
from math import inf
from pathlib import Path
from typing import Literal

from ..assimilation.options import Assimilation
from ..errors import BundleError, ConfigError
from ..io.atomic import write_atomic
from ..io.csv_table import write_csv
from ..io.files import as_path, reading
from ..io.timeseries import BasinDataset
from ..io.typed_yaml import from_mapping, read_yaml
from .catchments import Catchments

log = logging.getLogger("dmg_bmi")
#: The configuration in the folder of a training.
OF_RUN = "bmi.yaml"
#: Id of the catchment of a bundle that is given none.
TYPICAL = "typical"
#: More than any machine has cores for.
MOST_THREADS = 4096
MOST_MEMBERS = 10_000


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
        """Return the same with paths relative to a folder."""
        read, write = (None if p is None else folder / p for p in (self.read, self.write))
        return Restart(read, write, self.every)


PetMethod = Literal["penman_monteith", "priestley_taylor", "hargreaves", "oudin"]
MissingForcing = Literal["error", "hold"]


@dataclass(frozen=True)
class Pet:
    """Computation of potential evapotranspiration from the weather.

    Parameters
    ----------
    method : str
        ``penman_monteith`` (FAO-56, hour by hour), or by whole days ``priestley_taylor``,
        ``hargreaves``, ``oudin``, which need columns ``latitude`` (degrees north) and, the first,
        ``elevation`` (m) in the table of catchments, and `start_time`.
    """

    method: PetMethod


@dataclass(frozen=True)
class ComponentAssimilation(Assimilation):
    """Options of the analyses that a component makes of observations that are set.

    Parameters
    ----------
    mean_flow : number or list
        Typical flow of each catchment, mm per step of the model: the scale of errors.
    """

    mean_flow: float | list[float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        flows = self.mean_flow if isinstance(self.mean_flow, list) else [self.mean_flow]
        if not flows or not all(flow is not None and flow > 0 for flow in flows):
            raise ConfigError("mean_flow must be given, above zero: typical flow, mm per step of the model")


@dataclass(frozen=True)
class Ensemble:
    """Members of each catchment, which step as rows of one batch.

    The first is left as it is; the others differ by what is named here, and by the ``realization`` of
    stored forcing that has some. The mean over the members of a factor is one.

    Parameters
    ----------
    members : int
        Of each catchment, the one that is left as it is included.
    seed : int
        Of the perturbations: the same seed gives the same, however a run is cut or grouped.
    forcing : mapping of str to float
        Forcings that are perturbed, and how much: the standard deviation of the logarithm of a factor, or
        of an addend, in its own units, where the forcing can be negative.
    period : float
        Seconds for which a perturbation of forcing holds.
    states : mapping of str to float
        Stores that get a factor at the begin, or when a state without members is read, likewise.
    quantiles : tuple of float
        Levels that are published beside the mean, of each output with a standard name.
    bundle_members : bool
        Whether the process models and networks whose mean the bundle is count as members, too.
    all_members : bool
        Whether each member is published; by name it can be read in any case.
    """

    members: int
    seed: int = 0
    forcing: Mapping[str, float] = field(default_factory=dict)
    period: float = 86400.0
    states: Mapping[str, float] = field(default_factory=dict)
    quantiles: tuple[float, ...] = (0.05, 0.25, 0.5, 0.75, 0.95)
    bundle_members: bool = False
    all_members: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.members <= MOST_MEMBERS:
            raise ConfigError(f"members must be from 1 to {MOST_MEMBERS}, not {self.members}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed must be from 0 to 2**63 - 1, not {self.seed}")
        spreads = {"period": self.period, **{f"forcing.{n}": s for n, s in self.forcing.items()}}
        spreads |= {f"states.{name}": spread for name, spread in self.states.items()}
        wrong = [name for name, spread in spreads.items() if not spread > 0]
        if wrong:
            raise ConfigError(f"{', '.join(wrong)}: must be above zero")
        levels = self.quantiles
        if len({*levels}) < len(levels) or not all(0 <= level <= 1 for level in levels):
            raise ConfigError("quantiles must be different levels from 0 to 1")


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
        Ids, attributes and areas.
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
        ``cpu`` or ``cuda:0``.
    network_precision : {"bfloat16"}, optional
        Round the weights of networks. It takes half the memory and, for hundreds of catchments on
        a processor with bfloat16 products, a fraction of the time; `docs/performance.md` has the error.
    threads : int
        Torch threads of this process. One by default: frameworks run a process per core, and the
        small steps of few catchments gain nothing from more.
    restart : Restart
        State files to begin from and to write.
    assimilation : ComponentAssimilation, optional
        Bring states in line with observed flow that is set (see :mod:`dmg_bmi.runtime.observed_window`).
    ensemble : Ensemble, optional
        Give each catchment members (see :mod:`dmg_bmi.runtime.ensemble`).
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
    assimilation: ComponentAssimilation | None = None
    ensemble: Ensemble | None = None

    def __post_init__(self) -> None:
        if self.time_step is not None and not self.time_step > 0:
            raise ConfigError(f"time_step must be a positive number of seconds, not {self.time_step:g}")
        if not 0 <= self.day_start_hour < 24:
            raise ConfigError(f"day_start_hour must be at least 0 and below 24, not {self.day_start_hour:g}")
        if isinstance(self.end_time, datetime) and self.start_time is None:
            raise ConfigError("end_time is a date, so start_time is needed too; or give end_time in seconds")
        if not 1 <= self.threads <= MOST_THREADS:
            raise ConfigError(f"threads must be from 1 to {MOST_THREADS}, not {self.threads}")
        if self.ensemble is not None and self.assimilation is not None:
            raise ConfigError(
                "ensemble: a component with `assimilation` has one state; leave one of them out"
            )
        if self.end_seconds is not None and not 0 <= self.end_seconds < inf:
            raise ConfigError("end_time must be a finite time that does not lie before start_time")

    @property
    def end_seconds(self) -> float | None:
        """Seconds from the start to `end_time`."""
        if not isinstance(self.end_time, datetime):
            return self.end_time
        assert self.start_time is not None  # noqa: S101  `__post_init__` says so
        return (utc(self.end_time) - utc(self.start_time)).total_seconds()

    @classmethod
    def read(cls, path: str | Path) -> RunConfig:
        """Read what :func:`find` finds; relative paths in a file are relative to its folder.

        Of a bundle alone it is the configuration of one catchment whose attributes are the means of the
        training.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        path = find(path)
        if os.path.isdir(path):
            return cls(bundle=str(path), catchments=_typical_catchment(path))
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
        """Return the configuration of one catchment of a shared file."""
        member = from_mapping(cls, content, str(path))
        unknown = sorted(content.keys() - {"shared", "catchment", "restart"})
        if unknown or member.shared is None or member.catchment is None:
            wrong = f"unknown key {unknown[0]!r}" if unknown else "missing key 'catchment'"
            raise ConfigError(
                f"{path}: {wrong}; beside 'shared' it requires 'catchment' and may have 'restart'"
            )
        shared = path.parent / member.shared
        with reading(f"{path}: shared: {shared}", ConfigError):
            status = shared.stat()
        base = _read_shared(shared, status.st_mtime_ns, status.st_size)
        restart = member.restart.located(path.parent) if "restart" in content else base.restart
        return replace(base, shared=shared, catchment=member.catchment, restart=restart)


def find(what: str | Path) -> Path:
    """Find the configuration of a component: a file, or the folder of a bundle that has none.

    Parameters
    ----------
    what : path
        A file, the folder of a training, the name of a shipped configuration (``daily``), the folder of a
        bundle, or the name of a shipped one (``demo_daily``).

    Raises
    ------
    ConfigError
        If it is none of these; it then names those that are shipped.
    """
    # With torch, which those do not load who read the dataclasses alone.
    from ..model import bundle_files
    from ..model.bundle_files import DESCRIPTION

    path = as_path(what, ConfigError)
    if os.path.isfile(path) and path.name != DESCRIPTION:
        return path  # first: a framework may have a file for each of many catchments
    for file in (path / OF_RUN, shipped_folder() / f"{what}.yaml"):
        if os.path.isfile(file):
            log.debug("%s: read from %s", what, file)
            return file
    is_other = os.path.exists(path) and not os.path.isdir(path)
    if (is_other or path.suffix in (".yaml", ".yml")) and path.name != DESCRIPTION:
        return path  # reading says what is wrong with it
    try:
        return bundle_files.find(path)
    except BundleError as problem:
        raise ConfigError(
            f"{path}: no such file, and no folder of a run or a bundle; shipped are the configurations "
            f"{', '.join(shipped_names())} and the bundles {', '.join(bundle_files.shipped_names())}"
        ) from problem


def shipped_folder() -> Path:
    """Return the folder of the shipped configurations of components."""
    return Path(str(resources.files("dmg_bmi.bmi_configs")))


def shipped_names() -> list[str]:
    """List the names of the shipped configurations."""
    return sorted(file.stem for file in shipped_folder().glob("*.yaml"))


def _typical_catchment(folder: Path) -> Catchments:
    """Return one catchment with the mean attributes of a bundle's training."""
    from ..model.bundle import BundleInfo

    info = BundleInfo.read(folder)
    means = {
        v.name: info.statistics[v.symbol].typical
        for v in info.variables
        if v.kind == "attribute" and v.symbol in info.statistics
    }
    if means:
        log.info(
            "%s: no catchments are given, so there is one with the mean attributes of the training: %s",
            info.name,
            ", ".join(f"{name} {value:.4g}" for name, value in means.items()),
        )
    return Catchments(ids=(TYPICAL,), attributes={**means})


@lru_cache(maxsize=8)
def _read_shared(path: Path, mtime_ns: int, size: int) -> RunConfig:
    if "shared" in read_yaml(path):
        raise ConfigError(f"{path}: key 'shared' again; a shared configuration cannot name another")
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
    """Return a time in UTC, which it is taken for without a zone."""
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
