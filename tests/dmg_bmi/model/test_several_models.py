"""Several process models in one DeltaModel: those that are one module step as rows of one run."""

import pytest
import torch
from dmg_bmi.physics import Declaration, Flux, ProcessModel, StateVariable, run
from dmg_bmi.physics.forcings import P

from dmg_bmi import DeltaModel
from dmg_bmi.model.registry import build_process_model


class Emptying(ProcessModel):
    """A store that loses a share of what it holds, which its description does not tell."""

    declaration = Declaration(
        name="emptying",
        forcings=(P,),
        parameters=(),
        states=(StateVariable("S", "mm", "stored water"),),
        fluxes=(Flux("Q", "mm", "outflow", aggregation="sum"),),
        balances=(),
    )

    def __init__(self, share):
        super().__init__()
        self.share = share

    def step(self, forcing, state, parameters, static, dt, processes=()):
        filled = state["S"] + forcing["P"]
        return {"S": filled * (1 - self.share)}, {"Q": filled * self.share}


def test_models_of_one_class_with_other_options_keep_their_own_equations():
    rain = {"P": torch.rand(6, 3, dtype=torch.float64)}
    models = {"slow": Emptying(0.1), "fast": Emptying(0.9)}
    fluxes, _ = DeltaModel(None, models)(rain)
    for key, model in models.items():
        alone, _ = run(model, rain, model.init_state(3), {}, {}, 1.0)
        torch.testing.assert_close(fluxes[f"{key}.Q"], alone["Q"], rtol=0, atol=0)


@pytest.mark.parametrize(("other", "one"), [({}, True), ({"nmul": 2}, False)])
def test_equal_descriptions_are_one_module_and_others_are_not(other, one):
    described = {"a": {"name": "hbv"}, "b": {"name": "hbv", **other}}
    every = build_process_model({"name": "hbv"}).declaration.parameters
    fixed = {p.name: (p.lower + p.upper) / 2 for p in every}
    models = DeltaModel.build(phy_model=described, fixed=fixed).process_models
    assert (models["a"] is models["b"]) is one
