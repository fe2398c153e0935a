"""HBV against the same equations written once more, in plain numbers and without the package."""

import math

import pytest
import torch
from dmg_bmi.physics import HBV, Catchment, run
from dmg_bmi.physics.hbv import TINY, power
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


class Column:
    """One column of HBV in scalars: Seibert & Vis (2012), in the order of Feng et al. (2022).

    ``kinks`` keeps how near each choice between two branches was.
    """

    def __init__(self, p, dt, snowpack=0.0, meltwater=0.0, soil=0.0, upper=0.0, lower=0.0):
        self.p, self.dt = p, dt
        self.stores = [snowpack, meltwater, soil, upper, lower]
        self.kinks = []

    def smaller(self, a, b):
        self.kinks.append(abs(a - b))
        return a if a < b else b

    def above(self, a, threshold):
        self.kinks.append(abs(a - threshold))
        return a - threshold if a > threshold else 0.0

    def step(self, rain, temperature, demand):
        p, dt = self.p, self.dt
        ice, liquid, soil, upper, lower = self.stores

        # Snow routine: what falls, what melts, what freezes again, what the pack cannot hold.
        self.kinks.append(abs(temperature - p["TT"]))
        if temperature >= p["TT"]:
            melt = self.smaller(p["CFMAX"] * (temperature - p["TT"]) * dt, ice)
            ice, liquid = ice - melt, liquid + melt
            on_soil = rain
        else:
            ice += rain
            frozen = self.smaller(p["CFR"] * p["CFMAX"] * (p["TT"] - temperature) * dt, liquid)
            ice, liquid = ice + frozen, liquid - frozen
            on_soil = 0.0
        released = self.above(liquid, p["CWH"] * ice)
        liquid -= released
        on_soil += released

        # Soil routine.
        recharge = on_soil * self.smaller(soil / p["FC"], 1.0) ** p["BETA"]
        soil += on_soil - recharge
        overflow = self.above(soil, p["FC"])
        soil -= overflow
        wetness = self.smaller(soil / (p["FC"] * p["LP"]), 1.0)
        evaporation = self.smaller(demand * wetness ** p.get("BETAET", 1.0), soil)
        soil -= evaporation

        # Response routine.
        upper += recharge + overflow
        percolation = self.smaller(p["PERC"] * dt, upper)
        upper -= percolation
        q0 = p["K0"] * dt * self.above(upper, p["UZL"])
        upper -= q0
        q1 = p["K1"] * dt * upper
        upper -= q1
        lower += percolation
        q2 = p["K2"] * dt * lower
        lower -= q2

        self.stores = [ice, liquid, soil, upper, lower]
        return {"Q": q0 + q1 + q2, "Q0": q0, "Q1": q1, "Q2": q2, "ET": evaporation, "SWE": ice + liquid}


STORES = ("SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ")


def gamma_weights(a, theta, length, dt):
    """The gamma density at the middle of each step, normalised to one."""

    def density(t):
        return t ** (a - 1) * math.exp(-t / theta) / (math.gamma(a) * theta**a)

    weights = [density((i + 0.5) * dt) for i in range(length)]
    return [w / math.fsum(weights) for w in weights]


@given(seed=seeds, betaet=st.booleans(), nmul=st.integers(1, 3), dt=st.sampled_from([1.0, 1 / 24]))
def test_three_years_equal_the_scalar_reference(legal, seed, betaet, nmul, dt):
    time, length = 1096, 15
    model = Catchment(HBV(betaet=betaet), nmul, length)
    forcing = legal.weather(model, time, 1, seed, dt)
    parameters = legal.parameters(model, 1, seed + 1)
    if betaet:
        # Evaporation by a power below one can empty the soil, where only the model floors the power.
        parameters["BETAET"].clamp_(min=1.0)
    state = model.init_state(1)
    state["SM"][:] = 0.3 * parameters["FC"]
    fluxes, end = run(model, forcing, state, parameters, {}, dt)

    columns = [
        Column(
            {n: v[0, j].item() for n, v in parameters.items() if v.dim() == 2},
            dt,
            soil=state["SM"][0, j].item(),
        )
        for j in range(nmul)
    ]
    weather = zip(*(forcing[name][:, 0].tolist() for name in ("P", "T", "PET")), strict=True)
    series = [[column.step(*now) for column in columns] for now in weather]

    def mean(name):
        return [math.fsum(column[name] for column in now) / nmul for now in series]

    def agrees(actual, expected):
        expected = torch.tensor(expected, dtype=torch.float64)
        torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)

    for name in ("Q0", "Q1", "Q2", "ET", "SWE"):
        agrees(fluxes[name][:, 0], mean(name))
    for i, store in enumerate(STORES):
        agrees(end[store][0], [column.stores[i] for column in columns])
    generated = mean("Q")
    agrees(fluxes["Q_generated"][:, 0], generated)
    a, theta = parameters["route_a"].item() + 0.1, parameters["route_b"].item() + 0.5
    weights = gamma_weights(a, theta, length, dt)
    agrees(
        fluxes["Q"][:, 0],
        [math.fsum(weights[k] * generated[t - k] for k in range(min(t + 1, length))) for t in range(time)],
    )


