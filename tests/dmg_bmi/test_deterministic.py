"""PyTorch's deterministic mode: training and stepping work in it, and repeat themselves bit for bit."""

import numpy as np
import pytest
import torch

from dmg_bmi.model.delta_model import DAY, DeltaModel
from dmg_bmi.runtime.engines.eager import Eager
from dmg_bmi.training.config import Training
from dmg_bmi.training.data import Tensors
from dmg_bmi.training.trainer import fit

ROWS, STEPS = 4, 45
INPUTS = {"inputs": ["P", "T", "PET"]}
LSTM, MLP = {"name": "lstm", "hidden_size": 4, "dropout": 0.2}, {"name": "mlp", "hidden_sizes": [4]}
#: Networks that give static and dynamic parameters, replace a process, and correct rain and flow.
ROLES = [
    {**INPUTS, "network": "fast", "dynamic": ["BETA"], "freeze_after": 10, "dropout": 0.3},
    {"role": "process", "process": "percolation", "network": "inside"},
    {"role": "correct_input", "corrects": {"P": [0.6, 1.5]}, "network": "before", **INPUTS},
    {"role": "correct_output", "corrects": {"Q": [0.5, 2.0]}, "network": "after", **INPUTS},
]


@pytest.fixture
def deterministic():
    """In this mode PyTorch raises an error at an operation that has no deterministic form."""
    torch.use_deterministic_algorithms(True)
    yield
    torch.use_deterministic_algorithms(False)


def trained(forcing):
    torch.manual_seed(0)
    model = DeltaModel.build(
        nn={"fast": LSTM, "inside": MLP, "before": MLP, "after": LSTM},
        phy_model={"name": "hbv_1_1p", "nmul": 2, "routing": 5},
        roles=ROLES,
    )
    data = Tensors(forcing, {}, {"Q": forcing["P"] / 3})
    fit(model, data, Training(max_steps=4, batch_size=3, learning_rate=0.05), window=30, spin_up=10)
    return model.eval()


def test_training_and_then_stepping_repeat_themselves(deterministic, weather):
    forcing = {n: torch.tensor(v, dtype=torch.float32) for n, v in weather(STEPS, ROWS, seed=1).items()}
    models = [trained(forcing) for _ in range(2)]
    weights = [torch.nn.utils.parameters_to_vector(m.parameters()).detach() for m in models]
    assert torch.equal(*weights)
    engine, state = Eager(models[0]), models[0].init_state(ROWS)
    series = {n: v.double() for n, v in forcing.items()}
    flows = []
    for k in range(STEPS):
        now = {n: v[k : k + 1] for n, v in series.items()}
        fluxes, state = engine.run(now, models[0].precompute({}, ROWS), state)
        flows.append(fluxes["Q"][0])
    with torch.no_grad():
        at_once, _ = models[0](series)
    torch.testing.assert_close(torch.stack(flows), at_once["Q"], rtol=1e-5, atol=1e-6)


def test_a_component_gives_the_bits_that_it_gives_otherwise(configure, bundles, weather, bmi_run):
    """Also where its fluxes come from memory that this mode fills with NaN before it is used."""
    path, forcing = configure(bundles("lstm_mlp", DAY), ROWS), weather(STEPS, ROWS, seed=2)
    found = []
    for mode in (False, True):
        torch.use_deterministic_algorithms(mode)
        try:
            found.append(bmi_run.drive(bmi_run.start(path), forcing, range(STEPS)))
        finally:
            torch.use_deterministic_algorithms(False)
    for symbol, values in found[0].items():
        np.testing.assert_array_equal(found[1][symbol], values)
