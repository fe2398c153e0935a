"""However a run is cut, through the BMI or not, it gives the same answer."""

import numpy as np
import pytest
import torch

from dmg_bmi.errors import StateError
from dmg_bmi.model.delta_model import DAY
from dmg_bmi.runtime import state_codec

HOUR = 3600.0
FIVE_YEARS = 1826
#: Relative, absolute for fluxes, absolute for stores, in mm (design contract 3).
TOLERANCE = {torch.float64: (1e-10, 1e-12, 1e-12), torch.float32: (1e-5, 1e-6, 1e-3)}
STORES = ("SWE", "soil_moisture", "groundwater")


def forward(info, forcing, attributes, n):
    """Fluxes ``[time, n]`` in mm of one call for the whole record."""
    tensors = {name: torch.from_numpy(values) for name, values in forcing.items()}
    with torch.no_grad():
        fluxes, state = info.load_model()(tensors, attributes(n))
    return {name: values.numpy() for name, values in fluxes.items()}, state


def excess(actual, expected, dtype):
    """By how much the worst value exceeds contract 3, and the largest differences of fluxes and stores."""
    relative, flux, store = TOLERANCE[dtype]
    over, largest = -np.inf, [0.0, 0.0]
    for name, values in actual.items():
        level = name in STORES
        bound = relative * np.abs(expected[name]) + (store if level else flux)
        difference = np.abs(values * 1e3 - expected[name])  # the BMI gives metres
        over, largest[level] = max(over, (difference - bound).max()), max(largest[level], difference.max())
    return over, largest


