"""From a dataset to the input of a training: checks, statistics, tensors, random windows."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..arrays import FloatingArray
from ..errors import AttributeTableError, ConfigError, ForcingError
from ..io.timeseries import BasinDataset
from ..model.delta_model import DeltaModel
from ..model.normalisation import FeatureStatistics
from ..model.roles import ParameterRole
from ..model.variables import Variable, variable_table
from ..runtime.catchments import implausible

#: Limits of observations, mm in a step, beyond every record; below zero are marks of missing values, and what
#: rounding leaves.
OBSERVED = {"Q": (-1e-3, 2500.0), "SWE": (-1e-3, 1e5)}


def require(
    dataset: BasinDataset,
    model: DeltaModel,
    targets: Sequence[str] = (),
    columns: Sequence[int] | None = None,
) -> None:
    """Check that a model's inputs have its step, and are complete, finite, and physically possible.

    Parameters
    ----------
    dataset : BasinDataset
    model : DeltaModel
    targets : sequence of str
        Fluxes of the model that the data must have observed.
    columns : sequence of int, optional
        The basins to check; all by default.

    Raises
    ------
    ForcingError, AttributeTableError
        Naming basin, variable and first date, or both steps.
    ConfigError
        Naming a target that one of them does not have.
    """
    if dataset.step != model.step:
        raise ForcingError(
            f"the data step by {dataset.step:g} s, the model by {model.step:g} s; give data of its step"
        )
    fluxes = [flux.name for flux in model.declaration.fluxes]
    for name in targets:
        for owner, names in (("the model", fluxes), ("the data", dataset.target)):
            if name not in names:
                held = f"has {', '.join(names)}" if names else "has none"
                if owner == "the data" and name in dataset.forcing:
                    held = (
                        f'has it as forcing: mark it as observed by the attribute role = "target" of {name}'
                    )
                raise ConfigError(f"training.loss compares {name}; {owner} {held}")
    columns = range(len(dataset.ids)) if columns is None else columns
    for name in targets:
        _require_observed(dataset, name, columns)
    for variable in variable_table(model):
        if variable.kind == "input":
            _require_forcing(dataset, variable, columns)
        elif variable.kind == "attribute":
            _require_attribute(dataset, variable, columns)


def require_gradient(model: DeltaModel, spin_up: int) -> None:
    """Check that no parameters are already held when the gradient begins, after `spin_up` steps.

    Raises
    ------
    ConfigError
        Naming the network whose static parameters would never be learned.
    """
    for role in model.roles:
        if isinstance(role, ParameterRole) and role.inputs and role.static and role.freeze_after <= spin_up:
            some = ", ".join(role.static[:3]) + (", ..." if len(role.static) > 3 else "")
            raise ConfigError(
                f"network {role.network!r} holds its static parameters ({some}) from step "
                f"{role.freeze_after} on, and the spin-up of {spin_up} steps has no gradient, so they would "
                "never be learned; write training.spin_up_gradient: true, a larger freeze_after in the role, "
                "or give them a network without inputs that change in time"
            )


def _require_forcing(dataset: BasinDataset, variable: Variable, columns: Sequence[int]) -> None:
    name = variable.symbol
    if name not in dataset.forcing:
        raise ForcingError(f"the model needs forcing {name}; the data has {', '.join(dataset.forcing)}")
    for column in columns:
        values = dataset.forcing[name][:, column]
        bad = np.flatnonzero(~((values >= variable.lower) & (values <= variable.upper) & np.isfinite(values)))
        if len(bad):
            value = values[bad[0]]
            what = "is missing" if np.isnan(value) else f"is {value:g} {variable.model_units}"
            raise ForcingError(
                f"basin {dataset.ids[column]}: {name} {what} on {dataset.times[bad[0]]} (and is unusable "
                f"on {len(bad) - 1} other steps); mend it, leave the basin out, choose other periods, or "
                "see data.missing_forcing"
            )


def _require_observed(dataset: BasinDataset, name: str, columns: Sequence[int]) -> None:
    """Check that every observation is possible, unlike after a division by zero; NaN is masked."""
    for column in columns:
        values = dataset.target[name][:, column].astype(np.float64)
        low, high = OBSERVED.get(name, (-inf, inf))
        wrong = implausible(values) | (values < low) | (values > high)
        bad = np.flatnonzero(wrong & ~np.isnan(values))
        if len(bad):
            value = values[bad[0]]
            what = "infinite" if np.isinf(value) else f"{value:g}, which nothing is,"
            if not implausible(values[bad[:1]]).any():
                limits = f"outside {low:g} to {high:g} {dataset.units.get(name, '')}"
                what = f"{value:g}, {limits} (are its units and the area right?),"
            raise ForcingError(
                f"basin {dataset.ids[column]}: observed {name} is {what} on {dataset.times[bad[0]]} "
                f"(and on {len(bad) - 1} other steps); mark it as missing (NaN), or leave the basin out"
            )


def _require_attribute(dataset: BasinDataset, variable: Variable, columns: Sequence[int]) -> None:
    name = variable.symbol
    if name not in dataset.attributes:
        available = ", ".join(dataset.attributes)
        raise AttributeTableError(f"the model needs attribute {name}; the data has {available}")
    for column in columns:
        value = float(dataset.attributes[name][column])
        if np.isnan(value):
            raise AttributeTableError(f"basin {dataset.ids[column]}: attribute {name} is missing")
        if implausible(np.array([value])).any() or not variable.lower <= value <= variable.upper:
            raise AttributeTableError(
                f"basin {dataset.ids[column]}: attribute {name} is {value:g}, a mark of missing values or "
                "impossible; correct it, or leave the basin out"
            )


def statistics(
    dataset: BasinDataset, names: Sequence[str], columns: Sequence[int] | None = None
) -> dict[str, FeatureStatistics]:
    """Compute statistics of the named forcings, attributes and targets of a training split.

    Precipitation, which is skewed, is transformed first (see :class:`FeatureStatistics`). Attributes get the
    range of the training basins. Names that the data lacks are left to :func:`require`.

    Parameters
    ----------
    dataset : BasinDataset
        The training period.
    names : sequence of str
    columns : sequence of int, optional
        The training basins; all by default.
    """
    columns = range(len(dataset.ids)) if columns is None else columns
    series = dataset.forcing | dataset.target
    result = {}
    for name in names:
        transform: Literal["log_sqrt", "none"] = "log_sqrt" if name == "P" else "none"
        if name in series:
            mean, std = _moments(series[name], columns, transform == "log_sqrt")
            limits = (-inf, inf)  # models are run for weather that was never seen
        elif name in dataset.attributes:
            values = dataset.attributes[name][list(columns)]
            mean, std = float(values.mean()), float(values.std())
            limits = (float(values.min()), float(values.max()))
        else:
            continue
        # A constant carries no information; it becomes zero, not infinity.
        if not std > 1e-6 * (abs(mean) + 1e-6):
            std = 1.0 if name in series else 0.0
        result[name] = FeatureStatistics(mean, std, transform, dataset.units.get(name, ""), *limits)
    return result


def _moments(series: FloatingArray, columns: Sequence[int], skewed: bool) -> tuple[float, float]:
    """Compute mean and standard deviation, a basin at a time: the series may be larger than memory."""
    moments = []
    for column in columns:
        values = series[:, column].astype(np.float64)
        values = values[~np.isnan(values)]
        if skewed:  # what is below zero is left to `require`
            values = np.log10(np.sqrt(values[values >= 0]) + 0.1)
        if len(values):
            moments.append((values.mean(), values.var()))
    if not moments:
        return 0.0, 1.0
    means, variances = np.array(moments).T
    return float(means.mean()), float(np.sqrt(variances.mean() + means.var()))


@dataclass(frozen=True)
class Tensors:
    """A dataset's series and attributes as tensors: ``[time, basins]`` and ``[basins]``.

    Windows are drawn from the basins in `columns`, and moved to `device`.
    """

    forcing: dict[str, Tensor]
    attributes: dict[str, Tensor]
    target: dict[str, Tensor]
    columns: Sequence[int] | None = None
    device: torch.device | str | None = None


def tensors(
    dataset: BasinDataset,
    forcings: Sequence[str],
    attributes: Sequence[str],
    targets: Sequence[str],
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
    columns: Sequence[int] | None = None,
) -> Tensors:
    """Return a dataset's named variables as tensors; series that are mapped from disk stay there."""

    def tensor(values: FloatingArray) -> Tensor:
        if not isinstance(values, np.memmap):
            return torch.as_tensor(values, dtype=dtype, device=device)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The given NumPy array is not writable")
            return torch.as_tensor(values, dtype=dtype)

    return Tensors(
        {name: tensor(dataset.forcing[name]) for name in forcings},
        {name: tensor(dataset.attributes[name]) for name in attributes},
        {name: tensor(dataset.target[name]) for name in targets},
        columns,
        device,
    )


