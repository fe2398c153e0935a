"""Perturbations of the members of an ensemble, the same for a seed however a run is cut or grouped.

Each number is drawn by a hash of what it is for: seed, catchment, member, quantity and time. So none
depends on what was drawn before, and a state file has nothing to remember of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..errors import ConfigError
from ..physics import State
from .config import Ensemble
from .forcing.aggregation import ForcingInputs

Words = NDArray[np.uint64]
#: Deviations beyond which nothing is drawn.
FARTHEST = 3.0
_GOLDEN = 0x9E3779B97F4A7C15


def normal(key: Words) -> FloatArray:
    """Return a number of the standard normal distribution for each key, within :data:`FARTHEST`."""
    one, other = (_mixed(key + np.uint64(_GOLDEN * k % 2**64)) >> np.uint64(11) for k in (1, 2))
    # Of 53 bits each, above zero (Box & Muller, 1958, https://doi.org/10.1214/aoms/1177706645).
    u, v = ((word.astype(np.float64) + 0.5) * 2.0**-53 for word in (one, other))
    return np.clip(np.sqrt(-2.0 * np.log(u)) * np.cos(2.0 * np.pi * v), -FARTHEST, FARTHEST)


def _mixed(word: Words) -> Words:
    """Mix the bits of words (splitmix64; Steele et al., 2014, https://doi.org/10.1145/2660193.2660195)."""
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


class Perturbation:
    """What makes the members of catchments differ; the first member of each is left as it is.

    Parameters
    ----------
    options : Ensemble
    catchments : sequence of str
        Whose rows stand one after the other, with all members of one together.
    inputs : ForcingInputs
    start : float
        Seconds since 1970 of time zero; 0 where dates are not known.

    Raises
    ------
    ConfigError
        For a forcing that the component does not have.
    """

    def __init__(
        self, options: Ensemble, catchments: Sequence[str], inputs: ForcingInputs, start: float
    ) -> None:
        self._start, self._period = start, options.period
        symbols = {
            v.symbol: k for k, name in enumerate(inputs.names) for v in inputs.forcings if v.name == name
        }
        symbols |= {name: k for k, name in enumerate(inputs.names)}
        unknown = [name for name in options.forcing if name not in symbols]
        if unknown:
            raise ConfigError(
                f"ensemble.forcing: the component has no input {', '.join(unknown)}; "
                f"it has {', '.join(symbols)}"
            )
        self._spreads = [(symbols[name], spread) for name, spread in options.forcing.items()]
        #: What cannot be negative gets a factor, all else an addend.
        self._limits = [inputs.limits(k) for k, _ in self._spreads]
        members = np.arange(options.members, dtype=np.uint64)
        ids = np.array([crc32(name.encode()) for name in catchments], dtype=np.uint64)
        seed = _mixed(np.array([options.seed], dtype=np.uint64) + np.uint64(_GOLDEN))
        self._keys = _mixed(seed ^ (ids[:, None] << np.uint64(16)) ^ members).reshape(-1)
        self._differs = np.tile(members > 0, len(ids))

    def forcing(self, values: FloatArray, rows: NDArray[np.int_] | slice, now: float) -> FloatArray:
        """Return forcing ``[variable, rows]`` of a time in seconds, perturbed; rows are of the table."""
        if not self._spreads:
            return values
        period = int((self._start + now) // self._period)
        values = values.copy()
        for (k, spread), (lower, upper) in zip(self._spreads, self._limits, strict=True):
            drawn = spread * self._drawn(rows, period, k)
            if lower >= 0:
                moved = values[k] * np.where(drawn == 0, 1.0, np.exp(drawn - spread**2 / 2))
            else:
                moved = values[k] + drawn
            differs = self._differs[rows]
            # What is not legal as it came is left to be refused.
            legal = differs & (values[k] >= lower) & (values[k] <= upper)
            values[k] = np.where(legal, np.clip(moved, lower, upper), values[k])
        return values

    def state(self, state: State, spreads: Mapping[str, float], rows: NDArray[np.int_] | slice) -> State:
        """Return the stores of a state that `spreads` names, by a factor each."""
        found = {}
        for number, (name, spread) in enumerate(spreads.items()):
            drawn = spread * self._drawn(rows, -1 - number, 0)
            factor = torch.from_numpy(np.where(self._differs[rows], np.exp(drawn - spread**2 / 2), 1.0))
            old = state[name]
            found[name] = old * factor.to(old.dtype).reshape(-1, *[1] * (old.ndim - 1))
        return found

    def _drawn(self, rows: NDArray[np.int_] | slice, period: int, quantity: int) -> FloatArray:
        word = np.array([(period * 256 + quantity) % 2**64], dtype=np.uint64)
        return normal(_mixed(self._keys[rows] ^ _mixed(word)))
