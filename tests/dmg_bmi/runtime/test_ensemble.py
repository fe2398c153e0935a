"""Members of a catchment are runs of their own in one batch; published are their mean and quantiles."""

import netCDF4
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from operations import make_config, make_dataset

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError, DmgBmiError, ForcingError, StateError, ValueShapeError
from dmg_bmi.runtime.config import Ensemble
from dmg_bmi.runtime.perturbation import normal

DAY, HOUR = 86400.0, 3600.0
M, N, DAYS = 6, 3, 12
SYMBOLS = ("Q", "ET", "SWE")
OPTIONS = {"members": M, "seed": 5, "forcing": {"P": 0.4, "T": 1.5}, "quantiles": [0.1, 0.5, 0.9]}
RUNOFF = "land_surface_water__runoff_depth"
STEPPING = [DAY, 6 * HOUR]
#: Stands for no series to be pushed.
STORED = "stored"


def of_members(name, count=M):
    return [f"{name}__member_{k}" for k in range(count)]


@pytest.fixture
def case(configure, bundles, weather, bmi_run):
    class Case:
        def __init__(self, kind="lstm_mlp", step=DAY, n=N, **keys):
            self.info, self.step, self.n = bundles(kind), step, n
            self.keys = {"time_step": step, "start_time": "2001-10-01", **keys}
            self.length = DAYS * round(DAY / step)
            self.series = weather(self.length, n, 1, step)
            self.series["T"] = 6.0 + np.abs(self.series["T"])  # what is frozen does not flow

        def start(self, options=OPTIONS, n=None, **keys):
            more = {} if options is None else {"ensemble": options}
            return bmi_run.start(configure(self.info, n or self.n, **(self.keys | more | keys)))

        def drive(self, bmi, symbols=SYMBOLS, steps=None, series=None):
            steps = range(self.length) if steps is None else steps
            if series is None or series == STORED:
                series = self.series if series is None else None
            return bmi_run.drive(bmi, series, steps, symbols)

        def members(self, bmi, steps=None, series=None, count=M):
            names = of_members(RUNOFF, count)
            found = self.drive(bmi, names, steps, series)
            return np.stack([found[name] for name in names])

    return Case


