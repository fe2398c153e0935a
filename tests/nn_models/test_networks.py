"""Networks that take and return their recurrent state."""

from math import exp, tanh

import pytest
import torch
from dmg_bmi.nn_models import LSTM, MLP
from dmg_bmi.nn_models.lstm_layer import fused
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi.errors import ConfigError
from dmg_bmi.model.registry import NETWORKS, build_network

seeds = st.integers(0, 2**32 - 1)
OPTIONS = {
    "cuda_lstm": {"hidden_size": 5, "dropout": 0.25},
    "ea_lstm": {"hidden_size": 5, "n_static": 2, "dropout": 0.25},
    "mts_lstm": {
        "hidden_size": 5,
        "slow_hidden_size": 3,
        "n_static": 1,
        "slow_inputs": [0, 2],
        "fast_inputs": [0, 1],
        "ratio": 3,
        "slow_length": 6,
        "fast_length": 9,
        "dropout": 0.25,
    },
    "lstm": {"hidden_size": 5, "dropout": 0.25},
    "mlp": {"hidden_sizes": [7, 3], "dropout": 0.5},
}


@pytest.fixture(params=sorted(NETWORKS))
def network(request):
    """Every registered network, in float64, without dropout."""
    torch.manual_seed(2)
    return build_network({"name": request.param, **OPTIONS.get(request.param, {})}, 4, 3).double().eval()


