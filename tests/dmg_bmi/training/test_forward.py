"""A window through the model: spin-up, truncated and recomputed gradients, mixed precision."""

import pytest
import torch

from dmg_bmi import DeltaModel
from dmg_bmi.training.data import Tensors, Windows
from dmg_bmi.training.forward import mixed_precision, simulate

LENGTH, SPIN_UP = 60, 20


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(0)
    rain = 12 * torch.rand(80, 3, generator=g) * (torch.rand(80, 3, generator=g) < 0.5)
    forcing = {"P": rain, "T": 9 + torch.randn(80, 3, generator=g), "PET": torch.full((80, 3), 2.0)}
    data = Tensors(forcing, {"aridity": torch.rand(3, generator=g)}, {"Q": rain, "ET": rain})
    return next(iter(Windows(data, LENGTH, SPIN_UP, 4, torch.Generator().manual_seed(0))))


@pytest.fixture
def model():
    torch.manual_seed(1)
    return DeltaModel.build(
        nn={"static": {"name": "mlp", "hidden_sizes": [6]}, "moving": {"name": "lstm", "hidden_size": 8}},
        phy_model={"name": "hbv", "nmul": 2, "routing": 5},
        roles=[
            {"network": "static", "attributes": ["aridity"]},
            {"network": "moving", "inputs": ["P", "T", "PET"], "dynamic": ["BETA", "K0"]},
        ],
    )


def gradient(model, fluxes):
    model.zero_grad()
    (fluxes["Q"].square().mean() + fluxes["ET"].mean()).backward()
    return torch.cat([weights.grad.flatten() for weights in model.parameters()])


@pytest.mark.parametrize("spin_up_gradient", [True, False])
@pytest.mark.parametrize("block", [1, 7, 40, 100])
def test_recomputing_changes_neither_flow_nor_gradient(model, batch, spin_up_gradient, block):
    whole = simulate(model, batch, SPIN_UP, spin_up_gradient)
    parts = simulate(model, batch, SPIN_UP, spin_up_gradient, activation_checkpointing=block)
    for name, series in whole.items():
        assert series.shape == (LENGTH - SPIN_UP, 4)
        torch.testing.assert_close(parts[name], series, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient(model, parts), gradient(model, whole), rtol=1e-4, atol=1e-6)


def test_recomputing_repeats_the_dropout(model, batch):
    model.networks["moving"].drop.p = 0.5
    torch.manual_seed(3)
    fluxes = simulate(model.train(), batch, SPIN_UP, activation_checkpointing=10)
    once = gradient(model, fluxes)
    torch.manual_seed(3)
    # The same blocks, whose dropout is drawn in the same order, with everything kept.
    again = gradient(model, _in_blocks(model, batch, 10))
    torch.testing.assert_close(once, again, rtol=1e-4, atol=1e-6)


def _in_blocks(model, batch, steps, detach=False):
    """Written out: spin-up without gradient, then block after block."""
    constants = model.precompute(batch.attributes, 4, dtype=torch.float32)
    state = model.init_state(4, dtype=torch.float32)
    pieces = []
    with torch.no_grad():
        _, state = model.run({n: v[:SPIN_UP] for n, v in batch.forcing.items()}, constants, state)
    for begin in range(SPIN_UP, LENGTH, steps):
        if detach:
            state = {name: values.detach() for name, values in state.items()}
        part = {n: v[begin : min(begin + steps, LENGTH)] for n, v in batch.forcing.items()}
        fluxes, state = model.run(part, constants, state)
        pieces.append(fluxes)
    return {name: torch.cat([piece[name] for piece in pieces]) for name in ("Q", "ET")}


@pytest.mark.parametrize("block", [0, 5, 8])
def test_truncation_cuts_the_gradient_and_leaves_the_flow(model, batch, block):
    whole = simulate(model, batch, SPIN_UP)
    cut = simulate(model, batch, SPIN_UP, tbptt=10, activation_checkpointing=block)
    for name, series in whole.items():
        torch.testing.assert_close(cut[name], series, rtol=1e-5, atol=1e-6)
    found, expected = gradient(model, cut), gradient(model, _in_blocks(model, batch, 10, detach=True))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(found, gradient(model, whole), rtol=1e-2)


def test_recomputing_keeps_a_small_part_for_the_gradient(model, batch):
    def kept(**options):
        sizes = []

        def pack(tensor):
            sizes.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            simulate(model, batch, SPIN_UP, **options)
        return sum(sizes)

    assert kept(activation_checkpointing=10) < 0.1 * kept()


def test_mixed_precision_reaches_the_networks_alone(model, batch):
    exact = simulate(model, batch, SPIN_UP)
    seen = []
    handles = [
        layer.register_forward_hook(lambda layer, inputs, output: seen.append(output.dtype))
        for network in model.networks.values()
        for layer in network.modules()
        if isinstance(layer, torch.nn.Linear)
    ]
    with mixed_precision(model, torch.bfloat16):
        constants = model.precompute(batch.attributes, 4, dtype=torch.float32)
        state = model.init_state(4, dtype=torch.float32)
        fluxes, after = model.run(batch.forcing, constants, state)
        assert {*seen} == {torch.bfloat16}
        mixed = simulate(model, batch, SPIN_UP)
    for tensors in (constants, fluxes, after):
        assert {v.dtype for v in tensors.values() if v.is_floating_point()} == {torch.float32}
    assert not torch.equal(mixed["Q"], exact["Q"])
    torch.testing.assert_close(mixed["Q"], exact["Q"], rtol=0.03, atol=0.01)
    for handle in handles:
        handle.remove()
    slopes = gradient(model, mixed)
    assert slopes.dtype == torch.float32
    torch.testing.assert_close(slopes, gradient(model, exact), rtol=0.1, atol=0.02)
    # Afterwards everything is as before.
    assert torch.equal(simulate(model, batch, SPIN_UP)["Q"], exact["Q"])


def test_mixed_precision_survives_an_error_in_a_network(model, batch):
    broken = {**batch.forcing, "P": batch.forcing["P"][:, :1]}
    with pytest.raises(RuntimeError), mixed_precision(model, torch.bfloat16):
        model(broken, batch.attributes)
    assert not torch.is_autocast_enabled("cpu")
