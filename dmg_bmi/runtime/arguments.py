"""Checks of the arrays that frameworks pass to getters and setters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ValueShapeError

AnyArray = NDArray[np.generic]


def fill(name: str, dest: AnyArray, values: AnyArray) -> AnyArray:
    """Copy values into `dest`, of as many items of any shape, and return it.

    Raises
    ------
    ValueShapeError
    """
    if not isinstance(dest, np.ndarray) or dest.size != values.size:
        actual = f"{dest.size} items" if isinstance(dest, np.ndarray) else type(dest).__name__
        raise ValueShapeError(f"{name!r}: dest must be an array of {values.size} items, not {actual}")
    if dest.dtype.kind not in "fiuc":
        raise ValueShapeError(f"{name!r}: {values.dtype} cannot go into dest, which is of {dest.dtype}")
    try:
        np.copyto(dest, values.reshape(dest.shape), casting="same_kind")
    except (TypeError, ValueError) as problem:
        raise ValueShapeError(f"{name!r}: {values.dtype} cannot go into dest: {problem}") from problem
    return dest


def as_numbers(name: str, src: Any) -> AnyArray:
    """Return an array of real numbers, none of them masked.

    Raises
    ------
    ValueShapeError
    """
    try:
        values = np.asarray(src)
    except ValueError as problem:
        raise ValueShapeError(f"{name!r} must be set from an array of numbers: {problem}") from problem
    if values.dtype.kind not in "fiu":
        raise ValueShapeError(f"{name!r} must be set from numbers, not {values.dtype}")
    if np.ma.is_masked(src):
        raise ValueShapeError(f"{name!r}: {np.ma.count_masked(src)} values are masked; fill them first")
    return values


def as_indices(name: str, inds: Any, size: int) -> NDArray[np.int_]:
    """Return one-dimensional indices from 0 to `size` - 1.

    Raises
    ------
    ValueShapeError
    """
    try:
        indices = np.asarray(inds)
    except (ValueError, OverflowError) as problem:
        raise ValueShapeError(f"{name!r}: indices must be an array of whole numbers: {problem}") from problem
    if indices.dtype.kind not in "iu" or (indices.size and not 0 <= indices.min() <= indices.max() < size):
        raise ValueShapeError(f"{name!r}: indices must be whole numbers from 0 to {size - 1}")
    return indices.reshape(-1)
