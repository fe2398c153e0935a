"""GR4J against the spreadsheet of its authors and against its equations in plain numbers."""

import math

import pytest
import torch
from dmg_bmi.physics import residual, run
from dmg_bmi.physics.gr4j import GR4J
from hypothesis import assume, given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)

#: Precipitation, potential evapotranspiration and the flow that INRAE's GR4J spreadsheet makes of them, mm/d.
#: USGS 02430680 from 1988-01-01 (daily_hydromet_sample_data, public domain), as in the gr4j package's tests.
SPREADSHEET = """
12.1745319366 1.30215653226 3.02655825346
0.0723413079977 1.31872193055 1.33309571427
0.21662953496 1.33528732884 0.915674899566
0.216522783041 1.35185272713 0.730692551464
0 1.36841812543 0.626750514754
1.6182346344 1.38498352372 0.599354865659
21.2116088867 1.40154892201 6.71921270551
0 1.4181143203 1.64818523513
0 1.43467971859 1.04724300537
0 1.45124511689 0.813525561013
0.0463606715202 1.46781051518 0.690354284996
0.223219439387 1.48437591347 0.614864625722
3.07858991623 1.50094131176 0.848004102887
0 1.51750671005 0.694531856404
0 1.53407210835 0.610332216722
0.00548105454072 1.55063750664 0.553789626388
10.8784294128 1.56720290493 2.76776441399
3.98758721352 1.58376830322 1.94511589964
29.7117233276 1.60033370151 12.1943557713
12.1630516052 1.61689909981 6.22308733033
0 1.6334644981 1.73250519719
0 1.65002989639 1.15500109131
0 1.66659529468 0.93021939663
0.0345830358565 1.68316069297 0.811481290093
"""
SPREADSHEET_PARAMETERS = {"X1": 303.627616, "X2": 0.32238919, "X3": 6.49759466, "X4": 0.294803885}
SPREADSHEET_STORES = {"S": 0.6, "R": 0.7}


def tensors(values):
    return {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}


def test_flow_equals_that_of_the_authors_spreadsheet():
    rows = [[float(number) for number in line.split()] for line in SPREADSHEET.strip().splitlines()]
    rain, demand, flow = torch.tensor(rows, dtype=torch.float64).unbind(1)
    model, p = GR4J(), SPREADSHEET_PARAMETERS
    state = model.init_state(1) | tensors(
        {"S": SPREADSHEET_STORES["S"] * p["X1"], "R": SPREADSHEET_STORES["R"] * p["X3"]}
    )
    forcing = {"P": rain.unsqueeze(1), "PET": demand.unsqueeze(1)}
    fluxes, _ = run(model, forcing, state, tensors(p), {}, 1.0)
    torch.testing.assert_close(fluxes["Q"][:, 0], flow, rtol=1e-6, atol=1e-6)


def s_curve(t, x4, second):
    """Perrin et al. (2003), eqs. 9 to 15."""
    if t <= 0:
        return 0.0
    if not second:
        return (t / x4) ** 2.5 if t < x4 else 1.0
    if t <= x4:
        return 0.5 * (t / x4) ** 2.5
    return 1.0 - 0.5 * (2.0 - t / x4) ** 2.5 if t < 2 * x4 else 1.0


def in_plain_numbers(weather, x1, x2, x3, x4):
    """Daily flow, evaporation and exchange, and the final stores, with the convolution written out."""
    n1, n2 = math.ceil(x4), math.ceil(2 * x4)
    uh1 = [s_curve(j + 1, x4, False) - s_curve(j, x4, False) for j in range(n1)]
    uh2 = [s_curve(j + 1, x4, True) - s_curve(j, x4, True) for j in range(n2)]
    store, routing, inputs, days = 0.0, 0.0, [], []
    for rain, demand in weather:
        if rain >= demand:
            net, from_rain = rain - demand, demand
            t, s = math.tanh(net / x1), store / x1
            gained = x1 * (1 - s**2) * t / (1 + s * t)
            store, evaporated = store + gained, 0.0
        else:
            net, from_rain, gained = 0.0, rain, 0.0
            t, s = math.tanh((demand - rain) / x1), store / x1
            evaporated = store * (2 - s) * t / (1 + (1 - s) * t)
            store -= evaporated
        percolated = store * (1 - (1 + (4 * store / (9 * x1)) ** 4) ** -0.25)
        store -= percolated
        inputs.append(percolated + net - gained)
        q9 = 0.9 * math.fsum(uh1[j] * inputs[-1 - j] for j in range(min(n1, len(inputs))))
        q1 = 0.1 * math.fsum(uh2[j] * inputs[-1 - j] for j in range(min(n2, len(inputs))))
        exchange = x2 * (routing / x3) ** 3.5
        before = routing + q9
        routing = max(0.0, before + exchange)
        gain = routing - before
        released = routing * (1 - (1 + (routing / x3) ** 4) ** -0.25)
        routing -= released
        direct = max(0.0, q1 + exchange)
        days.append((released + direct, evaporated + from_rain, gain + direct - q1))
    return days, store, routing


