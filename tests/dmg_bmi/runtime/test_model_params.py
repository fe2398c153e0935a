"""What a framework sets by name after initialize: attributes, states, factors on learned parameters."""

import numpy as np
import pytest
import torch

from dmg_bmi.errors import AttributeTableError, StateError, ValueShapeError
from dmg_bmi.model.delta_model import DAY
from dmg_bmi.runtime.engines.eager import Eager

HOUR = 3600.0
NAMES = ("Q", "ET", "SWE", "soil_moisture", "groundwater")
MEMORY = [7.5, 4.7e-310]  # what ngen hands over for a list that is too short


def run(bmi_run, bmi, forcing, steps):
    return bmi_run.drive(bmi, forcing, steps, NAMES)


def test_every_learned_parameter_has_a_factor_of_one(bundles, configure, bmi_run):
    bmi = bmi_run.start(configure(bundles("lstm_mlp"), 2))
    names = [v.name for v in bmi.component.info.variables if v.kind == "multiplier"]
    assert {"multiplier__BETA", "multiplier__FC", "multiplier__route_a"} <= {*names}
    assert len(names) == 14
    for name in names:
        assert (bmi.get_var_units(name), bmi.get_var_type(name), bmi.get_var_nbytes(name)) == (
            "1",
            "float64",
            16,
        )
        np.testing.assert_array_equal(bmi_run.read(bmi, name), 1.0)
    assert not {*names} & {*bmi.get_input_var_names(), *bmi.get_output_var_names()}
    nothing_learned = bmi_run.start(configure(bundles("fixed")))
    assert not [v for v in nothing_learned.component.info.variables if v.kind == "multiplier"]


@pytest.mark.parametrize("parameter", ["FC", "PERC", "route_b", "BETA", "K0"])
@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp"])
def test_a_factor_scales_its_parameter_within_bounds(bundles, configure, bmi_run, weather, kind, parameter):
    """Against the same networks in front of equations whose bounds are those of the scaled parameter."""
    bundle = bundles(kind, DAY, torch.float64)
    model = bundle.load_model()
    attributes = {
        name: torch.tensor([value, value * 1.1], dtype=torch.float64)
        for name, value in (("aridity", 0.6), ("slope", 12.0))
    }
    forcing = {name: torch.from_numpy(values) for name, values in weather(40, 2).items()}
    factor = torch.tensor([0.5, 3.0], dtype=torch.float64)

    phy = model.process_models["phy"]
    declared = phy.declaration.parameter(parameter)
    step, derive = phy.column.step, phy.derive

    def scaled(parameters):
        values = parameters.get(parameter)
        if values is None:  # of routing: the column does not know it
            return parameters
        values = values * factor.reshape(-1, *(1 for _ in declared.shape))
        return {**parameters, parameter: values.clamp(declared.lower, declared.upper)}

    phy.column.step = lambda forcing, state, parameters, *rest: step(
        forcing, state, scaled(parameters), *rest
    )
    phy.derive = lambda parameters, dt: derive(scaled(parameters), dt)
    constants = model.precompute(attributes, 2)
    wet = torch.full((2, 2), 90.0, dtype=torch.float64)
    fluxes, _ = model.run(forcing, constants, model.init_state(2) | {"phy.SUZ": wet})
    bmi = bmi_run.start(configure(bundle, 2))
    bmi.set_value("phy.SUZ", wet.numpy())
    bmi.set_value(f"multiplier__{parameter}", factor.numpy())
    actual = run(bmi_run, bmi, weather(40, 2), range(40))
    for name in ("Q", "ET"):
        np.testing.assert_allclose(
            actual[name] * 1000.0, fluxes[name].detach().numpy(), rtol=1e-10, atol=1e-12
        )
    plain = bmi_run.start(configure(bundle, 2))
    plain.set_value("phy.SUZ", wet.numpy())
    assert (run(bmi_run, plain, weather(40, 2), range(40))["Q"] != actual["Q"]).any(axis=0).all()


@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp"])
def test_a_factor_of_one_changes_nothing(bundles, configure, bmi_run, weather, kind):
    bundle = bundles(kind, DAY, torch.float64)
    plain, ones = (bmi_run.start(configure(bundle, 3)) for _ in range(2))
    for name in ("FC", "BETA"):
        ones.set_value(f"multiplier__{name}", np.ones(3))
    forcing = weather(30, 3)
    expected, actual = run(bmi_run, plain, forcing, range(30)), run(bmi_run, ones, forcing, range(30))
    for name in NAMES:
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-12)


