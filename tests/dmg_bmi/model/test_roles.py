"""What networks do in a model, role by role: each steps, closes, learns, and comes back from a file."""

import pytest
import torch
from dmg_bmi.physics import mass_in
from role_cases import CASES, build

from dmg_bmi import Bundle
from dmg_bmi.model.roles import (
    KINDS,
)
from dmg_bmi.model.variables import variable_table


@pytest.fixture(scope="module", params=CASES)
def model(request):
    """Each role in each process model; whoever gives it gradients takes them away."""
    return build(*CASES[request.param])


def test_every_role_has_a_case():
    used = {role.get("role", "parameters") for roles, _, _ in CASES.values() for role in roles}
    assert used == {*KINDS}


@torch.no_grad()
def test_splitting_never_changes_the_answer(model, data, splitting):
    forcing, attributes = data(model, time=30)
    whole, end = model(forcing, attributes)
    constants = model.precompute(attributes, 3)
    for cuts in (range(30), (7, 8, 20)):
        pieces, last = splitting.in_pieces(
            lambda f, s: model.run(f, constants, s), forcing, model.init_state(3), cuts
        )
        splitting.assert_agree(pieces, whole, torch.float64)
        splitting.assert_agree(last, end, torch.float64)
    rows = [2, 0]
    part, _ = model({n: v[:, rows] for n, v in forcing.items()}, {n: v[rows] for n, v in attributes.items()})
    splitting.assert_agree(part, {n: v[:, rows] for n, v in whole.items()}, torch.float64)


@torch.no_grad()
def test_what_is_declared_closes(model, data):
    forcing, attributes = data(model)
    constants, before = model.precompute(attributes, 3), model.init_state(3)
    fluxes, after = model.run(forcing, constants, before)
    assert {*fluxes} == {f.name for f in model.declaration.fluxes}
    for balance in model.declaration.balances:
        supply = mass_in(balance, forcing, fluxes).abs().sum(0)
        lost = model.residual(balance, forcing, fluxes, constants, before, after)
        assert (lost.abs() <= 1e-9 * (supply + 1.0)).all()
    conserving = any(m.declaration.balances for m in model.process_models.values())
    assert bool(model.declaration.balances) == conserving


def test_every_weight_learns(model, data):
    forcing, attributes = data(model, time=40)
    fluxes, _ = model(forcing, attributes)
    sum(series.square().mean() for series in fluxes.values()).backward()
    for name, weight in model.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    moved = {n.split(".")[1] for n, w in model.named_parameters() if w.grad.abs().sum() > 0}
    model.zero_grad()
    assert moved == {*model.networks}


@torch.no_grad()
def test_a_bundle_gives_the_same_model_again(model, data, tmp_path):
    forcing, attributes = data(model, time=10)
    expected, _ = model(forcing, attributes)
    Bundle(model, "case").save(tmp_path)
    again = Bundle.load(tmp_path)
    assert again.model.describe() == model.describe()
    actual, _ = again.model(forcing, attributes)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)


def test_names_in_the_table_are_unique_and_every_output_is_there(model):
    table = variable_table(model)
    assert len({v.name for v in table}) == len(table)
    published = [v.symbol for v in table if v.kind == "output" and not v.of]
    assert published == [flux.name for flux in model.declaration.fluxes]


@torch.no_grad()
def test_an_output_can_be_asked_for_alone(model, data):
    forcing, attributes = data(model, time=2)
    everything, _ = model(forcing, attributes)
    for name, series in everything.items():
        alone, _ = model(forcing, attributes, outputs=(name,))
        assert {*alone} == {name}
        assert torch.equal(alone[name], series)
