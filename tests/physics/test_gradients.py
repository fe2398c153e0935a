"""Gradients are right away from kinks, and finite everywhere in the box of parameters."""

import pytest
import torch
from dmg_bmi.physics import run, unit_hydrograph
from dmg_bmi.physics.routing.muskingum_cunge import MuskingumCunge
from hypothesis import given, settings
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


def leaves(*groups):
    return tuple(value.detach().requires_grad_() for group in groups for value in group.values())


@settings(max_examples=4)
@given(seed=seeds)
def test_gradients_of_a_step_are_those_of_finite_differences(process_model, legal, ready, seed):
    """In the interior: no store empty, no forcing at its lower limit, no parameter at a bound.

    What is drawn from a continuum misses the remaining kinks by far more than the 1e-5 of the differences.
    """
    g = torch.Generator().manual_seed(seed)

    def rand(shape):
        return torch.rand(shape, generator=g, dtype=torch.float64)

    rows = 1
    series, state, _ = ready(process_model, 1, rows, seed)
    declared = process_model.declaration
    forcing = {
        f.name: torch.where(series[f.name][0] <= f.lower, f.lower + 0.5 + rand(rows), series[f.name][0])
        for f in declared.forcings
    }
    state = {name: value + 0.5 + rand(value.shape) for name, value in state.items()}
    parameters = {
        p.name: p.lower + (p.upper - p.lower) * (0.05 + 0.9 * rand((rows, *p.shape)))
        for p in declared.parameters
    }
    static = legal.attributes(process_model, rows, seed)
    keys = [list(group) for group in (forcing, state, parameters)]

    def step(*values):
        left = iter(values)
        now, before, p = ({name: next(left) for name in group} for group in keys)
        after, fluxes = process_model.step(now, before, p, static, 1.0)
        return (*after.values(), *fluxes.values())

    inputs = leaves(forcing, state, parameters)
    largest = max(value.abs().max().item() for value in step(*inputs))
    rounding = 4 * torch.finfo(torch.float64).eps * largest / 1e-5
    assert torch.autograd.gradcheck(step, inputs, eps=1e-5, atol=1e-5 + rounding)


@given(seed=seeds, dt=st.sampled_from([1.0, 1 / 24]))
def test_gradients_of_the_unit_hydrograph_are_those_of_finite_differences(seed, dt):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.rand(2, 3, generator=g, dtype=torch.float64) * torch.tensor([[2.9], [6.5]])
    queue = torch.rand(3, 6, generator=g, dtype=torch.float64)
    inflow = torch.rand(3, generator=g, dtype=torch.float64)

    def ordinates(a, b):
        return unit_hydrograph.gamma_ordinates(a, b, 6, dt)

    assert torch.autograd.gradcheck(ordinates, leaves({"a": a, "b": b}))
    inputs = leaves({"queue": queue, "inflow": inflow, "ordinates": ordinates(a, b)})
    assert torch.autograd.gradcheck(unit_hydrograph.release, inputs)


@pytest.mark.parametrize("dt", [1.0, 1 / 24])
def test_the_unit_hydrograph_has_finite_slopes_at_the_bounds_of_its_parameters(dt):
    bounds = torch.tensor([(p.lower, p.upper) for p in unit_hydrograph.PARAMETERS], dtype=torch.float64)
    a, b = (v.flatten().requires_grad_() for v in torch.meshgrid(*bounds, indexing="ij"))
    ordinates = unit_hydrograph.gamma_ordinates(a, b, 15, dt)
    for k in range(15):
        for slope in torch.autograd.grad(ordinates[:, k].sum(), (a, b), retain_graph=True):
            assert slope.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("stores", ["empty", "nearly empty", "filled"])
@pytest.mark.parametrize("drive", ["nothing", "at the threshold", "weather", "deluge"])
def test_gradients_are_finite_everywhere(process_model, legal, ready, dtype, stores, drive):
    """At the corners and faces of the box of parameters and attributes, over three steps."""
    require_finite(process_model, legal, ready, dtype, stores, drive)


@pytest.mark.parametrize("stores", ["empty", "nearly empty", "filled"])
@pytest.mark.parametrize("drive", ["nothing", "weather", "deluge"])
def test_gradients_of_the_nwm_kernel_are_finite_everywhere(legal, ready, stores, drive):
    require_finite(MuskingumCunge(kernel="nwm", substeps=2), legal, ready, torch.float64, stores, drive)


def require_finite(process_model, legal, ready, dtype, stores, drive):
    rows = 64
    declared = process_model.declaration
    g = torch.Generator().manual_seed(11)

    def corners(lower, upper, shape):
        at = torch.randint(0, 3, shape, generator=g) / 2.0
        return (lower + (upper - lower) * at).to(dtype)

    parameters = {p.name: corners(p.lower, p.upper, (rows, *p.shape)) for p in declared.parameters}
    static = {name: v.to(dtype) for name, v in legal.attributes(process_model, rows, 1).items()}
    for a in declared.attributes:
        static[a.name][: rows // 2] = max(a.lower, 0.0)

    forcing, state, _ = ready(process_model, 3, rows, seed=2, dtype=dtype)
    if stores != "filled":
        state = process_model.init_state(rows, dtype=dtype)
    if stores == "nearly empty":
        state = {name: value + 1e-12 for name, value in state.items()}
    for f in declared.forcings:
        if drive == "nothing":
            forcing[f.name] = torch.full_like(forcing[f.name], max(f.lower, 0.0))
        elif drive == "deluge" and f.aggregation == "sum":
            forcing[f.name] = torch.full_like(forcing[f.name], f.upper)
        elif drive == "at the threshold":
            for p in declared.parameters:
                if p.units == f.units == "degC":
                    forcing[f.name] = parameters[p.name].reshape(rows, -1)[:, 0].expand(3, rows).clone()

    inputs = leaves(forcing, state, parameters, static)
    left = iter(inputs)
    forcing, state, parameters, static = (
        {name: next(left) for name in group} for group in (forcing, state, parameters, static)
    )
    fluxes, end = run(process_model, forcing, state, parameters, static, 1.0)
    total = sum(value.sum() for value in (*fluxes.values(), *end.values()))
    gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    assert any(gradient is not None for gradient in gradients)
    assert all(torch.isfinite(gradient).all() for gradient in gradients if gradient is not None)
