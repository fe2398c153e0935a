"""Leaf photosynthesis against its equations in plain numbers, and learned by a network."""

import math

import pytest
import torch
from dmg_bmi.nn_models import MLP
from dmg_bmi.physics import Catchment, run
from dmg_bmi.physics.photosynthesis import Photosynthesis
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi import DeltaModel, ParameterRole

ATTRIBUTES = ("leaf_nitrogen", "specific_leaf_area")


def bernacchi(scaling, energy, celsius):
    """exp(c - Ea / (R T)) with Ea in kJ mol-1 (Bernacchi et al., 2001, eq. 8)."""
    return math.exp(scaling - energy / (0.008314 * (celsius + 273.15)))


def net_assimilation(par, celsius, ambient, vpd, vcmax25, ratio, rd_ratio, g1):
    """Farquhar et al. (1980) with the constants as Bernacchi et al. (2001, table 1; 2003) print them."""
    ci = ambient / (1.0 + math.sqrt(vpd) / g1)
    kc, ko = bernacchi(38.05, 79.43, celsius), bernacchi(20.30, 36.38, celsius)
    gamma = bernacchi(19.02, 37.83, celsius)
    vcmax = vcmax25 * bernacchi(26.35, 65.33, celsius)
    jmax = ratio * vcmax25 * bernacchi(17.57, 43.54, celsius)
    rd = rd_ratio * vcmax25 * bernacchi(18.72, 46.39, celsius)
    light = par * 0.85 * 0.85 / 2.0
    # Bisection for 0.7 J**2 - (light + Jmax) J + light Jmax = 0 below the smaller of the two.
    low, high = 0.0, min(light, jmax)
    for _ in range(100):
        j = (low + high) / 2.0
        low, high = (j, high) if 0.7 * j * j - (light + jmax) * j + light * jmax > 0.0 else (low, j)
    by_rubisco = vcmax * (ci - gamma) / (ci + kc * (1.0 + 210.0 / ko))
    by_light = j * (ci - gamma) / (4.0 * ci + 8.0 * gamma)
    return min(by_rubisco, by_light) - rd


def assimilate(forcing, parameters):
    """A_net of lists of numbers."""
    names = [f.name for f in Photosynthesis.declaration.forcings]
    given_ = {n: torch.tensor([v], dtype=torch.float64) for n, v in zip(names, forcing, strict=True)}
    names = [p.name for p in Photosynthesis.declaration.parameters]
    p = {n: torch.tensor([v], dtype=torch.float64) for n, v in zip(names, parameters, strict=True)}
    state, fluxes = Photosynthesis().step(given_, {}, p, {}, 1.0)
    assert state == {}
    return fluxes["A_net"].item()


@given(
    par=st.floats(0.0, 2500.0),
    celsius=st.floats(0.0, 45.0),
    ambient=st.floats(200.0, 1000.0),
    vpd=st.floats(0.05, 6.0),
    vcmax25=st.floats(5.0, 200.0),
    ratio=st.floats(1.0, 3.0),
    rd_ratio=st.floats(0.005, 0.03),
    g1=st.floats(0.5, 10.0),
)
def test_assimilation_equals_the_published_equations(
    par, celsius, ambient, vpd, vcmax25, ratio, rd_ratio, g1
):
    """Within 1 % of the capacity: the printed scaling constants give 25 degC values rounded to that."""
    drivers = (par, celsius, ambient, vpd)
    expected = net_assimilation(*drivers, vcmax25, ratio, rd_ratio, g1)
    scale = vcmax25 * max(1.0, bernacchi(26.35, 65.33, celsius))
    assert abs(assimilate(drivers, (vcmax25, ratio, rd_ratio, g1)) - expected) <= 0.01 * scale


def test_a_leaf_in_common_conditions_by_hand():
    """Bright light, 25 degC, 400 umol mol-1: Ci = 400 * 4 / (4 + 1) = 320, and Rubisco limits.

    Ac = 60 * (320 - 42.75) / (320 + 404.9 * (1 + 210 / 278.4)) = 16635 / 1030.32 = 16.1455; Rd = 0.6.
    """
    assert assimilate((2000.0, 25.0, 400.0, 1.0), (60.0, 2.0, 0.01, 4.0)) == pytest.approx(15.5455, abs=2e-4)


def test_a_leaf_in_the_dark_only_respires():
    assert assimilate((0.0, 25.0, 400.0, 1.0), (60.0, 2.0, 0.01, 4.0)) == pytest.approx(-0.6)


def test_light_and_vcmax_raise_assimilation_and_dry_air_lowers_it():
    leaf, air = (60.0, 1.7, 0.015, 4.0), (400.0, 25.0, 400.0, 1.0)
    base = assimilate(air, leaf)
    assert assimilate((600.0, *air[1:]), leaf) > base
    assert assimilate((*air[:3], 3.0), leaf) < base
    bright = (2000.0, *air[1:])
    assert assimilate(bright, (80.0, *leaf[1:])) > assimilate(bright, leaf)


def test_a_network_learns_vcmax_from_traits_of_leaves(legal):
    """A DeltaModel that holds no water: Vcmax25 by a network from two traits, the rest fixed."""
    torch.manual_seed(0)
    leaves, moments = 64, 5
    model = DeltaModel(
        nn=MLP(2, 1, hidden_sizes=(16,)),
        phy_model=Photosynthesis(),
        roles=ParameterRole(attributes=ATTRIBUTES, static=("Vcmax25",)),
        fixed={"Jmax_ratio": 1.7, "Rd_ratio": 0.015, "g1": 4.0},
        step=1800.0,
    )
    traits = torch.rand(2, leaves)
    vcmax = 30.0 + 60.0 * traits[0] + 40.0 * traits[0] * traits[1]
    attributes = dict(zip(ATTRIBUTES, traits, strict=True))
    shape = (moments, leaves)
    forcing = {
        "PAR": 2000.0 * torch.rand(shape),
        "T_leaf": 15.0 + 15.0 * torch.rand(shape),
        "CO2": torch.full(shape, 410.0),
        "VPD": 0.5 + 2.0 * torch.rand(shape),
    }
    true = {"Vcmax25": vcmax} | {n: torch.full((leaves,), v) for n, v in model.fixed.items()}
    observed, _ = run(Photosynthesis(), forcing, {}, true, {}, 1.0)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(100):
        optimiser.zero_grad()
        fluxes, state = model(forcing, attributes)
        ((fluxes["A_net"] - observed["A_net"]) ** 2).mean().backward()
        optimiser.step()
    assert state == {}
    learned = model.precompute(attributes, leaves, torch.float32)["phy.Vcmax25"]
    assert ((learned - vcmax).abs() / vcmax).mean() < 0.05


def test_sunlit_and_shaded_leaves_are_parallel_components():
    model = Catchment(Photosynthesis(), nmul=2)
    air = {"PAR": 1500.0, "T_leaf": 25.0, "CO2": 400.0, "VPD": 1.0}
    forcing = {n: torch.tensor([v]).double() for n, v in air.items()}
    values = {"Vcmax25": [80.0, 40.0], "Jmax_ratio": [1.7, 1.7], "Rd_ratio": [0.01, 0.01], "g1": [4.0, 4.0]}
    _, fluxes = model.step(forcing, {}, {n: torch.tensor([v]).double() for n, v in values.items()}, {}, 1.0)
    each = [assimilate((1500.0, 25.0, 400.0, 1.0), (v, 1.7, 0.01, 4.0)) for v in (80.0, 40.0)]
    assert fluxes["A_net"].item() == pytest.approx(sum(each) / 2)
