"""A process model that this package has never heard of, put in as a module.

It is the linear reservoir of ``tests/conftest.py``, and passes the laws of every process model there.
"""

import pytest
import torch
from dmg_bmi.nn_models import LSTM
from dmg_bmi.physics import Catchment

from dmg_bmi import DeltaModel, ParameterRole
from dmg_bmi.errors import ConfigError


def test_it_works_behind_a_network(linear_reservoir, hybrids, splitting):
    torch.manual_seed(0)
    role = ParameterRole(("P",), ("slope",), freeze_after=10)
    model = DeltaModel(LSTM(2, 1, 4).double(), linear_reservoir, role).eval()
    forcing, attributes = hybrids.everything(model, 50, 3, 1)
    with torch.no_grad():
        fluxes, end = model(forcing, attributes)
        constants = model.precompute(attributes, 3)
        stepped, last = splitting.in_pieces(
            lambda now, state: model.run(now, constants, state), forcing, model.init_state(3), range(50)
        )
    splitting.assert_agree(stepped, fluxes, torch.float64)
    splitting.assert_agree(last, end, torch.float64)
    torch.testing.assert_close(fluxes["Q"].sum(0) + end["phy.S"], forcing["P"].sum(0), rtol=1e-12, atol=0)


def test_it_gains_components_and_routing_like_any_other(linear_reservoir):
    model = DeltaModel(
        None, Catchment(linear_reservoir, 2, 3), fixed={"k": 0.5, "route_a": 1.0, "route_b": 1.0}
    )
    rain = torch.zeros(40, 1, dtype=torch.float64)
    rain[0] = 10.0
    fluxes, end = model({"P": rain})
    expected = 10.0 * 0.5 ** torch.arange(1.0, 41.0, dtype=torch.float64)
    torch.testing.assert_close(fluxes["Q_generated"][:, 0], expected, rtol=1e-12, atol=0)
    torch.testing.assert_close(fluxes["Q"].sum(0) + end["phy.queue"].sum(-1), fluxes["Q_generated"].sum(0))


def test_it_learns(linear_reservoir):
    torch.manual_seed(0)
    rain = 10 * torch.rand(60, 2)
    truth = DeltaModel(None, linear_reservoir, fixed={"k": 0.3})
    observed = truth({"P": rain})[0]["Q"]
    model = DeltaModel(LSTM(1, 1, 4), linear_reservoir, ParameterRole(("P",), dynamic=("k",)))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(40):
        optimiser.zero_grad()
        loss = (model({"P": rain})[0]["Q"] - observed).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.01 * observed.var()


def test_a_description_cannot_build_what_is_not_registered(linear_reservoir):
    described = DeltaModel(None, linear_reservoir, fixed={"k": 0.5}).describe()
    assert described["phy_model"] == {"phy": {"name": "linear_reservoir"}}
    with pytest.raises(ConfigError, match="no process model named 'linear_reservoir'"):
        DeltaModel.build(**described)
