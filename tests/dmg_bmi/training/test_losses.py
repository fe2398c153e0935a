"""Losses: zero when perfect, blind to what was not observed, with finite slopes."""

import numpy as np
import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.errors import ConfigError
from dmg_bmi.training import metrics
from dmg_bmi.training.losses import (
    EPSILON,
    LOSSES,
    Objective,
    by_target,
    log_sqrt,
    normalized_parameters,
    range_penalty,
)


@pytest.fixture
def series():
    g = torch.Generator().manual_seed(1)
    observed = torch.rand(50, 3, generator=g, dtype=torch.float64).square() * 10
    simulated = observed + 0.5 * torch.randn(50, 3, generator=g, dtype=torch.float64).abs()
    return simulated, observed, observed.std(0, correction=0)


every_loss = pytest.mark.parametrize("name", LOSSES)


@every_loss
def test_a_perfect_simulation_has_no_loss_and_a_wrong_one_some(name, series):
    simulated, observed, observed_std = series
    assert LOSSES[name](observed, observed, observed_std) < 2e-6
    assert LOSSES[name](simulated, observed, observed_std) > 1e-3


@every_loss
def test_what_was_not_observed_does_not_count(name, series):
    simulated, observed, observed_std = series
    observed[::7] = float("nan")
    seen = ~observed[:, 0].isnan()
    loss = LOSSES[name](simulated, observed, observed_std)
    torch.testing.assert_close(loss, LOSSES[name](simulated[seen], observed[seen], observed_std))
    far = torch.where(observed.isnan(), 1e6, simulated)
    torch.testing.assert_close(loss, LOSSES[name](far, observed, observed_std))


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
    simulated, observed, observed_std = series
    each = [1 - metrics.nse(simulated[:, b].numpy(), observed[:, b].numpy()) for b in range(3)]
    each = np.array(each) * (observed_std / (observed_std + EPSILON)).square().numpy()
    assert LOSSES["nse"](simulated, observed, observed_std) == pytest.approx(each.mean())


def test_kge_loss_is_one_less_the_mean_kge(series):
    simulated, observed, observed_std = series
    each = [metrics.kge(simulated[:, b].numpy(), observed[:, b].numpy()) for b in range(3)]
    assert LOSSES["kge"](simulated, observed, observed_std) == pytest.approx(1 - np.mean(each))


def test_log_losses_weigh_low_flows_more(series):
    _, observed, observed_std = series
    low, high = observed.argmin(0), observed.argmax(0)
    ratio = {}
    for name in ("mse", "log_mse"):
        wrong_low, wrong_high = observed.clone(), observed.clone()
        wrong_low[low, range(3)] += 0.3
        wrong_high[high, range(3)] += 0.3
        ratio[name] = LOSSES[name](wrong_low, observed, observed_std) / LOSSES[name](
            wrong_high, observed, observed_std
        )
    assert ratio["log_mse"] > 10 * ratio["mse"]


def test_the_log_nse_is_the_nse_of_transformed_flow_with_its_own_spread(series):
    simulated, observed, _ = series
    loss = LOSSES["log_nse"]
    sim, obs = log_sqrt(simulated).numpy(), log_sqrt(observed).numpy()
    each = [
        (1 - metrics.nse(sim[:, b], obs[:, b])) * (obs[:, b].std() / (obs[:, b].std() + EPSILON)) ** 2
        for b in range(3)
    ]
    assert loss(simulated, observed, loss.fit(observed)) == pytest.approx(np.mean(each))


# -- several losses, several targets ----------------------------------------------


def test_weighted_losses_add_up(series):
    simulated, observed, _ = series
    total = Objective({"rmse": 0.75, "log_rmse": 0.25}, {"Q": observed})
    expected = 0.75 * LOSSES["rmse"](*series) + 0.25 * LOSSES["log_rmse"](*series)
    torch.testing.assert_close(total({"Q": simulated}, {"Q": observed}, torch.arange(3)), expected)


