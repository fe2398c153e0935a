"""Hosts that analyse themselves read the misfit to what they set, and its gradient by the states."""

import numpy as np
import pytest

from dmg_bmi.errors import VariableError

DAY, N, STEPS = 86400.0, 2, 12
NONE = {"method": "none", "mean_flow": 1.0, "window": 8, "ages": [1, 3]}
STATES = ("phy.SM", "phy.SLZ", "phy.SUZ")


@pytest.fixture
def case(configure, bundles, weather, bmi_run):
    class Case:
        def __init__(self, kind="fixed"):
            self.info = bundles(kind)
            self.series = weather(STEPS, N, 1, DAY)
            self.series["T"] = 6.0 + np.abs(self.series["T"])

        def start(self, assimilation=NONE):
            more = {} if assimilation is None else {"assimilation": assimilation}
            return bmi_run.start(configure(self.info, N, time_step=DAY, start_time="2001-10-01", **more))

        def drive(self, bmi, observed, steps=range(STEPS)):
            out = []
            for k in steps:
                if observed is not None:
                    bmi.set_value("Q_observed", observed[k])
                out.append(bmi_run.drive(bmi, self.series, [k], ("Q",))["Q"])
            return np.concatenate(out)

        def observed(self):
            values = 1.5 * self.drive(self.start(None), None) + 1e-4
            values[3, 0] = np.nan
            return values

    return Case


def read(bmi, name):
    return bmi.get_value(name, np.empty(bmi.get_var_nbytes(name) // 8))


@pytest.mark.parametrize("kind", ["fixed", "lstm_mlp"])
def test_observations_that_are_only_held_move_nothing_bit_for_bit(case, kind):
    this = case(kind)
    assert np.array_equal(this.drive(this.start(), this.observed()), this.drive(this.start(None), None))


@pytest.mark.parametrize("kind", ["fixed", "lstm_mlp"])
def test_the_gradient_is_that_of_differences_of_the_cost(case, kind):
    """By the states before the window, which are those that are set before its first step."""
    this = case(kind)
    observed = this.observed()
    bmi = this.start()
    this.drive(bmi, None, range(5))
    before = {name: read(bmi, name) for name in STATES}
    snapshot = bmi.component.snapshot()

    def cost(changed):
        bmi.component.clock.count = 5
        bmi.component.restore(snapshot)
        for name in STATES:
            bmi.set_value(name, changed.get(name, before[name]))
        this.drive(bmi, observed, range(5, 11))
        return read(bmi, "assimilation__cost")

    assert (cost({}) > 0).all()
    gradients = {name: read(bmi, f"adjoint__{name}") for name in STATES}
    for name, values in before.items():
        size = len(values) // N
        for k in range(len(values)):
            step = 1e-4 * max(1.0, values[k])
            moved = [values.copy(), values.copy()]
            moved[0][k] += step
            moved[1][k] = max(values[k] - step, 0.0)
            up, down = (cost({name: m})[k // size] for m in moved)
            expected = (up - down) / (moved[0][k] - moved[1][k])
            np.testing.assert_allclose(gradients[name][k], expected, rtol=2e-3, atol=1e-4, err_msg=name)


def test_without_observations_there_is_no_misfit_and_no_gradient(case):
    this = case()
    bmi = this.start()
    names = ("assimilation__cost", *(f"adjoint__{name}" for name in STATES))
    assert all(not read(bmi, name).any() for name in names)
    this.drive(bmi, np.full((STEPS, N), np.nan))
    assert all(not read(bmi, name).any() for name in names)


def test_a_catchment_does_not_act_on_the_gradient_of_another(case):
    this = case()
    observed = this.observed()
    one, other = this.start(), this.start()
    this.drive(one, observed)
    observed[:, 1] *= 2.0
    this.drive(other, observed)
    a, b = (read(bmi, "adjoint__phy.SM").reshape(N, -1) for bmi in (one, other))
    assert np.array_equal(a[0], b[0])
    assert not np.array_equal(a[1], b[1])


def test_it_has_the_size_of_its_state_and_can_be_read_only(case):
    this = case()
    bmi = this.start()
    this.drive(bmi, this.observed())
    name = "adjoint__phy.SM"
    assert bmi.get_var_nbytes(name) == bmi.get_var_nbytes("phy.SM")
    assert bmi.get_var_units(name) == "mm-1"
    array = bmi.get_value_ptr(name)
    assert array.any()
    assert bmi.get_value_ptr(name) is array
    with pytest.raises(VariableError, match="given by the component"):
        bmi.set_value(name, array)
    assert name not in bmi.get_output_var_names()


def test_a_component_without_observations_has_none(case):
    with pytest.raises(VariableError):
        read(case().start(None), "adjoint__phy.SM")