def drawn(seed, *shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def some_state(network, rows, seed):
    return {name: drawn(seed, *value.shape).tanh() for name, value in network.init_state(rows).items()}


def test_states_have_rows_first_and_the_dtype_of_the_weights(network):
    for dtype in (torch.float64, torch.float32):
        for rows in (1, 6):
            state = network.to(dtype).init_state(rows)
            y, new = network(drawn(1, 2, rows, 4).to(dtype), state)
            assert y.shape == (2, rows, 3)
            assert y.dtype == network.dtype == dtype
            assert new.keys() == state.keys()
            for name, value in new.items():
                assert value.shape == state[name].shape
                assert value.shape[0] == rows
                assert value.dtype == dtype
    assert bool(network.init_state(1)) == network.recurrent


def test_the_state_handed_in_is_not_changed(network):
    state = some_state(network, 3, 1)
    kept = {name: value.clone() for name, value in state.items()}
    network(drawn(2, 5, 3, 4), state)
    assert all(torch.equal(state[name], kept[name]) for name in kept)


def test_stepping_is_the_sequence_and_a_row_never_depends_on_its_neighbours(network):
    x, state = drawn(3, 40, 5, 4), some_state(network, 5, 4)
    whole, end = network(x, state)

    now, stepped = state, []
    for t in range(40):
        y, now = network(x[t : t + 1], now)
        stepped.append(y)
    torch.testing.assert_close(torch.cat(stepped), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(now, end, rtol=1e-12, atol=1e-12)

    rows = [3, 0]
    part, last = network(x[:, rows], {name: value[rows] for name, value in state.items()})
    torch.testing.assert_close(part, whole[:, rows], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(last, {n: v[rows] for n, v in end.items()}, rtol=1e-12, atol=1e-12)


def test_only_a_recurrent_network_remembers(network):
    x = drawn(5, 10, 2, 4)
    other = torch.cat([drawn(6, 9, 2, 4), x[9:]])
    y, _ = network(x, network.init_state(2))
    z, _ = network(other, network.init_state(2))
    assert torch.equal(y[-1], z[-1]) != network.recurrent


@pytest.mark.parametrize("name", sorted(NETWORKS))
def test_a_description_builds_the_same_network_again(name):
    described = {"name": name, **OPTIONS.get(name, {})}
    network = build_network(described, 4, 3)
    assert network.describe() | described == network.describe()
    again = build_network(network.describe(), network.n_inputs, network.n_outputs)
    again.load_state_dict(network.state_dict())
    assert again.describe() == network.describe()
    x = torch.randn(6, 2, 4)
    expected, _ = network.eval()(x, network.init_state(2))
    actual, _ = again.eval()(x, again.init_state(2))
    assert torch.equal(actual, expected)


def test_an_unknown_network_or_option_is_named():
    with pytest.raises(ConfigError, match=r"no network named 'gru'.*lstm.*mlp"):
        build_network({"name": "gru"}, 1, 1)
    with pytest.raises(ConfigError, match=r"lstm.*hiden_size"):
        build_network({"name": "lstm", "hiden_size": 3}, 1, 1)


def sigmoid(x):
    return 1 / (1 + exp(-x))


def affine(weight, bias, x):
    return [sum(w * v for w, v in zip(row, x, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def relu(x):
    return [max(v, 0.0) for v in x]


@given(seed=seeds)
def test_the_lstm_follows_the_gate_equations(seed):
    """Hochreiter & Schmidhuber (1997) with a forget gate (Gers et al., 2000), in plain numbers."""
    torch.manual_seed(seed % 2**32)
    size = 3
    network = LSTM(2, 4, hidden_size=size).double()
    w = {name: value.tolist() for name, value in network.state_dict().items()}
    x, state = drawn(seed, 12, 1, 2), some_state(network, 1, seed + 1)
    y, end = network(x, state)

    h, c = state["h"][0].tolist(), state["c"][0].tolist()
    for t, now in enumerate(x[:, 0].tolist()):
        seen = relu(affine(w["linear_in.weight"], w["linear_in.bias"], now))
        by_input = affine(w["lstm.weight_ih_l0"], w["lstm.bias_ih_l0"], seen)
        by_memory = affine(w["lstm.weight_hh_l0"], w["lstm.bias_hh_l0"], h)
        gates = [a + b for a, b in zip(by_input, by_memory, strict=True)]
        i, f, g, o = (gates[k * size : (k + 1) * size] for k in range(4))
        c = [sigmoid(f[k]) * c[k] + sigmoid(i[k]) * tanh(g[k]) for k in range(size)]
        h = [sigmoid(o[k]) * tanh(c[k]) for k in range(size)]
        expected = torch.tensor(affine(w["linear_out.weight"], w["linear_out.bias"], h), dtype=torch.float64)
        torch.testing.assert_close(y[t, 0], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end["h"][0].tolist(), h, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end["c"][0].tolist(), c, rtol=1e-12, atol=1e-12)


@given(seed=seeds)
def test_an_lstm_traced_for_one_loop_of_all_gates_keeps_its_answers(seed):
    """Contract 3, float32: of sums at the gates that saturate as of small ones, step after step."""
    torch.manual_seed(seed % 2**32)
    network = LSTM(2, 4, hidden_size=16)
    with torch.no_grad():
        for weight in network.lstm.parameters():
            weight *= 4.0 ** torch.randint(-3, 4, (len(weight), *[1] * (weight.ndim - 1)))
        state = other = some_state(network, 3, seed)
        for now in drawn(seed + 1, 20, 3, 2).float().split(1):
            y, state = network(now, state)
            with fused():
                same, other = network(now, other)
            torch.testing.assert_close(same, y, rtol=1e-5, atol=5e-6)
    for name in ("h", "c"):
        torch.testing.assert_close(other[name], state[name], rtol=1e-5, atol=5e-6)


def test_the_mlp_is_linear_layers_with_relu_between():
    torch.manual_seed(0)
    network = MLP(3, 2, hidden_sizes=(5, 4)).double()
    x = drawn(1, 6, 3)
    y, state = network(x, {})
    assert state == {}
    layers = [m for m in network.modules() if isinstance(m, torch.nn.Linear)]
    assert [tuple(m.weight.shape) for m in layers] == [(5, 3), (4, 5), (2, 4)]
    for row, result in zip(x.tolist(), y, strict=True):
        for layer in layers[:-1]:
            row = relu(affine(layer.weight.tolist(), layer.bias.tolist(), row))
        expected = affine(layers[-1].weight.tolist(), layers[-1].bias.tolist(), row)
        torch.testing.assert_close(result.tolist(), expected, rtol=1e-12, atol=1e-12)


def test_dropout_acts_in_training_only():
    for network in (LSTM(2, 3, 8, dropout=0.5), MLP(2, 3, (8,), dropout=0.5)):
        x = torch.randn(4, 5, 2)
        runs = [network.train()(x, network.init_state(5))[0] for _ in range(2)]
        assert not torch.equal(*runs)
        runs = [network.eval()(x, network.init_state(5))[0] for _ in range(2)]
        assert torch.equal(*runs)


@pytest.mark.parametrize("p", [-0.1, 1.1, float("nan"), float("inf")])
@pytest.mark.parametrize("network", [LSTM, MLP])
def test_what_is_no_probability_of_dropout_is_refused(network, p):
    with pytest.raises(ValueError, match="dropout must be a probability"):
        network(2, 3, dropout=p)
