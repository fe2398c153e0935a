"""The compiled sub-step of rivers: the answers of the eager engine, for networks of its depth alone."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import yaml

from dmg_bmi import RoutingBmi, routing_model
from dmg_bmi.cli import main
from dmg_bmi.model.bundle import Bundle, BundleInfo
from dmg_bmi.runtime.engines.eager import Eager
from dmg_bmi.runtime.engines.substeps import SubstepEngine, one_substep
from dmg_bmi.synthetic import river_basin

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here"),
]
FLOW = "land_surface_water_source__volume_flow_rate"


@pytest.fixture(scope="module", params=["conservative", "nwm"])
def folder(request, tmp_path_factory):
    """With configurations of three basins; the step for the depth of the first is compiled."""
    folder = tmp_path_factory.mktemp("rivers")
    Bundle(routing_model(substeps=3, kernel=request.param), "rivers").save(folder / "rivers")
    for name, divides, seed in (("first", 12, 7), ("other", 10, 2), ("deep", 40, 7)):
        river_basin.generate(divides, area=20.0 * divides, seed=seed).write(folder / f"{name}.gpkg")
        for engine in ("eager", "compiled"):
            content = {"bundle": "rivers", "engine": engine, "catchments": {"hydrofabric": f"{name}.gpkg"}}
            (folder / f"{name}-{engine}.yaml").write_text(yaml.safe_dump(content))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["compile", str(folder / "first-compiled.yaml")]) == 0
        yield folder


def run(path):
    river = RoutingBmi()
    river.initialize(str(path))
    rng = np.random.default_rng(1)
    series = []
    for _ in range(20):
        river.set_value(FLOW, rng.gamma(0.4, 8.0, river.component.size))
        river.update()
        names = (*river.get_output_var_names(), "outflow", "lateral", "upstream")
        series.append([river.get_value(n, np.empty(river.component.size)) for n in names])
    return type(river.component.group.setup.engine), np.array(series)


@pytest.mark.parametrize("name", ["first", "other"])
def test_it_answers_as_the_eager_engine_in_every_network_of_that_depth(folder, name):
    kind, expected = run(folder / f"{name}-eager.yaml")
    compiled, found = run(folder / f"{name}-compiled.yaml")
    assert (kind, compiled) == (Eager, SubstepEngine)
    assert expected[-1].max() > 1e3
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


def test_a_network_of_another_depth_runs_eagerly_and_says_so(folder, caplog):
    kind, _ = run(folder / "deep-compiled.yaml")
    assert kind is Eager
    assert "there is no compiled step" in caplog.text


def test_a_sub_step_is_a_step_of_the_same_model():
    info, count = one_substep(BundleInfo.read("muskingum_cunge"))
    assert (count, info.description["step"]) == (12, 300.0)
    model = info.load_model()
    assert model.process_models["phy"].describe()["substeps"] == 1
    assert one_substep(BundleInfo.read("demo_daily"))[1] == 1
