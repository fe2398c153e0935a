"""Normalisation takes finite statistics of known transforms only, and has a gradient on dry days."""

from math import inf, nan

import pytest
import torch

from dmg_bmi.errors import ConfigError
from dmg_bmi.normalisation import Normaliser, Statistic


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
        Statistic(**given)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_dry_days_have_a_finite_gradient_and_the_values_of_the_formula(dtype):
    rain = torch.tensor([0.0, 1e-6, 4.0, 0.0], dtype=dtype, requires_grad=True)
    found = Normaliser(["P"], {"P": Statistic(-0.3, 0.4, "log_sqrt")})({"P": rain})[:, 0]
    meant = (torch.log10(rain.detach().double().sqrt() + 0.1) + 0.3) / 0.4
    torch.testing.assert_close(found.double(), meant, rtol=1e-5 if dtype == torch.float32 else 1e-12, atol=0)
    (slope,) = torch.autograd.grad(found.sum(), rain)
    assert slope.isfinite().all()
    assert slope[2] > 0


def test_gradients_of_wet_days_are_those_of_differences():
    rain = torch.tensor([0.5, 4.0, 30.0], dtype=torch.float64, requires_grad=True)
    normaliser = Normaliser(["P"], {"P": Statistic(-0.3, 0.4, "log_sqrt")})
    assert torch.autograd.gradcheck(lambda p: normaliser({"P": p}), rain)


def test_negative_water_does_not_become_a_number():
    found = Normaliser(["P"], {"P": Statistic(0.0, 1.0, "log_sqrt")})({"P": torch.tensor([-1.0])})
    assert found.isnan().all()
