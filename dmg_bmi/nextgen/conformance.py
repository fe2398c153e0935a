"""Requirements of NextGen on a component of one catchment, beyond the Basic Model Interface.

Each check stands for what was observed to end a run of NOAA-OWP/ngen, or to spoil it silently.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isclose
from typing import ClassVar

import numpy as np
from bmipy import Bmi

from ..arrays import HOUR
from ..conformance import Conformance
from ..conformance.probe import NotApplicable, agree, other, read, require, same, variables

#: ngen's layers step by the hour.
#: Strings that ngen can read from and write to in every path.
TYPES = ("float64", "float", "float32", "int")
SECONDS = {
    **dict.fromkeys(("s", "sec", "second", "seconds"), 1.0),
    **dict.fromkeys(("min", "minute", "minutes"), 60.0),
    **dict.fromkeys(("h", "hr", "hour", "hours"), HOUR),
    **dict.fromkeys(("d", "day", "days"), 86400.0),
}
MASS = ("ngen::mass_in", "ngen::mass_out", "ngen::mass_stored", "ngen::mass_leaked")
SAVED = "ngen::serialization_{}"


class NextGenConformance(Conformance):
    """The checks of :class:`Conformance` and those of NextGen, whose names begin with ``ngen_``."""

    BEYOND: ClassVar[Mapping[str, str]] = {
        **Conformance.BEYOND,
        "ngen_balance": "NextGen reads these by name where a realization asks for mass_balance",
        "ngen_end_time": "NextGen casts it to a whole number of seconds",
        "ngen_hour": "NextGen steps by the hour",
        "ngen_names": "NextGen reserves them",
        "ngen_restore": "NextGen saves and restores by these variables",
    }

    def check_ngen_types(self, bmi: Bmi) -> None:
        """Check that types are among those of NextGen, and that arrays have them."""
        for name in variables(bmi):
            dtype = bmi.get_var_type(name)
            require(dtype in TYPES, f"{name}: type {dtype!r} ends a run; float64 never does")
            require(
                bmi.get_var_itemsize(name) == np.dtype(dtype).itemsize,
                f"{name}: type {dtype!r} means {np.dtype(dtype).itemsize} bytes",
            )

    def check_ngen_one_item(self, bmi: Bmi) -> None:
        """Check that variables have one item: of more only the first is read, and inputs are broadcast."""
        for name in variables(bmi):
            items = bmi.get_var_nbytes(name) // bmi.get_var_itemsize(name)
            require(items == 1, f"{name}: has {items} items; NextGen has an instance per catchment")

    def check_ngen_names(self, bmi: Bmi) -> None:
        """Check that no published name is reserved."""
        reserved = [name for name in variables(bmi) if name.startswith("ngen::")]
        require(not reserved, f"published although reserved: {', '.join(reserved)}")

    def check_ngen_end_time(self, bmi: Bmi) -> None:
        """Check that the end time fits into a 64-bit number of seconds."""
        end = bmi.get_end_time() * SECONDS.get(bmi.get_time_units(), 1.0)
        require(
            end < 2.0**62, f"{end:g} s overflows in NextGen, which then ends at its first step; 1e15 does not"
        )

    def check_ngen_time_units(self, bmi: Bmi) -> None:
        """Check that time units are among those that NextGen converts without an offset."""
        units = bmi.get_time_units()
        require(units in SECONDS, f"time units are {units!r}, not one of {', '.join(SECONDS)}")

    def check_ngen_hour(self, bmi: Bmi) -> None:
        """Check `update_until` an hour later, which NextGen calls hour by hour."""
        hour = HOUR / SECONDS[bmi.get_time_units()]
        for k in range(1, 1 + self.steps):
            if bmi.get_time_step() == hour:
                bmi.update()
            else:
                bmi.update_until(bmi.get_current_time() + hour)
            now, then = bmi.get_current_time(), bmi.get_start_time() + k * hour
            require(isclose(now, then, rel_tol=1e-12 * k), f"after {k} hours it is {now!r}, not {then!r}")

    def check_ngen_read(self, bmi: Bmi) -> None:
        """Check that `get_value_at_indices` fills a new array of one item, by a 32-bit index."""
        bmi.update()
        for name in bmi.get_output_var_names():
            dest = np.full(1, -1, dtype=bmi.get_var_type(name))
            bmi.get_value_at_indices(name, dest, np.zeros(1, dtype=np.int32))
            require(same(dest, read(bmi, name)[:1]), f"{name}: the array that is handed in is left as it was")

    def check_ngen_balance(self, bmi: Bmi) -> None:
        """Check that ``ngen::mass_in = mass_out + mass_stored + mass_leaked`` after every step."""
        self._offered(bmi, MASS[0])
        units = {bmi.get_var_units(name) for name in MASS}
        require(len(units) == 1, f"units differ: {', '.join(sorted(units))}")
        for name in MASS:
            array = bmi.get_value_ptr(name)
            require(
                array.dtype == np.float64 and array.shape == (1,), f"{name}: is not one float64 in an array"
            )
        for _ in range(self.steps):
            bmi.update()
            into, out, stored, mass_leaked = (float(bmi.get_value_ptr(name)[0]) for name in MASS)
            size = abs(into) + abs(out) + abs(stored) + abs(mass_leaked) + 1.0
            off = into - out - stored - mass_leaked
            require(abs(off) <= 1e-9 * size, f"{off:g} of {into:g} is lost")

    def check_ngen_restore(self, bmi: Bmi) -> None:
        """Check that a state restored into another instance continues exactly like the first."""
        create, size, state, free = (SAVED.format(word) for word in ("create", "size", "state", "free"))
        self._offered(bmi, create)
        one = np.ones(1, dtype=np.int32)
        self.run(bmi)
        bmi.set_value(create, one)
        (count,) = (int(n) for n in bmi.get_value_ptr(size))
        saved = np.array(bmi.get_value_ptr(state), dtype=np.uint8)
        require(saved.size == count > 0, f"{saved.size} bytes, said to be {count}")
        bmi.set_value(free, one)
        require(bmi.get_value_ptr(state).size == 0, "the state is kept although it was freed")
        then = bmi.get_current_time()
        undisturbed = self.run(bmi)
        with self.running() as twin:
            for name, values in self.legal.items():
                twin.set_value(name, other(values))
            twin.update_until(then)
            self.feed(twin)
            twin.set_value(size, np.array([count]))
            twin.set_value(state, saved)
            agree(self.run(twin), undisturbed, "differs after restoring")

    @staticmethod
    def _offered(bmi: Bmi, name: str) -> None:
        try:
            bmi.get_var_units(name)
        except Exception:
            raise NotApplicable(f"the component has no {name}") from None
