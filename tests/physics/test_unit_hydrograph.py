"""Routing by a unit hydrograph whose queue is part of the state."""

import math

import pytest
import torch
from dmg_bmi.physics.unit_hydrograph import PARAMETERS, gamma_ordinates, release
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)


def drawn(seed, *shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def routed(inflow, ordinates, queue):
    outflow = []
    for now, spread in zip(inflow, ordinates, strict=True):
        out, queue = release(queue, now, spread)
        outflow.append(out)
    return torch.stack(outflow), queue


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("dt", [1.0, 1 / 24])
@pytest.mark.parametrize("length", [1, 15, 72])
def test_ordinates_are_not_negative_and_add_up_to_one_in_the_whole_box(length, dt, dtype):
    a, b = (torch.linspace(p.lower, p.upper, 12, dtype=dtype) for p in PARAMETERS)
    ordinates = gamma_ordinates(*torch.meshgrid(a, b, indexing="ij"), length, dt)
    assert ordinates.shape == (12, 12, length)
    assert (ordinates >= 0).all()
    total = ordinates.sum(-1)
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=4 * torch.finfo(dtype).eps)


@pytest.mark.parametrize(("a", "b"), [(0.0, 0.0), (0.9, 2.0), (2.9, 6.5), (1.7, 0.3)])
@pytest.mark.parametrize("dt", [1.0, 1 / 24])
def test_ordinates_are_the_gamma_density_at_the_middle_of_each_step(a, b, dt):
    shape, scale = a + 0.1, b + 0.5
    middle = [(i + 0.5) * dt for i in range(15)]
    density = [t ** (shape - 1) * math.exp(-t / scale) / (math.gamma(shape) * scale**shape) for t in middle]
    expected = torch.tensor([d / math.fsum(density) for d in density], dtype=torch.float64)
    actual = gamma_ordinates(*torch.tensor([a, b], dtype=torch.float64), 15, dt)
    torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0)


@given(seed=seeds, length=st.integers(1, 20))
def test_stepping_is_the_direct_convolution(seed, length):
    time, rows = 50, 2
    inflow = drawn(seed, time, rows)
    ordinates = torch.softmax(drawn(seed + 1, rows, length), -1)
    outflow, _ = routed(inflow, ordinates.expand(time, rows, length), torch.zeros(rows, length).double())
    expected = torch.zeros_like(inflow)
    for t in range(time):
        for k in range(min(t + 1, length)):
            expected[t] += ordinates[:, k] * inflow[t - k]
    torch.testing.assert_close(outflow, expected, rtol=1e-12, atol=1e-14)


@given(seed=seeds, length=st.integers(1, 20))
def test_ordinates_that_change_in_time_lose_nothing(seed, length):
    time, rows = 50, 2
    inflow = 30 * drawn(seed, time, rows)
    ordinates = torch.softmax(5 * drawn(seed + 1, time, rows, length), -1)
    queue = drawn(seed + 2, rows, length)
    outflow, left = routed(inflow, ordinates, queue)
    torch.testing.assert_close(
        outflow.sum(0) + left.sum(-1), inflow.sum(0) + queue.sum(-1), rtol=1e-13, atol=0
    )


@given(seed=seeds, length=st.integers(1, 20))
def test_the_queue_is_empty_once_its_length_has_passed(seed, length):
    queue = drawn(seed, 2, length)
    ordinates = torch.softmax(drawn(seed + 1, 2, length), -1)
    outflow, left = routed(torch.zeros(length, 2).double(), ordinates.expand(length, 2, length), queue)
    assert torch.equal(outflow, queue.T)
    assert not left.any()
