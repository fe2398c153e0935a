"""Capillary rise, regional exchange and the hourly step of the HBV variants."""

import math

import pytest
import torch
from dmg_bmi.physics import Catchment, residual, run
from dmg_bmi.physics.hbv import HBV2, HBV11p, groundwater_exchange
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
variants = pytest.mark.parametrize("variant", [HBV11p, HBV2])
STORES = ("SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ")


def tensors(values):
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}


def one_step(ice, liquid, soil, upper, lower, rain, temperature, demand, p, dt, site=None):
    """HBV 1.1p, or 2.0 where a site (elevation, upstream area) is given, in plain numbers."""
    threshold = 4.0 if site and site[0] >= 2000.0 else p["TT"]
    degrees = temperature - threshold
    if degrees >= 0.0:
        melt = min(ice, p["CFMAX"] * degrees * dt)
        ice, liquid, arriving = ice - melt, liquid + melt, rain
    else:
        ice += rain
        freezing = min(liquid, -p["CFR"] * p["CFMAX"] * degrees * dt)
        ice, liquid, arriving = ice + freezing, liquid - freezing, 0.0
    released = max(0.0, liquid - p["CWH"] * ice)
    liquid, arriving = liquid - released, arriving + released

    recharge = arriving * min(1.0, soil / p["FC"]) ** p["BETA"]
    soil += arriving - recharge
    excess = max(0.0, soil - p["FC"])
    soil -= excess
    evaporated = min(soil, demand * min(1.0, soil / (p["LP"] * p["FC"])) ** p["BETAET"])
    soil -= evaporated
    capillary = min(lower, p["C"] * dt * lower * (1.0 - min(soil / p["FC"], 1.0)))
    soil, lower = soil + capillary, lower - capillary

    upper += recharge + excess
    percolation = min(upper, p["PERC"] * dt)
    upper -= percolation
    fast = p["K0"] * dt * max(0.0, upper - p["UZL"])
    upper -= fast
    middle = p["K1"] * dt * upper
    upper -= middle
    lower += percolation
    exchange = 0.0
    if site:
        area = site[1]
        if area < 2500.0:
            level = min(1.0, max(-1.0, (area - p["AC"]) / 1000.0))
        else:
            level = math.exp(-min(10.0, (area - 2500.0) / 50.0))
        exchange = max(p["RT"] * dt * level, -lower)
    lower += exchange
    slow = p["K2"] * dt * lower
    fluxes = {"Q": fast + middle + slow, "ET": evaporated, "capillary": capillary, "exchange": exchange}
    return (ice, liquid, soil, upper, lower - slow), fluxes


@variants
@given(
    seed=seeds,
    dt=st.sampled_from([1.0, 1 / 24]),
    high=st.booleans(),
    area=st.sampled_from([0.0, 900.0, 2530.0]),
)
def test_a_year_equals_the_equations_in_plain_numbers(legal, variant, seed, dt, high, area):
    model, time = variant(), 365
    forcing, parameters = legal.weather(model, time, 1, seed, dt), legal.parameters(model, 1, seed + 1)
    # A power below one can empty the soil, where only the tensors floor its argument.
    parameters["BETAET"].clamp_(min=1.0)
    site = (2400.0 if high else 300.0, area)
    static = tensors({"elevation": site[0], "upstream_area": site[1]})
    soil = 0.3 * parameters["FC"]
    fluxes, end = run(model, forcing, model.init_state(1) | {"SM": soil}, parameters, static, dt)

    p = {name: value.item() for name, value in parameters.items()}
    stores, series = (0.0, 0.0, soil.item(), 0.0, 0.0), []
    for now in zip(*(forcing[name][:, 0].tolist() for name in ("P", "T", "PET")), strict=True):
        stores, step = one_step(*stores, *now, p, dt, site if variant is HBV2 else None)
        series.append(step)
    for name in fluxes.keys() & series[0].keys():
        expected = torch.tensor([step[name] for step in series], dtype=torch.float64)
        torch.testing.assert_close(fluxes[name][:, 0], expected, rtol=1e-9, atol=1e-10)
    for name, expected in zip(STORES, stores, strict=True):
        assert end[name].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("area", "ac", "share"),
    [
        (0.0, 1000.0, -1.0),
        (0.0, 2500.0, -1.0),
        (400.0, 900.0, -0.5),
        (900.0, 900.0, 0.0),
        (2499.0, 0.0, 1.0),
        (2500.0, 2500.0, 1.0),
        (2600.0, 100.0, math.exp(-2.0)),
        (1e6, 100.0, math.exp(-10.0)),
    ],
)
def test_exchange_depends_on_upstream_area_as_published(area, ac, share):
    p = tensors({"RT": 8.0, "AC": ac})
    daily = groundwater_exchange(torch.tensor([area]).double(), p, 1.0)
    assert daily.item() == pytest.approx(8.0 * share, rel=1e-12, abs=1e-12)
    assert groundwater_exchange(torch.tensor([area]).double(), p, 1 / 24).item() == pytest.approx(
        daily.item() / 24
    )


