"""Time, and arrays that stay the same objects."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest
from fed_bmi import RUNOFF, fed

from dmg_bmi.errors import (
    ConfigError,
    TimeError,
    TimeStepError,
)

# -- time ----------------------------------------------------------------------------


def test_time_starts_at_zero_and_ends_far_away_unless_the_configuration_says(configure, bmi_run):
    bmi = bmi_run.start(configure())
    assert (bmi.get_start_time(), bmi.get_current_time(), bmi.get_end_time()) == (0.0, 0.0, 1e15)
    bmi = bmi_run.start(configure(start_time="2000-01-01", end_time="2000-03-01"))
    assert bmi.get_end_time() == 60 * 86400.0


@pytest.mark.parametrize("date", ["2000-01-01 07:30", "2000-01-01 23:59:59.5"])
def test_a_run_by_whole_model_steps_starts_at_any_time(configure, bmi_run, date):
    bmi = fed(bmi_run, configure(start_time=date))
    bmi.update()
    assert bmi.get_current_time() == 86400.0
    with pytest.raises(ConfigError, match="is not a whole number of steps of 3600 s after day_start_hour 0"):
        bmi_run.start(configure(start_time=date, time_step=3600.0))
    with pytest.raises(ConfigError, match="is not a whole number of steps of 43200 s"):
        bmi_run.start(configure(start_time=date, time_step=43200.0))


@pytest.mark.parametrize("name", ["{time}/day.state", "day-{time}.state"])
def test_the_time_in_the_path_of_a_state_is_that_at_which_it_is_valid(configure, bmi_run, tmp_path, name):
    restart = {"write": name, "every": 86400.0}
    bmi = fed(bmi_run, configure(start_time="2000-01-01", restart=restart))
    for _ in range(2):
        bmi.update()
    bmi.finalize()
    files = [tmp_path / name.format(time=f"2000-01-0{day}T0000") for day in (2, 3)]
    assert sorted(tmp_path.rglob("*.state")) == sorted(files)
    with pytest.raises(ConfigError, match=r"restart: \{time\} in a path requires start_time"):
        bmi_run.start(configure(restart={"read": name}))
    with pytest.raises(ConfigError, match=r"restart: \{id\} in a path is for members of a shared"):
        bmi_run.start(configure(restart={"read": "{id}.state"}))
    for every in (3600.0, 100000.0):
        with pytest.raises(
            ConfigError, match=rf"every: {every:g} s is not a whole number of steps of 86400 s"
        ):
            bmi_run.start(configure(restart={"write": "x", "every": every}))
    bmi_run.start(configure(restart={"write": "x", "every": 2 * 86400.01}))  # a rounded sum


def test_update_until_takes_multiples_only(configure, bmi_run):
    bmi = fed(bmi_run, configure())
    with pytest.raises(TimeStepError, match="86400") as caught:
        bmi.update_until(100.0)
    assert isinstance(caught.value, NotImplementedError)  # which pymt takes for "step and interpolate"
    bmi.update_until(3 * 86400.0)
    assert bmi.get_current_time() == 3 * 86400.0


@pytest.mark.parametrize("time", [86400.0, 0.0, -86400.0, float("inf"), float("nan"), 1e300])
def test_update_until_refuses_what_has_passed_or_never_comes(configure, bmi_run, time):
    bmi = fed(bmi_run, configure())
    bmi.update_until(2 * 86400.0)
    before = bmi_run.read(bmi, "phy.SM")
    with pytest.raises(TimeError):
        bmi.update_until(time)
    assert bmi.get_current_time() == 2 * 86400.0
    np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), before)


def test_no_step_goes_beyond_the_end(configure, bmi_run):
    bmi = fed(bmi_run, configure(end_time=3 * 86400.0))
    with pytest.raises(TimeError, match="ends"):
        bmi.update_until(4 * 86400.0)
    assert bmi.get_current_time() == 0.0
    bmi.update_until(3 * 86400.0)
    before = bmi_run.read(bmi, "phy.SM")
    with pytest.raises(TimeError, match="ends"):
        bmi.update()
    assert bmi.get_current_time() == 3 * 86400.0
    np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), before)


# -- arrays --------------------------------------------------------------------------


@pytest.mark.slow
def test_pointers_are_one_object_through_ten_thousand_updates(configure, bundles, bmi_run):
    n = 3
    bmi = bmi_run.start(configure(bundles("column"), n))
    names = [*bmi.get_input_var_names(), *bmi.get_output_var_names(), "Q0", "phy.SM", "catchment__area"]
    held = {name: bmi.get_value_ptr(name) for name in names}
    for array in held.values():
        assert array.dtype == np.float64
        assert array.flags.c_contiguous
        assert array.shape == (n,)
    values = {"P": np.full(n, 3.0), "T": np.full(n, 8.0), "PET": np.full(n, 1.0)}
    for k in range(10_000):
        for symbol, value in values.items():
            bmi.set_value(symbol, value)
        bmi.update()
        if k % 500 == 0 or k == 9_999:
            for name, array in held.items():
                assert bmi.get_value_ptr(name) is array
                np.testing.assert_array_equal(bmi_run.read(bmi, name), array)
    assert (held[RUNOFF] > 0).all()


def test_states_are_watched_through_their_pointers_and_set_by_name(configure, bmi_run):
    bmi = fed(bmi_run, configure(n=2))
    soil = bmi.get_value_ptr("phy.SM")
    bmi.update()
    np.testing.assert_array_equal(soil, bmi_run.read(bmi, "phy.SM"))
    wet = np.array([100.0, 110.0, 120.0, 130.0])  # two catchments of two components
    bmi.set_value("phy.SM", wet)
    np.testing.assert_array_equal(soil, wet)
    bmi.update()
    assert bmi.get_value_ptr("phy.SM") is soil
    assert (np.abs(soil - wet) < 30).all()
    assert (soil != wet).all()


def test_attributes_act_when_they_are_set(configure, bmi_run, bundles):
    one, other = (fed(bmi_run, configure(bundles("lstm_mlp"), 2)) for _ in range(2))
    other.set_value("slope", np.array([3.0, 30.0]))
    for _ in range(5):
        one.update()
        other.update()
    assert (bmi_run.read(one, "groundwater") != bmi_run.read(other, "groundwater")).all()


@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp"])
def test_setting_an_attribute_is_having_it_from_the_start(configure, bmi_run, bundles, kind):
    one = fed(bmi_run, configure(bundles(kind), 2))
    one.set_value("slope", np.array([3.0, 30.0]))
    keys = {"ids": ["a", "b"], "attributes": {"slope": [3.0, 30.0], "aridity": [0.6, 0.6 * 1.1]}}
    other = fed(bmi_run, configure(bundles(kind), 2, catchments=keys))
    for _ in range(5):
        one.update()
        other.update()
        np.testing.assert_array_equal(bmi_run.read(one, "Q"), bmi_run.read(other, "Q"))


def test_writing_into_the_pointer_of_an_input_is_setting_it(configure, bmi_run, weather):
    forcing = weather(20, 3)
    one, other = bmi_run.start(configure(n=3)), bmi_run.start(configure(n=3))
    pointers = {symbol: other.get_value_ptr(symbol) for symbol in forcing}
    for k in range(20):
        bmi_run.push(one, forcing, k)
        for symbol, array in pointers.items():
            array[:] = forcing[symbol][k]
            np.testing.assert_array_equal(bmi_run.read(other, symbol), bmi_run.read(one, symbol))
        one.update()
        other.update()
        np.testing.assert_array_equal(one.get_value_ptr("Q"), other.get_value_ptr("Q"))


MEMORY = """
    import gc
    import sys
    from pathlib import Path

    import numpy as np
    import psutil
    import torch
    from dmg_bmi import Bundle, DeltaModel, DeltaModelBmi
    from dmg_bmi.model import registry
    from dmg_bmi.physics import Declaration, Flux, Parameter, ProcessModel, StateVariable
    from dmg_bmi.physics.forcings import P

    class Tank(ProcessModel):
        declaration = Declaration(
            "tank",
            forcings=(P,),
            parameters=(Parameter("k", 0.0, 1.0, "d-1", "recession coefficient"),),
            states=(StateVariable("S", "mm", "water"),),
            fluxes=(Flux("Q", "mm", "runoff", "land_surface_water__runoff_depth", "sum"),),
        )

        def step(self, forcing, state, parameters, static, dt, processes=()):
            filled = state["S"] + forcing["P"]
            outflow = parameters["k"] * filled
            return {"S": filled - outflow}, {"Q": outflow}

    torch.set_num_threads(1)
    registry.PROCESS_MODELS["tank"] = "__main__:Tank"
    folder = Path(sys.argv[1])
    Bundle(DeltaModel(phy_model=Tank(), fixed={"k": 0.1}), "tank").save(folder / "bundle")
    (folder / "run.yaml").write_text("bundle: bundle")

    bmi, process, rain = DeltaModelBmi(), psutil.Process(), np.full(1, 3.0)
    bmi.initialize(str(folder / "run.yaml"))
    bmi.get_value_ptr("phy.S")

    def update(times):
        for _ in range(times):
            bmi.set_value("P", rain)
            bmi.update()
        gc.collect()
        return process.memory_info().rss

    warm = update(1_000)
    print(update(99_000) - warm)
"""


@pytest.mark.slow
def test_a_hundred_thousand_updates_take_less_than_a_megabyte(tmp_path):
    command = [sys.executable, "-c", textwrap.dedent(MEMORY), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1_000_000, f"memory grew by {int(done.stdout) / 1e6:.2f} MB"
