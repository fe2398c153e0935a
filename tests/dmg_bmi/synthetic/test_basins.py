"""Synthetic basins: the same by seed, plausible, and made by the truth that they claim."""

import subprocess
import sys

import numpy as np
import pytest
from dmg_bmi.physics import HBV, Catchment

from dmg_bmi.synthetic import basins as synthetic


@pytest.fixture(scope="module")
def daily():
    return synthetic.generate(basins=8, years=3, seed=4)


@pytest.fixture(scope="module")
def hourly():
    return synthetic.generate(basins=3, years=1, step=3600.0, seed=4)


def test_the_same_seed_gives_the_same_basins_and_another_seed_others(daily):
    again = synthetic.generate(basins=8, years=3, seed=4)
    other = synthetic.generate(basins=8, years=3, seed=5)
    for kind in ("forcing", "attributes", "target"):
        for name, values in getattr(daily, kind).items():
            np.testing.assert_array_equal(values, getattr(again, kind)[name])
            assert not np.array_equal(values, getattr(other, kind)[name])


def test_steps_are_whole_years_and_everything_is_finite_and_has_units(daily, hourly):
    assert str(daily.times[0]) == "2000-10-01T00:00:00"
    assert str(daily.times[-1]) == "2003-09-30T00:00:00"
    assert str(hourly.times[-1]) == "2001-09-30T23:00:00"
    for data in (daily, hourly):
        assert (np.diff(data.times) == np.timedelta64(int(data.step), "s")).all()
        for values in (*data.forcing.values(), *data.attributes.values(), *data.target.values()):
            assert np.isfinite(values).all()
        assert {*data.forcing, *data.attributes, *data.target} == {*data.units}


@pytest.mark.parametrize("which", ["daily", "hourly"])
def test_weather_and_water_balance_are_those_of_real_basins(which, request):
    data = request.getfixturevalue(which)
    per_year = 365.25 * 86400.0 / data.step
    precipitation, pet = data.forcing["P"], data.forcing["PET"]
    assert (precipitation >= 0).all()
    assert (pet >= 0).all()
    assert ((precipitation.mean(0) * per_year > 200) & (precipitation.mean(0) * per_year < 3000)).all()
    assert ((pet.mean(0) * per_year > 100) & (pet.mean(0) * per_year < 1800)).all()
    ratio = data.target["Q"].mean(0) / precipitation.mean(0)
    assert ((ratio > 0) & (ratio < 1)).all()
    summer = (data.times.astype("datetime64[M]").astype(int) % 12) == 6
    winter = (data.times.astype("datetime64[M]").astype(int) % 12) == 0
    assert (data.forcing["T"][summer].mean(0) > data.forcing["T"][winter].mean(0) + 10).all()


def test_hourly_pet_is_nothing_at_night_and_as_much_in_a_day_as_daily_pet(hourly):
    by_hour = hourly.forcing["PET"].reshape(-1, 24, 3)
    assert (by_hour[:, :5] == 0).all()
    assert (by_hour[:, 11] > by_hour[:, 8]).any()
    assert (by_hour.sum(1).max(0) < 12).all()


def test_attributes_say_what_the_weather_is():
    data = synthetic.generate(basins=6, years=12, seed=2)
    np.testing.assert_allclose(
        data.attributes["aridity"], data.forcing["PET"].mean(0) / data.forcing["P"].mean(0), rtol=0.15
    )


def test_true_parameters_are_within_bounds_differ_by_basin_and_follow_attributes(daily):
    truth = synthetic.true_parameters(daily.attributes)
    declared = Catchment(HBV(betaet=True), routing=15).declaration.parameters
    assert {*truth} == {p.name for p in declared}
    for p in declared:
        assert ((truth[p.name] > p.lower) & (truth[p.name] < p.upper)).all()
        assert truth[p.name].std() > 0
    wooded = {**daily.attributes, "frac_forest": daily.attributes["frac_forest"] * 0 + 1.0}
    bare = {**daily.attributes, "frac_forest": daily.attributes["frac_forest"] * 0}
    assert (synthetic.true_parameters(wooded)["FC"] > synthetic.true_parameters(bare)["FC"]).all()


def test_noise_is_all_that_parts_observations_from_the_truth():
    clean = synthetic.generate(basins=4, years=1, noise=0.0, seed=3)
    noisy = synthetic.generate(basins=4, years=1, noise=0.1, seed=3)
    np.testing.assert_array_equal(clean.forcing["P"], noisy.forcing["P"])
    error = np.log(noisy.target["Q"] / clean.target["Q"])
    assert abs(error.std() - 0.1) < 0.01
    assert abs(np.exp(error).mean() - 1.0) < 0.01


def test_the_demonstration_needs_no_training_package():
    code = (
        "import sys, dmg_bmi, dmg_bmi.synthetic.basins as s; assert 'torch' not in sys.modules; "
        "s.generate(basins=2, years=1); "
        "bad = [m for m in sys.modules if m.startswith('dmg_bmi.training') or m in "
        "('matplotlib', 'netCDF4', 'pandas')]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
