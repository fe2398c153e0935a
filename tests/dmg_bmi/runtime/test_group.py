"""Many components, one model: each answers as if it were alone, however they are called."""

import gc
import random
import weakref

import numpy as np
import pytest
import torch

from dmg_bmi.errors import AttributeTableError, ConfigError, ForcingError, VariableError
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.model.delta_model import DAY, DeltaModel
from dmg_bmi.runtime.config import RunConfig
from dmg_bmi.runtime.group import Group

HOUR = 3600.0
START = "2000-01-01T00:00:00"
NAMES = ("Q", "ET", "SWE", "soil_moisture", "groundwater")


def close(actual, expected):
    """Design contract 3 for float64: relative 1e-10, absolute 1e-12 mm (outputs are in m)."""
    np.testing.assert_allclose(actual, expected, rtol=1e-10, atol=1e-15)


@pytest.fixture
def keys(weather, store):
    """Make ``keys(forcing, n, days) -> (keys of a configuration, hourly series to push or None)``."""

    def make(forcing: str, n: int, days: int, seed: int = 3):
        series = weather(24 * days, n, seed=seed, step=HOUR)
        common = {"time_step": HOUR, "start_time": START}
        if forcing == "pushed":
            return common, series
        return common | {"forcing": str(store(series, n, START, HOUR))}, None

    return make


def push(bmi_run, bmi, series, row, hour):
    if series is not None:
        bmi_run.push(bmi, {name: values[:, [row]] for name, values in series.items()}, hour)


def step(bmi_run, bmi, series, row, hour, names=NAMES):
    """One hour of one component; what it gives then."""
    push(bmi_run, bmi, series, row, hour)
    bmi.update()
    return [bmi_run.read(bmi, name)[0] for name in names]


def together(bmi_run, members, series, hours, order=None):
    """Step all members hour by hour, in an order of each hour's own; ``[hour, row, name]``."""
    rng = random.Random(0)
    out = []
    for hour in hours:
        rows = list(range(len(members)))
        if order == "any":
            rng.shuffle(rows)
        elif order == "backward":
            rows.reverse()
        given = {row: step(bmi_run, members[row], series, row, hour) for row in rows}
        out.append([given[row] for row in range(len(members))])
    return np.array(out)


@pytest.fixture
def alone(configure, bmi_run, bundles):
    """Make ``alone(bundle, n, keys, series, hours) -> [hour, row, name]`` of one component over all rows."""

    def run(bundle, n, config, series, hours):
        out = bmi_run.drive(bmi_run.start(configure(bundle, n, **config)), series, hours, NAMES)
        return np.stack([out[name] for name in NAMES], axis=-1)

    return run


@pytest.mark.parametrize("order", ["given", "backward", "any"])
@pytest.mark.parametrize("forcing", ["pushed", "own"])
@pytest.mark.parametrize("kind", ["lstm", "lstm_mlp"])
def test_members_answer_as_one_component_over_all_rows(
    bundles, share, alone, keys, bmi_run, kind, forcing, order
):
    bundle = bundles(kind, DAY, torch.float64)
    config, series = keys(forcing, 4, 6)
    expected = alone(bundle, 4, config, series, range(24 * 6))
    joined = [2, 0, 3, 1]
    members = share(bundle, 4, start=joined, **config)
    members = [members[joined.index(row)] for row in range(4)]
    actual = together(bmi_run, members, series, range(24 * 6), order)
    close(actual, expected)
    assert np.ptp(actual[-1, :, 0]) > 0


@pytest.mark.parametrize("order", ["given", "any"])
def test_members_of_an_hourly_model_step_alone_and_an_error_changes_none(
    bundles, share, alone, keys, bmi_run, order
):
    """Their forcing comes one by one, so each steps when it has its own; all states are read in between."""
    bundle = bundles("lstm_mlp", HOUR, torch.float64)
    config, series = keys("pushed", 4, 2)
    del config["start_time"]  # a state may go back in time
    expected = alone(bundle, 4, config, series, range(48))
    members = share(bundle, 4, **config)
    actual = [together(bmi_run, members, series, range(20), order)]
    saved, soil = members[1].component.save(), bmi_run.read(members[1], "phy.SM").copy()
    states = members[0].component.group.states.current
    for name, value in zip(members[2].get_input_var_names(), (np.nan, 3.0, 1.0), strict=True):
        members[2].set_value(name, np.array([value]))
    with pytest.raises(ForcingError):
        members[2].update()
    after = members[0].component.group.states.current
    assert all(torch.equal(states[name], after[name]) for name in states)
    actual.append(together(bmi_run, members, series, range(20, 30), order))
    members[1].component.load(saved)
    close(bmi_run.read(members[1], "phy.SM"), soil)
    again = [step(bmi_run, members[1], series, 1, hour) for hour in range(20, 30)]
    close(np.array(again), actual[1][:, 1])
    actual.append(together(bmi_run, members, series, range(30, 48), order))
    close(np.concatenate(actual), expected)