@pytest.mark.parametrize("name", ["multiplier__FC", "multiplier__BETA", "slope"])
@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_a_change_acts_for_its_row_alone_from_its_own_clock_on(
    bundles, share, bmi_run, weather, store, forcing, name
):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    series = weather(24 * 6, 3, seed=4, step=HOUR)
    keys = {"time_step": HOUR, "start_time": "2000-01-01"}
    if forcing == "own":
        keys["forcing"] = str(store(series, 3, "2000-01-01", HOUR))

    def drive(order, at):
        members = share(bundle, 3, **keys)
        out = np.zeros((24 * 6, 3, len(NAMES)))
        for hour in range(24 * 6):
            for row in order:
                bmi = members[row]
                if (row, hour) == (1, at):
                    bmi.set_value(name, bmi_run.read(bmi, name) * 2.0)
                if forcing == "pushed":
                    bmi_run.push(bmi, {k: v[:, [row]] for k, v in series.items()}, hour)
                bmi.update()
                out[hour, row] = [bmi_run.read(bmi, n)[0] for n in NAMES]
        return out

    plain = drive((0, 1, 2), None)
    for at in (48, 53):
        changed = drive((0, 1, 2), at)
        np.testing.assert_allclose(drive((2, 1, 0), at), changed, rtol=1e-10, atol=1e-15)
        np.testing.assert_allclose(changed[:, [0, 2]], plain[:, [0, 2]], rtol=1e-10, atol=1e-15)
        # Pushed, the day before is run at the first call of the next, and was over before the change.
        first = 72 if at == 53 or forcing == "pushed" else 48
        np.testing.assert_allclose(changed[:first, 1], plain[:first, 1], rtol=1e-10, atol=1e-15)
        assert (changed[first, 1] != plain[first, 1]).any()


@pytest.mark.parametrize("name", ["multiplier__FC", "multiplier__BETA", "slope"])
def test_changes_are_part_of_the_saved_state(bundles, configure, bmi_run, weather, name):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    forcing = weather(40, 2)
    bmi = bmi_run.start(configure(bundle, 2))
    bmi.set_value(name, np.array([0.7, 1.8]))
    run(bmi_run, bmi, forcing, range(20))
    saved = bmi.component.save()
    again = bmi_run.start(configure(bundle, 2))
    again.set_value("aridity", np.array([9.0, 9.0]))  # and what is not in the state is as configured
    again.component.load(saved)
    np.testing.assert_array_equal(bmi_run.read(again, name), [0.7, 1.8])
    np.testing.assert_allclose(bmi_run.read(again, "aridity"), [0.6, 0.66])
    assert again.component.save() == saved
    expected, actual = run(bmi_run, bmi, forcing, range(20, 40)), run(bmi_run, again, forcing, range(20, 40))
    for symbol in NAMES:
        np.testing.assert_array_equal(actual[symbol], expected[symbol])


@pytest.mark.parametrize(
    ("name", "values", "error"),
    [
        *((name, value, AttributeTableError) for name in ("slope", "multiplier__FC") for value in
          ([np.nan, 1.0], [1.0, np.inf], [1.0, 4.7e-310], [1.0, 1e200])),
        ("multiplier__FC", [1.0, 0.0], AttributeTableError),
        ("multiplier__FC", [1.0, -1.0], AttributeTableError),
        ("multiplier__FC", [1.0, 1e4], AttributeTableError),
        ("phy.SM", [1.0, 1.0, 1.0, np.nan], StateError),
        ("phy.SM", [1.0, 1.0, 7.5, 4.7e-310], StateError),
        ("phy.SM", [1.0, 1.0, 1.0, -1e300], StateError),
        ("phy.SM", [1.0, 1.0, 1.0, -0.1], StateError),
        ("phy.SM", [1.0, 1.0], ValueShapeError),
        ("slope", [1.0], ValueShapeError),
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused_with_the_catchment_named(
    configure, bmi_run, weather, name, values, error
):
    bmi = bmi_run.start(configure(n=2))
    run(bmi_run, bmi, weather(3, 2), range(3))
    before = bmi.component.save()
    match = name if error is ValueShapeError else f"{name}.*'cat-[78]'"
    with pytest.raises(error, match=match):
        bmi.set_value(name, np.array(values))
    assert bmi.component.save() == before


def test_memory_that_nobody_set_is_told_from_values(configure, bmi_run):
    """ngen passes unchecked memory where the configuration gives fewer numbers than a variable has."""
    bmi = bmi_run.start(configure())
    with pytest.raises(StateError, match="2 finite values per catchment"):
        bmi.set_value("phy.SM", np.array(MEMORY))


def test_factors_on_what_changes_in_time_go_on_eagerly_and_say_so(
    bundles, configure, bmi_run, weather, caplog
):
    class Foreign:
        """Stands for a compiled step, which knows nothing of factors."""

        def __init__(self, model):
            self.inner = Eager(model)

        def run(self, *arguments):
            return self.inner.run(*arguments)

    bundle = bundles("lstm_mlp", DAY, torch.float64)
    for name, eager in (("multiplier__FC", False), ("multiplier__BETA", True)):
        bmi = bmi_run.start(configure(bundle, 2))
        group = bmi.component.group
        group.setup.engine = Foreign(group.model)
        bmi.set_value(name, np.array([2.0, 2.0]))
        with caplog.at_level("INFO", logger="dmg_bmi"):
            run(bmi_run, bmi, weather(3, 2), range(3))
        assert isinstance(group.setup.engine, Eager) == eager
        assert ("need the eager engine" in caplog.text) == eager
