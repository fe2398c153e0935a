"""A daily model stepped hourly, on forcing that is pushed or stored."""

import os
import re
from pathlib import Path

import numpy as np
import pytest

from dmg_bmi.errors import ConfigError, ForcingError, TimeError
from dmg_bmi.model.delta_model import DAY
from dmg_bmi.runtime.forcing import stored

HOUR = 3600.0
FLOWS, LEVELS = ("Q", "ET"), ("SWE", "soil_moisture", "groundwater")


def close(actual, expected):
    """Within what splitting may change, for float32 networks (mm to m)."""
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-9)


def daily(series, first=0):
    """Hourly amounts and means to daily ones, from hour `first` of a day on."""
    hours = {name: np.concatenate([values[:0], values]) for name, values in series.items()}
    rest = 24 - first
    days = {}
    for name, values in hours.items():
        blocks = [values[:rest], *np.split(values[rest:], range(24, len(values) - rest, 24))]
        whole = [b for k, b in enumerate(blocks) if len(b) == 24 or k == 0]
        days[name] = np.stack([b.mean(0) if name == "T" else b.sum(0) for b in whole])
    return days


@pytest.mark.parametrize("n", [1, 3])
def test_hourly_depths_of_the_next_day_add_up_to_the_days_depth(configure, weather, bmi_run, n):
    hourly = weather(24 * 12, n, seed=1, step=HOUR)
    model = bmi_run.drive(bmi_run.start(configure(n=n)), daily(hourly), range(12))
    steps = bmi_run.drive(bmi_run.start(configure(n=n, time_step=HOUR)), hourly, range(24 * 12))
    for name in FLOWS:
        by_day = steps[name].reshape(12, 24, n)
        np.testing.assert_array_equal(by_day[0], 0.0)
        close(by_day[1:].sum(1), model[name][:-1])
        assert (np.ptp(by_day, axis=1) == 0.0).all()  # evenly over the day
    for name in LEVELS:
        by_day = steps[name].reshape(12, 24, n)
        close(by_day[1:], np.repeat(model[name][:-1, None], 24, axis=1))


@pytest.mark.parametrize("stored_step", [HOUR, DAY, 3 * HOUR])
def test_stored_forcing_gives_what_pushed_forcing_gives_a_day_later(
    configure, weather, store, bmi_run, stored_step
):
    hourly = weather(24 * 10, 2, seed=2, step=HOUR)
    per = round(stored_step / HOUR)
    records = {
        name: values.reshape(-1, per, 2).mean(1) * (1 if name == "T" else per)
        for name, values in hourly.items()
    }
    units = {"P": "mm d-1", "PET": "mm d-1"}
    rates = {
        name: values if name == "T" else values * (DAY / stored_step) for name, values in records.items()
    }
    folder = store(rates, 2, "2000-01-01", DAY, units)
    index = (folder / "forcing.yaml").read_text().replace("step: 86400.0", f"step: {stored_step}")
    (folder / "forcing.yaml").write_text(index)
    keys = {"n": 2, "time_step": HOUR, "start_time": "2000-01-01"}
    pushed = bmi_run.drive(bmi_run.start(configure(**keys)), hourly, range(240))
    stored = bmi_run.drive(bmi_run.start(configure(**keys, forcing=str(folder))), None, range(240))
    for name in (*FLOWS, *LEVELS):
        close(stored[name][:-24], pushed[name][24:])


@pytest.mark.parametrize("hours", [1, 12, 23])
def test_a_run_that_starts_within_a_day_takes_the_rest_of_it(configure, weather, store, bmi_run, hours):
    """The first model step sees what is left of its day; flows are spread over what is left."""
    hourly = weather(24 * 6, 2, seed=3, step=HOUR)
    rest = {name: values[hours:] for name, values in hourly.items()}
    model = bmi_run.drive(bmi_run.start(configure(n=2)), daily(rest, hours), range(6))
    date = f"2000-01-01 {hours:02}:00"
    keys = {"n": 2, "time_step": HOUR, "start_time": date}

    pushed = bmi_run.drive(bmi_run.start(configure(**keys)), rest, range(24 * 6 - hours))
    folder = store(hourly, 2, "2000-01-01", HOUR)
    stored = bmi_run.drive(bmi_run.start(configure(**keys, forcing=str(folder))), None, range(24 * 6 - hours))
    first = 24 - hours
    for name in FLOWS:
        np.testing.assert_array_equal(pushed[name][:first], 0.0)
        close(pushed[name][first:].reshape(5, 24, 2).sum(1), model[name][:5])
        close(stored[name][:first].sum(0), model[name][0])
        close(stored[name][first:].reshape(5, 24, 2).sum(1), model[name][1:])


