"""Several processes that train one model, as ``torchrun`` starts them.

Every process draws the same batch, simulates its share of the rows and gets the flow that the others
simulated. So the loss is that of the whole batch, whatever it averages over, and the sum of the
processes' gradients is the gradient that one process would compute.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import ConfigError
from ..processes import gathered, joined, rank, size

__all__ = ["all_rows", "broadcast", "gathered", "processes", "rank", "share", "size", "sum_gradients"]


@contextmanager
def processes(device: str) -> Iterator[torch.device]:
    """Join the other processes if ``torchrun`` started this one; yield the device to train on."""
    try:
        chosen = torch.device(device)
    except RuntimeError as problem:
        raise ConfigError(f"training.device is {device!r}; it must be cpu, cuda or cuda:0") from problem
    if chosen.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(f"training.device is {device!r}, but PyTorch finds no GPU; choose cpu")
    if chosen.type == "cuda" and "LOCAL_RANK" in os.environ and not dist.is_initialized():
        chosen = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(chosen)
    # Of processes that train together none works long alone: PyTorch's usual patience tells of a hang.
    with joined("nccl" if chosen.type == "cuda" else "gloo", patience=None):
        yield chosen


def share(rows: int) -> slice:
    """Return this process's rows of a batch."""
    if rows % size():
        raise ConfigError(f"training.batch_size is {rows}; it must be a multiple of the {size()} processes")
    each = rows // size()
    return slice(rank() * each, (rank() + 1) * each)


def all_rows(values: Tensor) -> Tensor:
    """Join values ``[..., rows]`` of all processes; the gradient flows to this process's alone."""
    if size() == 1:
        return values
    parts = gathered(values.detach())
    parts[rank()] = values
    return torch.cat(parts, dim=-1)


def sum_gradients(model: nn.Module) -> None:
    """Give every process the sum of all gradients."""
    if size() == 1:
        return
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in weights:
        if weight.grad is None:
            weight.grad = torch.zeros_like(weight)
    flat = torch.cat([weight.grad.flatten() for weight in weights if weight.grad is not None])
    dist.all_reduce(flat)
    for weight, total in zip(weights, flat.split([w.numel() for w in weights]), strict=True):
        weight.grad = total.view_as(weight)


def broadcast(value: float, device: torch.device) -> float:
    """Return the value of the first process."""
    if size() == 1:
        return value
    tensor = torch.tensor(value, dtype=torch.float64, device=device)
    dist.broadcast(tensor, 0)
    return float(tensor)
