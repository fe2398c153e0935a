"""What networks say becomes parameters: bounded, in order, in time, and never from the future."""

import math

import pytest
import torch
from dmg_bmi.nn_models import LSTM, MLP
from dmg_bmi.physics import HBV, Catchment, Declaration, Flux, Parameter, ProcessModel, run
from dmg_bmi.physics.forcings import P, T
from hypothesis import assume, given
from hypothesis import strategies as st

from dmg_bmi import DeltaModel, FeatureStatistics, ParameterRole

seeds = st.integers(0, 2**32 - 1)


class Echo(ProcessModel):
    """Its fluxes are its parameters."""

    declaration = Declaration(
        name="echo",
        forcings=(P, T),
        parameters=(
            Parameter("x", 0.001, 0.2, "1", ""),
            Parameter("y", -2.5, 2.5, "1", ""),
            Parameter("z", 50.0, 1000.0, "1", ""),
        ),
        fluxes=(Flux("x", "1", ""), Flux("y", "1", ""), Flux("z", "1", "")),
    )

    def step(self, forcing, state, parameters, static, dt, processes=()):
        return {}, {name: parameters[name] for name in ("x", "y", "z")}


BOUNDS = {p.name: (p.lower, p.upper) for p in Echo.declaration.parameters}


def bounded(name, raw):
    lower, upper = BOUNDS[name]
    return lower + (upper - lower) / (1 + torch.exp(-raw))


def saying(n_inputs, *raw, dtype=torch.float64):
    """A network that always says the same."""
    network = MLP(n_inputs, len(raw), hidden_sizes=()).to(dtype)
    with torch.no_grad():
        for weight in network.parameters():
            weight.zero_()
        network.layers[-1].bias.copy_(torch.tensor(raw, dtype=torch.float64))
    return network


def drawn(time, rows, seed):
    """Random forcing ``[time, rows]`` and attributes ``[rows]``."""
    g = torch.Generator().manual_seed(seed)
    p, t = torch.rand(2, time, rows, generator=g, dtype=torch.float64)
    return {"P": 20 * p, "T": 20 * t - 10}, {"slope": torch.rand(rows, generator=g, dtype=torch.float64)}


def echo(role, seed=0, hidden=6, **options):
    """Echo behind an LSTM in float64."""
    torch.manual_seed(seed)
    network = LSTM(len(role.inputs) + len(role.attributes), 3, hidden).double()
    return DeltaModel(network, Echo(), role, **options).eval()


# -- within bounds, in order ------------------------------------------------------


def test_outputs_are_taken_dynamic_first_then_static_and_scaled_by_a_sigmoid():
    forcing, attributes = drawn(4, 2, 0)
    role = ParameterRole(("P", "T"), ("slope",), dynamic=("z", "x"))
    fluxes, _ = DeltaModel(saying(3, 0.5, -1.0, 2.0), Echo(), role)(forcing, attributes)
    for name, raw in (("z", 0.5), ("x", -1.0), ("y", 2.0)):
        lower, upper = BOUNDS[name]
        expected = lower + (upper - lower) / (1 + math.exp(-raw))
        torch.testing.assert_close(
            fluxes[name], torch.full((4, 2), expected, dtype=torch.float64), rtol=1e-12, atol=0
        )


