"""Checks of setting and reading values."""

from __future__ import annotations

import numpy as np
from bmipy import Bmi

from .checks import Checks
from .probe import agree, inputs, other, pointer, read, require, same, variables


class ValueChecks(Checks):
    """Checks of values by copy, by pointer and by index."""

    def check_get_value(self, bmi: Bmi) -> None:
        """Check that `get_value` fills and returns its argument with a copy of the variable."""
        bmi.update()
        for name in variables(bmi):
            expected = read(bmi, name)
            dest = other(expected)
            require(bmi.get_value(name, dest) is dest, f"{name}: another array is returned")
            require(same(dest, expected), f"{name}: items of the array are left as they were")
            dest[:] = other(dest)
            require(same(read(bmi, name), expected), f"{name}: is the variable itself, not a copy")

    def check_pointer_layout(self, bmi: Bmi) -> None:
        """Check that `get_value_ptr` is one-dimensional and C-contiguous."""
        for name in variables(bmi):
            array = pointer(bmi, name)
            flat = array.ndim == 1 and array.flags.c_contiguous
            require(flat, f"{name}: shape {array.shape}, strides {array.strides}")

    def check_pointer_type(self, bmi: Bmi) -> None:
        """Check that `get_value_ptr` has the type and bytes that the metadata say."""
        for name in variables(bmi):
            array, dtype, nbytes = pointer(bmi, name), bmi.get_var_type(name), bmi.get_var_nbytes(name)
            require(array.dtype == np.dtype(dtype), f"{name}: is {array.dtype}, said to be {dtype}")
            require(array.nbytes == nbytes, f"{name}: has {array.nbytes} bytes, said to be {nbytes}")

    def check_pointer_identity(self, bmi: Bmi) -> None:
        """Check that `get_value_ptr` stays the variable's memory through updates and `set_value`."""
        held = {name: pointer(bmi, name) for name in variables(bmi)}
        for step in range(self.steps):
            for name, values in self.legal.items():
                bmi.set_value(name, values.copy() if step % 2 else other(values))
            bmi.update()
            for name, array in held.items():
                moved = array.ctypes.data != pointer(bmi, name).ctypes.data
                require(not moved, f"{name}: has moved after {step + 1} updates")
                require(same(array, read(bmi, name)), f"{name}: is stale after {step + 1} updates")

    def check_set_value(self, bmi: Bmi) -> None:
        """Check that `set_value` copies its argument and leaves it alone."""
        for name in inputs(bmi):
            new = other(read(bmi, name))
            src = new.copy()
            bmi.set_value(name, src)
            require(same(read(bmi, name), new), f"{name}: reads back other than it was set")
            require(same(src, new), f"{name}: the argument is changed")
            src[:] = other(src)
            require(same(read(bmi, name), new), f"{name}: the caller's array is kept, not its values")

    def check_indices(self, bmi: Bmi) -> None:
        """Check that items are set and read by index, in place, and the others left alone."""
        for name in inputs(bmi):
            expected = read(bmi, name)
            new, last = other(expected), expected.size - 1
            expected[last] = new[last]
            bmi.set_value_at_indices(name, np.array([last]), new[last:])
            require(same(read(bmi, name), expected), f"{name}: set_value_at_indices misses")
            chosen = expected[[last, 0]]
            dest = other(chosen)
            got = bmi.get_value_at_indices(name, dest, np.array([last, 0]))
            require(got is dest and same(dest, chosen), f"{name}: get_value_at_indices misses")

    def check_write_through(self, bmi: Bmi) -> None:
        """Check that writing into an input's `get_value_ptr` sets it."""
        with self.running() as twin:
            for name in inputs(bmi):
                new = other(read(bmi, name))
                twin.set_value(name, new.copy())
                pointer(bmi, name).flat[:] = new
                require(same(read(bmi, name), new), f"{name}: get_value does not see what was written")
            agree(self.run(bmi), self.run(twin), "differs from a run whose inputs were set")
