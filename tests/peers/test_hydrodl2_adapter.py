"""Models of an installed hydrodl2 behind our networks: the answers are its own, and the BMI refuses them."""

import pytest
import torch
from dmg_bmi.nn_models import LSTM, MLP
from dmg_bmi.physics import run

from dmg_bmi import Bundle, DeltaModel, ParameterRole
from dmg_bmi.errors import BundleError, ConfigError
from dmg_bmi.model.registry import build_process_model

pytest.importorskip("hydrodl2", reason="hydrodl2 is not installed; it needs an environment of its own")

from dmg_bmi.interop.hydrodl2 import HydrodlModel

NAMES = {"Hbv": "hbv", "Hbv_1_1p": "hbv_1_1p"}
TIME, ROWS, NMUL = 365, 5, 3
pytestmark = pytest.mark.parametrize("name", NAMES)


def weather(dtype=torch.float32):
    g = torch.Generator().manual_seed(1)
    season = torch.sin(torch.arange(TIME) * (2 * torch.pi / TIME)).unsqueeze(-1)
    wet = torch.rand(TIME, ROWS, generator=g)
    rain = torch.where(wet < 0.5, -20.0 * torch.rand(TIME, ROWS, generator=g).log(), 0.0)
    temperature = 2.0 + 9.0 * season + 4.0 * torch.randn(TIME, ROWS, generator=g)
    demand = torch.relu(2.5 + 2.5 * season).expand(TIME, ROWS)
    return {n: v.to(dtype) for n, v in {"P": rain, "T": temperature, "PET": demand}.items()}


def hybrid(model, dynamic=()):
    """A network before `model`: an MLP of a static attribute, or an LSTM for some dynamic parameters."""
    torch.manual_seed(0)
    size = sum(p.size for p in model.declaration.parameters)
    if not dynamic:
        network, role = MLP(1, size, (8,)), ParameterRole(attributes=("slope",))
    else:
        network = LSTM(4, size, 8)
        role = ParameterRole(("P", "T", "PET"), ("slope",), dynamic=dynamic, freeze_after=1)
    with torch.no_grad():
        for weight in network.parameters():
            weight.mul_(2.0)
    return DeltaModel(network, model, role).eval(), {"slope": torch.linspace(-2.0, 2.0, ROWS)}