@given(seed=seeds)
def test_gradients_are_those_of_finite_differences_a_thousandth_from_every_kink(legal, seed):
    """Points are drawn until no choice of the equations is nearer than 1e-3 to the other branch."""
    model = HBV(betaet=True)
    g = torch.Generator().manual_seed(seed)
    forcing_names = ("P", "T", "PET")

    def point():
        share = torch.rand(len(model.declaration.parameters), generator=g, dtype=torch.float64)
        p = {
            q.name: q.lower + (q.upper - q.lower) * s
            for q, s in zip(model.declaration.parameters, share, strict=True)
        }
        u = torch.rand(8, generator=g, dtype=torch.float64)
        forcing = [40 * u[0] + 0.1, 12 * u[1] - 6, 6 * u[2] + 0.1]
        stores = [60 * u[3], 10 * u[4], p["FC"] * u[5], 80 * u[6], 50 * u[7]]
        return p, forcing, stores

    for _ in range(100):
        p, forcing, stores = point()
        column = Column({k: v.item() for k, v in p.items()}, 1.0, *(s.item() for s in stores))
        column.step(*(f.item() for f in forcing))
        if min(column.kinks) > 1e-3:
            break
    else:
        pytest.fail("no point away from kinks in a hundred draws")

    def step(*values):
        values = [value.reshape(1) for value in values]
        now = dict(zip(forcing_names, values[:3], strict=True))
        before = dict(zip(STORES, values[3:8], strict=True))
        after, fluxes = model.step(now, before, dict(zip(p, values[8:], strict=True)), {}, 1.0)
        return (*after.values(), *fluxes.values())

    values = [v.clone().requires_grad_() for v in (*forcing, *stores, *p.values())]
    assert torch.autograd.gradcheck(step, values)


@pytest.mark.parametrize("betaet", [0.3, 1.0, 5.0])
def test_gradients_are_finite_with_empty_and_full_stores_and_the_air_at_the_threshold(betaet):
    """Every combination at once, one row each, where minimum, relu and powers have no slope of their own."""
    model = HBV(betaet=True)
    grid = torch.cartesian_prod(
        torch.tensor([0.0, 100.0]),  # snow pack
        torch.tensor([0.0, 10.0]),  # melt water: at what the pack holds when CWH is 0.1
        torch.tensor([0.0, 20.0, 100.0]),  # soil: empty, at LP FC, at FC
        torch.tensor([0.0, 15.0]),  # upper zone: empty, at UZL once PERC has left it
        torch.tensor([-3.0, 0.0, 3.0]),  # air above TT
        torch.tensor([0.0, 30.0]),  # precipitation
        torch.tensor([0.0, 4.0]),  # demand
    ).double()
    columns = [c.clone().requires_grad_() for c in grid.unbind(1)]
    state = dict(zip(STORES, [*columns[:4], torch.zeros_like(columns[0], requires_grad=True)], strict=True))
    forcing = dict(zip(("T", "P", "PET"), columns[4:], strict=True))
    values = dict(
        BETA=1.0, FC=100.0, K0=0.5, K1=0.1, K2=0.01, LP=0.2, PERC=5.0, UZL=10.0, TT=0.0, CFMAX=3.0, CFR=0.05,
        CWH=0.1, BETAET=betaet,
    )  # fmt: skip
    p = {
        name: torch.full((len(grid),), v, dtype=torch.float64, requires_grad=True)
        for name, v in values.items()
    }
    after, fluxes = model.step(forcing, state, p, {}, 1.0)
    inputs = (*state.values(), *forcing.values(), *p.values())
    for result in (*after.values(), *fluxes.values()):
        for gradient in torch.autograd.grad(result.sum(), inputs, retain_graph=True, allow_unused=True):
            assert gradient is None or torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@given(share=st.floats(0.0, 1.0), exponent=st.floats(0.3, 6.0))
def test_a_power_is_that_of_plain_numbers_to_two_roundings_of_one(dtype, share, exponent):
    x, e = (torch.tensor(v, dtype=dtype) for v in (share, exponent))
    # of the numbers as this dtype has them; what is below the floor counts as the floor
    expected = max(x.item(), TINY) ** e.item()
    assert abs(power(x, e).item() - expected) <= 2 * torch.finfo(dtype).eps


@pytest.mark.parametrize("exponent", [0.3, 1.0, 6.0])
def test_a_power_of_nothing_is_next_to_nothing_and_has_a_gradient(exponent):
    x = torch.zeros(1, dtype=torch.float64, requires_grad=True)
    e = torch.full((1,), exponent, dtype=torch.float64, requires_grad=True)
    y = power(x, e)
    y.backward()
    assert 0.0 <= y.item() <= TINY**exponent * (1 + 1e-12)
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(e.grad).all()
