"""Losses: zero when perfect, blind to what was not observed, with finite slopes."""

import numpy as np
import pytest
import torch

from dmg_bmi.errors import ConfigError
from dmg_bmi.training import metrics
from dmg_bmi.training.losses import EPSILON, LOSSES, weighted


@pytest.fixture
def series():
    g = torch.Generator().manual_seed(1)
    observed = torch.rand(50, 3, generator=g, dtype=torch.float64).square() * 10
    simulated = observed + 0.5 * torch.randn(50, 3, generator=g, dtype=torch.float64).abs()
    return simulated, observed, observed.std(0, correction=0)


every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_a_perfect_simulation_has_no_loss_and_a_wrong_one_some(name, series):
    simulated, observed, spread = series
    assert LOSSES[name](observed, observed, spread) < 2e-6
    assert LOSSES[name](simulated, observed, spread) > 1e-3


@every_loss
def test_what_was_not_observed_does_not_count(name, series):
    simulated, observed, spread = series
    observed[::7] = float("nan")
    seen = ~observed[:, 0].isnan()
    loss = LOSSES[name](simulated, observed, spread)
    torch.testing.assert_close(loss, LOSSES[name](simulated[seen], observed[seen], spread))
    far = torch.where(observed.isnan(), 1e6, simulated)
    torch.testing.assert_close(loss, LOSSES[name](far, observed, spread))


@every_loss
def test_slopes_are_finite_also_where_nothing_was_observed_or_nothing_flows(name, series):
    simulated, observed, _ = series
    observed[:, 0] = float("nan")
    observed[:, 1] = 0.0
    simulated[:, 1] = 0.0
    simulated[:, 2] = observed[:, 2]
    simulated.requires_grad_()
    loss = LOSSES[name](simulated, observed, torch.zeros(3, dtype=torch.float64))
    assert loss.isfinite()
    loss.backward()
    assert simulated.grad.isfinite().all()
    assert (simulated.grad[:, 0] == 0).all()


def test_nse_loss_is_one_less_nse_but_for_the_epsilon(series):
    simulated, observed, spread = series
    each = [1 - metrics.nse(simulated[:, b].numpy(), observed[:, b].numpy()) for b in range(3)]
    each = np.array(each) * (spread / (spread + EPSILON)).square().numpy()
    assert LOSSES["nse"](simulated, observed, spread) == pytest.approx(each.mean())


def test_kge_loss_is_one_less_the_mean_kge(series):
    simulated, observed, spread = series
    each = [metrics.kge(simulated[:, b].numpy(), observed[:, b].numpy()) for b in range(3)]
    assert LOSSES["kge"](simulated, observed, spread) == pytest.approx(1 - np.mean(each))


def test_log_losses_weigh_low_flows_more(series):
    _, observed, spread = series
    low, high = observed.argmin(0), observed.argmax(0)
    ratio = {}
    for name in ("mse", "log_mse"):
        wrong_low, wrong_high = observed.clone(), observed.clone()
        wrong_low[low, range(3)] += 0.3
        wrong_high[high, range(3)] += 0.3
        ratio[name] = LOSSES[name](wrong_low, observed, spread) / LOSSES[name](wrong_high, observed, spread)
    assert ratio["log_mse"] > 10 * ratio["mse"]


def test_weighted_losses_add_up(series):
    total = weighted({"rmse": 0.75, "log_rmse": 0.25})(*series)
    expected = 0.75 * LOSSES["rmse"](*series) + 0.25 * LOSSES["log_rmse"](*series)
    torch.testing.assert_close(total, expected)


def test_an_unknown_loss_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"no loss 'nes'; known are mse, rmse, nse"):
        weighted({"nes": 1.0})
    with pytest.raises(ConfigError, match="no loss is named"):
        weighted({})
