"""Networks in every role, stepped through BMI: the answer of one forward, saved half-way."""

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.model.registry import build_process_model

LSTM = {"name": "lstm", "hidden_size": 5}
MLP = {"name": "mlp", "hidden_sizes": [6]}
HBV = {"name": "hbv", "nmul": 2, "routing": 5}
GIVEN = {"network": "given", "attributes": ["slope"]}
SIDE_BY_SIDE = [
    {"network": "wet", "model": "wet", "attributes": ["slope"]},
    {"network": "dry", "model": "dry", "attributes": ["slope"]},
]
TWO = {"wet": HBV, "dry": {"name": "gr4j", "nmul": 2, "routing": 5}}
CASES = {
    "a network inside the step": (
        [GIVEN, {"role": "process", "process": "ET", "network": "inside"}],
        HBV,
        {"inside": LSTM},
    ),
    "corrections": (
        [
            GIVEN,
            {"role": "correct_input", "corrects": {"P": [0.5, 2]}, "inputs": ["P", "T"], "network": "gauge"},
            {
                "role": "correct_output",
                "corrects": {"Q": [0.5, 2]},
                "attributes": ["slope"],
                "network": "bias",
            },
        ],
        HBV,
        {"gauge": LSTM},
    ),
    "an ensemble": (
        [*SIDE_BY_SIDE, {"role": "weights", "attributes": ["slope"], "network": "weigh"}],
        TWO,
        {},
    ),
    "an ensemble whose weights change": (
        [*SIDE_BY_SIDE, {"role": "weights", "inputs": ["P"], "network": "weigh"}],
        TWO,
        {"weigh": LSTM},
    ),
    "models side by side": (SIDE_BY_SIDE, TWO, {}),
    "a network alone": (
        [
            {
                "role": "output",
                "inputs": ["P", "T", "PET"],
                "attributes": ["slope"],
                "outputs": ["Q"],
                "network": "nn",
            }
        ],
        None,
        {"nn": LSTM},
    ),
}
RUNOFF = {"models side by side": "wet.Q"}


@pytest.fixture(params=CASES)
def case(request, tmp_path, legal):
    roles, models, networks = CASES[request.param]
    torch.manual_seed(4)
    model = DeltaModel.build(
        nn={role["network"]: networks.get(role["network"], MLP) for role in roles},
        phy_model=models,
        roles=roles,
    ).double()
    Bundle(model, "case").save(tmp_path / "bundle")
    attributes = {"slope": [0.3, -1.2]}
    config = {
        "bundle": "bundle",
        "catchments": {"ids": ["a", "b"], "attributes": attributes},
        "engine": "eager",
        "start_time": "2001-10-01",
        "restart": {"write": "half.state"},
    }
    (tmp_path / "first.yaml").write_text(yaml.safe_dump(config))
    config |= {"start_time": "2001-10-13", "restart": {"read": "half.state"}}
    (tmp_path / "second.yaml").write_text(yaml.safe_dump(config))
    forcing = legal.weather(build_process_model(HBV), 24, 2, 3)
    with torch.no_grad():
        expected, _ = model.eval()(forcing, {"slope": torch.tensor([0.3, -1.2], dtype=torch.float64)})
    return tmp_path, forcing, expected, RUNOFF.get(request.param, "Q")


def test_single_steps_through_bmi_with_a_restart_are_one_forward(case):
    folder, forcing, expected, symbol = case
    runoff = []
    for name, days in (("first", range(12)), ("second", range(12, 24))):
        bmi = DeltaModelBmi()
        bmi.initialize(str(folder / f"{name}.yaml"))
        for day in days:
            for forced, series in forcing.items():
                bmi.set_value(forced, series[day].numpy())
            bmi.update()
            runoff.append(bmi.get_value_ptr(symbol).copy() * 1000.0)
        bmi.finalize()
    assert expected[symbol].std() > 0
    np.testing.assert_allclose(np.array(runoff), expected[symbol].numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("case", ["an ensemble"], indirect=True)
def test_the_water_of_an_ensemble_is_booked_from_before_its_first_step(case):
    folder, forcing, _, _ = case
    bmi = DeltaModelBmi()
    bmi.initialize(str(folder / "first.yaml"))
    mass_in, mass_out, stored, mass_leaked = (
        bmi.get_value_ptr(f"ngen::mass_{word}") for word in ("in", "out", "stored", "leaked")
    )
    np.testing.assert_array_equal(mass_in, stored)
    for day in range(24):
        for forced, series in forcing.items():
            bmi.set_value(forced, series[day].numpy())
        bmi.update()
        np.testing.assert_allclose(mass_in - mass_out - stored - mass_leaked, 0.0, atol=1e-9)
    assert (mass_out > 0.0).all()
    bmi.finalize()
