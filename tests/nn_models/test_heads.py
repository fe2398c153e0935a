"""Heads say what a hidden state means: values, or distributions whose mean comes first."""

import numpy as np
import pytest
import torch
from dmg_bmi.nn_models import CudaLSTM
from dmg_bmi.nn_models.heads import make_head

H, ROWS = 6, 5
Y = torch.linspace(-400.0, 400.0, 400_001, dtype=torch.float64)


def hidden(seed=0, *shape):
    return torch.randn(
        *(shape or (ROWS, H)), generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def head_of(n_outputs, **description):
    torch.manual_seed(4)
    return make_head(description, H, n_outputs).double()


def normal(mu, sigma):
    """The density of a normal distribution along `Y`."""
    return torch.exp(-(((Y - mu) / sigma) ** 2) / 2) / (sigma * np.sqrt(2 * np.pi))


def laplace(mu, b, tau):
    """The density of an asymmetric Laplacian along `Y` (Yu & Zhang, 2005)."""
    error = Y - mu
    return tau * (1 - tau) / b * torch.exp(-torch.maximum(tau * error, (tau - 1) * error) / b)


def mean_by_integration(density):
    width = Y[1] - Y[0]
    return (density * Y).sum() * width / (density.sum() * width)


@torch.no_grad()
@pytest.mark.parametrize("targets", [1, 2])
def test_the_mean_of_a_mixture_is_that_of_its_density(targets):
    components = 3
    for name, kinds, density in (("gmm", 3, normal), ("cmal", 4, laplace)):
        y = head_of(targets * (1 + kinds * components), name=name, n_distributions=components)(hidden())
        means, parameters = y[:, :targets], y[:, targets:].chunk(kinds, dim=-1)
        *shapes, weights = (p.reshape(ROWS, targets, components) for p in parameters)
        for row in range(ROWS):
            for target in range(targets):
                total = sum(
                    weights[row, target, k] * density(*(s[row, target, k] for s in shapes))
                    for k in range(components)
                )
                assert means[row, target] == pytest.approx(float(mean_by_integration(total)), abs=1e-4)
        widths = shapes[1]
        assert (widths > 0).all()
        assert torch.allclose(weights.flatten(1).sum(1), torch.ones(ROWS).double(), atol=1e-3)


@torch.no_grad()
def test_the_mean_of_an_uncountable_mixture_is_that_at_its_taus():
    taus = [0.2, 0.5, 0.7]
    head = head_of(2 * (1 + 2 * len(taus)), name="umal", taus=taus)
    assert head.conditions == (0.2, 0.5, 0.7)
    y = head(hidden(1, ROWS, len(taus), H))
    means, mu, b = y[:, :2], *y[:, 2:].reshape(ROWS, 2, 2, len(taus)).unbind(1)
    for row in range(ROWS):
        for target in range(2):
            total = sum(laplace(mu[row, target, k], b[row, target, k], tau) for k, tau in enumerate(taus))
            assert means[row, target] == pytest.approx(float(mean_by_integration(total)), abs=1e-4)


@torch.no_grad()
def test_a_network_with_taus_runs_once_for_each_and_steps_as_its_sequence():
    torch.manual_seed(1)
    network = CudaLSTM(4, 7, 5, n_static=1, head={"name": "umal", "taus": [0.2, 0.5, 0.8]}).double().eval()
    x = hidden(2, 9, 3, 4)
    whole, end = network(x, network.init_state(3))
    assert network.init_state(3)["h"].shape == (3, 3, 5)
    state = network.init_state(3)
    for t in range(9):
        y, state = network(x[t : t + 1], state)
        torch.testing.assert_close(y[0], whole[t], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(state, end, rtol=1e-12, atol=1e-12)
    # One of several conditions is the network that has it as one more input.
    for k, tau in enumerate((0.2, 0.5, 0.8)):
        one = CudaLSTM(4, 3, 5, n_static=1, head={"name": "umal", "taus": [tau]}).double().eval()
        one.load_state_dict(network.state_dict())
        y, _ = one(x, one.init_state(3))
        torch.testing.assert_close(y[..., 1], whole[..., 1 + k], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(y[..., 2], whole[..., 4 + k], rtol=1e-12, atol=1e-12)


@torch.no_grad()
@pytest.mark.parametrize("length", [1, 4, 30])
def test_a_window_is_a_sequence_from_a_zero_state_whatever_the_pieces(length):
    torch.manual_seed(3)
    options = {"n_static": 1, "embeddings": {"dynamics": {"hiddens": [3]}}}
    windowed = CudaLSTM(4, 2, 5, **options, seq_length=length).double().eval()
    plain = CudaLSTM(4, 2, 5, **options).double().eval()
    plain.load_state_dict(windowed.state_dict())
    x = hidden(5, 20, 3, 4)
    x[..., -1] = x[:1, :, -1]
    expected = [plain(x[max(0, t + 1 - length) : t + 1], plain.init_state(3))[0][-1] for t in range(20)]
    for pieces in ((20,), (1,) * 20, (7, 1, 12)):
        state, answers = windowed.init_state(3), []
        for part in x.split(pieces):
            y, state = windowed(part, state)
            answers.append(y)
        torch.testing.assert_close(torch.cat(answers), torch.stack(expected), rtol=1e-12, atol=1e-12)
    # A row that joins later has seen less than its neighbours.
    _, state = windowed(x[:6], windowed.init_state(3))
    fresh = windowed.init_state(3)
    mixed = {name: torch.cat([state[name][:1], fresh[name][1:]]) for name in state}
    y, _ = windowed(x[6:8], mixed)
    torch.testing.assert_close(y[-1, 0], expected[7][0], rtol=1e-12, atol=1e-12)
    late = plain(x[max(6, 8 - length) : 8], plain.init_state(3))[0][-1, 1:]
    torch.testing.assert_close(y[-1, 1:], late, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("n_outputs", "description", "said"),
    [
        (1, {"name": "quantile"}, "head 'quantile' is none of regression, gmm, cmal, umal"),
        (1, {}, "head None is none of"),
        (1, {"name": "regression", "activation": "gelu"}, "activation 'gelu' is none of"),
        (5, {"name": "gmm", "n_distributions": 2}, "do not make 5 outputs"),
        (4, {"name": "gmm", "n_distributions": 0}, "at least one component"),
        (3, {"name": "umal", "taus": [1.0]}, "between 0 and 1"),
        (3, {"name": "umal", "taus": []}, "at least one component"),
    ],
)
def test_a_head_that_cannot_be_is_refused_in_words(n_outputs, description, said):
    with pytest.raises(ValueError, match=said):
        make_head(description, H, n_outputs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_static": 4}, "of 4 inputs 4 cannot be static"),
        ({"n_basins": 3}, "of 4 inputs 0 cannot be static"),
        ({"seq_length": 0}, "seq_length must be at least 1"),
        ({"embeddings": {"outputs": {"hiddens": [2]}}}, "embeddings are statics and dynamics, not outputs"),
        ({"embeddings": {"dynamics": {"hiddens": []}}}, "at least one input and one layer"),
        ({"embeddings": {"statics": {"hiddens": [2]}}}, "at least one input and one layer"),
    ],
)
def test_options_of_a_network_that_do_not_fit_are_refused_in_words(options, said):
    with pytest.raises(ValueError, match=said):
        CudaLSTM(4, 1, **options)
