"""PET against the worked examples that FAO-56 prints, physical limits, and finite slopes."""

from itertools import product
from math import isclose

import pytest
import torch
from dmg_bmi.physics import pet
from hypothesis import given
from hypothesis import strategies as st

#: W m-2 in MJ m-2 d-1.
MJ = 0.0864


def t(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


#: FAO-56 examples 8, 17 (Bangkok, April) and 18 (Uccle, 6 July): latitude, day of year, Ra in MJ m-2 d-1.
@pytest.mark.parametrize(
    ("latitude", "day", "printed"),
    [(-20.0, 246, 32.2), (13.0 + 44 / 60, 105, 38.06), (50.0 + 48 / 60, 187, 41.09)],
    ids=["example 8", "example 17", "example 18"],
)
def test_extraterrestrial_radiation_is_that_of_fao56(latitude, day, printed):
    radiation = pet.extraterrestrial_radiation(t(latitude), t(day)) * MJ
    assert isclose(radiation, printed, rel_tol=2e-3)


#: tmin, tmax degC, Rs MJ m-2 d-1, ea kPa, elevation m, latitude, day, printed Rn MJ m-2 d-1.
EXAMPLES = {
    "example 12, Rio de Janeiro": (19.1, 25.1, 14.5, 2.1, 0.0, -(22.0 + 54 / 60), 135, 7.6),
    "example 17, Bangkok": (25.6, 34.8, 22.65, 2.85, 2.0, 13.0 + 44 / 60, 105, 14.33),
    "example 18, Uccle": (12.3, 21.5, 22.07, 1.409, 100.0, 50.0 + 48 / 60, 187, 13.28),
}


@pytest.mark.parametrize("example", EXAMPLES.values(), ids=EXAMPLES)
def test_net_radiation_is_that_of_fao56(example):
    tmin, tmax, shortwave, vapour, elevation, latitude, day, printed = map(t, example)
    net = pet.net_radiation(tmin, tmax, shortwave / MJ, vapour * 1000.0, elevation, latitude, day) * MJ
    assert isclose(net, printed, abs_tol=0.06)


def test_psychrometric_constant_and_vapour_pressure_slope_are_those_of_fao56():
    assert isclose(pet.psychrometric_constant(t(1800.0)), 0.054, abs_tol=5e-4)  # example 2
    assert isclose(pet.psychrometric_constant(t(100.0)), 0.0666, abs_tol=5e-5)  # example 18
    assert isclose(pet.vapour_pressure_slope(t(16.9)), 0.122, abs_tol=5e-4)  # example 18
    assert isclose(pet.vapour_pressure_slope(t(30.2)), 0.246, abs_tol=5e-4)  # example 17


def test_hargreaves_is_that_of_fao56():
    # Example 20: Lyon, July.
    result = pet.hargreaves(t(14.8), t(26.6), t(20.7), t(45.0 + 43 / 60), t(196))
    assert isclose(result, 5.0, abs_tol=0.05)


def test_oudin_is_its_published_equation_with_the_radiation_of_example_18():
    assert isclose(pet.oudin(t(16.9), t(50.8), t(187)), 41.09 / 2.45 * (16.9 + 5.0) / 100.0, rel_tol=2e-3)


def test_priestley_taylor_is_its_published_equation_with_the_weather_of_example_18():
    result = pet.priestley_taylor(t(16.9), t(22.07 / MJ), t(1409.0), t(100.0), t(50.8), t(187))
    assert isclose(result, 1.26 * 0.122 / (0.122 + 0.0666) * 13.28 / 2.45, rel_tol=0.01)


def test_radiation_is_nothing_in_the_polar_night_and_stays_on_in_the_polar_day():
    latitude = t(80.0)
    assert pet.extraterrestrial_radiation(latitude, t(355)) == 0.0
    # The sun that does not set: W m-2 as the mean over all hours of the sine of its height.
    day = t(172)
    hours = torch.linspace(0, 2 * torch.pi, 2001, dtype=torch.float64)[:-1]
    declination = 0.409 * torch.sin(2 * torch.pi * day / 365 - 1.39)
    phi = torch.deg2rad(latitude)
    height = phi.sin() * declination.sin() + phi.cos() * declination.cos() * hours.cos()
    assert (height > 0).all()
    expected = 0.0820e6 / 60 * (1 + 0.033 * torch.cos(2 * torch.pi * day / 365)) * height.mean()
    assert isclose(pet.extraterrestrial_radiation(latitude, day), expected, rel_tol=1e-6)


def test_radiation_is_symmetric_at_the_equinox_and_largest_in_the_local_summer():
    days = torch.arange(1, 366, dtype=torch.float64)
    north = pet.extraterrestrial_radiation(t(45.0), days)
    south = pet.extraterrestrial_radiation(t(-45.0), days)
    assert 160 < int(north.argmax()) + 1 < 185
    assert int(south.argmax()) + 1 > 345 or int(south.argmax()) + 1 < 10
    equinox = 81  # where the declination 0.409 sin(2 pi J / 365 - 1.39) changes its sign
    assert isclose(north[equinox - 1], south[equinox - 1], rel_tol=0.01)


def test_oudin_needs_more_than_five_degrees_below_zero_and_hargreaves_a_daily_range():
    assert pet.oudin(t(-5.0), t(45.0), t(180)) == 0.0
    assert pet.oudin(t(-30.0), t(45.0), t(180)) == 0.0
    assert pet.hargreaves(t(12.0), t(12.0), t(12.0), t(45.0), t(180)) == 0.0


def test_priestley_taylor_grows_with_radiation_and_with_altitude():
    weather = {"tmean": t(15.0), "vapour_pressure": t(1000.0), "latitude": t(45.0), "day_of_year": t(150)}
    low = pet.priestley_taylor(shortwave=t(200.0), elevation=t(0.0), **weather)
    bright = pet.priestley_taylor(shortwave=t(300.0), elevation=t(0.0), **weather)
    high = pet.priestley_taylor(shortwave=t(200.0), elevation=t(3000.0), **weather)
    assert 0 < low < bright
    assert low < high
    # Not more than all net radiation could evaporate, times alpha.
    net = pet.net_radiation(t(15.0), t(15.0), t(200.0), t(1000.0), t(0.0), t(45.0), t(150))
    assert low < 1.26 * net * MJ / 2.45


latitudes = st.one_of(st.sampled_from([-90.0, -66.5, 0.0, 66.5, 90.0]), st.floats(-90, 90))


@given(
    latitudes,
    st.integers(1, 366),
    st.floats(-60, 50),
    st.floats(0, 500),
    st.floats(0, 5000),
    st.floats(-100, 6000),
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_pet_is_finite_not_negative_and_has_finite_slopes_everywhere(
    dtype, latitude, day, temperature, shortwave, vapour, elevation
):
    def leaf(value: float) -> torch.Tensor:
        return torch.tensor(value, dtype=dtype, requires_grad=True)

    where, when = leaf(latitude), torch.tensor(float(day), dtype=dtype)
    mean, low, high = leaf(temperature), leaf(temperature), leaf(temperature)
    sun, humidity, height = leaf(shortwave), leaf(vapour), leaf(elevation)
    results = (
        pet.oudin(mean, where, when),
        pet.hargreaves(low, high, mean, where, when),
        pet.priestley_taylor(mean, sun, humidity, height, where, when),
    )
    for value in results:
        assert value.isfinite()
        assert value >= 0
        assert value < 60
    torch.stack(results).sum().backward()
    for tensor in (where, mean, low, high, sun, humidity, height):
        assert tensor.grad.isfinite()


def test_series_of_several_basins_broadcast():
    mean = torch.full((365, 3), 10.0)
    day = torch.arange(1, 366).unsqueeze(1)
    result = pet.oudin(mean, torch.tensor([0.0, 40.0, -40.0]), day)
    assert result.shape == (365, 3)
    single = pet.oudin(torch.tensor(10.0), torch.tensor(-40.0), torch.tensor(20))
    torch.testing.assert_close(result[19, 2], single)


#: FAO-56 example 19, N'Diaye (Senegal, 8 m), 1 October: hour, temperature degC, relative humidity,
#: wind at 2 m, net radiation MJ m-2 h-1, printed ETo mm h-1.
@pytest.mark.parametrize(
    ("temperature", "humidity", "wind", "net", "printed"),
    [(28.0, 0.90, 1.9, -0.100, 0.00), (38.0, 0.52, 3.3, 1.749, 0.63)],
    ids=["02-03 h", "14-15 h"],
)
def test_hourly_penman_monteith_is_example_19_of_fao56(temperature, humidity, wind, net, printed):
    vapour = 1000.0 * humidity * pet.saturation_vapour_pressure(t(temperature))
    result = pet.penman_monteith_hourly(t(temperature), t(net / 0.0036), t(wind), vapour, t(101.2e3))
    assert isclose(result, printed, abs_tol=0.005)


def test_saturation_vapour_pressure_and_wind_are_those_of_fao56():
    assert isclose(pet.saturation_vapour_pressure(t(24.5)), 3.075, abs_tol=1e-3)  # example 3
    assert isclose(pet.saturation_vapour_pressure(t(15.0)), 1.705, abs_tol=1e-3)  # example 3
    assert isclose(pet.wind_at_2m(t(3.2), 10.0), 2.4, abs_tol=0.01)  # example 14


def test_vapour_pressure_is_the_share_of_molecules_that_are_water():
    # 18.016 g of water and 28.964 g of dry air, a mole of each: half of the pressure.
    half = t(18.016 / (18.016 + 28.964))
    assert isclose(pet.vapour_pressure(half, t(1000.0)), 500.0, rel_tol=1e-3)


def test_a_body_as_warm_as_the_sky_it_sees_loses_nothing():
    emitted = 5.67e-8 * 288.16**4
    assert isclose(pet.radiation_balance(t(15.0), t(0.0), t(emitted)), 0.0, abs_tol=0.5)
    assert isclose(pet.radiation_balance(t(15.0), t(100.0), t(emitted)), 77.0, abs_tol=0.5)


@given(
    st.floats(-60, 50),
    st.floats(-200, 1000),
    st.floats(0, 40),
    st.floats(0, 6000),
    st.floats(4e4, 1.1e5),
)
def test_hourly_pet_is_finite_and_not_negative(temperature, net, wind, vapour, pressure):
    value = pet.penman_monteith_hourly(t(temperature), t(net), t(wind), t(vapour), t(pressure))
    assert 0.0 <= value < 6.0


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_hourly_pet_has_finite_slopes_at_every_corner_of_what_weather_may_be(dtype):
    """Temperature, radiations, both components of the wind, humidity and pressure, calms and nights too."""
    corners = product(
        (-95.0, 0.0, 65.0), (0.0, 1600.0), (10.0, 900.0), (0.0, 9.0), (-4.0, 0.0), (0.0, 0.1), (3e4, 1.2e5)
    )
    leaves = [v.clone().requires_grad_() for v in torch.tensor([*corners], dtype=dtype).T]
    temperature, sun, sky, east, north, humid, pressure = leaves
    radiation = pet.radiation_balance(temperature, sun, sky)
    wind = pet.wind_at_2m(pet.wind_speed(east, north), 10.0)
    vapour = pet.vapour_pressure(humid, pressure)
    value = pet.penman_monteith_hourly(temperature, radiation, wind, vapour, pressure)
    assert value.isfinite().all()
    for slope in torch.autograd.grad(value.sum(), leaves):
        assert slope.isfinite().all()


def test_wind_speed_is_that_of_its_components():
    speed = pet.wind_speed(t(3.0), t(-4.0)), pet.wind_speed(t(0.0), t(0.0)), pet.wind_speed(t(0.0), t(2.0))
    assert speed == (5.0, 0.0, 2.0)
