"""Progress of long work: a bar on a terminal, a line a minute in the log of a job."""

from __future__ import annotations

import logging
import sys
from io import StringIO
from typing import Any

from tqdm import tqdm

log = logging.getLogger("dmg_bmi")
#: Between two lines of a log.
SECONDS = 60.0
LINE = "{desc}: {n_fmt} of {total_fmt} ({percentage:.0f} %), {rate_fmt}, {remaining} left{postfix}"


class _Lines(tqdm):  # type: ignore[misc]  # tqdm has no types
    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Write a line instead of drawing over the last one; none is wiped out at the end."""
        if msg is None:
            log.info(" ".join(str(self).split()))


def progress(total: int, what: str, unit: str, initial: int = 0, shown: bool = True) -> tqdm[Any]:
    """Return a counter to `update`, which shows how far the work is, how fast, and the time left.

    Parameters
    ----------
    total, initial : int
        Units of all the work, and of what was done before.
    what, unit : str
        As they are shown.
    shown : bool
        Without it nothing is. A console that shows warnings alone gets no bar; logs get their lines.
    """
    kept = {"total": total, "initial": initial, "desc": what, "unit": unit}
    quiet = any(handler.level > logging.INFO for handler in logging.getLogger().handlers)
    if not shown:
        return tqdm(**kept, disable=True)
    if sys.stderr.isatty() and not quiet:
        return tqdm(**kept)
    # Work of less than a minute leaves no line.
    return _Lines(
        **kept,
        file=StringIO(),
        leave=False,
        bar_format=LINE,
        delay=SECONDS,
        mininterval=SECONDS,
        maxinterval=SECONDS,
        miniters=1,
    )
