"""How network inputs are normalised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, get_args

import torch
from torch import Tensor

from .errors import ConfigError

Transform = Literal["none", "log_sqrt"]


@dataclass(frozen=True)
class Statistic:
    """Of one network input over the training data.

    Parameters
    ----------
    mean, std : float
        Of the transformed value; the input is ``(transform(value) - mean) / std``.
    transform : {"none", "log_sqrt"}
        ``log_sqrt`` is ``log10(sqrt(value) + 0.1)`` (Feng et al., 2020), for skewed water fluxes.
    units : str
        Of the untransformed value, as the model was trained.
    """

    mean: float = 0.0
    std: float = 1.0
    transform: Transform = "none"
    units: str = ""

    def __post_init__(self) -> None:
        if self.transform not in get_args(Transform):
            known = ", ".join(get_args(Transform))
            raise ConfigError(f"transform is {self.transform!r}; it must be one of {known}")
        for key, value in (("mean", self.mean), ("std", self.std)):
            if not isinstance(value, (int, float)) or not isfinite(value):
                raise ConfigError(f"{key} is {value!r}; it must be a finite number")
        if self.std < 0:
            raise ConfigError(f"std is {self.std:g}; it must not be negative")


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

    def __init__(self, names: Sequence[str], statistics: Mapping[str, Statistic]) -> None:
        of = [statistics.get(name, Statistic()) for name in names]
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
            # The root has no slope at zero: dry days take that of a number that rounds away.
            tiny = torch.finfo(columns[i].dtype).tiny
            columns[i] = torch.log10(torch.where(columns[i] == 0, tiny, columns[i]).sqrt() + 0.1)
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
