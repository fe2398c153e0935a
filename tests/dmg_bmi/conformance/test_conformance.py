"""The conformance checks can fail: each breakage is caught by the check named for it."""

import numpy as np
import pytest
from breakages import BREAKAGES, NamesInAList
from tank import Tank, outcomes

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.conformance import Conformance

CASES = [
    pytest.param(check, cls, id=f"{check}-{cls.__name__}") for check in BREAKAGES for cls in BREAKAGES[check]
]


def test_a_good_component_passes_every_check():
    results = outcomes(Tank)
    assert {r.outcome for r in results.values()} == {"passed"}, [str(r) for r in results.values()]
    assert set(results) == set(Conformance.names())


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
