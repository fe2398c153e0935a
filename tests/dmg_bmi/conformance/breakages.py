"""Components that break one promise each, by the check that must catch them."""

from itertools import count

import numpy as np
from tank import Tank, UnknownName

BREAKAGES = {}


def breaks(check):
    def note(cls):
        BREAKAGES.setdefault(check, []).append(cls)
        return cls

    return note


@breaks("names")
class NamesInAList(Tank):
    def get_output_var_names(self):
        return ["level"]


@breaks("names")
class CountsWrongly(Tank):
    def get_input_item_count(self):
        return 2


@breaks("names")
class RepeatsANameOfTwo(Tank):
    def get_output_var_names(self):
        return ("level", "level")


@breaks("variable_metadata")
class ItemsizeOfAnotherType(Tank):
    def get_var_itemsize(self, name):
        return self._array(name).itemsize // 2


@breaks("variable_metadata")
class NoNumpyType(Tank):
    def get_var_type(self, name):
        return "double precision" if self._array(name) is not None else ""


@breaks("variable_metadata")
class LocationOfItsOwn(Tank):
    def get_var_location(self, name):
        return "catchment" if self._array(name) is not None else ""


@breaks("variable_metadata")
class UnitsAreNone(Tank):
    def get_var_units(self, name):
        return None if self._array(name) is not None else ""


@breaks("variable_metadata")
class MoreNodesThanItems(Tank):
    def get_grid_size(self, grid):
        return self.SIZE + 1


@breaks("grid_metadata")
class ScalarOfRankOne(Tank):
    def get_grid_type(self, grid):
        return "scalar"


@breaks("grid_metadata")
class NoGridOfItsVariables(Tank):
    def get_grid_rank(self, grid):
        raise NotImplementedError


@breaks("time_metadata")
class EndsAtInfinity(Tank):
    END = float("inf")


@breaks("time_metadata")
class StartsLaterThanItSays(Tank):
    def get_start_time(self):
        return self.STEP


@breaks("time_metadata")
class StepIsAnInteger(Tank):
    def get_time_step(self):
        return 360


@breaks("unknown_names")
class UnitsOfAnything(Tank):
    def get_var_units(self, name):
        return "mm"


@breaks("unknown_names")
class AccidentalError(Tank):
    def get_var_location(self, name):
        return self.values.get(name).ndim and "node"


@breaks("unknown_names")
class TwoErrors(Tank):
    def get_var_grid(self, name):
        return {"rain": 0, "level": 0}[name]


@breaks("unknown_names")
class ErrorWithoutTheName(Tank):
    def _array(self, name):
        if name not in self.values:
            raise UnknownName("no such variable")
        return self.values[name]


@breaks("get_value")
class ReturnsAnotherArray(Tank):
    def get_value(self, name, dest):
        dest[:] = self._array(name)
        return dest.copy()


@breaks("get_value")
class FillsOnlyTheFirst(Tank):
    def get_value(self, name, dest):
        dest[0] = self._array(name)[0]
        return dest


@breaks("pointer_layout")
class PointerOfEverySecondItem(Tank):
    def initialize(self, config_file):
        super().initialize(config_file)
        self.values = {name: np.zeros(2 * self.SIZE)[::2] for name in self.values}


@breaks("pointer_layout")
class PointerInTwoDimensions(Tank):
    def get_value_ptr(self, name):
        return self._array(name).reshape(1, -1)


@breaks("pointer_type")
class BytesOfTwice(Tank):
    def get_var_nbytes(self, name):
        return 2 * self._array(name).nbytes

    def get_grid_size(self, grid):
        return 2 * self.SIZE

    def get_value(self, name, dest):
        dest[:] = np.tile(self._array(name), 2)
        return dest

    def set_value(self, name, src):
        self._array(name)[:] = src[: self.SIZE]


@breaks("pointer_identity")
class RebindsInUpdate(Tank):
    def update(self):
        super().update()
        self.values["level"] = self.values["level"].copy()


@breaks("pointer_identity")
class RebindsInSetValue(Tank):
    def set_value(self, name, src):
        self._array(name)
        self.values[name] = np.array(src, dtype=float)


