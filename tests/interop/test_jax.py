"""A process model in JAX beside the same equations in PyTorch: answers, gradients, networks, stepping."""

import pytest
import torch
from dmg_bmi.physics import (
    Balance,
    Catchment,
    Declaration,
    Parameter,
    ProcessModel,
    StateVariable,
    residual,
    run,
)
from dmg_bmi.physics.fluxes import ET, Q
from dmg_bmi.physics.forcings import PET, P

from dmg_bmi import DeltaModel
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.roles import ParameterRole, ProcessRole

jnp = pytest.importorskip("jax.numpy", reason="jax is not installed; it is the extra `jax`")
from dmg_bmi.interop.jax import JaxProcessModel  # noqa: E402

BUCKET = Declaration(
    name="bucket",
    forcings=(P, PET),
    parameters=(
        Parameter("capacity", 50.0, 1000.0, "mm", "storage at which evaporation is potential"),
        Parameter("k", 0.01, 0.5, "d-1", "recession coefficient"),
    ),
    states=(StateVariable("S", "mm", "stored water"),),
    fluxes=(Q, ET),
    balances=(Balance("water", "mm", into=("P",), out=("Q", "ET"), stored=("S",)),),
    processes={"ET": ("S", "PET")},
)


class InJax(JaxProcessModel):
    declaration = BUCKET

    @staticmethod
    def equations(forcing, state, parameters, static, dt):
        stored = state["S"] + forcing["P"]
        evaporated = forcing["PET"] * jnp.tanh(stored / parameters["capacity"])
        evaporated = jnp.minimum(evaporated, stored)
        stored = stored - evaporated
        drained = (1.0 - jnp.exp(-parameters["k"] * dt)) * stored
        return {"S": stored - drained}, {"Q": drained, "ET": evaporated}


class InTorch(ProcessModel):
    declaration = BUCKET

    def step(self, forcing, state, parameters, static, dt, processes=()):
        stored = state["S"] + forcing["P"]
        evaporated = torch.minimum(forcing["PET"] * torch.tanh(stored / parameters["capacity"]), stored)
        stored = stored - evaporated
        drained = (1.0 - torch.exp(-parameters["k"] * dt)) * stored
        return {"S": stored - drained}, {"Q": drained, "ET": evaporated}


def hybrid(phy):
    torch.manual_seed(0)
    role = {"inputs": ["P", "PET"], "attributes": ["slope"], "dynamic": ["k"], "freeze_after": 20}
    described = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 5}, phy_model={"name": "gr4j"}, roles=[{**role, "dynamic": []}]
    )
    network = type(described.nn["nn"])(3, sum(p.size for p in phy.declaration.parameters), 5).double()
    return DeltaModel(network, phy, ParameterRole(**role))


def forcing(legal, time=40, rows=3):
    return legal.weather(InTorch(), time, rows, 1), {"slope": torch.rand(rows, dtype=torch.float64)}


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_answers_are_those_of_the_same_equations_in_torch(legal, dtype):
    series = {n: v.to(dtype) for n, v in forcing(legal)[0].items()}
    given = {n: v.to(dtype) for n, v in legal.parameters(InTorch(), 3, 2).items()}
    for dt in (1.0, 1 / 24):
        (actual, end), (expected, last) = (
            run(m, series, m.init_state(3, dtype=dtype), given, {}, dt) for m in (InJax(), InTorch())
        )
        tolerance = {"rtol": 1e-12, "atol": 1e-12} if dtype == torch.float64 else {"rtol": 1e-5, "atol": 1e-5}
        torch.testing.assert_close(actual, expected, **tolerance)
        torch.testing.assert_close(end, last, **tolerance)


def test_the_gradient_of_a_step_is_right():
    g = torch.Generator().manual_seed(3)
    sizes = {"P": 9.0, "PET": 3.0, "S": 80.0, "capacity": 300.0, "k": 0.3}
    given = [(size * (0.2 + torch.rand(4, generator=g, dtype=torch.float64))) for size in sizes.values()]

    def step(rain, demand, stored, capacity, k):
        state, fluxes = InJax().step(
            {"P": rain, "PET": demand}, {"S": stored}, {"capacity": capacity, "k": k}, {}, 1.0
        )
        return state["S"], fluxes["Q"], fluxes["ET"]

    assert torch.autograd.gradcheck(step, [x.requires_grad_() for x in given])


def test_gradients_pass_through_both_platforms(legal):
    """A network of PyTorch, parallel components and routing around JAX: the gradient of its twin."""
    series, attributes = forcing(legal)
    gradients = []
    for column in (InJax(), InTorch()):
        model = hybrid(Catchment(column, nmul=2, routing=5))
        fluxes, _ = model(series, attributes)
        fluxes["Q"].square().mean().backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    assert all(g.abs().sum() > 0 for g in gradients[0].values())


@torch.no_grad()
def test_it_steps_and_closes(legal, splitting):
    series, attributes = forcing(legal)
    model = hybrid(Catchment(InJax(), nmul=2, routing=5))
    whole, end = model(series, attributes)
    constants, before = model.precompute(attributes, 3), model.init_state(3)
    pieces, last = splitting.in_pieces(lambda f, s: model.run(f, constants, s), series, before, range(40))
    splitting.assert_agree(pieces, whole, torch.float64)
    splitting.assert_agree(last, end, torch.float64)
    (balance,) = model.declaration.balances
    lost = model.residual(balance, series, whole, constants, before, end)
    assert lost.abs().max() < 1e-9 * series["P"].sum(0).max()
    column, given = InJax(), legal.parameters(InJax(), 3, 2)
    fluxes, after = run(column, series, column.init_state(3), given, {}, 1.0)
    assert (
        residual(column, BUCKET.balances[0], series, fluxes, column.init_state(3), after).abs().max() < 1e-9
    )


@torch.inference_mode()
def test_it_runs_as_the_runtime_runs_it(legal):
    series, attributes = forcing(legal)
    model = hybrid(InJax()).float()
    model.run(series, model.precompute(attributes, 3), model.init_state(3))


def test_no_network_can_be_inside(legal):
    role = ProcessRole(process="ET", inputs=("S",), network="inside")
    network = torch.nn.Identity()
    network.n_inputs, network.n_outputs, network.recurrent = 1, 1, False
    network.init_state = lambda n: {}
    network.dtype = torch.float64
    known = {"capacity": 100.0, "k": 0.1}
    model = DeltaModel({"inside": network}, InJax(), role, known)
    with pytest.raises(ConfigError, match="bucket: a network cannot be inside"):
        model(forcing(legal)[0])