@pytest.mark.parametrize(
    ("day_start_hour", "date", "hours"), [(6.0, "2000-01-01 06:00", 0), (6.0, "2000-01-01", 18)]
)
def test_the_models_day_begins_when_the_configuration_says(
    configure, weather, store, bmi_run, day_start_hour, date, hours
):
    hourly = weather(24 * 4, 1, seed=4, step=HOUR)
    keys = {"time_step": HOUR, "start_time": date, "day_start_hour": day_start_hour}
    model = bmi_run.drive(bmi_run.start(configure()), daily(hourly, hours), range(4))
    pushed = bmi_run.drive(bmi_run.start(configure(**keys)), hourly, range(96))
    first = 24 - hours
    close(pushed["Q"][first : first + 24].sum(0), model["Q"][0])
    folder = store(hourly, 1, date, HOUR)
    stored = bmi_run.drive(bmi_run.start(configure(**keys, forcing=str(folder))), None, range(72))
    close(stored["Q"][:first].sum(0), model["Q"][0])
    close(stored["Q"][first : first + 24].sum(0), model["Q"][1])


@pytest.mark.parametrize(
    ("units", "change"),
    [
        ({"T": "K"}, {"T": lambda v: v + 273.15}),
        ({"P": "kg m-2 s-1"}, {"P": lambda v: v / 86400.0}),
        ({"P": "m s-1", "PET": "mm h-1"}, {"P": lambda v: v * 1e-3 / 86400.0, "PET": lambda v: v / 24.0}),
        ({"P": "mm"}, {}),
        ({"P": "kg m-2", "PET": "cm"}, {"PET": lambda v: v / 10.0}),
    ],
)
def test_stored_forcing_may_come_in_other_units(configure, weather, store, bmi_run, units, change):
    series = weather(60, 2, seed=5)
    keys = {"n": 2, "start_time": "2000-01-01"}
    expected = bmi_run.drive(bmi_run.start(configure(**keys)), series, range(60))
    other = {name: change.get(name, np.asarray)(values) for name, values in series.items()}
    folder = store(other, 2, "2000-01-01", DAY, units)
    actual = bmi_run.drive(bmi_run.start(configure(**keys, forcing=str(folder))), None, range(60))
    for name in expected:
        close(actual[name], expected[name])


def test_catchments_are_found_in_a_store_by_id(configure, weather, store, bmi_run):
    series = weather(20, 3, seed=6)
    folder = store(series, 3, "2000-01-01", DAY)
    chosen = {"file": "catchments-3.csv", "ids": ["cat-9", "cat-7"]}
    keys = {"n": 3, "catchments": chosen, "start_time": "2000-01-01"}
    swapped = {name: values[:, [2, 0]] for name, values in series.items()}
    expected = bmi_run.drive(bmi_run.start(configure(**keys)), swapped, range(20))
    actual = bmi_run.drive(bmi_run.start(configure(**keys, forcing=str(folder))), None, range(20))
    close(actual["Q"], expected["Q"])


def test_a_run_may_start_later_than_its_store_and_ends_with_it(configure, weather, store, bmi_run):
    series = weather(20, 1, seed=6)
    folder = store(series, 1, "2000-01-01", DAY)
    bmi = bmi_run.start(configure(start_time="2000-01-11", forcing=str(folder)))
    late = {name: values[10:] for name, values in series.items()}
    expected = bmi_run.drive(bmi_run.start(configure()), late, range(10))
    close(bmi_run.drive(bmi, None, range(10))["Q"], expected["Q"])
    soil = bmi_run.read(bmi, "phy.SM")
    with pytest.raises(TimeError, match=r"forcing\.yaml: holds no forcing at 864000 s"):
        bmi.update()
    assert bmi.get_current_time() == 10 * DAY
    np.testing.assert_array_equal(bmi_run.read(bmi, "phy.SM"), soil)


# -- stores that cannot be used -------------------------------------------------------


def spoil(folder, old, new):
    index = folder / "forcing.yaml"
    text = index.read_text()
    assert old in text
    index.write_text(text.replace(old, new))


