"""Several processes that share one piece of work, as ``torchrun`` starts them.

What counts are its environment variables, which Slurm and MPI can set as well: ``RANK``, ``WORLD_SIZE``,
``LOCAL_RANK``, ``MASTER_ADDR``, ``MASTER_PORT``.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from itertools import pairwise
from types import FrameType

import torch
import torch.distributed as dist
from torch import Tensor

from .errors import ConfigError, DmgBmiError

log = logging.getLogger("dmg_bmi")
#: One process may have much left to do where the others were done before they were stopped.
PATIENCE = timedelta(days=30)


@contextmanager
def joined(backend: str = "gloo", patience: timedelta | None = PATIENCE) -> Iterator[None]:
    """Join the other processes if ``torchrun`` started this one; PyTorch's usual patience without one."""
    if "WORLD_SIZE" not in os.environ or dist.is_initialized():
        yield
        return
    dist.init_process_group(backend, timeout=patience)
    try:
        yield
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Return the number of this process; 0 writes."""
    return dist.get_rank() if dist.is_initialized() else 0


def size() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(rows: int, together: int = 1) -> list[slice]:
    """Cut rows into the shares of the processes, in their order.

    Parameters
    ----------
    rows : int
    together : int
        So many neighbours stay in one share, where there are enough for all.

    Raises
    ------
    ConfigError
        If there are fewer rows than processes.
    """
    if rows < size():
        raise ConfigError(f"{size()} processes have no use for {rows} catchments; start at most as many")
    unit = together if rows >= together * size() else 1
    units = -(-rows // unit)
    edges = [min(rows, units * k // size() * unit) for k in range(size() + 1)]
    return [slice(begin, end) for begin, end in pairwise(edges)]


def gathered(values: Tensor) -> list[Tensor]:
    """Gather values of one shape and dtype from every process."""
    if size() == 1:
        return [values]
    parts = [torch.empty_like(values) for _ in range(size())]
    dist.all_gather(parts, values.contiguous())
    return parts


def wait() -> None:
    """Wait for all other processes.

    Raises
    ------
    DmgBmiError
        If one of them has ended.
    """
    if size() == 1:
        return
    try:
        dist.barrier()
    except RuntimeError as problem:
        raise DmgBmiError(
            f"process {rank()} of {size()}: another one has ended; see its message"
        ) from problem


@contextmanager
def quiet_unless_first() -> Iterator[None]:
    """Leave all but warnings of the log to the first process."""
    level = log.level
    if rank():
        log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(level)


@contextmanager
def told_to_end() -> Iterator[Callable[[], bool]]:
    """Yield whether the process has been told to end (SIGTERM), so that it ends where it can go on from.

    Batch systems send it when the time is over, and ``torchrun`` when another process has failed.
    """
    told = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal told
        told = True

    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # signals are none of this thread's
        return
    before = signal.signal(signal.SIGTERM, note)
    try:
        yield lambda: told
    finally:
        signal.signal(signal.SIGTERM, before)
