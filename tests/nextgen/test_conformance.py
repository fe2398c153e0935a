"""What NextGen asks for is checked on any component, and each check can fail."""

import numpy as np
import pytest
import yaml

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.conformance import Conformance
from dmg_bmi.nextgen.conformance import MASS, NextGenConformance

OURS = [name for name in NextGenConformance.names() if name.startswith("ngen_")]
RAIN = "atmosphere_water__liquid_equivalent_precipitation_rate"


@pytest.fixture
def config(tmp_path):
    """Of one catchment, a daily model stepped hourly."""
    path = tmp_path / "run.yaml"
    attributes = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
    attributes |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
    catchments = {"ids": ["cat-1"], "area": 320.0, "attributes": attributes}
    run = {"bundle": "demo_daily", "catchments": catchments, "time_step": 3600, "start_time": "2000-10-01"}
    path.write_text(yaml.safe_dump(run), encoding="utf-8")
    return path


def outcomes(cls, config, steps=30):
    conformance = NextGenConformance(cls, config, steps=steps, time_steps=60)
    return {name: conformance.run_check(name) for name in OURS}


def test_it_holds_what_the_specification_asks_and_more():
    assert {*Conformance.names()} < {*NextGenConformance.names()}
    assert len(OURS) == 9


def test_a_daily_model_stepped_hourly_passes(config):
    assert [str(r) for r in outcomes(DeltaModelBmi, config).values() if r.outcome != "passed"] == []


def test_protocols_that_are_not_there_are_skipped(config):
    class Plain(DeltaModelBmi):
        def _reserved(self, name):
            raise KeyError(name)

    skipped = {name for name, r in outcomes(Plain, config).items() if r.outcome == "skipped"}
    assert skipped == {"ngen_balance", "ngen_restore"}


class TypeOfC(DeltaModelBmi):
    def get_var_type(self, name):
        return "double" if name == RAIN else super().get_var_type(name)


class TwoItems(DeltaModelBmi):
    def get_var_nbytes(self, name):
        return 2 * super().get_var_nbytes(name) if name == RAIN else super().get_var_nbytes(name)

    def get_value(self, name, dest):
        dest[:] = super().get_value(name, dest[:1])[0]
        return dest


class PublishesAReservedName(DeltaModelBmi):
    def get_output_var_names(self):
        return (*super().get_output_var_names(), MASS[0])


class EndsAtTheGreatestNumber(DeltaModelBmi):
    def get_end_time(self):
        return float(np.finfo("d").max)


class SecondsSinceADate(DeltaModelBmi):
    def get_time_units(self):
        return "seconds since 1970-01-01"


class StepsByDaysOnly(DeltaModelBmi):
    def get_time_step(self):
        return 86400.0

    def update_until(self, time):
        raise NotImplementedError


class ReturnsANewArray(DeltaModelBmi):
    def get_value_at_indices(self, name, dest, inds):
        return super().get_value_at_indices(name, dest.copy(), inds)


class LosesWater(DeltaModelBmi):
    def update(self):
        super().update()
        self.component.open_budget().mass_out[...] += 0.01


class RestoresNothing(DeltaModelBmi):
    def set_value(self, name, src):
        if name != "ngen::serialization_state":
            super().set_value(name, src)


class KeepsWhatWasFreed(DeltaModelBmi):
    def set_value(self, name, src):
        if name != "ngen::serialization_free":
            super().set_value(name, src)


@pytest.mark.parametrize(
    ("check", "broken"),
    [
        ("ngen_types", TypeOfC),
        ("ngen_one_item", TwoItems),
        ("ngen_names", PublishesAReservedName),
        ("ngen_end_time", EndsAtTheGreatestNumber),
        ("ngen_time_units", SecondsSinceADate),
        ("ngen_hour", StepsByDaysOnly),
        ("ngen_read", ReturnsANewArray),
        ("ngen_balance", LosesWater),
        ("ngen_restore", RestoresNothing),
        ("ngen_restore", KeepsWhatWasFreed),
    ],
)
def test_a_breakage_is_caught_by_the_check_named_for_it(config, check, broken):
    result = NextGenConformance(broken, config, steps=30).run_check(check)
    assert result.outcome == "failed", str(result)
    assert result.reason
