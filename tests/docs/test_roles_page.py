"""docs/roles.md: every example builds, steps and closes, and the page names every role."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from dmg_bmi.physics import mass_in

from dmg_bmi import DeltaModel
from dmg_bmi.model.roles import KINDS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "roles.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)


def test_every_role_has_a_section_and_an_example():
    used = {role.get("role", "parameters") for text in EXAMPLES for role in yaml.safe_load(text)["roles"]}
    assert used == {*KINDS}
    titles = {
        name for line in re.findall(r"^## (.*)$", PAGE, re.MULTILINE) for name in re.findall("`(.*?)`", line)
    }
    assert titles == {*KINDS}


@torch.no_grad()
@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_steps_and_closes(hybrids, splitting, text):
    model = DeltaModel.build(**yaml.safe_load(text)).double().eval()
    forcing, attributes = hybrids.everything(model, 20, 2, 1)
    forcing["P"] = forcing["P"].abs()
    whole, end = model(forcing, attributes)
    constants, before = model.precompute(attributes, 2), model.init_state(2)
    pieces, last = splitting.in_pieces(lambda f, s: model.run(f, constants, s), forcing, before, range(20))
    splitting.assert_agree(pieces, whole, torch.float64)
    splitting.assert_agree(last, end, torch.float64)
    for balance in model.declaration.balances:
        lost = model.residual(balance, forcing, whole, constants, before, end)
        assert (lost.abs() <= 1e-9 * (mass_in(balance, forcing, whole).abs().sum(0) + 1.0)).all()


def test_the_pair_of_two_steps_works_as_it_stands(hybrids, tmp_path, monkeypatch):
    described = next(d for d in map(yaml.safe_load, EXAMPLES) if {"fast", "slow"} <= {*d["nn"]})
    daily = DeltaModel.build(**described)
    described["phy_model"]["routing"] *= 24
    hourly = DeltaModel.build(**described, step=3600.0)
    past, attributes = hybrids.everything(daily, 10, 2, 1)
    names = {"daily": daily, "hourly": hourly, "past": past, "attributes": attributes}
    names["forcing"] = hybrids.everything(hourly, 10, 2, 2)[0]
    monkeypatch.chdir(tmp_path)
    columns = {name: values.tolist() for name, values in attributes.items()}
    catchments = {"ids": ["a", "b"], "attributes": columns}
    Path("hourly.yaml").write_text(yaml.safe_dump({"bundle": "pair/fast", "catchments": catchments}))
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "roles.md", "exec"), names)
    assert names["fluxes"]["Q"].shape == (10, 2)
    assert Path("start.state").exists()