@pytest.mark.parametrize(
    ("n", "days"), [(1, 400), (5, FIVE_YEARS), pytest.param(1, FIVE_YEARS, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_five_years_of_single_updates_are_one_forward(
    configure, bundles, attributes, weather, bmi_run, dtype, n, days
):
    """And a year of a catchment alone, whose matrix products are of another kind."""
    info = bundles("lstm", DAY, dtype)
    forcing = weather(days, n, seed=n)
    expected, state = forward(info, forcing, attributes, n)
    bmi = bmi_run.start(configure(info, n))
    actual = bmi_run.drive(bmi, forcing, range(days))
    over, (fluxes, stores) = excess(actual, expected, dtype)
    print(f"{dtype}, {n} catchments differ at most by {fluxes:.1e} mm in fluxes, {stores:.1e} mm in stores")
    assert over <= 0
    assert expected["Q"].sum(0).min() > 500.0 * days / FIVE_YEARS  # there was something to compare
    for name in ("SM", "SLZ", "queue"):
        difference = np.abs(bmi_run.read(bmi, f"phy.{name}") - state[f"phy.{name}"].numpy().ravel())
        assert difference.max() <= TOLERANCE[dtype][2] + TOLERANCE[dtype][0] * 1e3


@pytest.mark.parametrize(
    ("kind", "step"), [("lstm_mlp", DAY), ("lstm", HOUR), ("lstm_mlp", HOUR), ("fixed", DAY)]
)
def test_updates_are_one_forward_for_every_way_to_meet(
    configure, bundles, attributes, weather, bmi_run, kind, step
):
    info = bundles(kind, step, torch.float64)
    forcing = weather(150, 3, seed=2, step=step)
    expected, _ = forward(info, forcing, attributes, 3)
    actual = bmi_run.drive(bmi_run.start(configure(info, 3)), forcing, range(150))
    assert excess(actual, expected, torch.float64)[0] <= 0


def test_a_catchment_does_not_feel_its_neighbours(configure, bundles, weather, bmi_run):
    forcing = weather(100, 4, seed=5)
    info = bundles("lstm", DAY, torch.float64)
    together = bmi_run.drive(bmi_run.start(configure(info, 4)), forcing, range(100))
    for k in range(4):
        alone = configure(info, 4, catchments={"file": "catchments-4.csv", "ids": [f"cat-{k + 7}"]})
        single = {name: values[:, [k]] for name, values in forcing.items()}
        series = bmi_run.drive(bmi_run.start(alone), single, range(100))
        expected = {name: values[:, [k]] * 1e3 for name, values in together.items()}
        assert excess(series, expected, torch.float64)[0] <= 0


def test_update_until_is_as_many_updates(configure, bundles, weather, bmi_run):
    forcing = {name: np.repeat(values, 7, axis=0) for name, values in weather(10, 2).items()}
    one, other = bmi_run.start(configure(n=2)), bmi_run.start(configure(n=2))
    expected = bmi_run.drive(one, forcing, range(70))
    for week in range(10):
        bmi_run.push(other, forcing, 7 * week)
        other.update_until((week + 1) * 7 * DAY)
        np.testing.assert_array_equal(bmi_run.read(other, "Q"), expected["Q"][7 * week + 6])


# -- save and restart -----------------------------------------------------------------


def cut_run(bmi_run, configure, info, n, series, total, cut, date, **keys):
    """Outputs of a whole run, and of one cut in two by a state file, with its restored outputs."""
    state = configure(info, n).parent / "state.bin"
    step = keys.get("time_step", DAY)
    first_day = np.datetime64(date)
    whole = bmi_run.drive(bmi_run.start(configure(info, n, start_time=date, **keys)), series, range(total))

    config = configure(info, n, start_time=date, restart={"write": str(state)}, **keys)
    first = bmi_run.start(config)
    before = bmi_run.drive(first, series, range(cut))
    soil = bmi_run.read(first, "phy.SM")
    first.finalize()

    resumed = str(first_day + np.timedelta64(int(cut * step), "s"))
    second = bmi_run.start(configure(info, n, start_time=resumed, restart={"read": str(state)}, **keys))
    np.testing.assert_array_equal(bmi_run.read(second, "phy.SM"), soil)
    for name, values in before.items():
        np.testing.assert_array_equal(bmi_run.read(second, name), values[-1])
    assert second.get_current_time() == 0.0
    after = bmi_run.drive(second, series, range(cut, total))
    return whole, {name: np.concatenate([before[name], after[name]]) for name in whole}


@pytest.mark.parametrize("cut", [1, 29, 30, 31, 50])
@pytest.mark.parametrize(("kind", "n"), [("lstm", 1), ("lstm", 3), ("lstm_mlp", 2)])
def test_a_restart_goes_on_bitwise(configure, bundles, weather, bmi_run, kind, n, cut):
    """Also around step 30, from which on static parameters are held in the state."""
    series = weather(60, n, seed=3)
    whole, cut_in_two = cut_run(bmi_run, configure, bundles(kind), n, series, 60, cut, "2000-01-01T00:00:00")
    for name in whole:
        np.testing.assert_array_equal(cut_in_two[name], whole[name])


@pytest.mark.parametrize("cut", [1, 7, 23, 24, 25, 60])
@pytest.mark.parametrize("date", ["2000-01-01T00:00:00", "2000-01-01T12:00:00"])
def test_a_daily_model_stepped_hourly_restarts_within_the_day_bitwise(
    configure, bundles, weather, bmi_run, date, cut
):
    """With a half-filled buffer, and while yesterday's water is being handed out."""
    series = weather(96, 2, seed=4, step=HOUR)
    whole, cut_in_two = cut_run(bmi_run, configure, bundles("lstm"), 2, series, 96, cut, date, time_step=HOUR)
    assert whole["Q"].max() > 0
    for name in whole:
        np.testing.assert_array_equal(cut_in_two[name], whole[name])


@pytest.mark.parametrize("cut", [0, 1, 7, 23, 24, 25, 60])
@pytest.mark.parametrize(
    ("stored_step", "date"),
    [(HOUR, "2000-01-01T00:00:00"), (HOUR, "2000-01-01T12:00:00"), (DAY, "2000-01-01T00:00:00")],
)
def test_stored_forcing_restarts_while_a_day_is_being_handed_out_bitwise(
    configure, bundles, weather, store, bmi_run, date, stored_step, cut
):
    folder = store(weather(96, 2, seed=4, step=stored_step), 2, "2000-01-01", stored_step)
    state = folder.parent / "state.bin"
    keys = {"time_step": HOUR, "forcing": str(folder)}
    whole = bmi_run.drive(bmi_run.start(configure(bundles(), 2, start_time=date, **keys)), None, range(72))
    first = bmi_run.start(configure(bundles(), 2, start_time=date, restart={"write": str(state)}, **keys))
    before = bmi_run.drive(first, None, range(cut))
    first.finalize()
    resumed = str(np.datetime64(date) + np.timedelta64(cut, "h"))
    config = configure(bundles(), 2, start_time=resumed, restart={"read": str(state)}, **keys)
    after = bmi_run.drive(bmi_run.start(config), None, range(cut, 72))
    for name in whole:
        joined = np.concatenate([v for v in (before[name], after[name]) if len(v)])
        np.testing.assert_array_equal(joined, whole[name])


def test_a_run_without_dates_restarts_at_any_time(configure, bundles, weather, bmi_run):
    series = weather(40, 1)
    whole = bmi_run.drive(bmi_run.start(configure()), series, range(40))["Q"]
    first = bmi_run.start(configure(restart={"write": "state.bin"}))
    bmi_run.drive(first, series, range(25))
    first.finalize()
    second = bmi_run.start(configure(restart={"read": "state.bin"}))
    np.testing.assert_array_equal(bmi_run.drive(second, series, range(25, 40))["Q"], whole[25:])


def test_saving_changes_nothing(configure, weather, bmi_run):
    series = weather(30, 2)
    one, other = bmi_run.start(configure(n=2)), bmi_run.start(configure(n=2))
    for k in range(30):
        bmi_run.push(one, series, k)
        bmi_run.push(other, series, k)
        one.update()
        other.update()
        saved = one.component.save()
        assert one.component.save() == saved
        np.testing.assert_array_equal(one.get_value_ptr("Q"), other.get_value_ptr("Q"))


def test_loading_takes_a_component_back_in_place(configure, weather, bmi_run):
    """The same object, its pointers still good."""
    series = weather(40, 2)
    bmi = bmi_run.start(configure(n=2))
    bmi_run.drive(bmi, series, range(20))
    soil, runoff = bmi.get_value_ptr("phy.SM"), bmi.get_value_ptr("Q")
    saved, then = bmi.component.save(), (soil.copy(), runoff.copy())
    first = bmi_run.drive(bmi, series, range(20, 40))
    bmi.component.load(saved)
    np.testing.assert_array_equal(soil, then[0])
    np.testing.assert_array_equal(runoff, then[1])
    assert bmi.get_value_ptr("phy.SM") is soil
    second = bmi_run.drive(bmi, series, range(20, 40))
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])


# -- states that do not fit -----------------------------------------------------------


DATE = {"start_time": "2000-01-01"}
LATER = {"start_time": "2000-01-06"}


@pytest.mark.parametrize(
    ("kind", "n", "keys", "reason"),
    [
        ("lstm_mlp", 2, LATER, "another bundle"),
        ("lstm", 3, LATER, "other catchments"),
        (
            "lstm",
            2,
            LATER | {"catchments": {"file": "catchments-2.csv", "ids": ["cat-8", "cat-7"]}},
            "other catchments",
        ),
        ("lstm", 2, LATER | {"time_step": HOUR}, "another time step"),
        ("lstm", 2, DATE, "valid at 2000-01-06"),
        ("lstm", 2, {}, "valid at 2000-01-06"),
    ],
)
def test_a_state_of_something_else_is_refused_with_the_reason(
    configure, bundles, weather, bmi_run, kind, n, keys, reason
):
    first = bmi_run.start(configure(bundles(), 2, restart={"write": "state.bin"}, **DATE))
    bmi_run.drive(first, weather(5, 2), range(5))
    first.finalize()
    with pytest.raises(StateError, match=reason):
        bmi_run.start(configure(bundles(kind), n, restart={"read": "state.bin"}, **keys))


def test_a_state_saved_within_another_day_is_refused(configure, bundles, weather, bmi_run):
    keys = {"time_step": HOUR, "start_time": "2000-01-01"}
    first = bmi_run.start(configure(restart={"write": "state.bin"}, **keys))
    bmi_run.drive(first, weather(30, 1, step=HOUR), range(30))
    first.finalize()
    keys |= {"start_time": "2000-01-02 06:00", "day_start_hour": 6.0}
    with pytest.raises(StateError, match="day_start_hour"):
        bmi_run.start(configure(restart={"read": "state.bin"}, **keys))


def flip(content, k):
    return content[:k] + bytes([content[k] ^ 1]) + content[k + 1 :]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda c: b"", id="empty"),
        pytest.param(lambda c: c[: len(c) // 2], id="torn in the middle"),
        pytest.param(lambda c: c[:-1], id="one byte short"),
        pytest.param(lambda c: c[:20], id="torn in the head"),
        pytest.param(lambda c: c + b"\0", id="one byte long"),
        pytest.param(lambda c: b"PK\x03\x04" + c, id="a zip"),
        pytest.param(lambda c: flip(c, 3), id="flipped magic"),
        pytest.param(lambda c: flip(c, 15), id="flipped version"),
        pytest.param(lambda c: flip(c, 20), id="flipped checksum"),
        pytest.param(lambda c: flip(c, 60), id="flipped header"),
        pytest.param(lambda c: flip(c, len(c) - 9), id="flipped tensor"),
    ],
)
def test_a_damaged_state_is_refused_and_leaves_the_component_alone(configure, weather, bmi_run, damage):
    series = weather(20, 2)
    bmi, twin = bmi_run.start(configure(n=2)), bmi_run.start(configure(n=2))
    for each in (bmi, twin):
        bmi_run.drive(each, series, range(10))
    saved = bmi.component.save()
    with pytest.raises(StateError):
        bmi.component.load(damage(saved))
    assert bmi.component.save() == saved
    np.testing.assert_array_equal(
        bmi_run.drive(bmi, series, range(10, 20))["Q"], bmi_run.drive(twin, series, range(10, 20))["Q"]
    )


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda h, t: h.pop("position"), "header"),
        (lambda h, t: h.update(shares="many"), "header"),
        (lambda h, t: h.update(fingerprint=None), "another bundle"),
        (lambda h, t: t.pop("phy.SM"), "tensors"),
        (lambda h, t: t.update({"phy.more": torch.zeros(2)}), "tensors"),
        (lambda h, t: t.update({"phy.SM": t["phy.SM"].float()}), "tensors"),
        (lambda h, t: t.update({"phy.SM": torch.zeros(3, 2, dtype=torch.float64)}), "tensors"),
    ],
)
def test_a_state_with_a_good_checksum_must_still_fit(configure, weather, bmi_run, change, reason):
    bmi = bmi_run.start(configure(n=2))
    bmi_run.drive(bmi, weather(10, 2), range(10))
    saved = bmi.component.save()
    header, tensors = state_codec.decode(saved)
    change(header, tensors)
    with pytest.raises(StateError, match=reason):
        bmi.component.load(state_codec.encode(header, tensors))
    assert bmi.component.save() == saved


def test_a_state_file_that_is_missing_or_cannot_be_written_is_named(configure, weather, bmi_run, tmp_path):
    with pytest.raises(StateError, match=r"nowhere\.bin: cannot be read"):
        bmi_run.start(configure(restart={"read": "nowhere.bin"}))
    bmi = bmi_run.start(configure(restart={"write": "no_folder/state.bin"}))
    for _ in range(2):  # what could not be written is not given up
        with pytest.raises(StateError, match=r"state\.bin: the state cannot be written"):
            bmi.finalize()


def test_a_state_that_cannot_be_written_leaves_the_old_one(
    configure, weather, bmi_run, tmp_path, monkeypatch
):
    bmi = bmi_run.start(configure(restart={"write": "state.bin"}))
    bmi.finalize()
    old = (tmp_path / "state.bin").read_bytes()
    bmi = bmi_run.start(configure(restart={"write": "state.bin"}))
    bmi_run.drive(bmi, weather(3, 1), range(3))

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(StateError, match="No space left"):
        bmi.finalize()
    assert (tmp_path / "state.bin").read_bytes() == old
    assert not list(tmp_path.glob(".*part"))
