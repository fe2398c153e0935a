"""Ids of catchments as arrays hold them, read in one way from every kind of file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DmgBmiError, repeated


def ids_from(values: NDArray[Any], where: str, error: type[DmgBmiError]) -> tuple[str, ...]:
    """Return ids as text: of text, bytes or whole numbers, without blanks and padding around them.

    Parameters
    ----------
    values : ndarray ``[catchment]``
    where : str
        What a message begins with.
    error : type of DmgBmiError
        What rows without an id, numbers that are none, and duplicates raise.
    """
    if values.ndim != 1 or values.dtype.kind not in "SUOiuf":
        raise error(f"{where} must hold one id each, not {values.dtype} of shape {values.shape}")
    if values.dtype.kind == "f":
        values = _whole(values, where, error)
    try:
        ids = [_text(value) for value in values.tolist()]
    except UnicodeDecodeError as problem:
        raise error(f"{where} holds an id that is not UTF-8 text") from problem
    if not all(ids):
        raise error(f"{where} has rows without an id")
    if twice := repeated(ids):
        raise error(f"{where} has {twice[0]!r} twice; ids must be unique")
    return tuple(ids)


def _whole(values: NDArray[Any], where: str, error: type[DmgBmiError]) -> NDArray[np.int64]:
    """Convert numbers of floating point that are whole."""
    numbers = values.astype(np.float64)
    # Beyond, neighbouring whole numbers are one.
    most = 2.0 ** (np.finfo(values.dtype).nmant + 1)
    wrong = ~((numbers == np.round(numbers)) & (np.abs(numbers) < most))
    if wrong.any():
        raise error(
            f"{where} holds numbers that are not ids, such as {numbers[wrong][0]:.16g}; store ids as text or "
            "as integers"
        )
    whole: NDArray[np.int64] = numbers.astype(np.int64)
    return whole


def _text(value: object) -> str:
    """Return the text of one id, empty for what stands for none."""
    if value is None or value != value:
        return ""
    text = value.decode("utf-8") if isinstance(value, bytes) else str(value)
    return text.rstrip("\0").strip()
