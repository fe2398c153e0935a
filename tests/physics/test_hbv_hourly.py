"""Infiltration excess of the hourly HBV variants, and the unit hydrograph with a lag."""

import math

import pytest
import torch
from dmg_bmi.physics import Catchment, HBV2Hourly, HBV21Hourly, residual, run
from dmg_bmi.physics.hbv_hourly import distributed_excess
from dmg_bmi.physics.unit_hydrograph import LAGGED_PARAMETERS, gamma_ordinates, lagged_ordinates
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
variants = pytest.mark.parametrize("variant", [HBV2Hourly, HBV21Hourly])
DT = 1 / 24


def tensors(values):
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}


def stormy_hour(variant, rain, soil, **parameters):
    """One warm hour of rain on a soil, without demand: state, fluxes."""
    model = variant()
    p = {q.name: 0.5 * (q.lower + q.upper) for q in model.declaration.parameters} | {"C": 0.0, **parameters}
    state = model.init_state(1) | tensors({"SM": soil})
    static = tensors({"elevation": 100.0, "upstream_area": 10.0})
    return model.step(tensors({"P": rain, "T": 15.0, "PET": 0.0}), state, tensors(p), static, DT)


@pytest.mark.parametrize("soil", [0.0, 60.0, 199.0, 200.0, 230.0])
@pytest.mark.parametrize("rain", [0.0, 3.0, 40.0])
def test_what_a_soil_cannot_take_up_runs_off_in_the_same_hour(rain, soil):
    """F0 = 240 mm/d: at most 10 mm in an hour, on a soil of FC = 200 mm."""
    _, fluxes = stormy_hour(HBV2Hourly, rain, soil, FC=200.0, F0=240.0, FMIN=0.3, ALPHA=2.0)
    dry = 1.0 - min(soil / 200.0, 0.99)
    expected = max(0.0, rain - 10.0 * (0.3 + 0.7 * dry**2))
    assert fluxes["infiltration_excess"].item() == pytest.approx(expected, abs=1e-9)
    assert fluxes["Q"].item() == pytest.approx(
        expected + sum(fluxes[name].item() for name in ("Q0", "Q1", "Q2")), abs=1e-9
    )


@pytest.mark.parametrize("alpha", [0.5, 0.7, 1.0])
@pytest.mark.parametrize("water", [0.0, 0.5, 4.0, 10.0, 31.0])
def test_the_excess_is_that_of_a_thousand_places_of_different_capacity(water, alpha):
    largest, places = 10.0, 100_000
    share = (torch.arange(places, dtype=torch.float64) + 0.5) / places
    expected = torch.relu(water - largest * share**alpha).mean()
    actual = distributed_excess(*torch.tensor([[water], [largest], [alpha]], dtype=torch.float64))
    assert actual.item() == pytest.approx(expected.item(), rel=1e-4, abs=1e-6)


def test_the_excess_of_a_distributed_capacity_passes_two_stores():
    after, fluxes = stormy_hour(
        HBV21Hourly, 25.0, 120.0, FC=200.0, BETA=2.0, F0=480.0, ALPHA=1.0, KS=3.0, RT=0.0
    )
    share, wet = 2 * 3.0 / 24, 0.6**2
    excess = (1 - wet) * (25.0 - 20.0 + 20.0 / 2)
    assert fluxes["infiltration_excess"].item() == pytest.approx(excess)
    assert after["SIE1"].item() == pytest.approx(excess * (1 - share))
    assert fluxes["QIE"].item() == pytest.approx(excess * share**2)
    assert after["SIE2"].item() == pytest.approx(excess * share * (1 - share))
    assert fluxes["recharge"].item() == pytest.approx(25.0 * wet)


