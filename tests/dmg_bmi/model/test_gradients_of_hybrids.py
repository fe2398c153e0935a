"""Assimilation and sensitivities need slopes of all that goes into a hybrid, on days without rain too."""

import torch

from dmg_bmi import ParameterRole

LSTM = {"nn": {"name": "lstm", "hidden_size": 4}}


def test_a_hybrid_has_finite_slopes_at_the_limits_of_its_forcing(process_model, hybrids):
    declared = process_model.declaration
    inputs = [f.name for f in declared.forcings]
    role = ParameterRole(inputs=inputs, dynamic=[declared.parameters[0].name])
    model = hybrids.hybrid(process_model, LSTM, role)
    forcing, static = hybrids.everything(model, 6, 4, seed=3)
    for f in declared.forcings:
        forcing[f.name][:3] = max(f.lower, 0.0)
    leaves = [v.requires_grad_() for v in (*forcing.values(), *static.values())]
    fluxes, end = model(forcing, static)
    total = sum(v.sum() for v in (*fluxes.values(), *end.values()) if v.requires_grad)
    slopes = torch.autograd.grad(total, leaves, allow_unused=True)
    assert all(slope.isfinite().all() for slope in slopes if slope is not None)
    assert all(slope.abs().max() < 1e12 for slope in slopes if slope is not None)
