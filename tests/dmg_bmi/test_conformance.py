"""The conformance checks can fail: each breakage is caught by the check named for it."""

from itertools import count

import numpy as np
import pytest
from bmipy import Bmi

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.conformance import Conformance


class UnknownName(KeyError):
    pass


class Tank(Bmi):
    """Two leaky tanks, stepped by 0.1 h: as good a component as can be."""

    STEP, END, SIZE = 360.0, 1e15, 2

    def initialize(self, config_file):
        self.values = {name: np.zeros(self.SIZE) for name in (*self.get_input_var_names(), "level")}
        self.count = 0

    def update(self):
        self.values["level"] += self.values["rain"]
        self.values["level"] *= 0.9
        self.count += 1

    def update_until(self, time):
        steps = round(time / self.STEP) - self.count
        if steps < 0:
            raise ValueError("has passed")
        for _ in range(steps):
            self.update()

    def finalize(self):
        self.values = {}

    def _array(self, name):
        if name not in self.values:
            raise UnknownName(name)
        return self.values[name]

    def get_component_name(self):
        return "tank"

    def get_input_var_names(self):
        return ("rain",)

    def get_output_var_names(self):
        return ("level",)

    def get_input_item_count(self):
        return len(self.get_input_var_names())

    def get_output_item_count(self):
        return len(self.get_output_var_names())

    def get_var_grid(self, name):
        return self._array(name).ndim - 1

    def get_var_type(self, name):
        return str(self._array(name).dtype)

    def get_var_units(self, name):
        return "mm" * (self._array(name) is not None)

    def get_var_itemsize(self, name):
        return self._array(name).itemsize

    def get_var_nbytes(self, name):
        return self._array(name).nbytes

    def get_var_location(self, name):
        return "node" if self._array(name) is not None else ""

    def get_current_time(self):
        return self.count * self.STEP

    def get_start_time(self):
        return 0.0

    def get_end_time(self):
        return self.END

    def get_time_step(self):
        return self.STEP

    def get_time_units(self):
        return "s"

    def get_value(self, name, dest):
        dest[:] = self._array(name)
        return dest

    def get_value_ptr(self, name):
        return self._array(name)

    def get_value_at_indices(self, name, dest, inds):
        dest[:] = self._array(name)[inds]
        return dest

    def set_value(self, name, src):
        self._array(name)[:] = src

    def set_value_at_indices(self, name, inds, src):
        self._array(name)[inds] = src

    def get_grid_rank(self, grid):
        return 1

    def get_grid_size(self, grid):
        return self.SIZE

    def get_grid_type(self, grid):
        return "vector"

    def _none(self, *_):
        raise NotImplementedError

    get_grid_shape = get_grid_spacing = get_grid_origin = get_grid_x = get_grid_y = get_grid_z = _none
    get_grid_node_count = get_grid_edge_count = get_grid_face_count = get_grid_edge_nodes = _none
    get_grid_face_edges = get_grid_face_nodes = get_grid_nodes_per_face = _none


def outcomes(cls, **options):
    return {r.check: r for r in Conformance(cls, "none", {"rain": 2.0}, **options).check()}


def test_a_good_component_passes_every_check():
    results = outcomes(Tank)
    assert {r.outcome for r in results.values()} == {"passed"}, [str(r) for r in results.values()]
    assert set(results) == set(Conformance.names())


# -- one breakage each ------------------------------------------------------------


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


CASES = [
    pytest.param(check, cls, id=f"{check}-{cls.__name__}") for check in BREAKAGES for cls in BREAKAGES[check]
]


@pytest.mark.parametrize(("check", "broken"), CASES)
def test_a_breakage_is_caught_by_the_check_named_for_it(check, broken):
    result = Conformance(broken, "none", {"rain": 2.0}).run_check(check)
    assert result.outcome == "failed", str(result)
    assert result.reason


def test_every_check_has_a_breakage_that_it_catches():
    assert set(BREAKAGES) == set(Conformance.names())


# -- what cannot be checked is said -------------------------------------------------


def test_checks_of_inputs_are_skipped_where_there_are_none():
    class Spring(Tank):
        def get_input_var_names(self):
            return ()

        def update(self):
            self.values["level"] += 1.0
            self.count += 1

    results = outcomes(Spring)
    skipped = {name: r.reason for name, r in results.items() if r.outcome == "skipped"}
    assert set(skipped) == {"set_value", "indices", "write_through"}
    assert set(skipped.values()) == {"the component has no inputs"}
    assert all(r.outcome == "passed" for name, r in results.items() if name not in skipped)


def test_checks_of_pointers_are_skipped_where_there_are_none():
    class Remote(Tank):
        def get_value_ptr(self, name):
            self._array(name)
            raise NotImplementedError

    results = outcomes(Remote)
    skipped = {name for name, r in results.items() if r.outcome == "skipped"}
    assert skipped == {"pointer_layout", "pointer_type", "pointer_identity", "write_through"}
    assert "get_value_ptr is not implemented" in results["pointer_layout"].reason


