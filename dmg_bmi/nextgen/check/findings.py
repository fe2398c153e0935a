"""What a check found, and how it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from ...errors import NextGenError

#: Names in a message; all of them are in the finding.
SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    level : {"stop", "note"}
        ``stop`` for what makes `ngen` crash or compute something else than was meant.
    where : str
        File and key.
    message : str
        What is wrong and what to change.
    ids : tuple of str
        Catchments that it is about, all of them.
    """

    level: Literal["stop", "note"]
    where: str
    message: str
    ids: tuple[str, ...] = ()

    def __str__(self) -> str:
        about = f" [{listed(self.ids)}]" if self.ids else ""
        return f"{self.level}: {self.where}: {self.message}{about}"


class Findings(list[Finding]):
    """Findings in the order in which they were made."""

    def stop(self, where: object, message: str, ids: Iterable[str] = ()) -> None:
        """Add what must be changed before a run."""
        self.append(Finding("stop", str(where), message, tuple(ids)))

    def note(self, where: object, message: str, ids: Iterable[str] = ()) -> None:
        """Add what a user should know."""
        self.append(Finding("note", str(where), message, tuple(ids)))

    @property
    def fatal(self) -> list[Finding]:
        """Those that must be changed."""
        return [f for f in self if f.level == "stop"]

    def raise_fatal(self) -> None:
        """Raise NextGenError with all that must be changed, if there is anything."""
        if self.fatal:
            raise NextGenError("this would not run as meant:\n" + "\n".join(f"  {f}" for f in self.fatal))


def listed(names: Sequence[str]) -> str:
    """Some of the names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