@dataclass(frozen=True)
class Batch:
    """Random windows: rows are pairs of a basin and a start.

    ``basins`` and ``starts`` are indices ``[rows]``; the series are ``[time, rows]``.
    """

    basins: Tensor
    starts: Tensor
    forcing: dict[str, Tensor]
    attributes: dict[str, Tensor]
    target: dict[str, Tensor]


class Starts:
    """Possible starts of windows of a basin, kept as runs of steps: a list would outgrow the series."""

    def __init__(self, possible: Tensor) -> None:
        edges = np.flatnonzero(np.diff(possible.numpy(), prepend=False, append=False))
        self._first, ends = edges[::2], edges[1::2]
        self._counted = np.cumsum(ends - self._first)

    def __len__(self) -> int:
        return int(self._counted[-1]) if len(self._counted) else 0

    def __getitem__(self, k: int) -> int:
        """Return the k-th start."""
        run = int(np.searchsorted(self._counted, k, side="right"))
        before = self._counted[run - 1] if run else 0
        return int(self._first[run] + k - before)


class Windows:
    """Endless random windows, every basin equally often.

    Parameters
    ----------
    data : Tensors
    length, spin_up : int
        Steps of a window, and how many of them come before the loss. A window is only
        drawn where something was observed after its spin-up.
    rows : int
        Windows in a batch.
    generator : torch.Generator
        On the CPU.

    Raises
    ------
    ForcingError
        If no window fits, or nothing was observed.
    """

    def __init__(
        self, data: Tensors, length: int, spin_up: int, rows: int, generator: torch.Generator
    ) -> None:
        self.data, self.length, self.rows, self.generator = data, length, rows, generator
        self.queue = torch.empty(0, dtype=torch.int64)
        first = next(iter(data.target.values()))
        time = len(first)
        if length > time:
            raise ForcingError(
                f"windows of {length} steps do not fit into the {time} steps of training data; "
                "choose a shorter window or a longer period"
            )
        columns = range(first.shape[1]) if data.columns is None else data.columns
        starts = {column: Starts(self._possible(column, spin_up)) for column in columns}
        self.starts = {column: possible for column, possible in starts.items() if len(possible)}
        self.basins = torch.tensor([*self.starts], dtype=torch.int64)
        if not len(self.basins):
            what = " or ".join(data.target)
            raise ForcingError(f"no observed {what} in the training period after its spin-up")

    def _possible(self, column: int, spin_up: int) -> Tensor:
        """Return for each start whether a window of a basin has an observation after its spin-up."""
        each = [~values[:, column].isnan() for values in self.data.target.values()]
        seen = torch.stack(each).any(0).cpu().long().cumsum(0)
        seen = torch.cat([seen.new_zeros(1), seen])
        last = len(seen) - self.length
        return seen[self.length :] > seen[spin_up : spin_up + last]

    def __iter__(self) -> Iterator[Batch]:
        while True:
            while len(self.queue) < self.rows:
                order = torch.randperm(len(self.basins), generator=self.generator)
                self.queue = torch.cat([self.queue, self.basins[order]])
            basins, self.queue = self.queue[: self.rows], self.queue[self.rows :]
            share = torch.rand(self.rows, generator=self.generator)
            possible = [self.starts[basin] for basin in basins.tolist()]
            starts = [s[int(u * len(s))] for s, u in zip(possible, share, strict=True)]
            yield self._batch(basins, torch.tensor(starts))

    def _batch(self, basins: Tensor, starts: Tensor) -> Batch:
        data, time = self.data, torch.arange(self.length).unsqueeze(-1) + starts

        def part(values: Tensor, *index: Tensor) -> Tensor:
            return values[tuple(i.to(values.device) for i in index)].to(data.device or values.device)

        return Batch(
            basins,
            starts,
            {name: part(values, time, basins) for name, values in data.forcing.items()},
            {name: part(values, basins) for name, values in data.attributes.items()},
            {name: part(values, time, basins) for name, values in data.target.items()},
        )
