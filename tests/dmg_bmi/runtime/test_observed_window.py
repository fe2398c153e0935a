"""Observations that are set bring the states in line, and nothing else; what is held of them is state."""

from itertools import pairwise

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dmg_bmi.errors import ConfigError, ForcingError, StateError
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.runtime.observed_window import INCREMENT, OBSERVATIONS

DAY, HOUR = 86400.0, 3600.0
ASSIMILATION = {"mean_flow": 1.0, "window": 8, "ages": [1, 3]}
SYMBOLS = ("Q", "ET", "SWE", "soil_moisture", "groundwater")
STEPS, N = 30, 3


@pytest.fixture
def case(configure, bundles, weather, bmi_run):
    """Components of three catchments, and their weather and observations."""

    class Case:
        def __init__(self, kind="lstm_mlp", step=DAY, **keys):
            self.info, self.step = bundles(kind), step
            self.keys = {"time_step": step, "start_time": "2001-10-01", **keys}
            self.length = STEPS * round(DAY / step)
            self.series = weather(self.length, N, 1, step)
            self.series["T"] = 6.0 + np.abs(self.series["T"])  # what is frozen cannot be brought to flow

        def start(self, assimilation=ASSIMILATION, **keys):
            more = {} if assimilation is None else {"assimilation": assimilation}
            return bmi_run.start(configure(self.info, N, **(self.keys | more | keys)))

        def observed(self):
            """Half as much again as the model, with gaps, m per step."""
            values = 1.5 * bmi_run.drive(self.start(None), self.series, range(self.length))["Q"] + 1e-4
            values[np.random.default_rng(2).random(values.shape) < 0.4] = np.nan
            return values

        def drive(self, bmi, observed, steps=None, symbols=SYMBOLS):
            out = []
            for k in range(self.length) if steps is None else steps:
                if observed is not None:
                    bmi.set_value("Q_observed", observed[k])
                out.append(bmi_run.drive(bmi, self.series, [k], (*symbols, INCREMENT.symbol)))
            return {name: np.concatenate([part[name] for part in out]) for name in out[0]}

    return Case


STEPPING = [DAY, 6 * HOUR]
METHODS = [ASSIMILATION, *({**ASSIMILATION, "method": m, "members": 8} for m in ("ensemble", "particles"))]
NAMES = ("variational", "ensemble", "particles")
BY_METHOD = pytest.mark.parametrize("options", METHODS, ids=NAMES)


@BY_METHOD
@pytest.mark.parametrize("step", STEPPING)
@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp", "fixed", "column"])
def test_without_observations_nothing_changes_bit_for_bit(case, bmi_run, kind, step, options):
    this = case(kind, step)
    plain = bmi_run.drive(this.start(None), this.series, range(this.length), SYMBOLS)
    for observed in (None, np.full((this.length, N), np.nan)):
        found = this.drive(this.start(options), observed)
        assert not found[INCREMENT.symbol].any()
        for name, values in plain.items():
            assert np.array_equal(found[name], values, equal_nan=True), name


@BY_METHOD
@pytest.mark.parametrize("step", STEPPING)
def test_a_catchment_without_observations_is_the_same_beside_others_bit_for_bit(case, bmi_run, step, options):
    this = case(step=step)
    observed = this.observed()
    observed[:, 1] = np.nan
    found = this.drive(this.start(options), observed)
    plain = bmi_run.drive(this.start(None), this.series, range(this.length), SYMBOLS)
    for name, values in plain.items():
        assert np.array_equal(found[name][:, 1], values[:, 1], equal_nan=True), name
    assert not np.array_equal(found["Q"][:, 0], plain["Q"][:, 0])
    assert found[INCREMENT.symbol][:, [0, 2]].any(0).all()