@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_one_after_the_other_is_the_same_as_all_together(bundles, share, keys, bmi_run, forcing):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    config, series = keys(forcing, 3, 5)
    expected = together(bmi_run, share(bundle, 3, **config), series, range(24 * 5))
    members = share(bundle, 3, **config)
    for row in (2, 0, 1):
        actual = [step(bmi_run, members[row], series, row, hour) for hour in range(24 * 5)]
        close(np.array(actual), expected[:, row])


@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_rows_may_run_days_ahead_of_others_and_be_read_at_their_own_clock(
    bundles, share, keys, bmi_run, forcing
):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys(forcing, 3, 8)
    expected = together(bmi_run, share(bundle, 3, **config), series, range(24 * 8))
    members = share(bundle, 3, **config)
    states = [[], [], []]
    done = [0, 0, 0]
    rng = random.Random(1)
    while min(done) < 24 * 8:
        row = rng.choice([k for k in range(3) if done[k] < 24 * 8])
        for _ in range(rng.choice((1, 7, 24, 40))):
            if done[row] < 24 * 8:
                close(step(bmi_run, members[row], series, row, done[row]), expected[done[row], row])
                done[row] += 1
                if rng.random() < 0.2:
                    states[row].append((done[row], bmi_run.read(members[row], "phy.SM")))
    # Reading a state in between changed nothing, and it was the state of that time.
    members = share(bundle, 3, **config)
    for row, read in enumerate(states):
        at = dict(read)
        for hour in range(24 * 8):
            step(bmi_run, members[row], series, row, hour)
            if hour + 1 in at:
                close(bmi_run.read(members[row], "phy.SM"), at[hour + 1])


@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_rows_start_late_end_early_and_leave_the_others_intact(
    bundles, share, keys, bmi_run, forcing, configure
):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    config, series = keys(forcing, 4, 6)
    expected = together(bmi_run, share(bundle, 4, **config), series, range(24 * 6))
    first = share(bundle, 4, start=(0, 1), **config)
    shared = first[0].component.config.shared
    actual = np.full_like(expected, np.nan)
    for hour in range(24 * 6):
        for row, member in enumerate(first):
            if member is not None:
                actual[hour, row] = step(bmi_run, member, series, row, hour)
        if hour == 60:
            first[0].finalize()
            first[0] = None
    close(actual[:61, 0], expected[:61, 0])
    close(actual[:, 1], expected[:, 1])
    for row in (2, 3):
        path = shared.with_name(f"late-{row}.yaml")
        path.write_text(f"shared: {shared.name}\ncatchment: cat-{row + 7}\n")
        late = bmi_run.start(path)
        assert late.component.group is first[1].component.group
        close([step(bmi_run, late, series, row, hour) for hour in range(24 * 6)], expected[:, row])


@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_rows_that_join_late_step_with_the_others_once_they_are_level(bundles, share, keys, bmi_run, forcing):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    config, series = keys(forcing, 4, 6)
    expected = together(bmi_run, share(bundle, 4, **config), series, range(24 * 6))
    members = share(bundle, 4, start=(0, 1), **config)
    shared = members[0].component.config.shared
    together(bmi_run, members, series, range(50))
    for row in (2, 3):
        path = shared.with_name(f"late-{row}.yaml")
        path.write_text(f"shared: {shared.name}\ncatchment: cat-{row + 7}\n")
        members.append(bmi_run.start(path))
        members[row].set_value("slope", bmi_run.read(members[row], "slope"))
        for hour in range(50):
            step(bmi_run, members[row], series, row, hour)
    close(together(bmi_run, members, series, range(50, 24 * 6)), expected[50:])
    assert members[0].component.group.states.size == 4
    assert {len(t) for t in members[0].component.group.states.current.values()} == {4}


