"""docs/rivers.md: its examples run as they stand; that of learned channels in test_routed_model.py."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from dmg_bmi.coupling import CouplingConfig
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.io.typed_yaml import from_mapping
from dmg_bmi.routing_bmi import RoutingConfig
from dmg_bmi.synthetic import river_basin

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "rivers.md").read_text(encoding="utf-8")
CODE = [code for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "RoutedModel" not in code]
CONFIGS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


@pytest.mark.parametrize("code", CODE)
def test_an_example_runs(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    basin = river_basin.generate(5, area=60.0, seed=1)
    basin.write("basin.gpkg")
    Path("river.yaml").write_text(next(text for text in CONFIGS if "sources" in text), encoding="utf-8")
    inflow = torch.ones(4, len(basin.below), dtype=torch.float64)
    names = {"inflow": inflow, "hydrofabric": hydrofabric}
    exec(compile(code, "rivers.md", "exec"), names)
    if "flow" in names:
        assert (names["flow"] > 0).all()
    if "fluxes" in names:
        assert (names["fluxes"]["discharge"] > 0).all()


def test_its_configurations_have_keys_that_exist():
    kinds = [CouplingConfig if "components" in text else RoutingConfig for text in CONFIGS]
    assert {*kinds} == {CouplingConfig, RoutingConfig}
    for kind, text in zip(kinds, CONFIGS, strict=True):
        from_mapping(kind, yaml.safe_load(text), "docs/rivers.md")
