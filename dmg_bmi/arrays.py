"""Types of arrays, and the lengths of an hour and a day."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Float64, as frameworks and files exchange it.
FloatArray = NDArray[np.float64]
#: Any precision.
FloatingArray = NDArray[np.floating[Any]]
IntArray = NDArray[np.integer[Any]]
BoolArray = NDArray[np.bool_]
#: Times in UTC.
TimeArray = NDArray[np.datetime64]

#: Seconds.
HOUR, DAY = 3600.0, 86400.0
