"""A daily model through the past and an hourly one from there on: one water, one gradient."""

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import DeltaModel
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import BundleError, ConfigError
from dmg_bmi.model.multi_timescale import MultiTimescale
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.initial_state import write_initial_state

LSTM = {"name": "lstm", "hidden_size": 6}
MLP = {"name": "mlp", "hidden_sizes": [5]}
STATISTICS = {"T": {"mean": 4.0, "std": 9.0}}


def model(step, routing, hidden=6, dynamic=("BETA", "K0"), phy="hbv_2", slow=MLP):
    return DeltaModel.build(
        nn={"lstm": {**LSTM, "hidden_size": hidden}, "slow": slow},
        phy_model={"name": phy, "nmul": 2, "routing": routing},
        roles=[
            {
                "network": "lstm",
                "inputs": ["P", "T"],
                "attributes": ["slope"],
                "dynamic": list(dynamic),
                "static": [],
            },
            {"network": "slow", "attributes": ["slope", "clay"]},
        ],
        statistics=STATISTICS,
        step=step,
    ).double()


def pair(seed=0, fast_routing=300):
    torch.manual_seed(seed)
    return MultiTimescale(
        model(86400.0, 15), model(3600.0, fast_routing, hidden=4), ("slow",), {"lstm": "lstm"}
    ).double()


@pytest.fixture
def data(hybrids):
    both = pair()
    past, attributes = hybrids.everything(both.slow, 60, 3, 1)
    now, _ = hybrids.everything(both.fast, 48, 3, 2)
    return past, {n: v / 24 if n in ("P", "PET") else v for n, v in now.items()}, attributes


@torch.no_grad()
@pytest.mark.parametrize("fast_routing", [300, 360, 400])
def test_no_water_is_lost_when_it_is_handed_over(data, fast_routing):
    past, _, attributes = data
    both = pair(fast_routing=fast_routing)
    _, slow = both.slow(past, attributes)
    fast = both.hand_over(slow)
    (balance,) = both.slow.declaration.balances
    before = both.slow.storage(balance, slow, {})
    assert before.min() > 1.0
    torch.testing.assert_close(both.fast.storage(balance, fast, {}), before, rtol=1e-13, atol=0.0)
    assert slow["phy.queue"].sum(1).max() > 0.1
    assert torch.equal(fast["phy.SM"], slow["phy.SM"])


@torch.no_grad()
def test_the_queue_that_is_handed_over_leaves_within_its_day(data):
    past, _, attributes = data
    both = pair(fast_routing=400)
    _, slow = both.slow(past, attributes)
    hours = both.hand_over(slow)["phy.queue"]
    torch.testing.assert_close(hours[:, :360].reshape(3, 15, 24).sum(-1), slow["phy.queue"])
    assert (hours[:, 360:] == 0).all()


@torch.no_grad()
def test_the_fast_model_goes_on_alone_from_its_state(data, splitting):
    past, now, attributes = data
    both = pair().eval()
    fluxes, end = both(past, now, attributes)
    constants = both.fast.precompute(attributes, 3)
    pieces, last = splitting.in_pieces(
        lambda f, s: both.fast.run(f, constants, s), now, both.start(past, attributes), range(48)
    )
    splitting.assert_agree(pieces, fluxes, torch.float64)
    splitting.assert_agree(last, end, torch.float64)
    (balance,) = both.fast.declaration.balances
    lost = both.fast.residual(balance, now, fluxes, constants, both.start(past, attributes), end)
    assert lost.abs().max() < 1e-9


def test_the_past_matters_and_all_is_trained_together(data):
    past, now, attributes = data
    both = pair()
    fluxes, _ = both(past, now, attributes, outputs=("Q",))
    fluxes["Q"].square().mean().backward()
    for name, weight in both.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.abs().sum() > 0, name
    dry = {**past, "P": 0.0 * past["P"]}
    with torch.no_grad():
        assert not torch.equal(both(dry, now, attributes)[0]["Q"], fluxes["Q"])


def test_slow_parameters_come_from_one_network(data):
    both = pair()
    assert both.fast.networks["slow"] is both.slow.networks["slow"]
    attributes = data[2]
    slow, fast = (m.precompute(attributes, 3) for m in (both.slow, both.fast))
    assert all(torch.equal(slow[name], fast[name]) for name in ("phy.FC", "phy.CWH", "phy.route_a"))
    assert len({id(p) for p in both.parameters()}) == len([*both.parameters()])


@torch.no_grad()
def test_a_pair_is_saved_whole(data, tmp_path):
    past, now, attributes = data
    both = pair().eval()
    both.save(tmp_path)
    again = MultiTimescale.load(tmp_path)
    assert again.fast.networks["slow"] is again.slow.networks["slow"]
    expected, _ = both(past, now, attributes)
    actual, _ = again(past, now, attributes)
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    (tmp_path / "transfer.safetensors").write_bytes(b"torn")
    with pytest.raises(BundleError, match="not a pair of models"):
        MultiTimescale.load(tmp_path)


def test_models_that_are_no_pair_are_refused():
    daily, hourly = model(86400.0, 15), model(3600.0, 300)
    for slow, fast, options, message in (
        (hourly, daily, {}, "not a multiple"),
        (model(5000.0, 15), hourly, {}, "not a multiple"),
        (model(86400.0, 15, phy="gr4j", dynamic=("X1",)), hourly, {}, "fast model has no store phy"),
        (
            model(86400.0, 15, slow={**MLP, "hidden_sizes": [9]}),
            hourly,
            {"shared": ["slow"]},
            "cannot be shared",
        ),
    ):
        with pytest.raises(ConfigError, match=message):
            MultiTimescale(slow, fast, **options)


@torch.no_grad()
def test_a_component_starts_from_the_state_that_was_handed_over(hybrids, data, tmp_path, monkeypatch):
    past, now, attributes = data
    both = pair().eval()
    both.save(tmp_path)
    monkeypatch.chdir(tmp_path)
    catchments = {
        "ids": ["a", "b", "c"],
        "attributes": {name: values.tolist() for name, values in attributes.items()},
    }
    content = {"bundle": "fast", "catchments": catchments, "engine": "eager"}
    config = tmp_path / "hourly.yaml"
    config.write_text(yaml.safe_dump(content))
    write_initial_state(RunConfig.read(config), both.start(past, attributes), "start.state")
    config.write_text(yaml.safe_dump({**content, "restart": {"read": "start.state"}}))
    bmi = DeltaModelBmi()
    bmi.initialize(str(config))
    runoff = []
    for k in range(5):
        for name, series in now.items():
            bmi.set_value(name, series[k].numpy())
        bmi.update()
        runoff.append(bmi.get_value_ptr("Q").copy() * 1000.0)
    bmi.finalize()
    expected, _ = both(past, {name: series[:5] for name, series in now.items()}, attributes)
    torch.testing.assert_close(torch.tensor(np.array(runoff)), expected["Q"], rtol=1e-9, atol=1e-12)
