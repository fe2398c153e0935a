"""Series of many places in a bounded size: whole where they fit, else envelopes and a window of all steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from ..arrays import FloatingArray, TimeArray
from .payload import Payload

#: How steps join in the overview: the lowest and the highest of a block, or their mean.
Overview = Literal["envelope", "mean"]
#: Bytes of a half.
HALF = 2
#: Share of the room that overviews get; the window of all steps gets the rest.
OVERVIEW = 0.55


class SeriesPacker:
    """Packs series ``[time, places]``, some places at a time.

    Where all steps of all places fit they are kept. Else a page gets of the whole record the lowest and
    the highest value (or the mean) of each block of steps, as long as the room allows, and every step of
    a window at the end of the period that is looked at.

    Parameters
    ----------
    times : ndarray of datetime64 ``[time]``
        Start of each step.
    step : float
        Seconds.
    places : int
    series : mapping of name to {"envelope", "mean"}
        Names, and what their overview is.
    room : int
        Bytes before compression.
    end : int, optional
        The step after the last of the window.
    """

    def __init__(
        self,
        times: TimeArray,
        step: float,
        places: int,
        series: Mapping[str, Overview],
        room: int,
        end: int | None = None,
    ) -> None:
        self.times, self.step, self.series = times, step, dict(series)
        length = len(times)
        whole = HALF * len(series) * places
        of_block = HALF * places * sum(2 if how == "envelope" else 1 for how in series.values())
        end = length if end is None else end
        if not series or length * whole <= room:
            self.block, self.window = 1, slice(0, length)
        else:
            blocks = max(1, int(OVERVIEW * room) // of_block)
            self.block = -(-length // min(blocks, length))
            window = int(min(end, max(1, (1 - OVERVIEW) * room // whole)))
            self.window = slice(end - window, end)
        self._parts: dict[str, dict[str, list[FloatingArray]]] = {name: {} for name in series}

    def append(self, values: Mapping[str, FloatingArray]) -> None:
        """Add the next places: name to ``[time, some places]``."""
        for name, how in self.series.items():
            parts = self._parts[name]
            parts.setdefault("steps", []).append(values[name][self.window].T)
            if self.block > 1:
                for key, joined in _overview(values[name], self.block, how).items():
                    parts.setdefault(key, []).append(joined.T)

    def pack(self, payload: Payload) -> dict[str, Any]:
        """Put all into the payload; return what the page's text says of it."""
        start = self.times[0].astype("datetime64[s]").astype(np.int64)
        packed = {
            name: {key: payload.add(np.concatenate(some)) for key, some in parts.items()}
            for name, parts in self._parts.items()
        }
        return {
            "start": int(start),
            "step": self.step,
            "length": len(self.times),
            "block": self.block,
            "window": [self.window.start, self.window.stop],
            "series": packed,
        }


def _overview(values: FloatingArray, block: int, how: Overview) -> dict[str, FloatingArray]:
    """Join blocks of steps; one without a number is NaN."""
    padding = -len(values) % block
    padded = np.concatenate([values, np.full((padding, values.shape[1]), np.nan, values.dtype)])
    blocks = padded.reshape(-1, block, values.shape[1])
    known = ~np.isnan(blocks)
    some = known.any(1)
    if how == "mean":
        total = np.where(known, blocks, 0).sum(1, dtype=np.float64) / np.maximum(known.sum(1), 1)
        return {"mean": np.where(some, total, np.nan)}
    low, high = np.where(known, blocks, np.inf).min(1), np.where(known, blocks, -np.inf).max(1)
    return {"low": np.where(some, low, np.nan), "high": np.where(some, high, np.nan)}
