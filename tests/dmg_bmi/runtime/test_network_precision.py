"""Network weights in bfloat16: an option whose error is small, and that changes nothing else."""

from __future__ import annotations

import logging
import shutil
from dataclasses import replace

import pytest
import torch
from dmg_bmi.nn_models import LSTM, MLP

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.registry import NETWORKS, build_network
from dmg_bmi.runtime.component import Component
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.engines import aot
from dmg_bmi.runtime.engines.eager import Eager

DAYS = 420


@pytest.fixture(scope="module")
def info(tmp_path_factory) -> BundleInfo:
    torch.manual_seed(2)
    model = DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 32},
        phy_model={"name": "hbv", "nmul": 2, "routing": 6},
        roles=[{"inputs": ["P", "T"], "attributes": ["a"], "dynamic": ["BETA"], "freeze_after": 5}],
    )
    return Bundle(model, "precise").save(tmp_path_factory.mktemp("bundle") / "b")


def rounded(info: BundleInfo) -> BundleInfo:
    return replace(info, network_precision="bfloat16")


def weather(days: int, n: int = 3) -> dict[str, torch.Tensor]:
    g = torch.Generator().manual_seed(4)
    return {
        "P": 9 * torch.rand(days, n, generator=g, dtype=torch.float64),
        "T": 5 + 6 * torch.randn(days, n, generator=g, dtype=torch.float64),
        "PET": 3 * torch.rand(days, n, generator=g, dtype=torch.float64),
    }


def component(info: BundleInfo, precision: str | None) -> Component:
    config = RunConfig.read(info.path.parent / f"{precision or 'own'}.yaml")
    return Component(BundleInfo.read(config.bundle), config)


@pytest.fixture
def components(info):
    """Of three catchments, at the weights' own precision and at a lower one."""

    def make(precision: str | None) -> Component:
        lines = [f"bundle: {info.path}", "engine: eager", "catchments: {attributes: {a: [0.2, 0.5, 0.9]}}"]
        lines += [f"network_precision: {precision}"] if precision else []
        (info.path.parent / f"{precision or 'own'}.yaml").write_text("\n".join(lines), encoding="utf-8")
        return component(info, precision)

    return make


def steps(component: Component, days: range) -> torch.Tensor:
    """Flow ``[day, catchment]``."""
    series, names = weather(DAYS), component.group.inputs.names
    flow = []
    for day in days:
        for name, variable in zip(names, component.group.inputs.variables, strict=True):
            component.arrays[name][:] = series[variable.symbol][day].numpy()
        component.update()
        flow.append(torch.from_numpy(component.fluxes[0].copy()))
    return torch.stack(flow)


def test_flow_stays_close_and_only_the_networks_weights_are_rounded(components):
    own, low = components(None), components("bfloat16")
    exact, flow = steps(own, range(DAYS)), steps(low, range(DAYS))
    assert not torch.equal(exact, flow)
    after = slice(60, None)
    error = ((flow - exact)[after] ** 2).sum(0) / ((exact - exact[after].mean(0))[after] ** 2).sum(0)
    assert error.max() < 1e-3
    assert ((flow.sum(0) / exact.sum(0)) - 1).abs().max() < 5e-3
    assert {w.dtype for w in low.group.model.parameters()} == {torch.bfloat16}
    of_state = {name: tensor.dtype for name, tensor in low.group.state(low).items()}
    assert of_state == {name: tensor.dtype for name, tensor in own.group.state(own).items()}
    assert of_state["nn.c"] == torch.float32
    assert of_state["phy.SM"] == torch.float64


def test_water_closes_as_ever(components):
    low = components("bfloat16")
    book = low.open_budget()
    steps(low, range(40))
    assert book.mass_in.min() > 0.1
    assert abs(book.mass_leaked).max() < 1e-12


def test_steps_are_the_sequence(info):
    model = rounded(info).load_model()
    forcing, attributes = weather(30), {"a": torch.rand(3, dtype=torch.float64)}
    whole, end = model(forcing, attributes)
    state = None
    for t in range(30):
        now, state = model({k: v[t : t + 1] for k, v in forcing.items()}, attributes, state)
        torch.testing.assert_close(now["Q"][0], whole["Q"][t], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(state["nn.c"], end["nn.c"], rtol=1e-5, atol=1e-6)


def test_a_state_comes_back_bit_by_bit_and_goes_to_the_other_precision(components):
    low = components("bfloat16")
    steps(low, range(20))
    content = low.save()
    rest = steps(low, range(20, 30))
    again, own = components("bfloat16"), components(None)
    again.load(content)
    assert torch.equal(steps(again, range(20, 30)), rest)
    own.load(content)
    torch.testing.assert_close(steps(own, range(20, 30)), rest, rtol=0.05, atol=1e-3)


def test_what_cannot_be_rounded_is_refused(info, components, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"network_precision.*bfloat16"):
        components("float16")
    bare = DeltaModel.build(phy_model={"name": "gr4j"}, fixed={"X1": 350, "X2": 0, "X3": 90, "X4": 1.7})
    bare_info = Bundle(bare, "bare").save(tmp_path / "bare")
    with pytest.raises(ConfigError, match="network_precision: bare has no networks"):
        rounded(bare_info).load_model()
    monkeypatch.setattr(LSTM, "takes_bfloat16", False)
    with pytest.raises(ConfigError, match=r"network_precision: network 'nn' \(LSTM\)"):
        rounded(info).load_model()


@pytest.mark.parametrize("name", NETWORKS)
def test_every_network_that_takes_bfloat16_answers_in_float32(name):
    network = build_network({"name": name}, 3, 2)
    assert isinstance(network, LSTM | MLP) <= network.takes_bfloat16
    if not network.takes_bfloat16:
        return  # it is refused when a configuration asks for it
    x = torch.rand(5, 4, 3)
    exact, _ = network(x, network.init_state(4))
    network.to(torch.bfloat16)
    close, state = network(x, network.init_state(4))
    assert {close.dtype, *(t.dtype for t in state.values())} == {torch.float32}
    torch.testing.assert_close(close, exact, rtol=0.02, atol=0.02)


@pytest.mark.slow
def test_the_compiled_step_of_another_precision_is_not_used(info, tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert aot.cache_folder(info) != aot.cache_folder(rounded(info))
    if shutil.which("g++") is None:
        pytest.skip("no C++ compiler here")
    low = rounded(info)
    aot.build(low, aot.cache_folder(low))
    assert aot.find(info) is None
    with caplog.at_level(logging.WARNING):
        monkeypatch.setenv(aot.TRUSTED, str(aot.cache_folder(low)))
        assert aot.find(info) is None
    assert "another bundle" in caplog.text
    compiled, model = aot.find(low), low.load_model()
    forcing, attributes = weather(8), {"a": torch.rand(3, dtype=torch.float64)}
    given = (forcing, model.precompute(attributes, 3), model.init_state(3))
    expected, after = Eager(model).run(*given)
    fluxes, state = compiled.run(*given)
    for flux, values in fluxes.items():
        torch.testing.assert_close(values, expected[flux], rtol=1e-3, atol=1e-3)
    # what is rounded before a product may fall to the other side
    torch.testing.assert_close(state["nn.c"], after["nn.c"], rtol=0, atol=2**-8)