def test_each_target_has_its_losses_and_each_row_the_spread_of_its_basin(series):
    simulated, observed, observed_std = series
    swe, known = 100 * simulated + 5, 100 * observed
    total = Objective({"nse": 1.0, "SWE": {"nse": 0.2, "mse": 1e-4}}, {"Q": observed, "SWE": known})
    basins = torch.tensor([2, 0, 2, 1])
    found = total(
        {"Q": simulated[:, basins], "SWE": swe[:, basins]},
        {"Q": observed[:, basins], "SWE": known[:, basins]},
        basins,
    )
    rows = simulated[:, basins], observed[:, basins], observed_std[basins]
    snow = swe[:, basins], known[:, basins], 100 * observed_std[basins]
    expected = LOSSES["nse"](*rows) + 0.2 * LOSSES["nse"](*snow) + 1e-4 * LOSSES["mse"](*snow)
    torch.testing.assert_close(found, expected)


def test_spreads_do_not_depend_on_how_many_basins_there_are(series):
    _, observed, observed_std = series
    many = observed.repeat(1, 50)
    torch.testing.assert_close(LOSSES["nse"].fit(many), observed_std.repeat(50))


def test_a_number_is_the_weight_of_a_loss_of_the_flow():
    assert by_target({"nse": 1.0}) == {"Q": {"nse": 1.0}}
    assert by_target({"nse": 1.0, "ET": {"mse": 0.1}}) == {"Q": {"nse": 1.0}, "ET": {"mse": 0.1}}
    assert by_target({"SWE": {"rmse": 1.0}}) == {"SWE": {"rmse": 1.0}}


def test_an_unknown_loss_is_refused_with_those_that_exist():
    with pytest.raises(ConfigError, match=r"no loss named 'nes'; registered: kge, log_mse"):
        by_target({"nes": 1.0})
    with pytest.raises(ConfigError, match="no loss named 'nes'"):
        by_target({"nse": 1.0, "ET": {"nes": 1.0}})
    for nothing in ({}, {"Q": {}}):
        with pytest.raises(ConfigError, match="no loss is named"):
            by_target(nothing)


# -- parameters -------------------------------------------------------------------


def test_only_parameters_near_their_bounds_are_penalised():
    inside = torch.tensor([0.05, 0.5, 0.95], requires_grad=True)
    crowded = torch.tensor([0.0, 1.0, 0.025], requires_grad=True)
    assert range_penalty([inside]).item() == pytest.approx(0.0, abs=1e-6)
    assert range_penalty([crowded]).item() == pytest.approx((1 + 1 + 0.5) / 3)
    range_penalty([inside, crowded]).backward()
    assert crowded.grad[0] < 0 < crowded.grad[1]  # downhill is inwards


def test_what_a_spin_up_without_gradient_supplied_is_not_penalised():
    assert range_penalty([torch.zeros(3)]) == 0.0
    assert range_penalty([torch.zeros(3), torch.full((3,), 0.5, requires_grad=True)]) == 0.0


def test_places_are_those_of_every_network_that_supplies_parameters():
    model = DeltaModel.build(
        nn={
            "static": {"name": "mlp", "hidden_sizes": [3]},
            "dynamic": {"name": "lstm", "hidden_size": 3},
            "corrects": {"name": "mlp", "hidden_sizes": [3]},
        },
        phy_model={"name": "hbv"},
        roles=[
            {"network": "static", "attributes": ["aridity"]},
            {"network": "dynamic", "inputs": ["P"], "dynamic": ["BETA"]},
            {"network": "corrects", "role": "correct_input", "inputs": ["T"], "corrects": {"P": [0.5, 1.5]}},
        ],
    )
    forcing = {name: torch.rand(6, 2) for name in ("P", "T", "PET")}
    with normalized_parameters(model) as found:
        constants = model.precompute({"aridity": torch.rand(2)}, 2, torch.float32)
        model.run(forcing, constants, model.init_state(2, dtype=torch.float32))
    n = len(model.learned) - 1
    assert sorted(tuple(p.shape) for p in found) == [(2, n), (6, 2, 1)]
    bounds = model.process_models["phy"].declaration.parameter("FC")
    static = next(p for p in found if p.dim() == 2)
    share = (constants["phy.FC"] - bounds.lower) / (bounds.upper - bounds.lower)
    assert any(torch.allclose(static[:, k], share, atol=1e-5) for k in range(n))
    model.precompute({"aridity": torch.rand(2)}, 2)
    assert len(found) == 2
