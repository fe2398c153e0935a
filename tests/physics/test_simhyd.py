"""SIMHYD against its flow chart in plain numbers."""

import math

import pytest
import torch
from dmg_bmi.physics import run
from dmg_bmi.physics.simhyd import SIMHYD
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


def one_day(sms, gw, rain, pet, p):
    """Chiew, Peel & Western (2002), in the names of their flow chart."""
    interception = min(p["INSC"], pet, rain)
    inr = rain - interception
    rmo = min(p["COEFF"] * math.exp(-p["SQ"] * sms / p["SMSC"]), inr)
    irun = inr - rmo
    srun = p["SUB"] * sms / p["SMSC"] * rmo
    rec = p["CRAK"] * sms / p["SMSC"] * (rmo - srun)
    smf = rmo - srun - rec
    ets = min(10 * sms / p["SMSC"], pet - interception)
    sms += smf - ets
    if sms > p["SMSC"]:
        rec += sms - p["SMSC"]
        sms = p["SMSC"]
    bas = p["K"] * gw
    gw += rec - bas
    fluxes = {
        "Q": irun + srun + bas,
        "ET": interception + ets,
        "interflow": srun,
        "baseflow": bas,
        "recharge": rec,
    }
    return sms, gw, fluxes


@given(seed=seeds, heavy=st.sampled_from([1.0, 10.0]))
def test_three_years_equal_the_flow_chart_in_plain_numbers(legal, seed, heavy):
    model = SIMHYD()
    forcing, parameters = legal.weather(model, 1096, 1, seed), legal.parameters(model, 1, seed + 1)
    forcing["P"] = heavy * forcing["P"]
    fluxes, end = run(model, forcing, model.init_state(1), parameters, {}, 1.0)
    p = {name: value.item() for name, value in parameters.items()}
    sms, gw, series = 0.0, 0.0, []
    for rain, pet in zip(forcing["P"][:, 0].tolist(), forcing["PET"][:, 0].tolist(), strict=True):
        sms, gw, day = one_day(sms, gw, rain, pet, p)
        series.append(day)
    for name in series[0]:
        expected = torch.tensor([day[name] for day in series], dtype=torch.float64)
        torch.testing.assert_close(fluxes[name][:, 0], expected, rtol=1e-9, atol=1e-9)
    assert end["SMS"].item() == pytest.approx(sms, rel=1e-9)
    assert end["GW"].item() == pytest.approx(gw, rel=1e-9)


def test_rain_beyond_the_infiltration_capacity_runs_off():
    """A soil that takes 60 mm a day, on which 100 mm fall after 2 mm were intercepted."""
    model = SIMHYD()
    values = dict(INSC=2.0, COEFF=60.0, SQ=0.0, SMSC=400.0, SUB=0.0, CRAK=0.0, K=0.1)
    p = {name: torch.tensor([value], dtype=torch.float64) for name, value in values.items()}
    storm = {"P": torch.tensor([102.0]).double(), "PET": torch.tensor([3.0]).double()}
    after, fluxes = model.step(storm, model.init_state(1), p, {}, 1.0)
    assert fluxes["infiltration_excess"].item() == 40.0
    assert fluxes["ET"].item() == 2.0
    assert after["SMS"].item() == 60.0