def test_excess_leaves_as_by_a_cascade_of_two_equal_stores():
    rain = torch.zeros(2000, 1, dtype=torch.float64)
    rain[0] = 30.0
    model = HBV21Hourly()
    p = tensors({q.name: 0.5 * (q.lower + q.upper) for q in model.declaration.parameters})
    forcing = {"P": rain, "T": rain * 0 + 15.0, "PET": rain * 0}
    static = tensors({"elevation": 100.0, "upstream_area": 10.0})
    fluxes, _ = run(model, forcing, model.init_state(1), p, static, DT)
    excess, k = fluxes["infiltration_excess"].sum().item(), 2 * p["KS"].item() * DT
    assert excess > 1.0
    expected = [excess * k**2 * (t + 1) * (1 - k) ** t for t in range(2000)]
    torch.testing.assert_close(fluxes["QIE"][:, 0], torch.tensor(expected, dtype=torch.float64))
    assert fluxes["QIE"].sum().item() == pytest.approx(excess)


@variants
@given(seed=seeds, answer=st.floats(-1e6, 1e6), dt=st.sampled_from([1.0, DT]))
@pytest.mark.parametrize("process", ["infiltration_excess", "recharge"])
def test_whatever_replaces_infiltration_water_closes_and_no_store_is_negative(
    legal, variant, process, seed, answer, dt
):
    model = Catchment(variant(), nmul=2, routing=60)
    (balance,) = model.declaration.balances
    forcing, parameters = legal.weather(model, 60, 3, seed, dt), legal.parameters(model, 3, seed + 1)
    static = legal.attributes(model, 3, seed + 2)

    def network(inputs, state):
        assert set(inputs) == {"SM", "water"}
        shape = torch.broadcast_shapes(*(value.shape for value in inputs.values()))
        return torch.full(shape, answer, dtype=torch.float64), {}

    before = model.init_state(3)
    fluxes, after = run(model, forcing, before, parameters, static, dt, processes={process: network})
    lost = residual(model, balance, forcing, fluxes, before, after)
    turnover = forcing["P"].sum(0) + fluxes["exchange"].abs().sum(0) + 1.0
    assert (lost.abs() <= 1e-9 * turnover).all()
    assert all((after[s.name] >= 0).all() for s in model.declaration.states)


# -- the unit hydrograph -------------------------------------------------------------------


def drawn(seed, rows=40):
    g = torch.Generator().manual_seed(seed)
    return [
        p.lower + (p.upper - p.lower) * torch.rand(rows, generator=g, dtype=torch.float64)
        for p in LAGGED_PARAMETERS
    ]


@given(seed=seeds, length=st.integers(1, 150), dt=st.sampled_from([1.0, 0.25, DT]))
def test_lagged_ordinates_are_not_negative_and_add_up_to_one(seed, length, dt):
    ordinates = lagged_ordinates(*drawn(seed), length, dt)
    assert ordinates.shape == (40, length)
    assert (ordinates >= 0).all()
    torch.testing.assert_close(ordinates.sum(-1), torch.ones(40, dtype=torch.float64))


@pytest.mark.parametrize("lag", [0.0, 7.0, 7.25, 48.0])
def test_a_lag_shifts_the_hydrograph_and_interpolates_between_hours(lag):
    a, b = torch.tensor([2.0]).double(), torch.tensor([3.0]).double()
    unshifted = gamma_ordinates(a, b, 72, 1.0)[0].tolist()
    ordinates = lagged_ordinates(a, b, torch.tensor([lag]).double(), 120, DT)[0].tolist()
    whole, part = int(lag), lag - int(lag)
    for hour, actual in enumerate(ordinates):
        before, now = (unshifted[h] if 0 <= h < 72 else 0.0 for h in (hour - whole - 1, hour - whole))
        assert math.isclose(actual, (1 - part) * now + part * before, abs_tol=1e-12)


def test_the_slope_by_the_lag_is_that_of_finite_differences():
    a, b, _ = drawn(3, 5)
    tau = torch.tensor([0.3, 5.6, 11.2, 20.7, 47.4], dtype=torch.float64)
    inputs = [x.requires_grad_() for x in (a, b, tau)]
    assert torch.autograd.gradcheck(lambda *x: lagged_ordinates(*x, 60, DT), inputs)