def test_forward_is_what_hydrodl2_itself_answers(name):
    """To what its sigmoid and the way back from it round."""
    from hydrodl2 import load_model

    model, attributes = hybrid(HydrodlModel(name, NMUL), ("BETA", "K0"))
    forcing = weather()
    shown = torch.stack([*forcing.values(), attributes["slope"].expand(TIME, ROWS)], -1)
    with torch.no_grad():
        fluxes, state = model(forcing, attributes)
        raw = model.nn(shown, model.nn.init_state(ROWS))[0]
    # Ours is in the order of the role: dynamic ones first, those that are held as on the first day.
    ours = model.roles[0].supplied
    parameter = model.phy_model.declaration.parameter
    sizes = [parameter(n).size for n in ours]
    by_name = dict(zip(ours, raw.split(sizes, -1), strict=True))
    by_name = {n: v if n in ("BETA", "K0") else v[:1].expand_as(v) for n, v in by_name.items()}
    config = {
        "dynamic_params": {name: ["parBETA", "parK0"]},
        "nmul": NMUL,
        "warmup": 0,
        "warmup_states": False,
    }
    theirs = load_model(name)(config, device=torch.device("cpu"))
    order = [n.removeprefix("par") for n in [*theirs.parameter_bounds, *theirs.routing_parameter_bounds]]
    with torch.no_grad():
        expected = theirs({"x_phy": shown[..., :3]}, torch.cat([by_name[n] for n in order], -1))
    for ours, peer in {"Q": "streamflow", "Q_generated": "streamflow_no_rout", "ET": "AET_hydro"}.items():
        torch.testing.assert_close(fluxes[ours], expected[peer].squeeze(-1), rtol=1e-5, atol=1e-4)
    for store, value in zip(theirs.state_names, theirs.get_states(), strict=True):
        torch.testing.assert_close(state[f"phy.{store}"], value, rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize("dynamic", [(), ("BETA", "K0")])
def test_it_agrees_with_our_equations_behind_the_same_network(name, dynamic):
    theirs, attributes = hybrid(HydrodlModel(name, NMUL), dynamic)
    ours, _ = hybrid(build_process_model({"name": NAMES[name], "nmul": NMUL, "routing": 15}), dynamic)
    ours.nn.load_state_dict(theirs.nn.state_dict())
    forcing = weather()
    before = ours.init_state(ROWS, dtype=torch.float32)
    start = theirs.init_state(ROWS, dtype=torch.float32)
    with torch.no_grad():
        fluxes, end = ours(forcing, attributes, before | start)
        peer, last = theirs(forcing, attributes)
    for flux, value in peer.items():
        assert ((value - fluxes[flux]).abs() - 1e-5 * fluxes[flux].abs()).max() <= 1e-4, flux
    for store in (k for k in start if k.startswith("phy.")):
        assert ((last[store] - end[store]).abs() - 1e-5 * end[store].abs()).max() <= 1e-3, store
    assert fluxes["Q"].max() > 1.0


def test_gradients_are_those_of_our_equations(name):
    gradients = []
    equations = build_process_model({"name": NAMES[name], "nmul": NMUL, "routing": 15})
    for model in (HydrodlModel(name, NMUL), equations):
        hybrid_model, attributes = hybrid(model)
        fluxes, _ = hybrid_model(weather(), attributes)
        fluxes["Q"].square().mean().backward()
        gradients.append(torch.cat([w.grad.flatten() for w in hybrid_model.nn.parameters()]))
    theirs, ours = gradients
    assert theirs.isfinite().all()
    assert ours.norm() > 1e-3
    assert (theirs - ours).norm() < 1e-3 * ours.norm()


def test_parameters_on_their_bounds_have_finite_gradients(name):
    model = HydrodlModel(name)
    for end in ("lower", "upper"):
        values = {
            p.name: torch.full((ROWS, *p.shape), getattr(p, end)).requires_grad_()
            for p in model.declaration.parameters
        }
        fluxes, _ = run(model, weather(), model.init_state(ROWS, dtype=torch.float32), values, {}, 1.0)
        fluxes["Q"].mean().backward()
        assert all(v.grad.isfinite().all() for v in values.values())


def test_a_spin_up_hands_on_the_stores(name):
    """As training does; in the dtype of the forcing."""
    model, attributes = hybrid(HydrodlModel(name, NMUL), ("BETA",))
    forcing = weather(torch.float64)
    pieces = [{n: v[s] for n, v in forcing.items()} for s in (slice(0, 120), slice(120, None))]
    with torch.no_grad():
        whole, end = model(forcing, attributes)
        _, state = model(pieces[0], attributes)
        later, last = model(pieces[1], attributes, state)
    assert {v.dtype for v in later.values()} == {torch.float64}
    torch.testing.assert_close(later["Q_generated"], whole["Q_generated"][120:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(last, end, rtol=1e-5, atol=1e-4)
    assert later["Q"].sum() < whole["Q"][120:].sum()


def test_a_bundle_is_refused_with_what_to_do(name, tmp_path):
    model, _ = hybrid(HydrodlModel(name, NMUL))
    with pytest.raises(BundleError, match=r"loses most of the routed water.*0\.155.*import") as refusal:
        Bundle(model, "mine").save(tmp_path / "mine")
    assert NAMES[name] in str(refusal.value)
    assert not (tmp_path / "mine").exists()


def test_one_step_is_refused(name):
    with pytest.raises(NotImplementedError, match="loses most of the routed water"):
        HydrodlModel(name).step({}, {}, {}, {}, 1.0)


def test_other_steps_and_other_models_are_refused(name):
    model = HydrodlModel(name)
    values = {p.name: torch.full((ROWS, *p.shape), p.upper) for p in model.declaration.parameters}
    with pytest.raises(ConfigError, match=r"86400 s.*not 3600 s"):
        run(model, weather(), model.init_state(ROWS), values, {}, 1 / 24)
    with pytest.raises(ConfigError, match="Hbv_9"):
        HydrodlModel("Hbv_9")
