"""The numbers of a page: one compressed block, of which the page's text names parts."""

from __future__ import annotations

import gzip
from base64 import b64encode
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

#: What is written of a part: halves (11 bits of precision, scaled), singles, or whole numbers.
Kind = Literal["f2", "f4", "i4"]
#: The largest magnitude of scaled halves; with it the smallest is 6e-11 of the largest.
LARGEST_HALF = 1024.0


class Payload:
    """Arrays collected into one block.

    Halves keep a number to 0.05 %, at half the size of singles: enough for what is drawn, while
    scores and whatever a page prints are singles.
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, values: NDArray[Any], kind: Kind = "f2") -> dict[str, Any]:
        """Add an array and return what the page's text says to find it: place, size, kind and scale."""
        scale = 1.0
        numbers = np.ascontiguousarray(values)
        if kind == "f2":
            magnitude = np.abs(numbers[np.isfinite(numbers)])
            scale = float(magnitude.max()) / LARGEST_HALF if magnitude.size and magnitude.max() > 0 else 1.0
            numbers = numbers / scale
        content = numbers.astype(f"<{kind}").tobytes()
        content += b"\0" * (-len(content) % 4)  # browsers read numbers where their size divides the place
        part = {"at": self._size, "count": int(values.size), "kind": kind, "scale": scale}
        self._parts.append(content)
        self._size += len(content)
        return part

    def text(self) -> str:
        """Return the block, compressed by gzip, as base64."""
        return b64encode(gzip.compress(b"".join(self._parts), 6, mtime=0)).decode("ascii")
