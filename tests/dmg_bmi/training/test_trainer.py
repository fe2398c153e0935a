"""The training loop: it learns, repeats itself by seed, keeps the best, and names what breaks it."""

from dataclasses import replace

import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.errors import TrainingError
from dmg_bmi.training.config import Training
from dmg_bmi.training.data import Tensors, Windows
from dmg_bmi.training.forward import simulate
from dmg_bmi.training.losses import MARGIN, normalized_parameters, standard_deviation
from dmg_bmi.training.trainer import fit

OPTIONS = Training(max_steps=8, batch_size=4, validate_every=3, learning_rate=0.05)
SIZES = {"window": 30, "spin_up": 10}


def make_model(seed: int = 0) -> DeltaModel:
    torch.manual_seed(seed)
    return DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4, "dropout": 0.2},
        phy_model={"name": "hbv", "nmul": 2, "routing": 5},
        roles=[{"inputs": ["P", "T", "PET"], "dynamic": ["BETA"], "freeze_after": 10}],
    )


@pytest.fixture
def data() -> Tensors:
    g = torch.Generator().manual_seed(0)
    rain = 10 * torch.rand(80, 3, generator=g) * (torch.rand(80, 3, generator=g) < 0.4)
    forcing = {"P": rain, "T": 10 + torch.randn(80, 3, generator=g), "PET": torch.full((80, 3), 2.0)}
    truth = make_model(seed=7).eval()
    with torch.no_grad():
        truth.networks["nn"].linear_out.bias.fill_(-2.0)  # thin soils, quick runoff
        flow, _ = truth(forcing)
    return Tensors(forcing, {}, {"Q": flow["Q"]})


def weights(model: DeltaModel) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone()


def test_training_halves_the_error(data):
    def error(model):
        with torch.no_grad():
            flow, _ = model.eval()(data.forcing)
        return (flow["Q"] - data.target["Q"])[10:].square().mean()

    model = make_model()
    before = error(model)
    # Windows of all steps, because stores begin empty in the truth too.
    history = fit(model, data, replace(OPTIONS, max_steps=60), window=80, spin_up=10)
    assert len(history.loss) == 60
    assert error(model) < 0.5 * before


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(data):
    found = []
    for seed in (0, 0, 1):
        model = make_model()
        torch.manual_seed(5)  # of the dropout
        fit(model, data, replace(OPTIONS, seed=seed), **SIZES)
        found.append(weights(model))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


def test_without_validation_the_latest_is_kept_at_every_check(data):
    kept = []
    model = make_model()
    history = fit(model, data, OPTIONS, **SIZES, on_best=lambda m: kept.append(weights(m)))
    assert len(kept) == 3  # after steps 3, 6 and 8
    assert torch.equal(kept[-1], weights(model))
    assert history.scores == []


def test_with_validation_only_what_is_better_is_kept(data):
    kept, scores = [], iter([0.3, 0.1, 0.5])

    def validate(model):
        assert not model.training
        return next(scores)

    history = fit(make_model(), data, OPTIONS, **SIZES, validate=validate, on_best=lambda m: kept.append(1))
    assert history.scores == [(3, 0.3), (6, 0.1), (8, 0.5)]
    assert history.best == (8, 0.5)
    assert len(kept) == 2


def test_averaged_weights_are_the_running_average(data):
    kept, steps = [], []
    model = make_model()

    def keep(averaged):
        kept.append(weights(averaged))
        steps.append(weights(model))

    fit(model, data, replace(OPTIONS, ema=0.3, validate_every=1, max_steps=5), **SIZES, on_best=keep)
    # The mean of all at first, then 0.3 of the newest.
    torch.testing.assert_close(kept[2], (steps[0] + steps[1] + steps[2]) / 3)
    torch.testing.assert_close(kept[3], 0.7 * kept[2] + 0.3 * steps[3])
    torch.testing.assert_close(kept[4], 0.7 * kept[3] + 0.3 * steps[4])
    assert not torch.allclose(kept[4], steps[4])


@pytest.mark.slow
def test_each_target_of_the_loss_is_learned(data):
    with torch.no_grad():
        both, _ = make_model(seed=7).eval()(data.forcing, outputs=("Q", "ET"))
    data = replace(data, target=both)

    def errors(loss):
        model = make_model()
        options = replace(OPTIONS, max_steps=8, loss=loss, spin_up_gradient=True)
        fit(model, data, options, window=80, spin_up=10)
        with torch.no_grad():
            found, _ = model.eval()(data.forcing)
        return {name: (found[name] - both[name])[10:].square().mean() for name in both}

    flow, evaporation = errors({"mse": 1.0}), errors({"ET": {"mse": 1.0}})
    together = errors({"mse": 1.0, "ET": {"mse": 5.0}})
    assert together["ET"] < 0.1 * flow["ET"]
    assert together["Q"] < 0.5 * evaporation["Q"]


def test_a_range_penalty_draws_parameters_from_their_bounds(data):
    def share_near_bounds(weight):
        model = make_model()
        with torch.no_grad():
            model.networks["nn"].linear_out.bias[::2] = 3.5
        options = replace(OPTIONS, max_steps=25, range_penalty=weight)
        fit(model, data, options, **SIZES)
        with torch.no_grad(), normalized_parameters(model) as found:
            model.eval()(data.forcing)
        return ((found[0] < MARGIN) | (found[0] > 1 - MARGIN)).float().mean()

    assert share_near_bounds(10.0) < 0.3 * share_near_bounds(0.0)


