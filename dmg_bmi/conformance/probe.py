"""Access to a component for the checks: its variables, their values and memory, and what it can do."""

from __future__ import annotations

from typing import Any

import numpy as np
from bmipy import Bmi
from numpy.typing import NDArray

Values = NDArray[Any]


class Broken(Exception):
    """Error for a promise that is not kept."""


class NotApplicable(Exception):
    """Signal that the component has nothing to check."""


def require(holds: bool, otherwise: str) -> None:
    """Raise :class:`Broken` unless it holds."""
    if not holds:
        raise Broken(otherwise)


def same(a: Values, b: Values) -> bool:
    """Tell whether all items are the same, in whatever shape; NaN is the same as NaN."""
    return np.array_equal(a.ravel(), b.ravel(), equal_nan=a.dtype.kind in "fc")


def agree(series: list[dict[str, Values]], expected: list[dict[str, Values]], otherwise: str) -> None:
    """Require that two runs are the same."""
    for now, then in zip(series, expected, strict=True):
        for name in then:
            require(same(now[name], then[name]), f"{name}: {otherwise}")


def read(bmi: Bmi, name: str) -> Values:
    """Copy a variable by `get_value`, into an array made as the metadata say."""
    size = bmi.get_var_nbytes(name) // bmi.get_var_itemsize(name)
    dest: Values = np.zeros(size, bmi.get_var_type(name))
    bmi.get_value(name, dest)
    return dest


def pointer(bmi: Bmi, name: str) -> Values:
    """Return the variable's memory, which a component need not give."""
    try:
        get = bmi.get_value_ptr
    except AttributeError:
        raise NotApplicable("there is no get_value_ptr") from None
    try:
        return get(name)
    except NotImplementedError:
        raise NotApplicable("get_value_ptr is not implemented") from None


def whole(number: object) -> bool:
    """Tell whether it is a whole number, of Python or numpy."""
    return isinstance(number, (int, np.integer)) and not isinstance(number, bool)


def inputs(bmi: Bmi) -> tuple[str, ...]:
    """Return the names of inputs, if there are any."""
    if not bmi.get_input_var_names():
        raise NotApplicable("the component has no inputs")
    return bmi.get_input_var_names()


def variables(bmi: Bmi) -> tuple[str, ...]:
    """Return the names of inputs and outputs."""
    return tuple(dict.fromkeys((*bmi.get_input_var_names(), *bmi.get_output_var_names())))


def possible(bmi: Bmi, wanted: int) -> int:
    """Return the steps to take: as many as `wanted` unless the component ends before."""
    steps = (bmi.get_end_time() - bmi.get_start_time()) / bmi.get_time_step()
    if steps < 3:
        raise NotApplicable(f"the component ends after {int(steps)} steps")
    return wanted if steps > wanted else int(steps)


def other(values: Values) -> Values:
    """Return other values, distinct where they were equal, of the same magnitude and so as likely legal."""
    if values.dtype.kind in "fc":
        finite = np.where(np.isfinite(values), values, 0.0)
        share = np.arange(1, 1 + values.size) / (16 * values.size)
        return (finite + np.where(finite == 0, 1.0, finite) * share).astype(values.dtype)
    return (values + 1 + np.arange(values.size) % 7).astype(values.dtype)