@BY_METHOD
def test_a_perfect_model_is_not_moved_by_perfect_observations(case, bmi_run, options):
    this = case()
    plain = bmi_run.drive(this.start(None), this.series, range(this.length), SYMBOLS)
    found = this.drive(this.start(options), plain["Q"])
    for name, values in plain.items():
        assert np.allclose(found[name], values, rtol=1e-5, atol=1e-9), name
    assert np.abs(found[INCREMENT.symbol]).max() < 1e-6


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("step", STEPPING)
def test_observations_bring_flow_nearer_and_the_balance_closes(case, bmi_run, store, step, stored):
    this = case(step=step)
    stored_water = np.full(2 * N, 10.0)  # drains for weeks
    truth = this.start(None)
    truth.set_value("phy.SLZ", 1.6 * stored_water)
    true = bmi_run.drive(truth, this.series, range(this.length), ("Q",))["Q"]
    # What is pushed by parts of a day flows, as published, on the day after.
    observed = np.roll(true, 0 if step == DAY else -round(DAY / step), axis=0)
    observed[np.random.default_rng(2).random(observed.shape) < 0.4] = np.nan
    keys, series = {}, this.series
    if stored:
        rate = {n: v if n == "T" else v * (DAY / step) for n, v in series.items()}
        units = {n: "degC" if n == "T" else "mm d-1" for n in rate}
        folder = store(rate, N, "2001-10-01", DAY, units)
        index = yaml.safe_load((folder / "forcing.yaml").read_text())
        (folder / "forcing.yaml").write_text(yaml.safe_dump(index | {"step": step}))
        keys = {"forcing": str(folder)}
        this.series = None
    trusting = {**ASSIMILATION, "mean_flow": 0.1, "relative_error": 0.1}
    bmi, mass = this.start(trusting, **keys), []
    bmi.set_value("phy.SLZ", stored_water)
    names = [f"ngen::mass_{part}" for part in ("in", "out", "stored", "leaked")]
    for name in names:
        bmi_run.read(bmi, name)
    increments = np.zeros(N)
    flows = []
    for k in range(this.length):
        found = this.drive(bmi, observed, [k])
        flows.append(found["Q"][0])
        increments += found[INCREMENT.symbol][0] * 1000.0
        mass = [bmi_run.read(bmi, name) for name in names]
        assert np.allclose(mass[0] - mass[1] - mass[2] - mass[3], 0.0, rtol=0, atol=1e-9)
    assert np.allclose(mass[3], -increments, rtol=0, atol=1e-9)
    assert np.abs(increments).min() > 1e-3
    this.series = series
    plain = this.start(None)
    plain.set_value("phy.SLZ", stored_water)
    plain = bmi_run.drive(plain, series, range(this.length), ("Q",))["Q"]
    late = slice(this.length // 2, None)
    off, left = (np.square(q - true)[late].mean() for q in (plain, np.array(flows)))
    if step == DAY or not stored:  # stored parts of a day flow on their own day
        assert left < 0.3 * off


@pytest.mark.parametrize("step", STEPPING)
def test_the_water_of_a_filter_is_booked(case, bmi_run, step):
    this = case(step=step)
    observed, bmi = this.observed(), this.start(METHODS[1])
    names = [f"ngen::mass_{part}" for part in ("in", "out", "stored", "leaked")]
    for name in names:
        bmi_run.read(bmi, name)
    increments = np.zeros(N)
    for k in range(this.length):
        increments += this.drive(bmi, observed, [k])[INCREMENT.symbol][0] * 1000.0
        into, out, stored, leaked = (bmi_run.read(bmi, name) for name in names)
        assert np.allclose(into - out - stored - leaked, 0.0, rtol=0, atol=1e-9)
    assert np.allclose(leaked, -increments, rtol=0, atol=1e-9)
    assert np.abs(increments).min() > 1e-3


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[pytest.mark.slow] if name != NAMES[0] else [])
        for name, options in zip(NAMES, METHODS, strict=True)
    ],
)
@pytest.mark.parametrize("step", [DAY, pytest.param(6 * HOUR, marks=pytest.mark.slow)])
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6), st.integers(0, 2**20))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_split_saved_and_restored_in_mid_window_it_is_the_same_bit_for_bit(case, step, options, shares, seed):
    this = case(step=step)
    observed = this.observed()
    observed[np.random.default_rng(seed).random(observed.shape) < 0.5] = np.nan
    whole = this.drive(this.start(options), observed)
    cuts = sorted({0, this.length, *(round(share * this.length) for share in shares)})
    bmi, parts = this.start(options), []
    for begin, end in pairwise(cuts):
        parts.append(this.drive(bmi, observed, range(begin, end)))
        if end == this.length:
            break
        content = bmi.component.save()
        time = np.datetime64("2001-10-01", "s") + round(end * step)
        bmi = this.start(options, start_time=str(time) + "Z")
        bmi.component.load(content)
        assert bmi.component.save() == content
    for name, values in whole.items():
        assert np.array_equal(np.concatenate([p[name] for p in parts]), values, equal_nan=True), name


def test_a_state_of_a_run_without_observations_is_gone_on_from(case, bmi_run):
    this = case()
    plain = this.start(None)
    bmi_run.drive(plain, this.series, range(10))
    later = {"start_time": "2001-10-11"}
    bmi = this.start(**later)
    bmi.component.load(plain.component.save())
    found = this.drive(bmi, this.observed(), range(10, STEPS))
    assert found[INCREMENT.symbol].any()
    # And back: what is held of observations does not matter to a run without.
    assert this.start(None, start_time="2001-10-31").component.load(bmi.component.save()) is None