def test_the_spin_up_changes_its_gradient_by_choice_and_never_the_flow(data):
    model = make_model().eval()
    batch = next(iter(Windows(data, 30, 10, 4, torch.Generator().manual_seed(0))))
    flows, slopes = [], []
    for with_gradient in (True, False):
        flow = simulate(model, batch, 10, with_gradient)["Q"]
        model.zero_grad()
        flow.sum().backward()
        flows.append(flow.detach())
        slopes.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    whole, _ = model(batch.forcing, batch.attributes)
    for flow in flows:
        torch.testing.assert_close(flow, whole["Q"][10:].detach(), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(slopes[0], slopes[1])


def test_flow_that_is_not_finite_stops_naming_the_basin_and_the_window(data):
    data.forcing["P"][70, 1] = float("nan")
    kept = []
    label = "basin b{} from step {}".format
    options = replace(OPTIONS, max_steps=100, validate_every=1, batch_size=1)
    with pytest.raises(TrainingError, match=r"not finite in basin b1 from step (4[1-9]|50); the last good"):
        fit(make_model(), data, options, **SIZES, label=label, on_best=lambda m: kept.append(weights(m)))
    assert kept
    assert kept[-1].isfinite().all()


def test_a_gradient_that_is_not_finite_names_the_weights(data):
    model = make_model()
    model.networks["nn"].linear_out.bias.register_hook(lambda slope: slope * float("inf"))
    before = weights(model)
    with pytest.raises(TrainingError, match=r"gradient of nn\.nn\.linear_out\.bias is not finite"):
        fit(model, data, OPTIONS, **SIZES)
    assert torch.equal(weights(model), before)


def test_a_constant_schedule_keeps_the_rate_and_one_cycle_ends_near_zero(data):
    moved = {}
    for schedule in ("constant", "one_cycle"):
        model, kept = make_model(), []
        options = replace(OPTIONS, schedule=schedule, validate_every=1, max_steps=10)
        fit(model, data, options, **SIZES, on_best=lambda m, kept=kept: kept.append(weights(m)))
        moved[schedule] = (kept[-1] - kept[-2]).norm() / (kept[2] - kept[1]).norm()
    assert moved["constant"] > 0.2
    assert moved["one_cycle"] < 0.1


def test_standard_deviation_is_that_of_what_was_observed():
    nan = float("nan")
    target = torch.tensor([[1.0, nan, 2.0], [3.0, nan, nan], [nan, nan, nan]])
    torch.testing.assert_close(standard_deviation(target), torch.tensor([1.0, 1.0, 1.0]))
    torch.testing.assert_close(standard_deviation(torch.tensor([[1.0], [5.0], [nan]])), torch.tensor([2.0]))


def test_training_stops_when_patience_is_over_and_keeps_the_best(data):
    kept, scores = [], iter([0.3, 0.5, 0.4, 0.5, 0.6])
    options = replace(OPTIONS, max_steps=40, validate_every=2, patience=2)
    history = fit(
        make_model(),
        data,
        options,
        **SIZES,
        validate=lambda m: next(scores),
        on_best=lambda m: kept.append(1),
    )
    assert [step for step, _ in history.scores] == [2, 4, 6, 8]
    assert len(history.loss) == 8
    assert history.best == (4, 0.5)
    assert len(kept) == 2


def test_a_mapping_says_the_learning_rate_from_each_step_on(data):
    rates = []
    options = replace(OPTIONS, learning_rate={0: 0.01, 3: 0.002, 6: 0.001})
    fit(make_model(), data, options, **SIZES, on_step=lambda step, v: rates.append(v.get("learning_rate")))
    assert [r for r in rates if r] == [0.01] * 3 + [0.002] * 3 + [0.001] * 2


@pytest.mark.parametrize(
    ("options", "near"), [({"activation_checkpointing": 7}, 1e-3), ({"precision": "bfloat16"}, 0.05)]
)
def test_cheaper_ways_learn_the_same(data, options, near):
    found = []
    for more in ({}, options):
        model = make_model()
        model.networks["nn"].drop.p = 0.0
        history = fit(model, data, replace(OPTIONS, max_steps=10, range_penalty=0.1, **more), **SIZES)
        found.append(history.loss)
    assert found[1] == pytest.approx(found[0], rel=near)


def test_days_of_options_become_steps_of_the_model(data, monkeypatch):
    seen = []

    def spy(model, batch, spin_up, gradient, truncate, recompute, outputs):
        seen.append((spin_up, gradient, truncate, recompute))
        return simulate(model, batch, spin_up, gradient, outputs=outputs)

    monkeypatch.setattr("dmg_bmi.training.trainer.simulate", spy)
    model = make_model()
    model.step = 21600.0
    options = replace(OPTIONS, max_steps=1, tbptt=2, activation_checkpointing=3, spin_up_gradient=True)
    fit(model, data, options, **SIZES)
    assert seen == [(10, True, 8, 12)]
