"""Deserts, poles, eternal snow and floods: everything stays finite, nothing is lost, nothing is negative."""

import numpy as np
import pytest
import torch
from dmg_bmi.physics import mass_in, residual, storage

DAYS = 400
DAY = np.arange(DAYS)
#: Precipitation, temperature and potential evapotranspiration of each day: mm, degC, mm.
CLIMATES = {
    "desert": (np.where(DAY == 200, 30.0, 0.0), 38.0 + 8.0 * np.sin(DAY), np.full(DAYS, 12.0)),
    "rainless": (np.zeros(DAYS), np.full(DAYS, 45.0), np.full(DAYS, 15.0)),
    "polar": (np.full(DAYS, 0.3), np.full(DAYS, -60.0), np.zeros(DAYS)),
    "all snow": (np.full(DAYS, 20.0), np.full(DAYS, -8.0), np.full(DAYS, 0.1)),
    "thaw of all snow": (
        np.where(DAY < 300, 20.0, 0.0), np.where(DAY < 300, -10.0, 25.0), np.where(DAY < 300, 0.0, 6.0),
    ),
    "flood": (np.where(DAY % 50 < 5, 1000.0, 0.0), np.full(DAYS, 15.0), np.full(DAYS, 2.0)),
    "flood without end": (np.full(DAYS, 1000.0), np.full(DAYS, 1.0), np.zeros(DAYS)),
}  # fmt: skip


@pytest.mark.parametrize("climate", CLIMATES)
def test_extreme_weather_is_survived(hydrologic_model, ready, legal, climate):
    rows = 6
    forcing, state, go_on = ready(hydrologic_model, DAYS, rows, seed=3)
    for name, values in zip(("P", "T", "PET"), CLIMATES[climate], strict=True):
        if name in forcing:
            forcing[name] = torch.from_numpy(values)[:, None].expand(DAYS, rows).contiguous()
    fluxes, end = go_on(forcing, state)
    for name, values in {**fluxes, **end}.items():
        assert torch.isfinite(values).all(), name
    for name in ("Q", "ET"):
        assert (fluxes[name] >= -1e-12).all(), name
    for balance in hydrologic_model.declaration.balances:
        size = mass_in(balance, forcing, fluxes).sum(0) + storage(hydrologic_model, state, balance) + 1.0
        lost = residual(hydrologic_model, balance, forcing, fluxes, state, end).abs()
        assert (lost <= 1e-9 * size).all()