# -- laws ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", STEPPING)
@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp", "fixed", "column"])
def test_members_that_nothing_tells_apart_are_the_run_without_members(case, kind, step):
    this = case(kind, step)
    plain = this.drive(this.start(None))
    found = this.drive(this.start({"members": M}), (*SYMBOLS, "Q__quantile_0.05", "Q__quantile_0.95"))
    for name, values in plain.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-9, equal_nan=True)
    for name in ("Q__quantile_0.05", "Q__quantile_0.95"):
        np.testing.assert_allclose(found[name], plain["Q"], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("step", STEPPING)
def test_the_first_member_is_not_perturbed(case, step):
    this = case(step=step)
    members = this.members(this.start())
    np.testing.assert_allclose(members[0], this.drive(this.start(None))["Q"], rtol=1e-6, atol=1e-9)
    assert all(not np.allclose(members[0], other, rtol=1e-3, atol=0.0) for other in members[1:])


@pytest.mark.parametrize("step", STEPPING)
def test_mean_and_quantiles_are_those_of_the_members(case, step):
    this = case(step=step)
    names = [f"Q__quantile_{level}" for level in OPTIONS["quantiles"]]
    found = this.drive(this.start(), ("Q", *names, *of_members(RUNOFF)))
    members = np.stack([found[name] for name in of_members(RUNOFF)])
    np.testing.assert_allclose(found["Q"], members.mean(0), rtol=1e-12, atol=1e-15)
    expected = np.quantile(members, OPTIONS["quantiles"], axis=0)
    np.testing.assert_allclose([found[name] for name in names], expected, rtol=1e-12, atol=1e-15)


def test_a_seed_makes_it_repeatable_and_another_one_another(case):
    this = case()
    one, same, other = (this.members(this.start(OPTIONS | {"seed": s})) for s in (5, 5, 6))
    assert np.array_equal(one, same)
    assert not np.allclose(one[1:], other[1:], rtol=1e-3, atol=0.0)


def test_more_members_leave_those_there_were_as_they_are(case):
    this = case()
    few, many = (this.members(this.start(OPTIONS | {"members": m}), count=M) for m in (M, 2 * M))
    np.testing.assert_allclose(few, many, rtol=1e-6, atol=1e-9)


def test_a_catchment_has_the_same_members_alone_and_beside_others(case):
    this = case(n=1)
    series = {name: values[:, :1] for name, values in case().series.items()}
    alone = this.members(this.start(), series=series)
    np.testing.assert_allclose(alone, case().members(case().start())[..., :1], rtol=1e-6, atol=1e-9)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(member=st.integers(0, M - 1), row=st.integers(0, N - 1), factor=st.floats(0.0, 3.0))
def test_members_never_mix(case, member, row, factor):
    """Another state of one member of one catchment changes that one alone, bit for bit."""
    this = case("fixed")
    bmis = [this.start(OPTIONS) for _ in range(2)]
    for bmi in bmis:
        this.drive(bmi, ("Q",), range(3))
    stores = bmis[1].get_value("phy.SM", np.empty(bmis[1].get_value_ptr("phy.SM").size))
    changed = stores.reshape(N, M, -1).copy()
    changed[row, member] = changed[row, member] * factor + 1.0
    bmis[1].set_value("phy.SM", changed.reshape(-1))
    one, other = (this.members(bmi, range(3, DAYS)) for bmi in bmis)
    same = np.ones((M, N), dtype=bool)
    same[member, row] = False
    assert np.array_equal(one.swapaxes(1, 2)[same], other.swapaxes(1, 2)[same])
    assert not np.array_equal(one[member, :, row], other[member, :, row])


@pytest.mark.parametrize("step", STEPPING)
@pytest.mark.parametrize("cut", [1, 5, 9])
def test_saved_and_restored_at_any_step_it_goes_on_the_same(case, step, cut):
    this = case(step=step)
    whole = this.drive(this.start(), ("Q", "Q__quantile_0.9", *of_members(RUNOFF)))
    one = this.start()
    this.drive(one, ("Q",), range(cut))
    other = this.start()
    other.component.clock.count = cut
    other.component.restore(one.component.snapshot())
    found = this.drive(other, whole.keys(), range(cut, this.length))
    for name, values in whole.items():
        assert np.array_equal(found[name], values[cut:], equal_nan=True), name


def test_a_run_continued_from_a_state_file_is_the_whole_run(case, tmp_path):
    """The perturbations belong to dates, so a second run draws those of its own days."""
    this = case()
    whole = this.drive(this.start(), ("Q", *of_members(RUNOFF)))
    first = this.start(restart={"write": str(tmp_path / "state")})
    this.drive(first, ("Q",), range(5))
    first.finalize()
    second = this.start(start_time="2001-10-06", restart={"read": str(tmp_path / "state")})
    found = this.drive(second, whole.keys(), range(5, DAYS))
    for name, values in whole.items():
        assert np.array_equal(found[name], values[5:]), name


def test_the_water_of_the_mean_closes(case):
    this = case("lstm")
    bmi = this.start(OPTIONS | {"states": {"SM": 0.3}})
    totals = [bmi.get_value_ptr(f"ngen::mass_{k}") for k in ("in", "out", "stored", "leaked")]
    for k in range(this.length):
        this.drive(bmi, ("Q",), [k])
        into, out, stored, leaked = totals
        assert into.size == N
        np.testing.assert_allclose(into, out + stored + leaked, rtol=1e-9)


# -- states, forcing, bundles ------------------------------------------------------------


def test_states_begin_perturbed_about_what_they_were(case, tmp_path):
    this = case("fixed")
    plain = this.start(None, restart={"write": str(tmp_path / "state")})
    this.drive(plain, ("Q",), range(9))
    before = plain.get_value_ptr("phy.SM").reshape(N, 1, -1).copy()
    plain.finalize()
    keys = {"start_time": "2001-10-10", "restart": {"read": str(tmp_path / "state")}}
    bmi = this.start({"members": 400, "states": {"SM": 0.2}}, **keys)
    stores = bmi.get_value_ptr("phy.SM").reshape(N, 400, -1)
    assert np.array_equal(stores[:, 0], before[:, 0])
    ratio = (stores / before)[:, 1:]
    np.testing.assert_allclose(ratio.mean(), 1.0, atol=0.02)
    np.testing.assert_allclose(np.log(ratio).std(), 0.2, rtol=0.06)


def test_a_state_of_a_run_without_members_starts_all_of_them(case, tmp_path):
    this = case()
    plain = this.start(None, restart={"write": str(tmp_path / "state")})
    this.drive(plain, ("Q",), range(5))
    plain.finalize()
    keys = {"start_time": "2001-10-06", "restart": {"read": str(tmp_path / "state")}}
    expected = this.drive(this.start(None, **keys), ("Q",), range(5, DAYS))["Q"]
    found = this.members(this.start(OPTIONS | {"states": {"SM": 0.3}}, **keys), range(5, DAYS))
    np.testing.assert_allclose(found[0], expected, rtol=1e-6, atol=1e-9)
    assert not np.allclose(found[1], expected, rtol=1e-3, atol=0.0)
    with pytest.raises(StateError, match="other catchments"):
        this.start(OPTIONS, n=2, **keys)


def test_stored_forcing_has_a_realization_for_each_member(case, store, tmp_path):
    this = case()
    folder = store(this.series, N, "2001-10-01", DAY)
    members = np.stack([this.series["P"] * (1 + k) for k in range(M)], axis=2)
    np.save(folder / "P.npy", members)
    keys = {"forcing": str(folder)}
    found = this.members(this.start({"members": M}, **keys), series=STORED)
    for k in range(M):
        np.save(folder / "P.npy", members[..., k])
        expected = this.drive(this.start(None, **keys), ("Q",), series=STORED)["Q"]
        np.testing.assert_allclose(found[k], expected, rtol=1e-6, atol=1e-9)


def test_stored_and_pushed_forcing_are_perturbed_alike(case, store):
    this = case()
    pushed = this.members(this.start())
    folder = store(this.series, N, "2001-10-01", DAY)
    stored = this.members(this.start(forcing=str(folder)), series=STORED)
    np.testing.assert_allclose(stored, pushed, rtol=1e-5, atol=1e-8)


def test_the_members_of_a_bundle_count_as_members(configure, attributes, weather, bmi_run, tmp_path):
    model = DeltaModel.build(
        nn={k: {"name": "mlp", "hidden_sizes": []} for k in ("one", "two", "mean", "alone")},
        phy_model={"a": {"name": "hbv", "routing": 5}, "b": {"name": "hbv", "routing": 5, "nmul": 2}},
        roles=[
            {"network": "one", "model": "a", "attributes": [*attributes(1)][:2]},
            {"network": "two", "model": "b", "attributes": [*attributes(1)][1:2]},
            {"role": "weights", "network": "mean", "attributes": [*attributes(1)][:1]},
            {"role": "mix_output", "network": "alone", "inputs": ["P"], "outputs": ["Q"], "share": 0.3},
        ],
    )
    info = Bundle(model, "two").save(tmp_path / "two")
    series = weather(DAYS, N, 1)
    options = {"members": M, "forcing": {"P": 0.3}, "bundle_members": True}
    bmi = bmi_run.start(configure(info, N, ensemble=options))
    found = bmi_run.drive(bmi, series, range(DAYS), of_members(RUNOFF, 3 * M))
    plain = bmi_run.start(configure(info, N))
    expected = bmi_run.drive(plain, series, range(DAYS), ("a.Q", "b.Q", "alone.Q"))
    for k, flow in enumerate(expected.values()):
        np.testing.assert_allclose(found[f"{RUNOFF}__member_{k * M}"], flow, rtol=1e-6, atol=1e-9)


# -- what a framework sees -------------------------------------------------------------


def test_one_catchment_is_one_value_whatever_its_members(case):
    this = case(n=1)
    bmi = this.start()
    assert bmi.get_grid_size(0) == 1
    assert bmi.get_grid_type(0) == "scalar"
    for name in (*bmi.get_output_var_names(), *bmi.get_input_var_names()):
        assert bmi.get_value_ptr(name).size == 1
        assert bmi.get_var_nbytes(name) == 8
    assert f"{RUNOFF}__quantile_0.9" in bmi.get_output_var_names()
    assert f"{RUNOFF}__member_0" not in bmi.get_output_var_names()
    asked = this.start(OPTIONS | {"all_members": True})
    assert set(of_members(RUNOFF)) < set(asked.get_output_var_names())


def test_flow_is_the_depth_over_the_area(case):
    this = case()
    bmi = this.start()
    this.drive(bmi, ("Q",), range(4))
    area = bmi.get_value_ptr("catchment__area")
    assert area.size == N
    for suffix in ("", "__quantile_0.9", "__member_2"):
        depth = bmi.get_value_ptr(RUNOFF + suffix)
        flow = bmi.get_value_ptr("land_surface_water_source__volume_flow_rate" + suffix)
        np.testing.assert_allclose(flow, depth * area * 1e6 / DAY)


def test_arrays_are_the_same_for_life(case):
    bmi = case().start()
    names = [*bmi.get_output_var_names(), *bmi.get_input_var_names(), *of_members(RUNOFF)]
    arrays = {name: bmi.get_value_ptr(name) for name in names}
    case().drive(bmi, ("Q",), range(3))
    assert all(
        bmi.get_value_ptr(name).base is a.base or bmi.get_value_ptr(name) is a for name, a in arrays.items()
    )


def test_an_attribute_that_is_set_is_that_of_all_members(case):
    this = case()
    name = next(iter(case().start().component.settable))
    one, other = this.start(), this.start(None)
    for bmi in (one, other):
        values = bmi.get_value(name, np.empty(N)) * 1.05
        bmi.set_value(name, values)
        np.testing.assert_allclose(bmi.get_value(name, np.empty(N)), values)
    np.testing.assert_allclose(this.members(one)[0], this.drive(other)["Q"], rtol=1e-6, atol=1e-9)


def test_a_state_is_set_of_all_members_alike_or_of_each(case):
    this = case("fixed")
    bmi = this.start()
    size = bmi.get_value_ptr("phy.SM").size
    bmi.set_value("phy.SM", np.arange(1.0, 1 + size // M))
    stores = bmi.get_value("phy.SM", np.empty(size)).reshape(N, M, -1)
    assert (stores == stores[:, :1]).all()
    bmi.set_value("phy.SM", np.arange(1.0, 1 + size))
    assert np.array_equal(bmi.get_value("phy.SM", np.empty(size)), np.arange(1.0, 1 + size))
    with pytest.raises(ValueShapeError, match="where its members are alike"):
        bmi.set_value("phy.SM", np.ones(size - 1))


def test_an_error_leaves_everything_as_it_was(case):
    this = case()
    bmi = this.start()
    this.drive(bmi, ("Q",), range(4))
    names = ("Q", "Q__quantile_0.9", *of_members(RUNOFF))
    before = {n: bmi.get_value_ptr(n).copy() for n in names}
    with pytest.raises(ForcingError):
        this.drive(bmi, ("Q",), [4], {n: np.full_like(v, -1e9) for n, v in this.series.items()})
    for name, values in before.items():
        assert np.array_equal(bmi.get_value_ptr(name), values)


def test_the_command_runs_members_and_writes_quantiles(tmp_path):
    config = make_config(tmp_path, make_dataset())
    content = yaml.safe_load((config.folder / "run.yaml").read_text())
    content |= {"ensemble": {"members": M, "forcing": {"P": 0.5}}, "end_time": "2000-03-01"}
    (tmp_path / "members.yaml").write_text(yaml.safe_dump(content))
    forcing, out = str(tmp_path / "measured.nc"), tmp_path / "out"
    assert main(["run", str(tmp_path / "members.yaml"), "--forcing", forcing, "--output", str(out)]) == 0
    with netCDF4.Dataset(out / "output.nc") as data:
        low, mean, high = (data[f"Q{ending}"][:] for ending in ("__quantile_0.05", "", "__quantile_0.95"))
    assert mean.shape == (60, 3)
    assert ((low <= mean + 1e-9) & (low <= high)).all()
    assert (high[-1] > low[-1]).all()


# -- perturbations -----------------------------------------------------------------------


def test_numbers_are_of_the_standard_normal_distribution():
    drawn = normal(np.arange(200_000, dtype=np.uint64) * np.uint64(3))
    assert abs(drawn.mean()) < 0.01
    assert abs(drawn.std() - 1.0) < 0.01
    assert abs(drawn).max() <= 3.0
    assert abs(np.corrcoef(drawn[:-1], drawn[1:])[0, 1]) < 0.01
    np.testing.assert_allclose((drawn < [[-1.0], [0.0], [1.0]]).mean(1), [0.1587, 0.5, 0.8413], atol=0.005)


def test_a_factor_keeps_the_mean_and_lasts_its_period(case):
    from dmg_bmi.runtime.perturbation import Perturbation

    component = case(step=6 * HOUR).start().component
    options = Ensemble(4000, forcing={"P": 0.5}, period=DAY)
    drawn = Perturbation(options, ("a", "b"), component.group.inputs, 0.0)
    rain = np.ones((len(component.group.inputs.names), 8000))
    first, same, next_day = (drawn.forcing(rain, slice(None), t)[0] for t in (0.0, 18 * HOUR, DAY))
    assert np.array_equal(first, same)
    assert abs(np.corrcoef(first[1:4000], next_day[1:4000])[0, 1]) < 0.05
    assert abs(np.corrcoef(first[1:4000], first[4001:])[0, 1]) < 0.05
    np.testing.assert_allclose(first.mean(), 1.0, atol=0.03)


# -- what is wrong -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "missing key 'ensemble.members'"),
        ({"members": 0}, "members must be from 1 to 10000"),
        ({"members": 10**9}, "members must be from 1 to 10000"),
        ({"members": "many"}, "ensemble.members"),
        ({"members": 2, "seed": -1}, "seed must be"),
        ({"members": 2, "forcing": {"P": 0}}, "forcing.P: must be above zero"),
        ({"members": 2, "forcing": {"P": float("nan")}}, "ensemble.forcing.P"),
        ({"members": 2, "forcing": {"rain": 0.1}}, "the component has no input rain; it has"),
        ({"members": 2, "states": {"snow": 0.1}}, "the model has no store snow; it has"),
        ({"members": 2, "states": {"SM": -0.1}}, "states.SM: must be above zero"),
        ({"members": 2, "period": 0}, "period: must be above zero"),
        ({"members": 2, "quantiles": [1.2]}, "quantiles must be different levels from 0 to 1"),
        ({"members": 2, "quantiles": [0.5, 0.5]}, "quantiles must be different levels"),
        ({"members": 2, "bundle_members": True}, "not a mean of several process models"),
        ({"members": 2, "member": 3}, "unknown key 'ensemble.member'; did you mean 'members'"),
    ],
)
def test_options_that_are_wrong_are_refused_with_the_key(case, options, said):
    with pytest.raises(ConfigError, match=said):
        case().start(options)


def test_beside_assimilation_it_is_refused(case):
    with pytest.raises(ConfigError, match="leave one of them out"):
        case().start(assimilation={"mean_flow": 1.0})


@pytest.mark.parametrize(("members", "shape"), [(None, (DAYS, N, 2)), (3, (DAYS, N, 5)), (3, (DAYS, N, 0))])
def test_realizations_that_would_be_lost_are_refused(case, store, members, shape):
    this = case()
    folder = store(this.series, N, "2001-10-01", DAY)
    np.save(folder / "P.npy", np.ones(shape))
    with pytest.raises(DmgBmiError, match="realizations"):
        this.start(None if members is None else {"members": members}, forcing=str(folder))


def test_a_forecast_of_members_of_a_run_is_refused(tmp_path):
    from dmg_bmi.forecast.config import ForecastConfig
    from dmg_bmi.forecast.operation import forecast

    run = {"bundle": "demo_daily", "start_time": "2000-01-01", "ensemble": {"members": 2}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(run))
    content = {
        "run": "run.yaml",
        "first": "2001-01-01",
        "last": "2001-01-02",
        "loop": "open",
        "output": "out",
    }
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ConfigError, match="those of `weather` and `lags`"):
        forecast(ForecastConfig.read(tmp_path / "f.yaml"))
