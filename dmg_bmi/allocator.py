"""The C library's memory, kept for the next tensors instead of handed back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache

#: Options of glibc's mallopt(3).
M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4


@cache
def keep_freed_memory() -> bool:
    """Let freed memory stay with this process; return whether the C library knows how.

    PyTorch allocates and frees the tensors of each step. By default glibc maps large ones anew each time and
    trims what is free at the end of the heap, so that the kernel has to clear every page again: a quarter of
    the processor time of a training step. Stepping, which needs less, gains nothing; so only trainings
    call it, and never a component, whose process is its host's.
    """
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):  # musl has none
        return False
    return bool(mallopt(M_MMAP_MAX, 0) and mallopt(M_TRIM_THRESHOLD, 2**31 - 1))