@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_a_catchment_that_comes_back_begins_anew(bundles, share, keys, bmi_run, forcing):
    """Its row has a state, attributes and factors of before; nothing of them is left."""
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    config, series = keys(forcing, 3, 8)
    wet = np.array([150.0, 90.0])

    def begin(member):
        member.set_value("phy.SM", wet)
        return member

    expected = together(bmi_run, [*map(begin, share(bundle, 3, **config))], series, range(24 * 8))
    members = [*map(begin, share(bundle, 3, **config))]
    shared = members[0].component.config.shared
    members[1].set_value("slope", np.array([40.0]))
    members[1].set_value("multiplier__FC", np.array([0.5]))
    before = together(bmi_run, members, series, range(77))
    assert (before[:, 1, :2] != expected[:77, 1, :2]).any()
    members[1].finalize()
    path = shared.with_name("again.yaml")
    path.write_text(f"shared: {shared.name}\ncatchment: cat-8\n")
    members[1] = begin(bmi_run.start(path))
    close([step(bmi_run, members[1], series, 1, hour) for hour in range(77)], expected[:77, 1])
    close(together(bmi_run, members, series, range(77, 24 * 8)), expected[77:])


def test_opening_a_book_of_water_while_others_run_ahead_changes_nothing(bundles, share, keys, bmi_run):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys("own", 3, 4)
    expected = together(bmi_run, share(bundle, 3, **config), series, range(24 * 4))
    members = share(bundle, 3, **config)
    together(bmi_run, members, series, range(24))
    first = [step(bmi_run, members[0], series, 0, 24)]  # the day of the others is computed with it
    books = [bmi.get_value_ptr("ngen::mass_stored") for bmi in members[::-1]][::-1]
    water = {w: [bmi.get_value_ptr(f"ngen::mass_{w}") for bmi in members] for w in ("in", "out", "leaked")}
    close(first, expected[24:25, 0])
    for hour in range(24, 24 * 4):
        for row, member in enumerate(members):
            if (row, hour) != (0, 24):
                close(step(bmi_run, member, series, row, hour), expected[hour, row])
            residual = water["in"][row] - water["out"][row] - water["leaked"][row] - books[row]
            np.testing.assert_allclose(residual, 0.0, atol=1e-9)
    assert all(w > 1.0 for w in water["in"])


def test_a_row_that_left_before_the_first_step_is_missed_by_nobody(bundles, share, keys, bmi_run):
    config, _ = keys("own", 3, 3)
    expected = together(bmi_run, share(bundles("lstm", DAY, torch.float64), 3, **config), None, range(48))
    members = share(bundles("lstm", DAY, torch.float64), 3, **config)
    members.pop().finalize()
    wet = np.array([150.0, 90.0])
    members[1].set_value("phy.SM", wet)
    step(bmi_run, members[0], None, 0, 0)
    np.testing.assert_array_equal(bmi_run.read(members[1], "phy.SM"), wet)  # its day is computed
    members[1].set_value("phy.SM", np.zeros(2))
    actual = [step(bmi_run, members[1], None, 1, hour) for hour in range(48)]
    close(actual, expected[:, 1])


def test_a_row_that_was_computed_ahead_is_read_as_it_was_whatever_others_do_then(
    bundles, share, keys, bmi_run
):
    config, _ = keys("own", 3, 5)
    members = share(bundles("lstm", DAY, torch.float64), 3, **config)
    for member in members:
        member.set_value("phy.SM", np.array([150.0, 90.0]))
    together(bmi_run, members, None, range(24))
    before = [bmi_run.read(member, "phy.SM") for member in members]
    # The second day of all is computed with that of the last, then its third day alone.
    for hour in range(24, 49):
        step(bmi_run, members[2], None, 2, hour)
    for row in (0, 1):
        np.testing.assert_array_equal(bmi_run.read(members[row], "phy.SM"), before[row])
    # Now the second is at its third day, before the first has begun its second.
    for hour in range(24, 49):
        step(bmi_run, members[1], None, 1, hour)
    np.testing.assert_array_equal(bmi_run.read(members[0], "phy.SM"), before[0])
    step(bmi_run, members[0], None, 0, 24)
    assert all((bmi_run.read(m, "phy.SM") != old).any() for m, old in zip(members, before, strict=True))


