"""A realization under examination, with its hydrofabric and forcing."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import ConfigError
from ...findings import Findings
from ...hydrofabric.reader import require_layout
from ...io.geopackage import GeoPackage
from ...io.ngen_forcing import Forcing
from ...io.units import parse

#: Seconds between calls of modules, whatever a realization says.
STEP = 3600
#: Start of the first step and end of the last.
Period = tuple[np.datetime64, np.datetime64]


#: Spellings that are read here, in other files, and that UDUNITS does not know.
_NOT_UDUNITS = re.compile(
    r"water|w\.e\.|\bper\b|c[fm]s|cumec|sq ?km|\bha\b|none|less|fraction|--|\d[a-z]"
    r"|[\u2212\u2013]|\boC\b|swe|kmh",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class DivideLayer:
    """The layer ``divides`` as `ngen` sees it: all columns but the geometry."""

    ids: tuple[str, ...]
    properties: Mapping[str, Sequence[Any]]

    @classmethod
    def read(cls, path: Path) -> DivideLayer:
        """Read the layer of a GeoPackage."""
        with GeoPackage(path, {}) as file:
            require_layout(file)
            columns = file.everything(("divides",), "divide_id", ("toid",))
            if columns is None:
                raise file.no_table(("divides",))
        return cls(tuple(columns["divide_id"]), columns)


@dataclass
class CheckContext:
    """One realization under examination.

    Parameters
    ----------
    document : mapping
        The realization.
    base : Path
        The folder that `ngen` will run in.
    divides : DivideLayer
    findings : Findings
    forcing : Forcing, optional
    period : Period, optional
        Where the realization has one.
    """

    document: Mapping[str, Any]
    base: Path
    divides: DivideLayer
    findings: Findings
    forcing: Forcing | None = None
    period: Period | None = None


def convertible(units: str, requested: str) -> bool:
    """Tell whether UDUNITS converts one unit into the other; it gives water no density."""
    if _NOT_UDUNITS.search(units or ""):
        return False
    try:
        return parse(units or "1").exponents == parse(requested).exponents
    except ConfigError:
        return False