def test_a_window_of_other_options_is_refused(case):
    this = case()
    bmi = this.start()
    this.drive(bmi, this.observed(), range(12))
    later = this.start({**ASSIMILATION, "window": 5}, start_time="2001-10-13")
    with pytest.raises(StateError, match="its window does not fit: `assimilation` was another"):
        later.component.load(bmi.component.save())


def test_setting_a_state_begins_another_window(case, bmi_run):
    this = case("fixed")
    observed = this.observed()
    bmi = this.start()
    this.drive(bmi, observed, range(9))
    bmi.set_value("phy.SM", bmi_run.read(bmi, "phy.SM") * 0.5)
    fresh = this.start(start_time="2001-10-10")
    fresh.component.group.set_state(fresh.component, bmi.component.group.state(bmi.component))
    one, other = (this.drive(b, observed, range(9, 20)) for b in (bmi, fresh))
    assert np.array_equal(one[INCREMENT.symbol], other[INCREMENT.symbol])


def test_depth_flow_and_hours_of_the_day_say_the_same(case, bmi_run):
    """Observed flow of 10, 11 and 12 km2 by the second, and in one of the four steps of a day."""
    this = case()
    observed = this.observed()
    found = this.drive(this.start(), observed)
    bmi = this.start()
    area = np.array([10.0, 11.0, 12.0])
    for k in range(STEPS):
        bmi.set_value("land_surface_water_source__observed_volume_flow_rate", observed[k] * area * 1e6 / DAY)
        bmi_run.drive(bmi, this.series, [k])
    assert np.allclose(bmi_run.read(bmi, "Q"), found["Q"][-1], rtol=1e-9)


def test_a_small_error_is_trusted_more(case):
    this = case()
    observed = this.observed()
    moved = []
    for error in (0.02, 1.0, 50.0):
        bmi = this.start()
        total = 0.0
        for k in range(STEPS):
            bmi.set_value("Q_observed_error", np.full(N, error / 1000.0))
            total += np.abs(this.drive(bmi, observed, [k])[INCREMENT.symbol]).sum()
        moved.append(total)
    assert moved[0] > moved[1] > 10 * moved[2]


@pytest.mark.parametrize(
    ("symbol", "value", "said"),
    [
        ("Q_observed", -0.001, "is -0.001, that is -1 mm"),
        ("Q_observed", np.inf, "is inf"),
        ("Q_observed", 50.0, "that is 50000 mm"),
        ("Q_observed_flow", -1.0, "is -1"),
        ("Q_observed_flow", 1e9, "flow must lie between 0 and 3000 mm"),
    ],
)
def test_flow_that_no_river_has_is_refused_and_nothing_has_changed(case, symbol, value, said):
    this = case()
    bmi, other = this.start(), this.start()
    observed = this.observed()
    this.drive(bmi, observed, range(5))
    this.drive(other, observed, range(5))
    before = bmi.component.save()
    bmi.set_value(symbol, np.array([np.nan, value, np.nan]))
    with pytest.raises(ForcingError, match="catchment 'cat-8'") as problem:
        this.drive(bmi, None, [5])
    assert said in str(problem.value)
    assert bmi.component.save() == before
    bmi.set_value(symbol, np.full(N, np.nan))
    one, two = this.drive(bmi, observed, [5]), this.drive(other, observed, [5])
    assert np.array_equal(one["Q"], two["Q"])


def test_flow_by_the_second_needs_an_area(case):
    this = case()
    bmi = this.start(catchments={"ids": ["a", "b", "c"], "attributes": {"aridity": 0.6, "slope": 12.0}})
    bmi.set_value("Q_observed_flow", np.full(N, 1.0))
    with pytest.raises(ForcingError, match="m3 s-1 need the catchment's area"):
        this.drive(bmi, None, [0])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"mean_flow": None}, "mean_flow must be given"),
        ({"mean_flow": 0.0}, "mean_flow must be given, above zero"),
        ({"mean_flow": [1.0, 2.0]}, "mean_flow has 2 values for 3 catchments"),
        ({"mean_flow": [1.0, 2.0, -1.0]}, "above zero"),
        ({"mean_flow": []}, "mean_flow must be given"),
        ({"window": 0, "mean_flow": 1.0}, "window"),
        ({"windw": 3, "mean_flow": 1.0}, "did you mean 'window'"),
        ({"mean_flow": 1.0, "states": {"XYZ": 0.1}}, "no store XYZ"),
    ],
)
def test_wrong_options_are_refused_by_name(case, keys, said):
    with pytest.raises(ConfigError, match=said):
        case().start(keys)


