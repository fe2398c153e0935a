"""From a dataset to what training needs: checks, statistics, tensors, random windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ..dataset import Dataset
from ..delta_model import DeltaModel
from ..errors import AttributeTableError, ForcingError
from ..normalisation import Statistic
from ..variables import Variable, variable_table


def require(dataset: Dataset, model: DeltaModel) -> None:
    """Check that a model's inputs are all there, finite, and physically possible.

    Raises
    ------
    ForcingError, AttributeTableError
        Naming basin, variable and first date.
    """
    for variable in variable_table(model):
        if variable.kind == "input":
            _require_forcing(dataset, variable)
        elif variable.kind == "attribute":
            _require_attribute(dataset, variable)


def _require_forcing(dataset: Dataset, variable: Variable) -> None:
    name = variable.symbol
    if name not in dataset.forcing:
        raise ForcingError(f"the model needs forcing {name}; the data has {', '.join(dataset.forcing)}")
    values = dataset.forcing[name]
    good = (values >= variable.lower) & (values <= variable.upper) & np.isfinite(values)
    if not good.all():
        column = int((~good).any(0).argmax())
        step = int((~good[:, column]).argmax())
        value, others = values[step, column], int((~good[:, column]).sum()) - 1
        what = "is missing" if np.isnan(value) else f"is {value:g} {variable.model_units}"
        raise ForcingError(
            f"basin {dataset.ids[column]}: {name} {what} on {dataset.times[step]} (and is unusable on "
            f"{others} other steps); mend it, leave the basin out, or choose other periods"
        )


def _require_attribute(dataset: Dataset, variable: Variable) -> None:
    name = variable.symbol
    if name not in dataset.attributes:
        there = ", ".join(dataset.attributes)
        raise AttributeTableError(f"the model needs attribute {name}; the data has {there}")
    good = np.isfinite(dataset.attributes[name])
    if not good.all():
        raise AttributeTableError(f"basin {dataset.ids[int((~good).argmax())]}: attribute {name} is missing")


def statistics(dataset: Dataset, names: Sequence[str]) -> dict[str, Statistic]:
    """Of the named forcings and attributes of a training split.

    Precipitation, which is skewed, is transformed first (see :class:`Statistic`). Names that
    the data lacks are left to :func:`require`.
    """
    result = {}
    there = dataset.forcing | dataset.attributes
    for name in names:
        if name not in there:
            continue
        values = there[name]
        transform: Literal["log_sqrt", "none"] = "log_sqrt" if name == "P" else "none"
        if transform == "log_sqrt":
            values = np.log10(np.sqrt(values) + 0.1)
        std = float(values.std())
        # What never varies tells nothing; it becomes zero, not infinity.
        std = std if std > 1e-6 * (abs(float(values.mean())) + 1e-6) else 1.0
        result[name] = Statistic(float(values.mean()), std, transform, dataset.units.get(name, ""))
    return result


@dataclass(frozen=True)
class Tensors:
    """A dataset's series and attributes as tensors: ``[time, basins]`` and ``[basins]``."""

    forcing: dict[str, Tensor]
    attributes: dict[str, Tensor]
    target: Tensor


def tensors(
    dataset: Dataset,
    forcings: Sequence[str],
    attributes: Sequence[str],
    target: str,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str | None = None,
) -> Tensors:
    """What a model needs of a dataset."""

    def tensor(values: np.ndarray) -> Tensor:
        return torch.as_tensor(values, dtype=dtype, device=device)

    return Tensors(
        {name: tensor(dataset.forcing[name]) for name in forcings},
        {name: tensor(dataset.attributes[name]) for name in attributes},
        tensor(dataset.target[target]),
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
    target: Tensor


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
        if length > len(data.target):
            raise ForcingError(
                f"windows of {length} steps do not fit into the {len(data.target)} steps of training data; "
                "choose a shorter window or a longer period"
            )
        seen = (~data.target.isnan()).cpu().long().cumsum(0)
        seen = torch.cat([torch.zeros_like(seen[:1]), seen])
        last = len(data.target) - length
        counts = seen[length : length + last + 1] - seen[spin_up : spin_up + last + 1]
        self.starts = [counts[:, basin].nonzero().squeeze(-1) for basin in range(counts.shape[1])]
        self.basins = torch.tensor([b for b, starts in enumerate(self.starts) if len(starts)])
        if not len(self.basins):
            raise ForcingError("there is no observed flow in the training period after its spin-up")

    def __iter__(self) -> Iterator[Batch]:
        queue = torch.empty(0, dtype=torch.int64)
        while True:
            while len(queue) < self.rows:
                order = torch.randperm(len(self.basins), generator=self.generator)
                queue = torch.cat([queue, self.basins[order]])
            basins, queue = queue[: self.rows], queue[self.rows :]
            share = torch.rand(self.rows, generator=self.generator)
            starts = torch.stack(
                [self.starts[b][int(u * len(self.starts[b]))] for b, u in zip(basins, share, strict=True)]
            )
            yield self._batch(basins, starts)

    def _batch(self, basins: Tensor, starts: Tensor) -> Batch:
        device = self.data.target.device
        time = (torch.arange(self.length).unsqueeze(-1) + starts).to(device)
        rows = basins.to(device)
        return Batch(
            basins,
            starts,
            {name: values[time, rows] for name, values in self.data.forcing.items()},
            {name: values[rows] for name, values in self.data.attributes.items()},
            self.data.target[time, rows],
        )