@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_a_state_that_is_set_changes_that_row_alone_from_its_own_clock_on(
    bundles, share, keys, bmi_run, forcing
):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys(forcing, 3, 6)
    wet = np.array([150.0, 90.0])

    def run(order):
        members = share(bundle, 3, **config)
        out = []
        for hour in range(24 * 6):
            for row in order:
                if (row, hour) in ((1, 48), (1, 61), (2, 24)):
                    members[row].set_value("phy.SM", wet)
                    np.testing.assert_array_equal(bmi_run.read(members[row], "phy.SM"), wet)
            given = {row: step(bmi_run, members[row], series, row, hour) for row in order}
            out.append([given[row] for row in range(3)])
        return np.array(out)

    forward = run([0, 1, 2])
    close(run([2, 1, 0]), forward)
    close(run([1, 2, 0]), forward)
    plain = together(bmi_run, share(bundle, 3, **config), series, range(24 * 6))
    close(forward[:, 0], plain[:, 0])
    close(forward[:48, 1], plain[:48, 1])
    assert (forward[-1, 1:] != plain[-1, 1:]).any(axis=1).all()


@pytest.mark.parametrize("hour", [24, 48, 57, 71])
@pytest.mark.parametrize("forcing", ["pushed", "own"])
def test_each_row_is_saved_and_restored_on_its_own_at_any_hour(bundles, share, keys, bmi_run, forcing, hour):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys(forcing, 3, 6)
    members = share(bundle, 3, **config)
    whole = together(bmi_run, members, series, range(hour))
    # Row 0 is an hour ahead when the others are saved.
    ahead = step(bmi_run, members[0], series, 0, hour)
    saved = [member.component.save() for member in members]
    assert saved == [member.component.save() for member in members]
    rest = together(bmi_run, members[1:], None if series is None else shifted(series), range(hour, 24 * 6))

    begin = np.datetime64(START) + np.timedelta64(hour, "h")
    again = share(bundle, 3, **config | {"start_time": str(begin)})
    for row in (2, 1):
        again[row].component.load(saved[row])
        close(
            [step(bmi_run, again[row], series, row, k) for k in range(hour, 24 * 6)],
            rest[:, row - 1],
        )
    later = share(bundle, 3, **config | {"start_time": str(begin + np.timedelta64(1, "h"))})
    later[0].component.load(saved[0])
    fresh = share(bundle, 3, **config)
    expected = [step(bmi_run, fresh[0], series, 0, k) for k in range(24 * 6)]
    close(np.concatenate([whole[:, 0], [ahead]]), expected[: hour + 1])
    close([step(bmi_run, later[0], series, 0, k) for k in range(hour + 1, 24 * 6)], expected[hour + 1 :])


def shifted(series):
    """Without the first row."""
    return {name: values[:, 1:] for name, values in series.items()}


def test_restart_files_are_read_before_the_first_step_and_all_in_one(bundles, share, keys, bmi_run, tmp_path):
    bundle = bundles("lstm_mlp", DAY, torch.float64)
    config, series = keys("own", 3, 6)
    files = {k: f"{{write: {tmp_path / f'state-{k}'}}}" for k in range(3)}
    first = share(bundle, 3, restart=files, **config)
    together(bmi_run, first, series, range(65))
    for member in first:
        member.finalize()
    again = share(
        bundle,
        3,
        restart={k: text.replace("write", "read") for k, text in files.items()},
        **config | {"start_time": "2000-01-03T17:00:00"},
    )
    assert again[0].component.group.states.size == 0
    actual = together(bmi_run, again, series, range(65, 24 * 6))
    close(actual, together(bmi_run, share(bundle, 3, **config), series, range(24 * 6))[65:])


def test_a_start_in_mid_day_runs_its_first_day_on_what_is_left_of_it(bundles, share, keys, bmi_run):
    bundle = bundles("lstm", DAY, torch.float64)
    config, series = keys("pushed", 2, 4)
    late = {name: values[7:] for name, values in series.items()}
    members = share(bundle, 2, **config | {"start_time": "2000-01-01T07:00:00"})
    actual = together(bmi_run, members, late, range(24 * 4 - 7))
    # The flow of the first day, of 17 hours, comes in the 24 hours of the second.
    assert (actual[:17, :, 0] == 0.0).all()
    assert (np.ptp(actual[17:41, :, 0], axis=0) == 0.0).all()
    assert (np.diff(np.nan_to_num(actual), axis=0) != 0).any(axis=(1, 2)).nonzero()[0].tolist() == [
        16,
        40,
        64,
    ]


