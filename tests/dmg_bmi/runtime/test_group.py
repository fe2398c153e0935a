"""Many components, one model: each answers as if it were alone, however they are called."""

import random

import numpy as np
import pytest
import torch
from group_members import HOUR, NAMES, close, step, together

from dmg_bmi.errors import ForcingError
from dmg_bmi.model.delta_model import DAY


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
