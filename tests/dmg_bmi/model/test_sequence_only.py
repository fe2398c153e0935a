"""A process model with a loop over time of its own: it trains and runs forward, and is never deployed."""

import pytest
import torch
import yaml
from dmg_bmi.nn_models import LSTM
from dmg_bmi.physics import Catchment, Declaration, Flux, Parameter, ProcessModel, StateVariable, run
from dmg_bmi.physics.forcings import P

from dmg_bmi import Bundle, DeltaModel, ParameterRole
from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import BundleError
from dmg_bmi.model import bundle
from dmg_bmi.model.registry import PROCESS_MODELS

REASON = "its equations are one convolution over the sequence; use linear_reservoir"


class Convolution(ProcessModel):
    """A linear reservoir as one matrix product over all steps."""

    declaration = Declaration(
        name="convolution",
        forcings=(P,),
        parameters=(Parameter("k", 0.01, 1.0, "d-1", "recession coefficient"),),
        states=(StateVariable("S", "mm", "stored water"),),
        fluxes=(
            Flux("Q", "mm", "outflow", aggregation="sum"),
            Flux("stored", "mm", "stored water", aggregation="last"),
        ),
    )
    sequence_only = REASON

    def run(self, forcing, state, parameters, static, dt, dynamic, processes, outputs):
        self.asked = tuple(outputs)
        k = dynamic["k"][-1] if "k" in dynamic else parameters["k"]
        rain = forcing["P"]
        step = torch.arange(len(rain), device=rain.device)
        age = (step[:, None] - step).unsqueeze(-1)
        kept = torch.where(age >= 0, (1.0 - k * dt) ** age.clamp(min=0), 0.0)
        filled = torch.einsum("tsn,sn->tn", kept, rain) + state["S"] * (1.0 - k * dt) ** step.unsqueeze(-1)
        fluxes = {"Q": k * dt * filled, "stored": (1.0 - k * dt) * filled}
        return {name: fluxes[name] for name in outputs}, {"S": fluxes["stored"][-1]}


def rain(time=50, rows=2):
    return {"P": 10.0 * torch.rand(time, rows, generator=torch.Generator().manual_seed(0)).double()}


def test_its_own_loop_is_what_runs(linear_reservoir):
    model = DeltaModel(None, Convolution(), fixed={"k": 0.3})
    stepped = DeltaModel(None, linear_reservoir, fixed={"k": 0.3})
    (fluxes, end), (expected, last) = model(rain()), stepped(rain())
    torch.testing.assert_close(fluxes["Q"], expected["Q"], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(end["phy.S"], last["phy.S"], rtol=1e-12, atol=1e-12)


def test_it_is_asked_for_what_is_wanted_only():
    model = Convolution()
    given = {"k": torch.full((2,), 0.3).double()}
    fluxes, _ = run(model, rain(), model.init_state(2), given, {}, 1.0, outputs={"stored"})
    assert model.asked == ("stored",) == tuple(fluxes)


def test_it_learns_behind_a_network(linear_reservoir):
    torch.manual_seed(0)
    observed = DeltaModel(None, linear_reservoir, fixed={"k": 0.3})(rain())[0]["Q"]
    model = DeltaModel(LSTM(1, 1, 4).double(), Convolution(), ParameterRole(("P",), dynamic=("k",)))
    optimiser = torch.optim.Adam(model.parameters(), lr=0.05)
    for _ in range(60):
        optimiser.zero_grad()
        loss = (model(rain())[0]["Q"] - observed).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.01 * observed.var()


@pytest.mark.parametrize("model", [Convolution(), Catchment(Convolution(), 2)], ids=["alone", "as a column"])
def test_stepping_it_is_refused_with_its_reason(model):
    values = {"k": torch.full((2, *model.declaration.parameter("k").shape), 0.3)}
    state = model.init_state(2, dtype=torch.float32)
    with pytest.raises(NotImplementedError, match=f"convolution has no step: {REASON}"):
        model.step({"P": torch.ones(2)}, state, values, {}, 1.0)


def test_a_model_without_step_and_reason_is_told_to_write_one():
    class Empty(ProcessModel):
        declaration = Convolution.declaration

    with pytest.raises(NotImplementedError, match="has to write one"):
        DeltaModel(None, Empty(), fixed={"k": 0.3})(rain())


@pytest.mark.parametrize("model", [Convolution(), Catchment(Convolution(), 2)], ids=["alone", "as a column"])
def test_a_bundle_of_it_is_refused_with_its_reason(model, tmp_path):
    with pytest.raises(BundleError, match=f"mine: process model 'convolution'.*{REASON}"):
        Bundle(DeltaModel(None, model, fixed={"k": 0.3}), "mine").save(tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_a_component_of_a_bundle_that_names_it_is_refused(tmp_path, monkeypatch):
    """One that something else wrote: what a component loads can step."""
    monkeypatch.setitem(PROCESS_MODELS, "convolution", f"{__name__}:Convolution")
    with monkeypatch.context() as careless:
        careless.setattr(bundle, "check_steps", lambda *_: None)
        Bundle(DeltaModel(None, Convolution(), fixed={"k": 0.3}), "mine").save(tmp_path / "mine")
    config = tmp_path / "run.yaml"
    config.write_text(yaml.safe_dump({"bundle": "mine", "catchments": {"ids": ["a"]}}))
    with pytest.raises(BundleError, match=REASON):
        DeltaModelBmi().initialize(str(config))
