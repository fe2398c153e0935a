"""The run folder of NextGen In A Box, which is how most users run `ngen`.

``config/`` holds the hydrofabric, the realization, ``troute.yaml`` and ``cat_config/<MODEL>/``;
``forcings/forcings.nc`` the forcing; `ngen` runs in the folder itself and writes ``outputs/``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import NextGenError
from ...io.cf_time import parse_date
from ...io.files import read_json
from ..check.shape import require


@dataclass(frozen=True)
class RunFolder:
    """The content of a run folder.

    Parameters
    ----------
    path : Path
    hydrofabric, forcing : Path, optional
    start, end : datetime64, optional
        ``[start, end)`` of its realization.
    """

    path: Path
    hydrofabric: Path | None = None
    forcing: Path | None = None
    start: np.datetime64 | None = None
    end: np.datetime64 | None = None


def read(path: Path) -> RunFolder:
    """Read a run folder.

    Raises
    ------
    NextGenError
        If it does not have exactly one hydrofabric.
    """
    fabrics = sorted((path / "config").glob("*.gpkg"))
    if len(fabrics) != 1:
        raise NextGenError(
            f"{path / 'config'}: has {len(fabrics)} .gpkg files; a run folder has one hydrofabric there"
        )
    forcing = path / "forcings" / "forcings.nc"
    start = end = None
    realization = path / "config" / "realization.json"
    if os.path.isfile(realization):
        content = read_json(realization, NextGenError)
        require(content, str(realization))
        time = content.get("time", {})
        start, end = (
            parse_date(str(time.get(key, "")), f"{realization}: time.{key}", NextGenError)
            for key in ("start_time", "end_time")
        )
        end = end + np.timedelta64(3600, "s")
    return RunFolder(path, fabrics[0], forcing if forcing.is_file() else None, start, end)
