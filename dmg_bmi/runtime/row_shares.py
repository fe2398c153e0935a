"""Rows of one configuration, shared out to processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TypeVar

from .. import processes
from ..errors import ConfigError
from ..model.bundle import BundleInfo
from .catchments import CatchmentTable
from .config import RunConfig
from .engines.aot import ROWS

T = TypeVar("T")


@dataclass(frozen=True)
class RowShare:
    """What one of several processes runs.

    Parameters
    ----------
    config : RunConfig
        Of its own rows.
    ids : tuple of str
        All catchments, of all processes.
    rows : list of slice
        The share of each process.
    """

    config: RunConfig
    ids: tuple[str, ...]
    rows: list[slice]

    @property
    def widths(self) -> list[int]:
        """Catchments of each process."""
        return [part.stop - part.start for part in self.rows]


def own_share(config: RunConfig) -> RowShare:
    """Cut a configuration to the rows of this process.

    Rows that step together in compiled code stay together, so that the answers are those of one process.

    Raises
    ------
    ConfigError
        If its rows cannot be shared: those of a river network, and those of one state file.
    """
    info = BundleInfo.read(config.bundle)
    given = config.catchments
    if given.hydrofabric is not None:
        raise ConfigError("catchments.hydrofabric: rivers are routed by one process; start one")
    if config.restart.read is not None or config.restart.write is not None:
        raise ConfigError(
            "restart: a state file holds all catchments; several processes have none; start one"
        )
    if config.shared is not None:
        raise ConfigError("shared: a member of a shared configuration is one catchment; start one process")
    if config.assimilation is not None:
        raise ConfigError("assimilation: its catchments are analysed by one process; start one")
    ids = CatchmentTable.load(given, [v.name for v in info.variables if v.kind == "attribute"]).ids
    rows = processes.share(len(ids), ROWS)
    own = rows[processes.rank()]

    def cut(value: T | list[T]) -> T | list[T]:
        return value[own] if isinstance(value, list) else value

    chosen = replace(
        given,
        ids=ids[own],
        attributes={name: cut(value) for name, value in given.attributes.items()},
        area=None if given.area is None else cut(given.area),
    )
    # A GPU each, of those of the machine.
    device = f"cuda:{os.environ['LOCAL_RANK']}" if config.device.startswith("cuda") else config.device
    return RowShare(replace(config, catchments=chosen, device=device), ids, rows)