def test_checks_of_time_are_skipped_where_it_ends_at_once():
    class Short(Tank):
        END = 2 * Tank.STEP

        def update(self):
            if self.count == 2:
                raise ValueError("at the end")
            super().update()

    results = outcomes(Short, steps=2)
    skipped = {name: r.reason for name, r in results.items() if r.outcome == "skipped"}
    of_time = ("update", "exact_time", "split", "update_until")
    assert skipped == dict.fromkeys(of_time, "the component ends after 2 steps")


# -- nothing is tuned to the components of this package ------------------------------


def test_a_component_that_begins_with_random_values_passes():
    """As the heat model of the specification's own example: what is set makes runs comparable."""

    class Plate(Tank):
        def initialize(self, config_file):
            super().initialize(config_file)
            self.values["level"] = np.random.default_rng().random(self.SIZE)

        def get_input_var_names(self):
            return ("level",)

        def update(self):
            self.values["level"] *= 0.9
            self.count += 1

    results = Conformance(Plate, "none").check()
    assert [str(r) for r in results if r.outcome != "passed"] == []


def test_an_end_at_the_greatest_number_is_no_obstacle():
    class Endless(Tank):
        END = float(np.finfo("d").max)
        STEP = 0.25

    assert [str(r) for r in outcomes(Endless).values() if r.outcome != "passed"] == []


def test_numbers_of_numpy_are_numbers():
    class OfNumpy(Tank):
        def get_var_grid(self, name):
            return np.int32(super().get_var_grid(name))

        def get_grid_size(self, grid):
            return np.prod((self.SIZE,))

        def get_start_time(self):
            return np.float64(0.0)

    assert [str(r) for r in outcomes(OfNumpy).values() if r.outcome != "passed"] == []


def test_an_array_in_two_dimensions_fails_only_the_check_of_its_layout():
    class Gridded(Tank):
        def get_value_ptr(self, name):
            return self._array(name).reshape(1, -1)

    failed = {name: r.reason for name, r in outcomes(Gridded).items() if r.outcome == "failed"}
    assert failed.keys() == {"pointer_layout"}
    assert "beyond the specification" in failed["pointer_layout"]


def test_metadata_are_looked_at_even_if_nothing_can_be_set():
    class ReadOnly(Tank):
        def set_value(self, name, src):
            raise RuntimeError(f"read only: {name}")

    results = outcomes(ReadOnly)
    passed = {name for name, r in results.items() if r.outcome == "passed"}
    assert passed == {*Conformance.UNFED} - {"unknown_names"}  # which sees two kinds of error
    assert "setting the inputs fails: RuntimeError: read only: rain" in results["update"].reason


def test_a_result_reads_as_a_line():
    assert str(outcomes(NamesInAList)["names"]).startswith("failed  names: not a tuple of strings")


# -- the components of this package -------------------------------------------------


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize(
    ("kind", "step", "keys"),
    [
        ("lstm", 86400.0, {}),
        ("lstm_mlp", 86400.0, {"start_time": "2000-01-01", "end_time": "2000-06-01"}),
        ("lstm", 3600.0, {}),
        ("fixed", 86400.0, {"time_step": 3600.0}),
        ("fixed", 86400.0, {"time_step": 3600.0, "start_time": "2000-01-01 12:00"}),
    ],
)
def test_a_delta_model_passes_every_check(configure, bundles, n, kind, step, keys):
    config = configure(bundles(kind, step), n, **keys)
    results = Conformance(DeltaModelBmi, config, steps=30, time_steps=60).check()
    assert [str(r) for r in results if r.outcome != "passed"] == []


def test_a_delta_model_on_stored_forcing_passes_and_skips_only_what_sets_inputs(
    configure, bundles, weather, store
):
    folder = store(weather(40, 2), 2, "2000-01-01", 86400.0)
    config = configure(bundles("fixed"), 2, forcing=str(folder), start_time="2000-01-01", time_step=3600.0)
    results = Conformance(DeltaModelBmi, config, steps=30, time_steps=60).check()
    assert {r.check for r in results if r.outcome == "skipped"} == {"set_value", "indices", "write_through"}
    assert [str(r) for r in results if r.outcome == "failed"] == []


def test_time_stays_exact_over_a_million_steps(configure, bundles, monkeypatch):
    """With an engine that does nothing, so that the clock is what is looked at."""

    class Stepped(DeltaModelBmi):
        def initialize(self, config_file):
            super().initialize(config_file)
            group = self.component.group
            group.legal = group.advance = self.component._publish = lambda *arguments: None

    # neither 0.1 s nor its multiples are binary fractions
    config = configure(bundles("fixed", 0.1))
    result = Conformance(Stepped, config, time_steps=1_000_000).run_check("update")
    assert result.outcome == "passed", result.reason