def test_components_of_a_parameter_stand_together():
    raw = torch.arange(24, dtype=torch.float64) / 10
    model = DeltaModel(saying(1, *raw.tolist()), Catchment(HBV(), nmul=2), ParameterRole((), ("slope",)))
    constants = model.precompute({"slope": torch.zeros(3).double()}, 3)
    for i, p in enumerate(HBV().declaration.parameters):
        unit = torch.sigmoid(raw[2 * i : 2 * i + 2])
        expected = (p.lower + (p.upper - p.lower) * unit).expand(3, 2)
        torch.testing.assert_close(constants[f"phy.{p.name}"], expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("weights", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("raw", "side"), [(-1e4, 0), (1e4, 1)])
def test_bounds_are_exact_in_float64_whatever_the_weights(weights, raw, side):
    forcing, attributes = drawn(4, 2, 0)
    role = ParameterRole(("P",), ("slope",), dynamic=("x",), freeze_after=2)
    model = DeltaModel(saying(2, raw, raw, raw, dtype=weights), Echo(), role)
    fluxes, _ = model(forcing, attributes)
    for name, bounds in BOUNDS.items():
        assert fluxes[name].dtype == torch.float64
        assert (fluxes[name] == bounds[side]).all()


def test_fixed_parameters_are_exact_in_float64_whatever_the_weights():
    forcing, attributes = drawn(4, 2, 0)
    model = DeltaModel(
        saying(1, 0.0, 0.0, dtype=torch.float32), Echo(), ParameterRole((), ("slope",)), {"x": 0.1}
    )
    fluxes, _ = model(forcing, attributes)
    assert (fluxes["x"] == 0.1).all()


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@given(seed=seeds)
def test_parameters_never_leave_their_bounds(dtype, seed):
    forcing, attributes = drawn(30, 3, seed)
    model = echo(ParameterRole(("P", "T"), ("slope",), dynamic=("x", "z"), freeze_after=9), seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(20.0)
    fluxes, _ = model.to(dtype)(
        {n: v.to(dtype) for n, v in forcing.items()}, {n: v.to(dtype) for n, v in attributes.items()}
    )
    for name, (lower, upper) in BOUNDS.items():
        lower, upper = torch.tensor([lower, upper], dtype=dtype)
        assert (fluxes[name] >= lower).all()
        assert (fluxes[name] <= upper).all()
    # A network whose first layer is dead sees no weather; such draws show nothing, and may not be the rule.
    assume(fluxes["z"].max() > fluxes["z"].min())


def test_the_equations_run_in_the_dtype_of_the_forcing(hybrids):
    """Under float32 weights the physics is to the last digit what it is alone in float64."""
    phy = Catchment(HBV(), 2, 9)
    model = hybrids.hybrid(phy, {"nn": {"name": "mlp"}}, ParameterRole((), ("slope",)), weights=torch.float32)
    forcing, attributes = hybrids.everything(model, 100, 3, 0)
    with torch.no_grad():
        fluxes, end = model(forcing, attributes)
        constants = model.precompute(attributes, 3)
        known = {p.name: constants[f"phy.{p.name}"] for p in phy.declaration.parameters}
        expected, after = run(phy, forcing, phy.init_state(3), known, {}, 1.0)
    assert all(
        torch.equal(fluxes[name], value) and value.dtype == torch.float64 for name, value in expected.items()
    )
    assert all(torch.equal(end[f"phy.{name}"], value) for name, value in after.items())


def test_a_network_sees_its_inputs_normalised_attributes_last():
    forcing, attributes = drawn(5, 2, 1)
    statistics = {"P": FeatureStatistics(0.3, 0.5, "log_sqrt"), "slope": FeatureStatistics(0.2, 4.0)}
    model = echo(ParameterRole(("T", "P"), ("slope",)), statistics=statistics)
    seen = []
    model.nn.register_forward_pre_hook(lambda _, arguments: seen.append(arguments[0]))
    model(forcing, attributes)
    (x,) = seen
    rain = (torch.log10(forcing["P"] ** 0.5 + 0.1) - 0.3) / 0.5
    slope = ((attributes["slope"] - 0.2) / 4.0).expand(5, 2)
    torch.testing.assert_close(x, torch.stack([forcing["T"], rain, slope], -1), rtol=1e-12, atol=1e-12)


# -- in time ----------------------------------------------------------------------


@given(seed=seeds, freeze_after=st.integers(1, 40))
def test_static_parameters_follow_the_network_and_are_then_held(seed, freeze_after):
    forcing, attributes = drawn(30, 2, seed)
    model = echo(ParameterRole(("P", "T"), ("slope",), dynamic=("y",), freeze_after=freeze_after), seed)
    fluxes, end = model(forcing, attributes)
    x = torch.stack([forcing["P"], forcing["T"], attributes["slope"].expand(30, 2)], -1)
    raw, _ = model.nn(x, model.nn.init_state(2))
    torch.testing.assert_close(fluxes["y"], bounded("y", raw[..., 0]), rtol=1e-12, atol=1e-12)
    for i, name in ((1, "x"), (2, "z")):
        expected = bounded(name, raw[..., i])
        expected[freeze_after:] = expected[min(freeze_after, 30) - 1]
        torch.testing.assert_close(fluxes[name], expected, rtol=1e-12, atol=1e-12)
    assert torch.equal(end["nn.frozen"], raw[min(freeze_after, 30) - 1, :, 1:])


@given(seed=seeds, change=st.integers(1, 29))
def test_static_parameters_never_depend_on_the_future(seed, change):
    freeze_after = 15
    forcing, attributes = drawn(30, 2, seed)
    other, _ = drawn(30, 2, seed + 1)
    later = {n: torch.cat([v[:change], other[n][change:]]) for n, v in forcing.items()}
    model = echo(ParameterRole(("P", "T"), ("slope",), dynamic=("y",), freeze_after=freeze_after), seed)
    before, after = (
        model.nn(
            torch.stack([f["P"], f["T"], attributes["slope"].expand(30, 2)], -1), model.nn.init_state(2)
        )[0]
        for f in (forcing, later)
    )
    # A network whose first layer is dead sees no weather at all.
    assume((before[change] != after[change]).all())
    fluxes, _ = model(forcing, attributes)
    changed, _ = model(later, attributes)
    for name in ("x", "z"):
        assert torch.equal(fluxes[name][:change], changed[name][:change])
        if change >= freeze_after:
            assert torch.equal(fluxes[name], changed[name])
        else:
            assert not torch.equal(fluxes[name][change], changed[name][change])
    assert not torch.equal(fluxes["y"][change:], changed["y"][change:])


@given(seed=seeds)
def test_freeze_gives_the_last_value_of_the_window(seed):
    window, attributes = drawn(25, 2, seed)
    forcing, _ = drawn(30, 2, seed + 1)
    model = echo(ParameterRole(("P", "T"), ("slope",), dynamic=("y",), freeze_after=50), seed)
    state = model.freeze(window, attributes)
    following, _ = model(window, attributes)
    fluxes, end = model(forcing, attributes, state)
    for name in ("x", "z"):
        torch.testing.assert_close(fluxes[name], following[name][-1].expand(30, 2), rtol=1e-12, atol=0)
    assert torch.equal(end["nn.frozen"], state["nn.frozen"])
    # Nothing else of the window is kept.
    fresh, _ = model(forcing, attributes)
    assert torch.equal(fluxes["y"], fresh["y"])


def test_a_role_without_inputs_is_evaluated_once():
    forcing, attributes = drawn(10, 2, 0)
    model = DeltaModel(saying(1, 0.1, 0.2, 0.3), Echo(), ParameterRole((), ("slope",)))
    calls = []
    model.nn.register_forward_hook(lambda *_: calls.append(1))
    constants = model.precompute(attributes, 2)
    state = model.init_state(2)
    for t in range(10):
        _, state = model.run({n: v[t : t + 1] for n, v in forcing.items()}, constants, state)
    assert len(calls) == 1
    assert state == {}


def test_fluxes_can_be_chosen():
    forcing, attributes = drawn(10, 2, 0)
    model = echo(ParameterRole(("P", "T"), ("slope",)))
    everything, _ = model(forcing, attributes)
    some, _ = model(forcing, attributes, outputs=("z",))
    assert some.keys() == {"z"}
    assert torch.equal(some["z"], everything["z"])
