"""Normalisation takes finite statistics of known transforms only, and has a gradient on dry days."""

from math import inf, nan
from typing import get_args

import pytest
import torch

from dmg_bmi.errors import ConfigError
from dmg_bmi.model.normalisation import FeatureStatistics, Normaliser, Transform


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"mean": nan}, "mean is nan"),
        ({"mean": -inf}, "mean is -inf"),
        ({"std": inf}, "std is inf"),
        ({"std": -1.0}, "must not be negative"),
        ({"mean": "1"}, "mean is '1'"),
        ({"transform": "log"}, "transform is 'log'; it must be one of none, log_sqrt"),
    ],
)
def test_statistics_that_cannot_normalise_are_refused(given, said):
    with pytest.raises(ConfigError, match=said):
        FeatureStatistics(**given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dry_days_have_a_finite_gradient_and_the_values_of_the_formula(dtype):
    rain = torch.tensor([0.0, 1e-6, 4.0, 0.0], dtype=dtype, requires_grad=True)
    found = Normaliser(["P"], {"P": FeatureStatistics(-0.3, 0.4, "log_sqrt")})({"P": rain})[:, 0]
    meant = (torch.log10(rain.detach().double().sqrt() + 0.1) + 0.3) / 0.4
    torch.testing.assert_close(found.double(), meant, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0)
    (slope,) = torch.autograd.grad(found.sum(), rain)
    assert slope.isfinite().all()
    assert slope[2] > 0
    assert slope[0] == slope[3] == 0  # one that is finite and huge would end in infinity a layer on


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("transform", get_args(Transform))
@pytest.mark.parametrize("std", [0.0, 0.4])
def test_every_transform_has_finite_slopes_both_ways_at_its_limits(transform, std, dtype):
    normaliser = Normaliser(["x"], {"x": FeatureStatistics(-0.3, std, transform)})
    at = torch.tensor([0.0, 1e-30, 1e-6, 1.0, 1e6], dtype=dtype, requires_grad=True)
    back = torch.tensor([-3.0, -1.75, 0.0, 3.0], dtype=dtype, requires_grad=True)
    for values, function in ((at, lambda x: normaliser({"x": x})), (back, normaliser.inverse)):
        found = function(values if values is at else values.unsqueeze(-1))
        assert found.isfinite().all()
        (slope,) = torch.autograd.grad(found.sum(), values)
        assert slope.isfinite().all()


def test_gradients_of_wet_days_are_those_of_differences():
    rain = torch.tensor([0.5, 4.0, 30.0], dtype=torch.float64, requires_grad=True)
    normaliser = Normaliser(["P"], {"P": FeatureStatistics(-0.3, 0.4, "log_sqrt")})
    assert torch.autograd.gradcheck(lambda p: normaliser({"P": p}), rain)


def test_negative_water_does_not_become_a_number():
    found = Normaliser(["P"], {"P": FeatureStatistics(0.0, 1.0, "log_sqrt")})({"P": torch.tensor([-1.0])})
    assert found.isnan().all()
