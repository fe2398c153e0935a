"""Normalisation of network inputs and outputs."""

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
#: Relative change by a file of single precision or seven digits.
ROUNDING = 1e-6


@dataclass(frozen=True)
class FeatureStatistics:
    """Statistics of one network input or output over the training data.

    Parameters
    ----------
    mean, std : float
        Mean and standard deviation of the transformed value; the network sees
        ``(transform(value) - mean) / std``.
    transform : {"none", "log_sqrt"}
        ``log_sqrt`` is ``log10(sqrt(value) + 0.1)`` (Feng et al., 2020), for skewed water fluxes.
    units : str
        Units of the untransformed value in training.
    lower, upper : float
        Range of the untransformed value in training; infinite where it is unknown.
    """

    mean: float = 0.0
    std: float = 1.0
    transform: Transform = "none"
    units: str = ""
    lower: float = -inf
    upper: float = inf

    def __post_init__(self) -> None:
        if self.transform not in get_args(Transform):
            available = ", ".join(get_args(Transform))
            raise ConfigError(f"transform is {self.transform!r}; it must be one of {available}")
        for key, value in (("mean", self.mean), ("std", self.std)):
            if not isinstance(value, (int, float)) or not isfinite(value):
                raise ConfigError(f"{key} is {value!r}; it must be a finite number")
        if self.std < 0:
            raise ConfigError(f"std is {self.std:g}; it must not be negative")
        if not all(isinstance(limit, (int, float)) for limit in (self.lower, self.upper)) or not (
            self.lower <= self.upper
        ):
            raise ConfigError(f"lower {self.lower!r} and upper {self.upper!r} are not a range")

    @property
    def typical(self) -> float:
        """The mean of the transformed value in the units of the untransformed, within its range."""
        shown = torch.tensor([0.0], dtype=torch.float64)
        value = float(Normaliser(["value"], {"value": self}).inverse(shown))
        return min(max(value, self.lower), self.upper)

    def describe(self) -> dict[str, Any]:
        """Return the constructor's arguments as plain data, without unknown limits."""
        return {k: v for k, v in asdict(self).items() if not (k in ("lower", "upper") and abs(v) == inf)}

    def distance(self, values: FloatingArray) -> FloatArray:
        """Compute how far values are outside the range in training, as networks see it.

        Returns
        -------
        ndarray
            In widths of the range, which count as at least one standard deviation; zero within the
            range, and beside it by rounding.
        """
        values = np.asarray(values, dtype=np.float64)
        nearest = np.clip(values, self.lower, self.upper)
        rounding = ROUNDING * max((abs(v) for v in (self.lower, self.upper) if isfinite(v)), default=0.0)
        outside = ~(np.abs(values - nearest) <= rounding)
        if not outside.any():
            return np.zeros_like(values)
        normalise = Normaliser(["value"], {"value": self})
        shown, near, edges = (
            normalise({"value": torch.tensor(v, dtype=torch.float64)})[..., 0].numpy()
            for v in (values, nearest, (self.lower, self.upper))
        )
        # An open range has no width.
        width = max(edges[1] - edges[0], 1.0) if np.isfinite(edges).all() else 1.0
        # A value without a transform (the root of a negative number) is infinitely far.
        return np.where(outside, np.nan_to_num(np.abs(shown - near), nan=inf) / width, 0.0)


class Constants:
    """A constant vector, kept in float64 and handed out in any dtype and on any device.

    A buffer of the module would follow its weights to float32 and lose digits that
    float64 physics needs.
    """

    def __init__(self, values: Sequence[float]) -> None:
        self._copies = {("cpu", torch.float64): torch.tensor(list(values), dtype=torch.float64)}

    def like(self, tensor: Tensor) -> Tensor:
        """Return the constants in the dtype and on the device of `tensor`."""
        key = (str(tensor.device), tensor.dtype)
        if key in self._copies:
            return self._copies[key]
        copy = self._copies["cpu", torch.float64].to(tensor.device, tensor.dtype)
        # What is made while a program is traced has no values.
        if not torch.compiler.is_compiling():
            self._copies[key] = copy
        return copy


class Normaliser:
    """Normalisation of a last axis of named inputs.

    Parameters
    ----------
    names : sequence of str
        Names along the last axis, in order.
    statistics : mapping of str to FeatureStatistics
        Names without statistics pass unchanged.
    """

    def __init__(self, names: Sequence[str], statistics: Mapping[str, FeatureStatistics]) -> None:
        by_column = [statistics.get(name, FeatureStatistics()) for name in names]
        self.names = tuple(names)
        self._log = [i for i, s in enumerate(by_column) if s.transform == "log_sqrt"]
        # An input that never varied in training has no spread to divide by, and is shown as zero.
        scale = [1.0 / s.std if s.std else 0.0 for s in by_column]
        self._scale = Constants(scale)
        self._shift = Constants([-s.mean * k for s, k in zip(by_column, scale, strict=True)])
        self._std = Constants([s.std for s in by_column])
        self._mean = Constants([s.mean for s in by_column])

    def __call__(self, values: Mapping[str, Tensor]) -> Tensor:
        """Stack the named tensors along a new last axis, normalised."""
        columns = [values[name] for name in self.names]
        for i in self._log:
            # The root has no finite slope at zero: on dry days the slope is taken to be zero.
            dry = columns[i] == 0
            root = torch.where(dry, 0.0, torch.where(dry, 1.0, columns[i]).sqrt())
            columns[i] = torch.log10(root + 0.1)
        stacked = torch.stack(columns, dim=-1)
        return torch.addcmul(self._shift.like(stacked), stacked, self._scale.like(stacked))

    def inverse(self, normalised: Tensor) -> Tensor:
        """Convert a normalised last axis back to values in their units."""
        values = torch.addcmul(self._mean.like(normalised), normalised, self._std.like(normalised))
        if not self._log:
            return values
        columns = list(values.unbind(-1))
        for i in self._log:
            columns[i] = torch.relu(10.0 ** columns[i] - 0.1) ** 2
        return torch.stack(columns, dim=-1)


def units_of(name: str, statistics: Mapping[str, FeatureStatistics]) -> str:
    """Return the units of a network's input or output; "1" where they are not given."""
    return (statistics[name].units if name in statistics else "") or "1"


def build_statistics(
    descriptions: Mapping[str, Mapping[str, Any] | FeatureStatistics],
) -> dict[str, FeatureStatistics]:
    """Build statistics by name from plain data; ConfigError names the first that is not valid."""
    return {name: _build_statistic(name, description) for name, description in descriptions.items()}


def _build_statistic(name: str, description: Mapping[str, Any] | FeatureStatistics) -> FeatureStatistics:
    if isinstance(description, FeatureStatistics):
        return description
    try:
        return FeatureStatistics(**description)
    except (TypeError, ConfigError) as error:
        raise ConfigError(f"statistics.{name}: {error}") from error