@given(seed=seeds, x4=st.floats(0.5, 15.0))
def test_two_years_equal_the_equations_in_plain_numbers(legal, seed, x4):
    model = GR4J(queue=30)
    forcing = legal.weather(model, 730, 1, seed)
    parameters = legal.parameters(model, 1, seed + 1) | tensors({"X4": x4})
    fluxes, end = run(model, forcing, model.init_state(1), parameters, {}, 1.0)
    weather = zip(forcing["P"][:, 0].tolist(), forcing["PET"][:, 0].tolist(), strict=True)
    days, store, routing = in_plain_numbers(weather, *(parameters[f"X{i}"].item() for i in (1, 2, 3, 4)))
    for name, expected in zip(("Q", "ET", "exchange"), zip(*days, strict=True), strict=True):
        torch.testing.assert_close(
            fluxes[name][:, 0], torch.tensor(expected, dtype=torch.float64), rtol=1e-9, atol=1e-9
        )
    assert end["S"].item() == pytest.approx(store, rel=1e-9, abs=1e-9)
    assert end["R"].item() == pytest.approx(routing, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("dt", [1.0, 1 / 24])
@pytest.mark.parametrize("queue", [2, 3, 30])
def test_the_hydrographs_add_up_to_one_even_where_the_queue_is_too_short_for_them(queue, dt):
    derived = GR4J(queue=queue).derive({"X4": torch.linspace(0.5, 15.0, 50).double()}, dt)
    assert derived["ordinates1"].shape == (50, math.ceil(queue / 2))
    assert derived["ordinates2"].shape == (50, queue)
    for ordinates in derived.values():
        assert (ordinates >= 0).all()
        torch.testing.assert_close(ordinates.sum(-1), torch.ones(50, dtype=torch.float64))


@given(seed=seeds)
def test_a_queue_that_is_too_short_delays_less_but_loses_nothing(legal, seed):
    model = GR4J(queue=4)
    (balance,) = model.declaration.balances
    forcing, parameters = legal.weather(model, 200, 3, seed), legal.parameters(model, 3, seed + 1)
    parameters["X4"][:] = 15.0
    before = model.init_state(3)
    fluxes, after = run(model, forcing, before, parameters, {}, 1.0)
    lost = residual(model, balance, forcing, fluxes, before, after)
    assert (lost.abs() <= 1e-9 * (forcing["P"].sum(0) + fluxes["exchange"].abs().sum(0) + 1.0)).all()


@given(x4=st.floats(0.6, 14.0))
def test_the_hydrographs_are_differentiable_in_x4(x4):
    # An S-curve has a kink where it ends: at whole days.
    assume(abs(2 * x4 - round(2 * x4)) > 1e-4)
    model = GR4J(queue=30)

    def ordinates(value):
        return tuple(model.derive({"X4": value}, 1.0).values())

    assert torch.autograd.gradcheck(ordinates, torch.tensor([x4], dtype=torch.float64, requires_grad=True))


def test_a_day_of_recession_is_the_same_in_one_step_or_in_twenty_four():
    """Percolation and outflow are solved exactly over any step; what a day's rain did stays apart."""
    model = GR4J(queue=2)
    p = tensors({"X1": 200.0, "X2": 0.0, "X3": 50.0, "X4": 0.5})
    nothing = {name: torch.zeros(24, 1, dtype=torch.float64) for name in ("P", "PET")}
    full = model.init_state(1) | tensors({"R": 60.0})
    by_hour, late = run(model, nothing, full, p, {}, 1 / 24)
    by_day, end = run(model, {name: value[:1] for name, value in nothing.items()}, full, p, {}, 1.0)
    torch.testing.assert_close(late["R"], end["R"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(by_hour["Q"].sum(0), by_day["Q"].sum(0), rtol=1e-12, atol=1e-12)
