"""EXP-HYDRO against its differential equations, integrated finely in plain numbers."""

import math
from itertools import pairwise

import pytest
import torch
from dmg_bmi.physics import run
from dmg_bmi.physics.exphydro import ExpHydro, outflow


def tensors(values):
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}


def runge_kutta(rates, state, length, steps):
    """The classical method of fourth order."""
    h = length / steps
    for _ in range(steps):
        k1 = rates(state)
        k2 = rates([s + h / 2 * k for s, k in zip(state, k1, strict=True)])
        k3 = rates([s + h / 2 * k for s, k in zip(state, k2, strict=True)])
        k4 = rates([s + h * k for s, k in zip(state, k3, strict=True)])
        state = [
            s + h / 6 * (a + 2 * b + 2 * c + d) for s, a, b, c, d in zip(state, k1, k2, k3, k4, strict=True)
        ]
    return state


@pytest.mark.parametrize("f", [0.0, 1e-5, 0.02, 0.1])
@pytest.mark.parametrize("excess", [-250.0, -30.0, -0.1, 0.0, 0.1, 20.0, 300.0])
@pytest.mark.parametrize("dt", [1.0, 1 / 24])
def test_outflow_is_the_solution_of_its_equation_over_the_step(f, excess, dt):
    """Also where the soil falls through Smax within the step, and where f is too small to divide by."""
    smax, qmax = 300.0, 40.0

    def rates(state):
        over = state[0] - smax
        baseflow = qmax * math.exp(f * min(over, 0.0))
        spill = max(over, 0.0)
        return [-baseflow - spill, baseflow, spill]

    _, baseflow, spill = runge_kutta(rates, [smax + excess, 0.0, 0.0], dt, 20000)
    p = tensors({"f": f, "Smax": smax, "Qmax": qmax})
    actual = outflow(torch.tensor([smax + excess]).double(), p, dt)
    # The floor of f, 1e-6, changes the outflow by half of 1e-6 * Qmax * dt of itself at most.
    assert actual[0].item() == pytest.approx(baseflow, rel=3e-5 if f == 0.0 else 1e-6, abs=1e-6)
    assert actual[1].item() == pytest.approx(spill, rel=1e-6, abs=1e-6)


def daily_runoff(days, p):
    """Runoff of each day by the equations of Höge et al. (2022), steps of storage smoothed too."""

    def step(x):
        return (math.tanh(5.0 * x) + 1.0) / 2.0

    state, runoff = [0.0, 0.0, 0.0], []
    for rain, temperature, demand in days:

        def rates(state, rain=rain, temperature=temperature, demand=demand):
            snow, soil, _ = state
            over = soil - p["Smax"]
            warmth = temperature - p["Tmax"]
            melt = step(warmth) * step(snow) * min(snow, p["Df"] * warmth)
            evaporation = step(soil) * demand * (step(over) + step(-over) * soil / p["Smax"])
            baseflow = step(soil) * p["Qmax"] * (step(over) + step(-over) * math.exp(p["f"] * over))
            spill = step(soil) * step(over) * over
            snowfall = step(p["Tmin"] - temperature) * rain
            gained = rain - snowfall + melt - evaporation - baseflow - spill
            return [snowfall - melt, gained, baseflow + spill]

        state = runge_kutta(rates, state, 1.0, 96)
        runoff.append(state[2])
        state[2] = 0.0
    return runoff


def test_small_steps_give_the_runoff_of_the_published_equations(legal):
    """With a cold and a warm season, and showers that fill the soil beyond Smax."""
    model, days, parts = ExpHydro(), 120, 24
    values = dict(f=0.05, Smax=100.0, Qmax=15.0, Df=3.0, Tmax=1.0, Tmin=-1.0)
    forcing = legal.weather(model, days, 1, seed=1)
    forcing["P"] *= 3.0
    # The smooth step of melt is negative just below Tmax, where we let nothing melt.
    away = forcing["T"] - values["Tmax"]
    forcing["T"] = values["Tmax"] + torch.where(away < 0, -1.0, 1.0) * (away.abs() + 0.8)
    fine = {
        name: value.repeat_interleave(parts, 0) / (1.0 if name == "T" else parts)
        for name, value in forcing.items()
    }
    fluxes, _ = run(model, fine, model.init_state(1), tensors(values), {}, 1.0 / parts)
    by_day = fluxes["Q"][:, 0].reshape(days, parts).sum(1)
    weather = zip(*(forcing[name][:, 0].tolist() for name in ("P", "T", "PET")), strict=True)
    published = daily_runoff(weather, values)
    expected = torch.tensor(published, dtype=torch.float64)
    assert fluxes["spill"].sum() > 1.0
    assert fluxes["SWE"].max() > 1.0
    assert (by_day - expected).abs().max() < 0.01 * expected.max()
    assert by_day.sum().item() == pytest.approx(expected.sum().item(), rel=2e-3)


def test_the_error_halves_with_the_step(legal):
    """Against steps 16 times as fine; anywhere in the box of parameters."""
    model, days, rows = ExpHydro(), 40, 128
    assert model.declaration.rate_form
    forcing, parameters = legal.weather(model, days, rows, seed=1), legal.parameters(model, rows, seed=2)

    def totals(parts):
        fine = {
            name: value.repeat_interleave(parts, 0) / (1.0 if name == "T" else parts)
            for name, value in forcing.items()
        }
        fluxes, end = run(model, fine, model.init_state(rows), parameters, {}, 1.0 / parts)
        return torch.stack([fluxes["Q"].sum(0), fluxes["ET"].sum(0), end["S0"], end["S1"]])

    exact = totals(128)
    errors = [(totals(parts) - exact).abs().sum() for parts in (1, 2, 4, 8)]
    for coarse, fine in pairwise(errors):
        assert coarse >= 1.6 * fine
