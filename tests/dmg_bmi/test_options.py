"""What a model or network was built with is read from it."""

import pytest
from torch import nn

from dmg_bmi.errors import ConfigError
from dmg_bmi.model.registry import NETWORKS, PROCESS_MODELS, build_network, build_process_model
from dmg_bmi.options import constructor_options

OPTIONS = {
    "lstm": {"hidden_size": 7, "dropout": 0.25},
    "mlp": {"hidden_sizes": [3, 5], "dropout": 0.5},
    "cuda_lstm": {
        "hidden_size": 4,
        "n_static": 1,
        "n_basins": 0,
        "embeddings": {"dynamics": {"hiddens": [3]}},
        "head": {"name": "regression", "activation": "relu"},
        "dropout": 0.25,
        "seq_length": 9,
    },
    "ea_lstm": {
        "hidden_size": 4,
        "n_static": 1,
        "n_basins": 3,
        "embeddings": {},
        "head": {"name": "umal", "taus": [0.3]},
        "dropout": 0.25,
        "seq_length": None,
    },
    "mts_lstm": {
        "hidden_size": 4,
        "n_static": 0,
        "n_basins": 0,
        "head": {"name": "regression"},
        "dropout": 0.5,
        "slow_hidden_size": 4,
        "slow_inputs": [1],
        "fast_inputs": [0, 1],
        "ratio": 3,
        "slow_length": 5,
        "fast_length": 6,
        "transfer": {"h": "identity", "c": None},
        "shared": True,
    },
    "hbv": {"betaet": True},
    "gr4j": {"queue": 44},
    "muskingum_cunge": {"kernel": "nwm", "substeps": 3},
}


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_tells_its_options(name):
    assert build_network({"name": name, **OPTIONS[name]}, 2, 3).describe() == {"name": name, **OPTIONS[name]}


@pytest.mark.parametrize("name", PROCESS_MODELS)
def test_a_process_model_tells_its_options(name):
    given = {"name": name, **OPTIONS.get(name, {})}
    assert build_process_model(given).describe() == given


def test_an_option_that_is_not_kept_is_named():
    class Forgetful(nn.Module):
        def __init__(self, depth=1):
            super().__init__()

    with pytest.raises(ConfigError, match="Forgetful does not keep its option 'depth'"):
        constructor_options(Forgetful())
