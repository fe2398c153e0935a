"""A DeltaModel is an ordinary ``nn.Module``: moved, copied, saved and trained like any other."""

from copy import deepcopy

import pytest
import torch
from dmg_bmi.physics import HBV, Catchment

from dmg_bmi import ParameterRole

LSTM = {"name": "lstm", "hidden_size": 6}
MLP = {"name": "mlp", "hidden_sizes": [5]}
SEEN = ("P", "T", "PET")
KINDS = {
    "lstm": ({"nn": LSTM}, ParameterRole(SEEN, ("slope",), ("BETA", "K0"), freeze_after=30)),
    "lstm and mlp": (
        {"lstm": LSTM, "mlp": MLP},
        ParameterRole(SEEN, (), ("BETA", "K0"), (), network="lstm"),
        ParameterRole((), ("slope", "clay"), network="mlp"),
    ),
}


@pytest.fixture(params=KINDS)
def model(request, hybrids):
    """HBV behind an LSTM, and behind an LSTM and an MLP, in float32."""
    networks, *roles = KINDS[request.param]
    return hybrids.hybrid(Catchment(HBV(), 2, 5), networks, *roles, weights=torch.float32, seed=2)


@pytest.fixture
def data(model, hybrids):
    """Forcing and attributes of three rows, in float32."""
    forcing, attributes = hybrids.everything(model, 60, 3, 1)
    return {n: v.float() for n, v in forcing.items()}, {n: v.float() for n, v in attributes.items()}


def test_it_moves_to_another_dtype_and_back_unharmed(model, data):
    forcing, attributes = data
    expected, _ = model(forcing, attributes)
    double = {n: v.double() for n, v in forcing.items()}, {n: v.double() for n, v in attributes.items()}
    moved, state = model.to(torch.float64)(*double)
    assert all(value.dtype == torch.float64 for value in moved.values())
    assert all(value.dtype in (torch.float64, torch.int64) for value in state.values())
    for name, value in moved.items():
        torch.testing.assert_close(value.float(), expected[name], rtol=1e-3, atol=1e-3)
    again, _ = model.to(torch.float32)(forcing, attributes)
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_all_that_is_saved_are_the_weights_of_its_networks(model):
    weights = dict(model.named_parameters())
    assert model.state_dict().keys() == weights.keys()
    assert all(name.startswith("nn.") for name in weights)


def test_a_copy_answers_the_same_and_goes_its_own_way(model, data):
    copy = deepcopy(model)
    expected, _ = model(*data)
    actual, _ = copy(*data)
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
    with torch.no_grad():
        for weight in copy.parameters():
            weight.add_(0.5)
    kept, _ = model(*data)
    changed, _ = copy(*data)
    assert torch.equal(kept["Q"], expected["Q"])
    assert not torch.equal(changed["Q"], expected["Q"])
    copy.load_state_dict(model.state_dict())
    restored, _ = copy(*data)
    assert torch.equal(restored["Q"], expected["Q"])


def test_running_leaves_nothing_behind(model, data):
    expected, _ = model(*data)
    model({n: v + 1 for n, v in data[0].items()}, data[1])
    again, _ = model(*data)
    assert all(torch.equal(again[name], value) for name, value in expected.items())


def test_gradients_reach_every_weight(model, data):
    fluxes, _ = model(*data)
    fluxes["Q"].square().mean().backward()
    for name, weight in model.named_parameters():
        assert torch.isfinite(weight.grad).all(), name
        assert weight.grad.any(), name


@pytest.mark.slow
def test_plain_optimisation_finds_a_hidden_truth(model, data, hybrids):
    networks, *roles = KINDS["lstm" if len(model.networks) == 1 else "lstm and mlp"]
    truth = hybrids.hybrid(Catchment(HBV(), 2, 5), networks, *roles, weights=torch.float32, seed=9)
    with torch.no_grad():
        observed = truth(*data)[0]["Q"]
    optimiser = torch.optim.Adam(model.train().parameters(), lr=0.03)
    losses = []
    for _ in range(25):
        optimiser.zero_grad()
        loss = (model(*data)[0]["Q"] - observed).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]
