"""How network inputs are normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, isfinite
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatArray, FloatingArray
from ..errors import ConfigError

Transform = Literal["none", "log_sqrt"]
#: Relative: what a file of single precision or seven digits changes.
ROUNDING = 1e-6


@dataclass(frozen=True)
class FeatureStatistics:
    """Of one network input over the training data.

    Parameters
    ----------
    mean, std : float
        Of the transformed value; the input is ``(transform(value) - mean) / std``.
    transform : {"none", "log_sqrt"}
        ``log_sqrt`` is ``log10(sqrt(value) + 0.1)`` (Feng et al., 2020), for skewed water fluxes.
    units : str
        Of the untransformed value, as the model was trained.
    lower, upper : float
        The range of the untransformed value in training; without limits where it is not known.
    """

    mean: float = 0.0
    std: float = 1.0
    transform: Transform = "none"
    units: str = ""
    lower: float = -inf
    upper: float = inf

    def __post_init__(self) -> None:
        if self.transform not in get_args(Transform):
            known = ", ".join(get_args(Transform))
            raise ConfigError(f"transform is {self.transform!r}; it must be one of {known}")
        for key, value in (("mean", self.mean), ("std", self.std)):
            if not isinstance(value, (int, float)) or not isfinite(value):
                raise ConfigError(f"{key} is {value!r}; it must be a finite number")
        if self.std < 0:
            raise ConfigError(f"std is {self.std:g}; it must not be negative")
        if not all(isinstance(limit, (int, float)) for limit in (self.lower, self.upper)) or not (
            self.lower <= self.upper
        ):
            raise ConfigError(f"lower {self.lower!r} and upper {self.upper!r} are no range")

    def describe(self) -> dict[str, Any]:
        """The constructor's arguments as plain data; a limit that is not known is left out."""
        return {k: v for k, v in asdict(self).items() if not (k in ("lower", "upper") and abs(v) == inf)}

    def distance(self, values: FloatingArray) -> FloatArray:
        """How far values lie outside of the range in training, as networks see it.

        Returns
        -------
        ndarray
            In widths of the range, at least standard deviations; zero within it and by rounding beside it.
        """
        values = np.asarray(values, dtype=np.float64)
        nearest = np.clip(values, self.lower, self.upper)
        rounding = ROUNDING * max((abs(v) for v in (self.lower, self.upper) if isfinite(v)), default=0.0)
        outside = ~(np.abs(values - nearest) <= rounding)
        if not outside.any():
            return np.zeros_like(values)
        seen = Normaliser(["value"], {"value": self})
        shown, near, edges = (
            seen({"value": torch.tensor(v, dtype=torch.float64)})[..., 0].numpy()
            for v in (values, nearest, (self.lower, self.upper))
        )
        # An open range has no width.
        width = max(edges[1] - edges[0], 1.0) if np.isfinite(edges).all() else 1.0
        # What has no transform (a root of less than nothing) is nowhere near.
        return np.where(outside, np.nan_to_num(np.abs(shown - near), nan=inf) / width, 0.0)


class Constants:
    """A constant vector, kept in float64 and handed out in any dtype and on any device.

    A buffer of the module would follow its weights to float32 and lose digits that
    float64 physics needs.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._copies = {("cpu", torch.float64): torch.tensor(list(values), dtype=torch.float64)}

    def like(self, tensor: Tensor) -> Tensor:
        """The constants in the dtype and on the device of `tensor`."""
        key = (str(tensor.device), tensor.dtype)
        if key not in self._copies:
            self._copies[key] = self._copies["cpu", torch.float64].to(tensor.device, tensor.dtype)
        return self._copies[key]


class Normaliser:
    """Normalises a last axis of named inputs.

    Parameters
    ----------
    names : sequence of str
        Of the last axis, in order.
    statistics : mapping of str to Statistic
        Names that it lacks pass unchanged.
    """

    def __init__(self, names: Sequence[str], statistics: Mapping[str, FeatureStatistics]) -> None:
        of = [statistics.get(name, FeatureStatistics()) for name in names]
        self.names = tuple(names)
        self._log = [i for i, s in enumerate(of) if s.transform == "log_sqrt"]
        # What never varied in training has no spread to divide by, and is shown as zero.
        scale = [1.0 / s.std if s.std else 0.0 for s in of]
        self._scale = Constants(scale)
        self._shift = Constants([-s.mean * k for s, k in zip(of, scale, strict=True)])
        self._std = Constants([s.std for s in of])
        self._mean = Constants([s.mean for s in of])

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """Stack the named tensors along a new last axis, normalised."""
        columns = [values[name] for name in self.names]
        for i in self._log:
            # The root has no slope at zero: on dry days it is taken to be zero.
            dry = columns[i] == 0
            root = torch.where(dry, 0.0, torch.where(dry, 1.0, columns[i]).sqrt())
            columns[i] = torch.log10(root + 0.1)
        stacked = torch.stack(columns, dim=-1)
        return torch.addcmul(self._shift.like(stacked), stacked, self._scale.like(stacked))

    def inverse(self, normalised: Tensor) -> Tensor:
        """Values in their units from a normalised last axis."""
        values = torch.addcmul(self._mean.like(normalised), normalised, self._std.like(normalised))
        if not self._log:
            return values
        columns = list(values.unbind(-1))
        for i in self._log:
            columns[i] = torch.relu(10.0 ** columns[i] - 0.1) ** 2
        return torch.stack(columns, dim=-1)


def units_of(name: str, statistics: Mapping[str, FeatureStatistics]) -> str:
    """Look up the units of a network's input or output; "1" where nothing is said."""
    return (statistics[name].units if name in statistics else "") or "1"