def test_without_the_key_there_are_no_such_variables(case):
    bmi = case().start(None)
    names = [v.name for v in (*OBSERVATIONS, INCREMENT)]
    assert not {*names} & {*bmi.get_output_var_names(), *bmi.get_input_var_names()}
    for name in names:
        with pytest.raises(KeyError):
            bmi.get_var_units(name)


def test_observations_are_unpublished_and_missing_again_after_the_step(case, bmi_run):
    this = case()
    bmi = this.start()
    assert not {v.name for v in OBSERVATIONS} & {*bmi.get_input_var_names()}
    assert INCREMENT.name in bmi.get_output_var_names()
    for v in OBSERVATIONS:
        assert bmi.get_var_units(v.name) == v.units
        assert np.isnan(bmi_run.read(bmi, v.name)).all()
    pointer = bmi.get_value_ptr("Q_observed")
    pointer[:] = 0.001
    assert (bmi_run.read(bmi, "Q_observed") == 0.001).all()
    this.drive(bmi, None, [0])
    assert np.isnan(pointer).all()
    bmi.set_value_at_indices("Q_observed", np.array([1]), np.array([0.002]))
    assert bmi_run.read(bmi, "Q_observed")[1] == 0.002


@pytest.mark.parametrize("step", STEPPING)
def test_members_of_a_shared_configuration_are_the_catchments_of_one(case, bmi_run, tmp_path, step):
    """As `ngen` has them: one component for each, which step in one batch."""
    this = case(step=step)
    observed = this.observed()
    together = this.drive(this.start(), observed)
    (tmp_path / "shared").mkdir()
    source = sorted(tmp_path.glob("run-*.yaml"))[-1]
    members = []
    for name in ("cat-7", "cat-8", "cat-9"):
        path = tmp_path / "shared" / f"{name}.yaml"
        path.write_text(yaml.safe_dump({"shared": f"../{source.name}", "catchment": name}))
        members.append(bmi_run.start(path))
    flows = np.empty((this.length, N))
    for k in range(this.length):
        for row, bmi in enumerate(members):
            bmi.set_value("Q_observed", observed[k, row : row + 1])
            series = {n: v[:, row : row + 1] for n, v in this.series.items()}
            flows[k, row] = bmi_run.drive(bmi, series, [k], ("Q",))["Q"][0, 0]
    assert np.allclose(flows, together["Q"], rtol=1e-6, atol=1e-10)


def test_run_assimilates_a_file(case, configure, tmp_path, capsys):
    from dmg_bmi.cli import main

    this = case()
    observed = this.observed()
    times = np.datetime64("2001-10-01", "s") + np.arange(STEPS) * np.timedelta64(1, "D")
    ids = ("cat-7", "cat-8", "cat-9")
    units = {"P": "mm d-1", "T": "degC", "PET": "mm d-1", "Q": "mm"}
    netcdf.write(tmp_path / "forcing.nc", BasinDataset(ids, times, DAY, this.series, {}, {}, units))
    gauges = BasinDataset(ids[::-1], times, DAY, {}, {}, {"Q": observed[:, ::-1] * 1000.0}, units)
    netcdf.write(tmp_path / "gauges.nc", gauges)
    found = this.drive(this.start(), observed)
    outputs = {}
    for name, keys, more in (
        ("own", {"assimilation": ASSIMILATION}, ["--assimilate", str(tmp_path / "gauges.nc")]),
        ("default", {}, ["--assimilate", str(tmp_path / "gauges.nc")]),
        ("without", {}, []),
    ):
        config = configure(this.info, N, **this.keys, **keys)
        command = ["run", str(config), "--forcing", str(tmp_path / "forcing.nc"), *more]
        assert main([*command, "--output", str(tmp_path / name)]) == 0
        outputs[name] = netcdf.read(tmp_path / name / "output.nc").forcing
    assert np.array_equal(outputs["own"]["Q"], found["Q"])
    assert np.array_equal(outputs["own"][INCREMENT.symbol], found[INCREMENT.symbol])
    assert INCREMENT.symbol not in outputs["without"]
    assert np.abs(outputs["default"][INCREMENT.symbol]).max() > 0
    assert main([*command, "--assimilate", str(tmp_path / "none.nc"), "--output", str(tmp_path / "x")]) == 2
    assert "none.nc" in capsys.readouterr().err