@pytest.mark.parametrize(
    ("damage", "error", "reason"),
    [
        (lambda f: (f / "P.npy").unlink(), ForcingError, r"P\.npy: cannot be read"),
        (lambda f: (f / "P.npy").write_bytes(b""), ForcingError, r"P\.npy: cannot be read"),
        (lambda f: (f / "P.npy").write_bytes(b"PK\x03\x04"), ForcingError, r"P\.npy: cannot be read"),
        (
            lambda f: np.savez(f / "P.npy.npz", a=1) or (f / "P.npy.npz").rename(f / "P.npy"),
            ForcingError,
            r"P\.npy: cannot be read",
        ),
        (
            lambda f: (f / "P.npy").write_bytes((f / "P.npy").read_bytes()[:-9]),
            ForcingError,
            "cannot be read",
        ),
        (lambda f: np.save(f / "P.npy", np.array([{}], object)), ForcingError, "cannot be read"),
        (lambda f: np.save(f / "P.npy", np.zeros((20, 2), int)), ForcingError, "must be a float array"),
        (lambda f: np.save(f / "P.npy", np.zeros((20, 3))), ForcingError, "must be a float array"),
        (lambda f: spoil(f, "file: P.npy", "file: ../P.npy"), ForcingError, "same folder"),
        (lambda f: spoil(f, "cat-8", "cat-80"), ForcingError, "no catchment cat-8"),
        (lambda f: spoil(f, "PET:", "EVAP:"), ForcingError, "has no PET"),
        (lambda f: spoil(f, "mm d-1", "mm fortnight-1"), ConfigError, "is not understood at 'fortnight'"),
        (lambda f: spoil(f, "units: degC", "units: mm"), ConfigError, "measure different things"),
        (lambda f: spoil(f, "step: 86400.0", "step: 7000.0"), ConfigError, "step: a step of 7000 s does not"),
        (lambda f: spoil(f, "step: 86400.0", "step: 0"), ConfigError, "step: a step of 0 s does not"),
        (lambda f: spoil(f, "step: 86400.0", "step: -1"), ConfigError, "step: a step of -1 s does not"),
        (lambda f: spoil(f, "step: 86400.0", "steps: 86400.0"), ConfigError, "did you mean 'step'"),
        (lambda f: spoil(f, "2000-01-01", "2000-01-01 01:00"), ConfigError, "do not meet start_time"),
        (lambda f: (f / "forcing.yaml").unlink(), ConfigError, r"forcing\.yaml: cannot be read"),
    ],
)
def test_a_store_that_cannot_be_used_says_why(configure, weather, store, bmi_run, damage, error, reason):
    folder = store(weather(20, 2), 2, "2000-01-01", DAY)
    damage(folder)
    with pytest.raises(error, match=reason) as caught:
        bmi_run.start(configure(n=2, start_time="2000-01-02", forcing=str(folder)))
    assert "forcing" in str(caught.value)
    assert "run-0.yaml" in str(caught.value)


def test_a_store_whose_series_differ_in_length_ends_with_the_shortest(configure, weather, store, bmi_run):
    folder = store(weather(20, 1), 1, "2000-01-01", DAY)
    np.save(folder / "T.npy", np.load(folder / "T.npy")[:15])
    bmi = bmi_run.start(configure(start_time="2000-01-01", forcing=str(folder)))
    bmi.update_until(15 * DAY)
    with pytest.raises(TimeError, match="holds no forcing"):
        bmi.update()


def test_a_store_that_became_shorter_under_a_run_is_refused_and_ends_no_process(
    configure, weather, store, bmi_run
):
    folder = store(weather(3000, 1), 1, "2000-01-01", DAY)
    bmi = bmi_run.start(configure(start_time="2000-01-01", forcing=str(folder)))
    bmi.update()
    os.truncate(folder / "P.npy", 200)
    with pytest.raises(ForcingError, match=r"P\.npy: has become shorter"):
        bmi.update()


def test_stored_forcing_needs_dates(configure, weather, store, bmi_run):
    with pytest.raises(ConfigError, match="needs start_time"):
        bmi_run.start(configure(forcing=str(store(weather(5, 1), 1, "2000-01-01", DAY))))


def test_a_run_on_daily_records_cannot_begin_within_one(configure, weather, store, bmi_run):
    folder = store(weather(5, 1), 1, "2000-01-01", DAY)
    keys = {"time_step": HOUR, "start_time": "2000-01-01 12:00", "forcing": str(folder)}
    bmi = bmi_run.start(configure(**keys))
    with pytest.raises(ConfigError, match="within one of its records"):
        bmi.update()
    assert bmi.get_current_time() == 0.0


@pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="asks Linux what a process holds of a file")
@pytest.mark.parametrize("held", [2**18, 2**30])
def test_of_a_store_no_more_is_held_in_memory_than_is_said(
    configure, weather, store, bmi_run, monkeypatch, held
):
    monkeypatch.setattr(stored, "HELD", held)
    days, n = 40, 4000
    series = {name: np.repeat(values, n, axis=1) for name, values in weather(days, 1, seed=4).items()}
    folder = store(series, n, "2000-01-01", DAY)
    bmi = bmi_run.start(configure(n=n, start_time="2000-01-01", forcing=str(folder)))
    flows = 0.0
    for _ in range(days):
        bmi.update()
        flows += bmi.get_value_ptr("Q").sum()
    kilobytes = 0
    for block in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", Path("/proc/self/smaps").read_text()):
        if str(folder) in block:
            kilobytes += int(re.search(r"Rss: +(\d+) kB", block)[1])
    size = sum(file.stat().st_size for file in folder.glob("*.npy"))
    assert flows > 0.0
    # The system reads some pages ahead.
    assert (kilobytes * 1024 > 0.9 * size) == (held > size)
    assert held > size or kilobytes * 1024 < 0.5 * size
