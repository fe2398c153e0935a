"""Learned channels: found again from hydrographs, and runoff and rivers trained as one model."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from dmg_bmi import DeltaModel, RoutedModel, hydrofabric, routing_model
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.routed_model import RoutedState
from dmg_bmi.synthetic import river_basin

HOUR = 3600.0
HOURS = 30
N = 12
#: Of the outlet, and of two rivers above it.
GAUGED = [0, 3, 5]
PAGE = (Path(__file__).resolve().parents[3] / "docs" / "rivers.md").read_text(encoding="utf-8")
ROLE = {"attributes": ["size", "slope"], "static": ["n", "ChSlp"]}


@pytest.fixture(scope="module")
def fabric(tmp_path_factory):
    path = tmp_path_factory.mktemp("routed") / "basin.gpkg"
    river_basin.generate(N, area=250.0, seed=7).write(path)
    return hydrofabric.read(path)


@pytest.fixture(scope="module")
def reaches(fabric):
    known = fabric.routable().attributes()
    size, slope = torch.log(known["upstream_area"]), torch.log(known["So"])
    return {**known, "size": size - size.mean(), "slope": slope - slope.mean()}


def made(fabric, seed, weight=1.0):
    """Small networks for both parts; `weight` multiplies what they begin with."""
    torch.manual_seed(seed)
    mlp = {"name": "mlp", "hidden_sizes": [8]}
    runoff = DeltaModel.build(nn=mlp, phy_model={"name": "hbv"}, roles=[{"attributes": ["soil"]}], step=HOUR)
    routing = routing_model(substeps=1, nn=mlp, roles=[ROLE])
    model = RoutedModel(runoff, routing, fabric.divides).double()
    with torch.no_grad():
        for values in model.parameters():
            values *= weight
    return model


def weather():
    """Two storms that cross the basin in opposite directions, and soils that differ."""
    x, t = torch.linspace(-1, 1, N).double(), torch.arange(HOURS).double().unsqueeze(1)
    rain = 6 * torch.exp(-(((t - 8 - 3 * x) / 3) ** 2)) + 8 * torch.exp(-(((t - 20 + 3 * x) / 2) ** 2))
    return {"P": rain, "T": torch.full_like(rain, 12.0), "PET": torch.zeros_like(rain)}, {
        "soil": torch.sin(3 * x)
    }


def wet(model):
    """Stores as after a wet spell."""
    depth = {"phy.SM": 300.0, "phy.SUZ": 5.0, "phy.SLZ": 20.0}
    empty = model.runoff.init_state(N)
    river = {"phy.storage": torch.full((N,), 2e4).double(), "phy.discharge": torch.ones(N).double()}
    return RoutedState({k: torch.full_like(v, depth.get(k, 0.0)) for k, v in empty.items()}, river)


@pytest.fixture(scope="module")
def truth(fabric, reaches):
    model = made(fabric, 1, weight=1.5)
    with torch.no_grad():
        flow, _ = model(*weather(), reaches, wet(model))
    assert flow.max() > 10
    return model, flow


def errors(model, truth, reaches):
    """Mean relative error of the learned channel parameters."""
    with torch.no_grad():
        found, right = (m.routing.precompute(reaches, N) for m in (model, truth))
    return {p: float((found[f"phy.{p}"] / right[f"phy.{p}"] - 1).abs().mean()) for p in ("n", "ChSlp")}


@pytest.mark.slow
def test_roughness_and_shape_are_found_again_from_three_gauges(fabric, reaches, truth):
    """With runoff known, by a network that sees the size and the slope of the reaches."""
    right, _ = truth
    model = made(fabric, 3)
    state = wet(right)
    with torch.no_grad():
        depth = right.runoff(*weather(), state.runoff)[0]["Q"]
        lateral = {"lateral_inflow": right.lateral_inflow(depth, N)}
        target = right.routing(lateral, reaches, state.routing)[0]["discharge"]
    before = errors(model, right, reaches)
    assert before["n"] > 0.2
    assert before["ChSlp"] > 0.4
    search = torch.optim.LBFGS(
        model.routing.parameters(), max_iter=40, line_search_fn="strong_wolfe", tolerance_change=1e-14
    )

    def misfit():
        search.zero_grad()
        flow = model.routing(lateral, reaches, state.routing)[0]["discharge"]
        error = ((flow - target)[:, GAUGED].square() / target[:, GAUGED].var(0)).mean()
        error.backward()
        return error

    search.step(misfit)
    after = errors(model, right, reaches)
    assert after["n"] < 0.03
    assert after["ChSlp"] < 0.05


def test_the_example_of_the_docs_improves_flow_at_gauges_and_between_them(
    fabric, reaches, truth, tmp_path, monkeypatch
):
    (code,) = (c for c in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "RoutedModel" in c)
    right, observed = truth
    forcing, attributes = weather()
    gauges = {f"gauge-{k}": k for k in GAUGED}
    fabric.network.gages.clear()
    fabric.network.gages.update(gauges)
    monkeypatch.setattr(hydrofabric, "read", lambda path: fabric)
    names = {"observed": observed, "forcing": forcing, "attributes": attributes, "state": wet(right)}
    torch.manual_seed(2)
    exec(compile(code, "rivers.md", "exec"), first := {**names, "epochs": 0})
    torch.manual_seed(2)
    exec(compile(code, "rivers.md", "exec"), last := {**names, "epochs": 25})
    ungauged = [k for k in range(N) if k not in GAUGED]

    def misfit(model):
        with torch.no_grad():
            flow, _ = model(forcing, attributes, reaches, wet(right))
        error = (flow - observed).square().mean(0) / observed.var(0)
        return float(error[GAUGED].mean()), float(error[ungauged].mean())

    before, after = misfit(first["model"]), misfit(last["model"])
    assert after[0] < 0.1 * before[0]
    assert after[1] < 0.5 * before[1]


def test_every_gradient_is_there_and_that_of_one_model(fabric, reaches):
    """Of the runoff's network and of the river's, and no water is lost between them."""
    model = made(fabric, 3)
    forcing, attributes = weather()
    flow, state = model(forcing, attributes, reaches, wet(model))
    flow[:, 0].sum().backward()
    assert all((p.grad != 0).any() and torch.isfinite(p.grad).all() for p in model.parameters())
    start = wet(model)
    depth = model.runoff(forcing, attributes, start.runoff)[0]["Q"]
    entered = (depth * model.area).sum() * 1e3
    held = state.routing["phy.storage"].sum() - start.routing["phy.storage"].sum()
    torch.testing.assert_close(flow[:, 0].sum() * HOUR + held, entered, rtol=1e-9, atol=0)


def test_a_daily_model_gives_each_day_to_hourly_rivers(fabric, reaches):
    runoff = DeltaModel.build(phy_model={"name": "hbv"}, fixed=MIDDLE)
    model = RoutedModel(runoff, routing_model(substeps=1), fabric.divides).double()
    forcing = {name: values[:3] for name, values in weather()[0].items()}
    forcing["P"] = forcing["P"] + 40.0
    whole, _ = model(forcing, {}, reaches)
    assert whole.shape == (3, N)
    assert model.ratio == 24
    parts, state = [], None
    for day in range(3):
        part, state = model({k: v[day : day + 1] for k, v in forcing.items()}, {}, reaches, state)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-10, atol=1e-12)
    with pytest.raises(ConfigError, match="the step of routing, 7000 s, does not divide"):
        RoutedModel(runoff, routing_model(step=7000.0), fabric.divides)
    lost = fabric.divides.reach.copy()
    lost[4] = -1
    divides = type(fabric.divides)(fabric.divides.ids, fabric.divides.toid, fabric.divides.area, lost)
    with pytest.raises(ConfigError, match="without a reach cannot be routed: cat-5"):
        RoutedModel(runoff, routing_model(), divides)


def middle():
    from dmg_bmi.model.registry import build_process_model

    declared = build_process_model({"name": "hbv"}).declaration.parameters
    return {p.name: (p.lower + p.upper) / 2 for p in declared}


MIDDLE = middle()


def test_what_a_network_says_of_a_channel_lies_between_the_bounds_in_logarithms(fabric, reaches):
    """Of 0 the geometric mean, where bounds are powers of ten apart."""
    model = made(fabric, 1, weight=0.0)
    with torch.no_grad():
        found = model.routing.precompute(reaches, N)
    assert found["phy.n"].numpy() == pytest.approx(np.sqrt(0.01 * 0.3))
    assert found["phy.ChSlp"].numpy() == pytest.approx(np.sqrt(0.01 * 10.0))
    assert model.runoff.precompute(weather()[1], N)["phy.FC"].detach().numpy() == pytest.approx(525.0)
