"""Checks of what a component says of itself."""

from __future__ import annotations

from math import isfinite
from typing import Any

import numpy as np
from bmipy import Bmi

from .checks import Checks
from .probe import Broken, require, variables, whole

NOWHERE = "no_such_variable__of_any_component"
#: What an interface raises by accident, not by intent.
ACCIDENTS = (AttributeError, TypeError, NameError, IndexError, AssertionError)


class MetadataChecks(Checks):
    """Checks of names, variables, grids, times, and errors of names that do not exist."""

    def check_names(self, bmi: Bmi) -> None:
        """Check that names are strings in tuples, without repetition, as many as counted."""
        called = bmi.get_component_name()
        require(isinstance(called, str) and bool(called), f"the component's name is {called!r}")
        for listed, count in (
            (bmi.get_input_var_names(), bmi.get_input_item_count()),
            (bmi.get_output_var_names(), bmi.get_output_item_count()),
        ):
            good = isinstance(listed, tuple) and all(isinstance(name, str) for name in listed)
            require(good, f"not a tuple of strings: {listed!r}")
            require(len(set(listed)) == len(listed) == count, f"{count} distinct names should be {listed}")

    def check_variable_metadata(self, bmi: Bmi) -> None:
        """Check that type, item size, bytes, units, location and grid of each variable agree."""
        for name in variables(bmi):
            dtype, units = np.dtype(bmi.get_var_type(name)), bmi.get_var_units(name)
            itemsize, nbytes = bmi.get_var_itemsize(name), bmi.get_var_nbytes(name)
            grid, location = bmi.get_var_grid(name), bmi.get_var_location(name)
            require(itemsize == dtype.itemsize, f"{name}: an item of {dtype} has not {itemsize} bytes")
            require(isinstance(units, str), f"{name}: units are {units!r}")
            require(whole(grid), f"{name}: grid is {grid!r}")
            require(location in ("node", "edge", "face", "none"), f"{name}: location is {location!r}")
            if location == "node":
                size = bmi.get_grid_size(grid)
                require(nbytes == itemsize * size, f"{name}: {nbytes} bytes for {size} nodes")

    def check_grid_metadata(self, bmi: Bmi) -> None:
        """Check that a grid has a whole rank and size and a type, and that a scalar has rank 0."""
        for grid in {bmi.get_var_grid(name) for name in variables(bmi)}:
            kind, rank, size = bmi.get_grid_type(grid), bmi.get_grid_rank(grid), bmi.get_grid_size(grid)
            require(isinstance(kind, str) and bool(kind), f"grid {grid}: type is {kind!r}")
            require(whole(rank) and 0 <= rank <= 3, f"grid {grid}: rank is {rank!r}")
            require(whole(size) and size > 0, f"grid {grid}: size is {size!r}")
            require(kind != "scalar" or rank == 0, f"grid {grid}: a scalar of rank {rank}")

    def check_time_metadata(self, bmi: Bmi) -> None:
        """Check that times are finite floats, that it starts now and ends no earlier, by a positive step."""
        start, end, step = bmi.get_start_time(), bmi.get_end_time(), bmi.get_time_step()
        for time in (start, bmi.get_current_time(), end, step):
            require(isinstance(time, float) and isfinite(time), f"{time!r} is not a finite float")
        require(bmi.get_current_time() == start, "the current time after initialize is not the start time")
        require(end >= start and step > 0, f"from {start} to {end} by {step}")
        units = bmi.get_time_units()
        require(isinstance(units, str) and bool(units), f"time units are {units!r}")

    def check_unknown_names(self, bmi: Bmi) -> None:
        """Check that an unknown name raises one and the same error everywhere, which says the name."""
        one, first = np.zeros(1), np.zeros(1, dtype=int)
        calls: dict[str, tuple[Any, ...]] = {
            **{f"get_var_{what}": () for what in ("grid", "type", "units", "itemsize", "nbytes", "location")},
            **{"get_value": (one,), "get_value_ptr": (), "get_value_at_indices": (one, first)},
            **{"set_value": (one,), "set_value_at_indices": (first, one)},
        }
        raised = set()
        for call, arguments in calls.items():
            try:
                getattr(bmi, call)(NOWHERE, *arguments)
            except Exception as error:
                deliberate = NOWHERE in str(error) and not isinstance(error, ACCIDENTS)
                require(deliberate, f"{call} raises {type(error).__name__}: {error}")
                raised.add(type(error).__name__)
            else:
                raise Broken(f"{call} takes the unknown name {NOWHERE!r}")
        require(len(raised) == 1, f"not one error but {', '.join(sorted(raised))}")
