"""The configuration of a coupled run: what ``dmg-bmi couple`` reads."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

from ..errors import ConfigError
from ..io.files import require_file_name
from ..io.typed_yaml import from_mapping, read_yaml
from ..runtime.config import Restart, utc


@dataclass(frozen=True)
class ComponentConfig:
    """Configuration of one component.

    Parameters
    ----------
    bmi : str
        Its class, as ``package.module:Class``.
    config : Path
        For its `initialize`.
    forcing : Path, optional
        What drives it, at its own step: a file or folder as ``dmg-bmi run`` reads.
    ids : Path, optional
        CSV with a header, whose first column has the ids of the items of its variables, for a
        component that does not tell them.
    outputs : list of str, optional
        Variables to write: by default all outputs, none for an empty list.
    """

    bmi: str
    config: Path
    forcing: Path | None = None
    ids: Path | None = None
    outputs: list[str] | None = None


@dataclass(frozen=True)
class ExchangeConfig:
    """A variable of one component that becomes an input of another.

    Parameters
    ----------
    source, target : str
        ``component.variable``. Units are converted; items are matched by id, or by position where
        no ids are known.
    area : str, number or list of numbers, optional
        Factor of the source: one of its variables, or km2. An amount per step becomes a rate where
        the target is one.
    map : Path, optional
        CSV with columns ``source``, ``target`` and perhaps ``share``, for items whose ids differ.
    join : {"mean", "sum"}
        Where steps differ: ``sum`` for amounts per step, ``mean`` for anything else.
    """

    source: str
    target: str
    area: str | float | list[float] | None = None
    map: Path | None = None
    join: Literal["mean", "sum"] = "mean"


@dataclass(frozen=True)
class CouplingConfig:
    """Keys of the configuration.

    Parameters
    ----------
    start_time : datetime
        UTC.
    end_time : datetime or float
        Date and time, or seconds after the start.
    components : mapping of name to ComponentConfig
        They step in this order.
    exchanges : list of ExchangeConfig
        What goes to a component further up arrives in the next step.
    restart : Restart
        One file holds the states of all components.
    """

    start_time: datetime
    end_time: datetime | float
    components: dict[str, ComponentConfig]
    exchanges: list[ExchangeConfig] = field(default_factory=list)
    restart: Restart = field(default_factory=Restart)

    def __post_init__(self) -> None:
        for name in self.components:
            require_file_name(name, "components", ConfigError)

    @property
    def seconds(self) -> float:
        """Return the length of the run."""
        if isinstance(self.end_time, datetime):
            return (utc(self.end_time) - utc(self.start_time)).total_seconds()
        return self.end_time

    @classmethod
    def read(cls, path: Path) -> CouplingConfig:
        """Read a file; relative paths in it are relative to its folder.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        config = from_mapping(cls, read_yaml(path), str(path))
        if not config.components:
            raise ConfigError(f"{path}: components: give at least one")
        if not config.seconds > 0:
            raise ConfigError(f"{path}: end_time is not after start_time")

        def located(other: Path | None) -> Path | None:
            return None if other is None else path.parent / other

        return replace(
            config,
            components={
                name: replace(
                    part,
                    config=path.parent / part.config,
                    forcing=located(part.forcing),
                    ids=located(part.ids),
                )
                for name, part in config.components.items()
            },
            exchanges=[replace(e, map=located(e.map)) for e in config.exchanges],
            restart=config.restart.located(path.parent),
        )
