"""A network inside the step, in the place of a declared process."""

import pytest
import torch
from dmg_bmi.physics import HBV, Catchment, residual, run
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

seeds = st.integers(0, 2**32 - 1)
HIDDEN = 3


class Gated(nn.Module):
    """A GRU cell per component that gives one flux and keeps its memory in the state."""

    def __init__(self, key, shown):
        super().__init__()
        self.key, self.shown = key, shown
        self.cell = nn.GRUCell(len(shown), HIDDEN).double()
        self.out = nn.Linear(HIDDEN, 1).double()

    def forward(self, inputs, state):
        assert set(inputs) == set(self.shown)
        x = torch.stack(torch.broadcast_tensors(*(inputs[name] for name in self.shown)), -1)
        memory = state[self.key]
        new = self.cell(x.reshape(-1, x.shape[-1]) / 100, memory.reshape(-1, HIDDEN)).reshape(memory.shape)
        return 5 * self.out(new).squeeze(-1), {self.key: new}


@pytest.fixture(scope="module", params=["ET", "recharge", "percolation"])
def hybrid(request):
    """Catchment, the network in place of one of its processes, and a state with the network's memory."""
    model = Catchment(HBV(), nmul=2, routing=7)
    torch.manual_seed(4)
    network = Gated(f"{request.param}.h", model.declaration.processes[request.param])

    def initial(rows):
        return {**model.init_state(rows), network.key: torch.zeros(rows, 2, HIDDEN).double()}

    return model, {request.param: network}, initial


@given(seed=seeds, cuts=st.sets(st.integers(1, 59)))
def test_it_steps_with_its_memory_in_the_state_as_it_runs(hybrid, legal, splitting, seed, cuts):
    model, processes, initial = hybrid
    forcing, parameters = legal.weather(model, 60, 3, seed), legal.parameters(model, 3, seed + 1)

    def go_on(now, state):
        return run(model, now, state, parameters, {}, 1.0, processes=processes)

    with torch.no_grad():
        whole, end = go_on(forcing, initial(3))
        (network,) = processes.values()
        assert end[network.key].any()
        for places in (cuts, range(60)):
            pieces, last = splitting.in_pieces(go_on, forcing, initial(3), places)
            splitting.assert_agree(pieces, whole, torch.float64)
            splitting.assert_agree(last, end, torch.float64)


@given(seed=seeds)
def test_water_closes_whatever_the_network_answers(hybrid, legal, seed):
    """Too much, or less than nothing: a flux takes what the store holds, and never refills it."""
    model, processes, initial = hybrid
    (balance,) = model.declaration.balances
    forcing, parameters = legal.weather(model, 200, 3, seed), legal.parameters(model, 3, seed + 1)
    ((name, network),) = processes.items()
    for sign in (1.0, -1.0, 1e4):

        def exaggerated(inputs, state, sign=sign):
            value, new = network(inputs, state)
            return sign * value, new

        before = initial(3)
        with torch.no_grad():
            fluxes, after = run(model, forcing, before, parameters, {}, 1.0, processes={name: exaggerated})
        lost = residual(model, balance, forcing, fluxes, before, after)
        assert (lost.abs() <= 1e-9 * (forcing["P"].sum(0) + 1.0)).all()
        assert all((after[s.name] >= 0).all() for s in model.declaration.states)


def test_gradients_reach_its_weights_through_time(hybrid, legal):
    model, processes, initial = hybrid
    forcing, parameters = legal.weather(model, 60, 3, 1), legal.parameters(model, 3, 2)
    fluxes, _ = run(model, forcing, initial(3), parameters, {}, 1.0, processes=processes)
    (network,) = processes.values()
    for gradient in torch.autograd.grad(fluxes["Q"].sum(), tuple(network.parameters())):
        assert torch.isfinite(gradient).all()
        assert gradient.any()
