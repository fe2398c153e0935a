"""Findings of a check: what is wrong, where, and how a user is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from .errors import DmgBmiError

#: Names in a message; the finding has all of them.
SHOWN = 8


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    Parameters
    ----------
    level : {"error", "warning"}
        An error makes a run crash or compute something else than was meant.
    where : str
        File and key.
    message : str
        What is wrong and what to change.
    ids : tuple of str
        Catchments, reaches or nexuses that it is about, all of them.
    kind : str
        What a network has: duplicate, orphan, loop, outlet, lake, drainage area, missing
        attributes, zero area, zero length, zero slope, channel. Empty for other checks.
    """

    level: Literal["error", "warning"]
    where: str
    message: str
    ids: tuple[str, ...] = ()
    kind: str = ""

    @property
    def text(self) -> str:
        """Return place, message and the first ids."""
        kind = f"{self.kind}: " if self.kind else ""
        about = f" [{listed(self.ids)}]" if self.ids else ""
        return f"{self.where}: {kind}{self.message}{about}"

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


class Findings(list[Finding]):
    """Findings in the order in which they were made."""

    def error(self, where: object, message: str, ids: Iterable[str] = (), kind: str = "") -> None:
        """Add what must be changed before a run."""
        self.append(Finding("error", str(where), message, tuple(ids), kind))

    def warning(self, where: object, message: str, ids: Iterable[str] = (), kind: str = "") -> None:
        """Add what a user should know."""
        self.append(Finding("warning", str(where), message, tuple(ids), kind))

    @property
    def errors(self) -> list[Finding]:
        """Return those that must be changed before a run."""
        return [finding for finding in self if finding.level == "error"]

    def raise_errors(self, error: type[DmgBmiError], headline: str) -> None:
        """Raise one error that lists all that must be changed, if there is anything."""
        if self.errors:
            raise error("\n".join([headline, *(f"  {finding.text}" for finding in self.errors)]))


def listed(names: Sequence[str]) -> str:
    """Return the first names as text, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