@breaks("pointer_identity")
class PointerInOtherUnits(Tank):
    def get_value(self, name, dest):
        dest[:] = self._array(name) * 1e-3
        return dest

    def set_value(self, name, src):
        self._array(name)[:] = np.asarray(src) * 1e3


@breaks("set_value")
class KeepsTheCallersArray(Tank):
    def set_value(self, name, src):
        self._array(name)
        self.values[name] = src


@breaks("set_value")
class ChangesItsArgument(Tank):
    def set_value(self, name, src):
        self._array(name)[:] = src
        src *= 2


@breaks("set_value")
class SetsTheFirstOnly(Tank):
    def set_value(self, name, src):
        self._array(name)[0] = src[0]


@breaks("indices")
class SetsAllItems(Tank):
    def set_value_at_indices(self, name, inds, src):
        self._array(name)[:] = src


@breaks("indices")
class GetsACopyAtIndices(Tank):
    def get_value_at_indices(self, name, dest, inds):
        return self._array(name)[inds]


@breaks("write_through")
class ReadsItsInputsFromElsewhere(Tank):
    def initialize(self, config_file):
        super().initialize(config_file)
        self.given = np.zeros(self.SIZE)

    def set_value(self, name, src):
        super().set_value(name, src)
        self.given[:] = src

    def update(self):
        self.values["level"] += self.given
        self.count += 1


@breaks("update")
class TimeStandsStill(Tank):
    def get_current_time(self):
        return 0.0


@breaks("update")
class SkipsAStep(Tank):
    def update(self):
        super().update()
        self.count += self.count == 3


@breaks("reading")
class ReadingDrains(Tank):
    def get_value(self, name, dest):
        super().get_value(name, dest)
        self.values["level"] *= 0.99
        return dest


@breaks("split")
class ForgetsWhereItStops(Tank):
    def update_until(self, time):
        super().update_until(time)
        self.values["level"] *= 1.01


@breaks("exact_time")
class AddsUpTime(Tank):
    STEP = 0.1

    def initialize(self, config_file):
        super().initialize(config_file)
        self.now = 0.0

    def update(self):
        super().update()
        self.now += self.STEP

    def get_current_time(self):
        return self.now


@breaks("update_until")
class OneStepTooFar(Tank):
    def update_until(self, time):
        super().update_until(time)
        self.update()


@breaks("update_until")
class StaysInThePast(Tank):
    def update_until(self, time):
        while self.get_current_time() < time:
            self.update()


@breaks("update_until")
class OneLongStep(Tank):
    def update_until(self, time):
        if time < self.get_current_time():
            raise ValueError("has passed")
        self.values["level"] += (time / self.STEP - self.count) * self.values["rain"]
        self.count = round(time / self.STEP)


@breaks("outputs_finite")
class DividesByZero(Tank):
    def update(self):
        super().update()
        with np.errstate(invalid="ignore", divide="ignore"):
            self.values["level"] /= 0.0


@breaks("finalize")
class FinalizesOnce(Tank):
    def finalize(self):
        del self.values


@breaks("finalize")
class FinalizesOnlyWhatWasInitialized(Tank):
    def finalize(self):
        self.values.clear()


@breaks("initialize")
class RemembersItsLevel(Tank):
    def initialize(self, config_file):
        last = getattr(self, "last", np.zeros(self.SIZE))
        super().initialize(config_file)
        self.values["level"][:] = last

    def finalize(self):
        self.last = self.values.get("level", np.zeros(self.SIZE))
        super().finalize()


@breaks("independence")
class OneLevelForAll(Tank):
    shared = np.zeros(Tank.SIZE)

    def initialize(self, config_file):
        super().initialize(config_file)
        self.shared[:] = 0.0
        self.values["level"] = self.shared


@breaks("independence")
class EachInstanceDiffers(Tank):
    made = count()

    def initialize(self, config_file):
        super().initialize(config_file)
        if not hasattr(self, "own"):
            self.own = next(self.made)

    def update(self):
        super().update()
        self.values["level"] += self.own