def still(model, **stores):
    """A dry, cool day without demand, mid-range parameters, and stores in mm."""
    parameters = tensors({p.name: 0.5 * (p.lower + p.upper) for p in model.declaration.parameters})
    forcing = tensors({"P": 0.0, "T": 3.0, "PET": 0.0})
    return forcing, model.init_state(1) | tensors(stores), parameters


def test_exchange_takes_no_more_than_the_lower_zone_holds_and_says_so():
    model = HBV2()
    forcing, state, parameters = still(model, SLZ=1.5)
    after, fluxes = model.step(
        forcing, state, parameters, tensors({"elevation": 0.0, "upstream_area": 0.0}), 1.0
    )
    assert after["SLZ"].item() == 0.0
    assert fluxes["exchange"].item() == -1.5 + fluxes["capillary"].item()
    assert fluxes["Q2"].item() == 0.0


@pytest.mark.parametrize(("elevation", "snow"), [(1999.0, 0.0), (2000.0, 7.0)])
def test_snow_falls_below_four_degrees_from_2000_m_on(elevation, snow):
    model = HBV2()
    forcing, state, parameters = still(model)
    forcing["P"] += 7.0
    after, _ = model.step(
        forcing, state, parameters, tensors({"elevation": elevation, "upstream_area": 0.0}), 1.0
    )
    assert after["SNOWPACK"].item() == snow


@given(seed=seeds, answer=st.floats(-1e6, 1e6))
@pytest.mark.parametrize("process", ["capillary", "exchange", "recharge", "percolation", "ET"])
def test_whatever_replaces_a_process_water_closes_and_no_store_is_negative(legal, process, seed, answer):
    model = Catchment(HBV2(), nmul=2, routing=5)
    (balance,) = model.declaration.balances
    forcing, parameters = legal.weather(model, 60, 3, seed), legal.parameters(model, 3, seed + 1)
    static = legal.attributes(model, 3, seed + 2)

    def network(inputs, state):
        assert set(inputs) == set(model.declaration.processes[process])
        shape = torch.broadcast_shapes(*(value.shape for value in inputs.values()))
        return torch.full(shape, answer, dtype=torch.float64), {}

    before = model.init_state(3)
    fluxes, after = run(model, forcing, before, parameters, static, 1.0, processes={process: network})
    lost = residual(model, balance, forcing, fluxes, before, after)
    turnover = forcing["P"].sum(0) + fluxes["exchange"].abs().sum(0) + 1.0
    assert (lost.abs() <= 1e-9 * turnover).all()
    assert all((after[s.name] >= 0).all() for s in model.declaration.states)


def test_hourly_steps_approximate_the_daily_model(legal):
    """Rates are per day times dt: in half a year of showery days, the water goes nearly the same ways."""
    model, days, rows = HBV2(), 180, 64
    daily = legal.weather(model, days, rows, seed=1)
    parameters, static = legal.parameters(model, rows, seed=2), legal.attributes(model, rows, seed=3)
    hourly = {
        name: value.repeat_interleave(24, 0) / (1.0 if name == "T" else 24.0) for name, value in daily.items()
    }
    by_day, _ = run(model, daily, model.init_state(rows), parameters, static, 1.0)
    by_hour, end = run(model, hourly, model.init_state(rows), parameters, static, 1 / 24)
    rain = daily["P"].sum(0)
    for name in ("Q", "ET", "exchange", "recharge", "capillary"):
        difference = (by_hour[name].sum(0) - by_day[name].sum(0)).abs()
        assert (difference <= 0.1 * rain).all(), name
    assert all((value >= 0).all() for value in end.values())