def test_a_model_step_is_run_once_for_all_and_the_static_network_once(
    bundles, share, keys, bmi_run, monkeypatch
):
    steps, networks = [], []
    run, precompute = DeltaModel.run, DeltaModel.precompute
    monkeypatch.setattr(
        DeltaModel,
        "run",
        lambda self, forcing, *a, **k: steps.append(forcing["P"].shape) or run(self, forcing, *a, **k),
    )
    monkeypatch.setattr(
        DeltaModel,
        "precompute",
        lambda self, a, n, *r, **k: networks.append(n) or precompute(self, a, n, *r, **k),
    )
    for forcing, expected in (("pushed", 3), ("own", 4)):
        config, series = keys(forcing, 5, 4)
        members = share(bundles("lstm_mlp"), 5, **config)
        for member in members:
            member.set_value("slope", np.array([20.0]))  # as model_params do
        assert (steps, networks) == ([], [])
        together(bmi_run, members, series, range(24 * 4), "any")
        assert steps == [(1, 5)] * expected
        assert networks == [5]
        steps.clear()
        networks.clear()


def test_only_the_first_factor_on_a_parameter_concerns_every_row(bundles, share, keys, bmi_run, monkeypatch):
    networks, precompute = [], DeltaModel.precompute
    monkeypatch.setattr(
        DeltaModel,
        "precompute",
        lambda self, a, n, *r, **k: networks.append(n) or precompute(self, a, n, *r, **k),
    )
    config, series = keys("pushed", 3, 6)
    members = share(bundles("lstm_mlp"), 3, **config)
    for day, row in enumerate((None, 1, 1, 2)):
        if row is not None:
            members[row].set_value("multiplier__FC", np.array([1.0 + day]))
        together(bmi_run, members, series, range(24 * day, 24 * (day + 1)))
    together(bmi_run, members, series, range(96, 97))
    assert networks == [3, 3, 1, 1]


def test_forcing_that_is_not_legal_stops_its_own_row_and_names_it(bundles, share, keys, bmi_run):
    config, series = keys("pushed", 2, 2)
    members = share(bundles("fixed"), 2, **config)
    push(bmi_run, members[1], series, 1, 0)
    members[1].set_value("T", np.array([np.nan]))
    with pytest.raises(ForcingError, match="'cat-8'"):
        members[1].update()
    assert members[1].get_current_time() == 0.0
    members[1].set_value("T", np.array([np.inf]))
    with pytest.raises(ForcingError, match="finite"):
        members[1].update()
    step(bmi_run, members[0], series, 0, 0)


def test_a_catchment_is_one_component_at_a_time(bundles, share, configure, bmi_run, tmp_path):
    members = share(bundles("fixed"), 2, time_step=HOUR)
    shared = members[0].component.config.shared
    path = tmp_path / "twice.yaml"
    path.write_text(f"shared: {shared.name}\ncatchment: cat-7\n")
    with pytest.raises(AttributeTableError, match=r"twice.yaml.*'cat-7'.*finalize"):
        bmi_run.start(path)
    members[0].finalize()
    again = bmi_run.start(path)
    assert again.get_current_time() == 0.0


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("shared: none.yaml\ncatchment: cat-7\n", ConfigError, "none.yaml: cannot be read"),
        ("shared: {shared}\n", ConfigError, "missing key 'catchment'"),
        ("shared: {shared}\ncatchment: cat-7\nengine: eager\n", ConfigError, "'engine'"),
        ("shared: {shared}\ncatchment: cat-99\n", AttributeTableError, "'cat-99'"),
        ("shared: me.yaml\ncatchment: cat-7\n", ConfigError, "'shared' again"),
    ],
)
def test_what_is_wrong_with_a_member_is_said(bundles, configure, bmi_run, tmp_path, text, error, match):
    shared = configure(bundles("fixed"), 2)
    path = tmp_path / "me.yaml"
    path.write_text(text.format(shared=shared.name))
    with pytest.raises(error, match=match):
        bmi_run.start(path)


