"""Rows of a model that spins itself up, started from what stored forcing holds before time zero."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ..arrays import FloatArray
from ..model.spin_up import SpinUpModel
from ..physics import State
from .row_states import Rows, RowStates
from .shared_setup import SharedSetup

#: Rows whose past is read at once: a year of hours of three variables takes 200 MB.
AT_ONCE = 1000


class Legal(Protocol):
    """A check that returns ``values[variable, rows]`` with gaps filled, or raises ForcingError."""

    def __call__(self, values: FloatArray, rows: Rows | slice, now: float) -> FloatArray:
        """Check the values of some rows at a time in seconds."""
        ...


def spins_up_from_store(setup: SharedSetup) -> bool:
    """Tell whether the past that the model needs before its first step is stored."""
    model, store = setup.model, setup.store
    if not isinstance(model, SpinUpModel) or store is None:
        return False
    return store.reaches_back(model.steps * model.ratio)


def spin_up(
    setup: SharedSetup, states: RowStates, rows: Rows, table_rows: NDArray[np.int_], legal: Legal
) -> None:
    """Replace the initial state of rows, whose constants are known, by that after their spin-up.

    Raises
    ------
    ForcingError
        If the stored forcing of the past has a value that is not legal; nothing has changed then.
    """
    spun_up: list[State] = []
    for begin in range(0, len(rows), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        spun_up.append(_spun_up(setup, states, rows[part], table_rows[part], legal))
    states.assign(rows, {name: torch.cat([state[name] for state in spun_up]) for name in spun_up[0]})


def _spun_up(
    setup: SharedSetup, states: RowStates, rows: Rows, table_rows: NDArray[np.int_], legal: Legal
) -> State:
    model, store = setup.model, setup.store
    assert isinstance(model, SpinUpModel)  # noqa: S101  as `spins_up_from_store` says
    assert store is not None  # noqa: S101  and this
    series: dict[str, list[FloatArray]] = {}
    for step in range(-model.steps * model.ratio, 0):
        now = step * model.step
        records = store.read(step, False, table_rows, now)
        records = np.stack([legal(record, rows, now) for record in records])
        place = setup.place(table_rows, np.full(len(rows), step))
        for name, values in setup.inputs.aggregate(records, place).items():
            series.setdefault(name, []).append(values)
    past = {name: torch.from_numpy(np.stack(values)).to(setup.device) for name, values in series.items()}
    with torch.inference_mode():
        return model.spun_up(past, states.constants_of(rows), states.select(rows))
