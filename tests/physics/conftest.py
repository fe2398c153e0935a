"""Runs of one process model from random legal input."""

import pytest
import torch
from dmg_bmi.physics import run


@pytest.fixture(scope="session")
def ready(legal):
    """Make random forcing, a state after a spell of other weather, and a function that goes on from it."""

    def make(model, time, rows, seed, dt=1.0, dtype=torch.float64):
        def cast(values):
            return {name: value.to(dtype) for name, value in values.items()}

        parameters = cast(legal.parameters(model, rows, seed))
        static = cast(legal.attributes(model, rows, seed + 1))

        def go_on(forcing, state, rows=slice(None)):
            return run(
                model,
                forcing,
                state,
                {name: value[rows] for name, value in parameters.items()},
                {name: value[rows] for name, value in static.items()},
                dt,
            )

        spell = cast(legal.weather(model, 20, rows, seed + 2, dt))
        _, state = go_on(spell, model.init_state(rows, dtype=dtype))
        return cast(legal.weather(model, time, rows, seed + 3, dt)), state, go_on

    return make