@pytest.mark.parametrize("name", ["../away", "/tmp/away", "a/b", "..", "NUL"])
@pytest.mark.parametrize("key", ["read", "write"])
def test_the_id_of_a_catchment_cannot_lead_its_state_out_of_the_folder(
    configure, bmi_run, tmp_path, name, key
):
    shared = configure(restart={key: "states/{id}.state"})
    table = tmp_path / "catchments-1.csv"
    table.write_text(table.read_text().replace("cat-7", name))
    path = tmp_path / "me.yaml"
    path.write_text(f"shared: {shared.name}\ncatchment: {name}\n")
    with pytest.raises(ConfigError, match="cannot be part of a file's name"):
        bmi_run.start(path)


def test_a_group_is_freed_with_its_last_member(bundles, share):
    members = share(bundles("fixed"), 3, time_step=HOUR)
    group = weakref.ref(members[0].component.group)
    assert isinstance(group(), Group)
    for member in members:
        member.finalize()
    gc.collect()
    assert group() is None


def test_flow_is_depth_over_area_and_nan_where_no_area_is_known(bundles, configure, bmi_run, keys):
    config, series = keys("pushed", 2, 3)
    members = bmi_run.start(configure(bundles("fixed"), 2, **config))
    unknown = bmi_run.start(
        configure(
            bundles("fixed"),
            2,
            catchments={"ids": ["a", "b"], "attributes": {"slope": 1.0, "aridity": 1.0}}
            if bundles("fixed").load_model().attribute_names
            else {"ids": ["a", "b"]},
            **config,
        )
    )
    flow = "land_surface_water_source__volume_flow_rate"
    assert flow in members.get_output_var_names()
    assert members.get_var_units(flow) == "m3 s-1"
    held = members.get_value_ptr(flow)
    for hour in range(60):
        for bmi in (members, unknown):
            bmi_run.push(bmi, series, hour)
            bmi.update()
        depth = bmi_run.read(members, "Q")
        np.testing.assert_allclose(held, depth * np.array([10.0, 11.0]) * 1e6 / HOUR, rtol=1e-14)
        assert np.isnan(bmi_run.read(unknown, flow)).all()
    assert (held > 0).any()
    assert members.get_value_ptr(flow) is held
    with pytest.raises(VariableError):
        members.set_value(flow, np.ones(2))


@pytest.mark.parametrize("dated", [True, False])
def test_what_a_user_should_know_is_said_once(bundles, share, keys, bmi_run, caplog, dated):
    config, series = keys("pushed", 3, 2)
    if not dated:
        del config["start_time"]
    with caplog.at_level("INFO", logger="dmg_bmi"):
        members = share(bundles("fixed"), 3, **config)
        first = together(bmi_run, members, series, range(24))
    said = [record.getMessage() for record in caplog.records]
    assert sum("one model step behind" in text for text in said) == 1
    assert sum("no start_time" in text for text in said) == (not dated)
    assert (first[:, :, [0, 1]] == 0.0).all()
    assert np.isnan(first[:, :, 2:]).all()


def test_rows_come_back_to_the_same_catchments_side_by_side_and_to_no_others(bundles, configure):
    config = RunConfig.read(configure(bundles("lstm"), 4))
    group = Group(BundleInfo.read(config.bundle), config)

    class Owner:
        def __init__(self, *names):
            self.clock, self.rows = group.setup.new_clock(), group.join(self, names)

    with pytest.raises(AttributeTableError, match="no catchment 'cat-1' in the table"):
        group.join(object(), ["cat-7", "cat-1"])
    first, last = Owner("cat-8", "cat-7"), Owner("cat-10")
    assert (first.rows.tolist(), last.rows.tolist(), group.n) == ([0, 1], [2], 3)
    assert group.names(first.rows) == ["cat-8", "cat-7"]
    assert group.areas(first.rows).tolist() == [11.0, 10.0]
    group.attributes["slope"][first.rows] = 5.0
    for names in (["cat-8", "cat-7"], ["cat-8"], ["cat-10"]):
        with pytest.raises(AttributeTableError, match=f"'{names[0]}' has been initialized before"):
            group.join(object(), names)
    group.leave(first)
    for names in (["cat-7", "cat-8"], ["cat-8", "cat-9"], ["cat-7", "cat-10"]):
        with pytest.raises(AttributeTableError, match="has been initialized before"):
            group.join(object(), names)
    again = Owner("cat-8", "cat-7")
    assert (again.rows.tolist(), group.n) == ([0, 1], 3)
    np.testing.assert_allclose(group.attributes["slope"][again.rows], [12.0 * 1.1, 12.0])
