"""Input of models."""

import pytest


@pytest.fixture
def data(hybrids):
    """Random legal input of a model."""

    def make(model, time=60, rows=3, seed=1):
        forcing, attributes = hybrids.everything(model, time, rows, seed, gap=(-4.5, 4.5))
        return {n: v.abs() if n == "P" else v for n, v in forcing.items()}, attributes

    return make
