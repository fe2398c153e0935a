"""Protocols: basins, years, what is held out, which models compete, and what was published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from ...errors import ConfigError
from ...io.typed_yaml import from_mapping, read_yaml
from ..config import Periods, find_shipped, is_shipped
from ..readers.basin_ids import read_ids
from ..splits import folds

SHIPPED = Path(__file__).parent / "protocols"
#: Shipped files that are lists of rivals, not protocols.
RIVALS = "rivals_"


@dataclass(frozen=True)
class Rival:
    """A model that competes.

    Parameters
    ----------
    config : str
        Training configuration: a file, relative to the one that names it, or the name of a shipped one.
    set : mapping
        ``section.key`` to the value in place of the configuration's.
    calibrate : bool
        Whether it is calibrated basin by basin; where basins are held out, each then takes the
        parameters of the most similar basin that is not.
    """

    config: str
    set: dict[str, Any] = field(default_factory=dict)
    calibrate: bool = False

    def located(self, folder: Path) -> Rival:
        """Return the rival with its configuration in a folder, if that is no name of a shipped one."""
        file = folder / self.config
        is_name = not file.is_file() and is_shipped(self.config)
        return self if is_name else replace(self, config=str(file))


@dataclass(frozen=True)
class Protocol:
    """Keys of a protocol's file.

    Parameters
    ----------
    name, summary, source : str
        Its name, one line for people, and the study that it is of.
    periods : Periods
        In place of those of the rivals' configurations, but for validation years within the training.
    rivals : mapping of name to Rival, or path
        The first is compared with all others. A path is relative to the protocol's file.
    basins : list of ids, or path, optional
        Those that the protocol is about; of these all that the data have are taken.
    folds : int
        Parts, drawn at random, each of which is predicted by models trained on the others.
    regions : mapping of name to list of str
        In place of folds: the first digits of the basins' ids.
    published : mapping of column to label
        Columns of a table of published NSE by basin.
    medians : mapping of label to float
        Published medians of NSE over all basins of the protocol.
    """

    name: str
    periods: Periods
    rivals: dict[str, Rival]
    summary: str = ""
    source: str = ""
    basins: tuple[str, ...] | Path | None = None
    folds: int = 0
    regions: dict[str, tuple[str, ...]] = field(default_factory=dict)
    published: dict[str, str] = field(default_factory=dict)
    medians: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.folds and self.regions:
            raise ConfigError("give either folds or regions, not both")
        if not self.rivals:
            raise ConfigError("rivals is empty; name at least one model")

    @classmethod
    def read(cls, path: str | Path) -> Protocol:
        """Read a YAML file, or one shipped with the package by its name.

        Raises
        ------
        ConfigError
            Naming the file, the key and the remedy.
        """
        file = find_shipped(path, SHIPPED, "protocol", RIVALS)
        content = read_yaml(file)
        folder = file.parent
        if isinstance(content.get("rivals"), str):
            others = folder / content["rivals"]
            content["rivals"], folder = read_yaml(others), others.parent
        protocol = from_mapping(cls, content, str(file))
        if isinstance(protocol.basins, Path):
            protocol = replace(protocol, basins=file.parent / protocol.basins)
        rivals = {name: rival.located(folder) for name, rival in protocol.rivals.items()}
        return replace(protocol, rivals=rivals)

    def select(self, ids: Sequence[str]) -> list[str]:
        """Return the basins of the protocol among some.

        Raises
        ------
        ConfigError
            If there is none.
        """
        listed = read_ids(self.basins, f"basins of {self.name}")
        if listed is None:
            return list(ids)
        chosen = {*listed}
        selected = [basin for basin in ids if basin in chosen]
        if not selected:
            raise ConfigError(
                f"{self.name}: the data have none of its {len(listed)} basins, such as {listed[0]!r}; "
                f"they have basins such as {ids[0]!r}"
            )
        return selected

    def held_out(self, ids: Sequence[str]) -> dict[str, list[str]]:
        """Return the basins of each part that is held out, by its name; empty if none ever is."""
        if self.folds:
            count = min(self.folds, len(ids))
            return {f"fold {k}": part for k, part in enumerate(folds(ids, count))}
        if not self.regions:
            return {}
        parts = {name: [b for b in ids if b.startswith(digits)] for name, digits in self.regions.items()}
        rest = [basin for basin in ids if not basin.startswith((*chain(*self.regions.values()),))]
        parts = {name: part for name, part in {**parts, "elsewhere": rest}.items() if part}
        if len(parts) < 2:
            raise ConfigError(
                f"{self.name}: all {len(ids)} basins are in one region, {next(iter(parts))}, so none is left "
                "to train on; give data of several regions"
            )
        return parts
