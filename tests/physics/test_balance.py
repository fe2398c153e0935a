"""Nothing is lost, and the check would see it."""

import numpy as np
import pytest
import torch
from dmg_bmi.physics import ProcessModel, mass_in, residual, run, storage
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.model.registry import build_process_model

FIVE_YEARS = 1826


def unclosed(model, balance, forcing, fluxes, before, after):
    """The residual as a share of what it may be, 1e-9 of (input + initial storage + 1 mm); at most 1."""
    allowed = 1e-9 * (mass_in(balance, forcing, fluxes).sum(0) + storage(model, before, balance) + 1.0)
    return (residual(model, balance, forcing, fluxes, before, after).abs() / allowed).max()


def test_every_balance_closes_over_five_years(process_model, ready):
    forcing, state, go_on = ready(process_model, FIVE_YEARS, 6, seed=5)
    fluxes, end = go_on(forcing, state)
    for balance in process_model.declaration.balances:
        assert unclosed(process_model, balance, forcing, fluxes, state, end) <= 1


@given(seed=st.integers(0, 2**32 - 1), dt=st.sampled_from([1.0, 1 / 24]))
def test_every_balance_closes_in_every_step(process_model, ready, seed, dt):
    forcing, state, go_on = ready(process_model, 40, 3, seed, dt)
    for t in range(40):
        now = {name: value[t : t + 1] for name, value in forcing.items()}
        fluxes, new = go_on(now, state)
        for balance in process_model.declaration.balances:
            assert unclosed(process_model, balance, now, fluxes, state, new) <= 1
        state = new


def test_water_closes_under_the_weather_of_real_basins(shared_data, legal):
    """Five years of CAMELS-US precipitation and temperature, with a seasonal demand."""
    columns = []
    for path in sorted((shared_data / "camels_us" / "basin_mean_forcing").rglob("*_forcing_leap.txt")):
        table = np.loadtxt(path, skiprows=4)
        # Year, month, day, hour, day length, precipitation, radiation, snow, warmest, coldest, ...
        columns.append(table[table[:, 0] >= 2001][:FIVE_YEARS, [5, 8, 9]])
    rain, warmest, coldest = torch.from_numpy(np.stack(columns, axis=1)).unbind(-1)
    day = torch.arange(FIVE_YEARS, dtype=torch.float64).unsqueeze(1)
    demand = (3.0 - 2.5 * torch.cos(2 * torch.pi * day / 365.25)).expand_as(rain)
    forcing = {"P": rain, "T": (warmest + coldest) / 2, "PET": demand}

    model = build_process_model({"name": "hbv", "nmul": 4, "routing": 15})
    (balance,) = model.declaration.balances
    rows = rain.shape[1]
    assert rows >= 13
    state = model.init_state(rows)
    fluxes, end = run(model, forcing, state, legal.parameters(model, rows, seed=3), {}, 1.0)
    assert unclosed(model, balance, forcing, fluxes, state, end) <= 1


class Leaking(ProcessModel):
    """A model that loses a thousandth of a millimetre of one store, in one step of five years."""

    def __init__(self, model: ProcessModel, store: str) -> None:
        super().__init__()
        self.model, self.store, self.steps = model, store, 0
        self.declaration = model.declaration

    def step(self, forcing, state, parameters, static, dt, processes=()):
        new, fluxes = self.model.step(forcing, state, parameters, static, dt)
        self.steps += 1
        if self.steps == FIVE_YEARS // 2:
            summed = {s.name for s in self.declaration.states if s.reduce == "sum"}
            share = new[self.store].shape[-1] if self.store in summed else 1
            new[self.store] = new[self.store] - 1e-3 / share
        return new, fluxes


@pytest.mark.parametrize("store", ["SNOWPACK", "MELTWATER", "SM", "SUZ", "SLZ", "queue"])
def test_a_single_leak_of_a_micrometre_fails_the_check(legal, store):
    model = build_process_model({"name": "hbv", "nmul": 2, "routing": 15})
    (balance,) = model.declaration.balances
    assert store in balance.stored
    leaking = Leaking(model, store)
    forcing, state = legal.weather(model, FIVE_YEARS, 1, seed=1), model.init_state(1)
    parameters = legal.parameters(model, 1, seed=2)
    fluxes, end = run(leaking, forcing, state, parameters, {}, 1.0)
    assert unclosed(leaking, balance, forcing, fluxes, state, end) > 1
    # Nothing but the leak is what fails it.
    lost = residual(leaking, balance, forcing, fluxes, state, end)
    torch.testing.assert_close(lost, torch.full_like(lost, 1e-3), rtol=1e-4, atol=0)
