"""The compound trapezoid: its parts fit together, and Manning's equation with it."""

import pytest
import torch
from dmg_bmi.physics.routing.channel import Section
from hypothesis import given
from hypothesis import strategies as st

seeds = st.integers(0, 2**32 - 1)
FOOT = 0.3048


def reach(**columns):
    """One reach with the channel of the shared one-reach hydrofabric, rounded, unless told otherwise."""
    columns = {
        "n": 0.06,
        "nCC": 0.12,
        "BtmWdth": 6.0,
        "TopWdth": 7.0,
        "TopWdthCC": 21.0,
        "ChSlp": 1.0,
        "So": 0.01,
        **columns,
    }
    tensors = {k: torch.tensor([v], dtype=torch.float64) for k, v in columns.items()}
    return Section.from_columns(tensors, tensors)


def reaches(rows, seed):
    """Random channels as hydrofabrics have them."""
    g = torch.Generator().manual_seed(seed)

    def between(low, high):
        share = torch.rand(rows, generator=g, dtype=torch.float64)
        return torch.exp(torch.log(torch.tensor(low)) * (1 - share) + torch.log(torch.tensor(high)) * share)

    bottom = between(0.5, 100.0)
    top = bottom * between(1.02, 2.0)
    columns = {
        "n": between(0.02, 0.2),
        "nCC": between(0.04, 0.4),
        "BtmWdth": bottom,
        "TopWdth": top,
        "TopWdthCC": top * between(1.1, 5.0),
        "ChSlp": between(0.05, 3.0),
        "So": between(1e-5, 0.1),
    }
    return Section.from_columns(columns, columns), between(0.01, 4.0)


def derivative(values, by):
    return torch.autograd.grad(values.sum(), by)[0]


@given(seed=seeds)
def test_depth_and_area_are_inverse_below_and_above_bankfull(seed):
    section, share = reaches(50, seed)
    depth = share * section.bankfull
    torch.testing.assert_close(section.depth(section.area(depth)), depth, rtol=1e-12, atol=0)


@given(seed=seeds)
def test_top_width_is_the_derivative_of_area_and_celerity_that_of_discharge(seed):
    section, share = reaches(50, seed)
    depth = (share * section.bankfull).requires_grad_()
    area = section.area(depth)
    flow = section.flow(area.detach().requires_grad_())
    torch.testing.assert_close(derivative(area, depth), flow.top_width, rtol=1e-10, atol=0)

    area = area.detach().requires_grad_()
    flow = section.flow(area)
    torch.testing.assert_close(derivative(flow.discharge, area), flow.celerity, rtol=1e-9, atol=0)


@given(seed=seeds)
def test_gradients_are_those_of_finite_differences(seed):
    section, share = reaches(3, seed)
    parts = (section.area(share * section.bankfull), *section)
    # Factors of order one, so that one step of the difference suits a slope and a width alike.
    factors = tuple(torch.ones(3, dtype=torch.float64, requires_grad=True) for _ in parts)

    def flow(*factors):
        area, *section = (part.detach() * factor for part, factor in zip(parts, factors, strict=True))
        return tuple(Section(*section).flow(area))

    assert torch.autograd.gradcheck(flow, factors)


@given(seed=seeds)
def test_a_deeper_river_carries_more_across_bankfull_too(seed):
    section, _ = reaches(50, seed)
    depth = torch.linspace(0.0, 3.0, 601, dtype=torch.float64).unsqueeze(1) * section.bankfull
    discharge = section.discharge(depth)
    assert (discharge[0] == 0).all()
    assert (discharge.diff(dim=0) > 0).all()


def test_a_trapezoid_has_the_normal_depth_of_the_textbook():
    """Chow (1959), example 6-2: 400 cfs, b = 20 ft, z = 2, So = 0.0016, n = 0.025; y = 3.36 ft."""
    section = reach(
        n=0.025, BtmWdth=20 * FOOT, TopWdth=100 * FOOT, TopWdthCC=100 * FOOT, ChSlp=1 / 2, So=0.0016
    )
    discharge = section.discharge(torch.tensor([3.36 * FOOT], dtype=torch.float64)) / FOOT**3
    assert discharge.item() == pytest.approx(400, rel=0.005)


def test_flood_plains_carry_their_own_share():
    section = reach()
    depth = 0.5 + 0.4
    channel_area, channel_perimeter = 6.0 * 0.5 + 0.5**2 + 7.0 * 0.4, 6.0 + 2 * 0.5 * 2**0.5
    plain_area, plain_perimeter = 14.0 * 0.4, 14.0 + 2 * 0.4
    discharge = 0.1 / 0.06 * channel_area ** (5 / 3) / channel_perimeter ** (2 / 3)
    discharge += 0.1 / 0.12 * plain_area ** (5 / 3) / plain_perimeter ** (2 / 3)
    flow = section.flow(torch.tensor([channel_area + plain_area], dtype=torch.float64))
    assert flow.depth.item() == pytest.approx(depth, rel=1e-12)
    assert flow.top_width.item() == pytest.approx(21.0, rel=1e-12)
    assert flow.discharge.item() == pytest.approx(discharge, rel=1e-12)


@pytest.mark.parametrize(
    ("columns", "bankfull"),
    [({"TopWdth": 6.0}, 3.0), ({"TopWdth": 5.0}, 6e5), ({"TopWdthCC": 7.0}, 0.5), ({"TopWdthCC": 3.0}, 0.5)],
    ids=["rectangle", "narrowing", "no flood plains", "flood plains narrower than the channel"],
)
def test_odd_sections_are_still_rivers(columns, bankfull):
    section = reach(**columns)
    assert section.bankfull.item() == pytest.approx(bankfull)
    area = torch.linspace(0.0, 200.0, 400, dtype=torch.float64).requires_grad_()
    flow = section.flow(area)
    assert (flow.discharge.diff() > 0).all()
    assert (flow.top_width.diff() >= 0).all()
    assert torch.isfinite(derivative(sum(flow), area)).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_a_dry_bed_has_no_flow_and_finite_gradients(dtype):
    section = Section(*(part.to(dtype) for part in reach()))
    area = torch.zeros(1, dtype=dtype, requires_grad=True)
    flow = section.flow(area)
    assert flow.depth == 0
    assert flow.discharge == 0
    assert flow.top_width == 6
    assert torch.isfinite(derivative(sum(flow), area)).all()
