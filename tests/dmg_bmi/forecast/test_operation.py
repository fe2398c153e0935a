"""Forecasts issued again and again: what they are, and that no cut of the work changes a byte of them."""

import os
import re
import signal
import time
import warnings
from dataclasses import replace

import netCDF4
import numpy as np
import pytest
import torch
import yaml
from faults import ERRORS, Faults, chosen
from operations import FIRST, LAST, content, make_config, make_dataset, run, values, weather, write_weather

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import DmgBmiError
from dmg_bmi.forecast import Assimilation, cycle, hindcast
from dmg_bmi.forecast.operation import STATE
from dmg_bmi.io import netcdf
from dmg_bmi.runtime.whole_forcing import HeldPart


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


@pytest.fixture
def given(tmp_path, dataset):
    return make_config(tmp_path, dataset)


def test_they_are_those_of_the_hindcast(given, dataset):
    found = values(run(given(given.folder / "out", lags=1)))[:, :, 0]
    options = Assimilation(window=20, ages=(1, 5))
    first, last = np.datetime64(FIRST), np.datetime64(LAST)
    model = Bundle.load("demo_daily").model
    expected = hindcast(model, dataset, first, last, np.ones(3), options, leads=4)
    assert np.allclose(found, expected.analysed.flow, rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, expected.open_loop.flow, rtol=1e-3, atol=1e-3)


def test_without_observations_they_are_those_of_the_open_loop_bit_for_bit(given, dataset):
    blind = replace(dataset, target={"Q": np.full_like(dataset.target["Q"], np.nan)})
    netcdf.write(given.folder / "blind.nc", blind)
    closed = values(run(given(given.folder / "closed", observations="blind.nc")))
    opened = values(run(given(given.folder / "open", loop="open", observations=None)))
    assert np.array_equal(closed, opened)


def test_a_lagged_member_is_the_forecast_of_an_analysis_before(given):
    found = values(run(given(given.folder / "out", lags=3, every=2)))
    longer = values(run(given(given.folder / "longer", leads=8, every=2)))
    assert found.shape[2] == 3
    for lag in range(3):
        member = found[lag:, :, lag]
        assert np.array_equal(member, longer[: len(longer) - lag, 2 * lag : 2 * lag + 4, 0])
    assert np.isnan(found[0, :, 1:]).all()  # before the cold start there was none
    with netCDF4.Dataset(given.folder / "out" / "forecast_2001-03-01T0000.nc") as data:
        assert data["lag"][:].tolist() == [0.0, 172800.0, 345600.0]


def test_a_command_that_is_cut_at_the_end_of_a_file_gives_the_same_bytes(given):
    whole, cut = given.folder / "whole", given.folder / "cut"
    run(given(whole, lags=2))
    assert len(run(given(cut, lags=2, last="2001-03-24"))) == 2
    assert len(run(given(cut, lags=2))) == 2
    assert run(given(cut, lags=2)) == []
    assert content(cut) == content(whole)


def test_one_issue_after_the_other_is_all_at_once(given):
    whole = values(run(given(given.folder / "whole", lags=2, last="2001-03-06")))
    daily = []
    for day in range(1, 7):
        daily += run(given(given.folder / "daily", lags=2, last=f"2001-03-0{day}"))
    assert len(daily) == 6
    assert np.allclose(values(daily), whole, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_a_warm_start_goes_on_from_the_state_of_another_folder(given):
    whole = given.folder / "whole"
    run(given(whole, lags=2))
    run(given(given.folder / "before", lags=2, last="2001-03-24"))
    warm = given.folder / "warm"
    run(given(warm, lags=2, first="2001-03-25", start="before/" + STATE))
    assert content(warm).items() <= content(whole).items()


def test_killed_at_any_moment_it_resumes_to_the_same_bytes(given):
    whole, killed = given.folder / "whole", given.folder / "killed"
    keys = {"lags": 2, "per_file": 3, "last": "2001-04-24"}
    begin = time.monotonic()
    run(given(whole, **keys))
    seconds, kills = time.monotonic() - begin, 0
    for k in range(60):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # fork beside idle threads
            child = os.fork()
        if child == 0:
            try:
                run(given(killed, **keys))
            finally:
                os._exit(0)
        time.sleep(seconds * (0.25 + 0.5 * ((k * 0.618) % 1)))
        os.kill(child, signal.SIGKILL)
        if os.waitpid(child, 0)[1] == 0:
            break
        kills += 1
    run(given(killed, **keys))
    assert kills > 0
    assert content(killed) == content(whole)


@pytest.mark.slow
def test_whatever_call_fails_it_resumes_to_the_same_bytes(given):
    whole = given.folder / "whole"
    keys = {"lags": 2, "last": "2001-03-24"}
    total = Faults()
    with total.injected():
        run(given(whole, **keys))
    for k, n in enumerate(chosen(total.count, 8)):
        folder, faults = given.folder / f"failed-{k}", Faults(n, ERRORS[k % len(ERRORS)])
        with faults.injected():
            try:
                run(given(folder, **keys))
            except (DmgBmiError, OSError, KeyboardInterrupt, MemoryError):
                assert faults.failed
        run(given(folder, **keys))
        assert content(folder) == content(whole), faults.failed


def test_forecast_weather_that_comes_true_is_the_weather_that_came(given, dataset):
    issued, series = weather(dataset, 1)
    axes = ("catchment", "reference_time", "lead_time")
    write_weather(given.folder / "weather.nc", dataset, issued, series, axes)
    keys = {"last": "2001-03-10", "lags": 2}
    found = values(run(given(given.folder / "out", weather="weather.nc", **keys)))
    expected = values(run(given(given.folder / "perfect", **keys)))
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_members_never_mix(given, dataset):
    issued, series = weather(dataset, 3)
    write_weather(given.folder / "weather.nc", dataset, issued, series)
    other = {n: v.copy() for n, v in series.items()}
    other["P"][:, :, 1] *= 5.0
    axes = ("realization", "lead_time", "catchment", "reference_time")
    write_weather(given.folder / "other.nc", dataset, issued, other, axes)
    keys = {"last": "2001-03-10", "lags": 2}
    found, changed = (
        values(run(given(given.folder / name, weather=f"{name}.nc", **keys))) for name in ("weather", "other")
    )
    assert found.shape[2] == 6
    assert np.array_equal(found[:, :, [0, 2, 3, 5]], changed[:, :, [0, 2, 3, 5]], equal_nan=True)
    assert not np.allclose(found[:, :, 1], changed[:, :, 1], rtol=1e-3)
    perfect = values(run(given(given.folder / "perfect", **keys)))
    assert np.allclose(found[:, :, [0, 3]], perfect, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_in_operation_the_measured_weather_ends_at_the_issue(given, dataset):
    """As services have it: nothing after the issue is measured but there is a forecast of it."""
    issue = np.datetime64(FIRST, "s")
    netcdf.write(given.folder / "until.nc", dataset.period(dataset.times[0], issue))
    issued, series = weather(dataset, 1, last=FIRST)
    write_weather(given.folder / "weather.nc", dataset, issued, series)
    keys = {"forcing": "until.nc", "observations": "until.nc", "weather": "weather.nc", "last": FIRST}
    found = values(run(given(given.folder / "out", **keys)))
    expected = values(run(given(given.folder / "perfect", last=FIRST)))
    assert np.allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_stored_forcing_is_that_of_the_file(given, dataset):
    folder = given.folder / "store"
    folder.mkdir()
    variables = {}
    for name in ("P", "T", "PET"):
        np.save(folder / f"{name}.npy", np.float64(dataset.forcing[name]))
        variables[name] = {"file": f"{name}.npy", "units": dataset.units[name]}
    index = {"ids": [*dataset.ids], "start_time": "2000-01-01", "step": 86400.0, "variables": variables}
    (folder / "forcing.yaml").write_text(yaml.safe_dump(index))
    content = yaml.safe_load((given.folder / "run.yaml").read_text())
    (given.folder / "stored.yaml").write_text(yaml.safe_dump(content | {"forcing": "store"}))
    keys = {"last": "2001-03-10"}
    found = values(run(given(given.folder / "out", run="stored.yaml", forcing=None, **keys)))
    assert np.allclose(found, values(run(given(given.folder / "file", **keys))), rtol=1e-6, atol=1e-7)


def test_discharge_is_flow_over_the_area(given):
    paths = run(given(given.folder / "out", last=FIRST))
    area = np.array([10.0, 20.0, 30.0])
    assert np.allclose(values(paths, "discharge"), values(paths) * area * 1e3 / 86400, rtol=1e-5)


def test_observed_discharge_by_hours_is_the_depth_of_the_day(given, dataset):
    """With gaps at any time of the day."""
    area = np.array([10.0, 20.0, 30.0])
    hours = dataset.times[0] + np.arange(24 * len(dataset.times)) * np.timedelta64(3600, "s")
    flow = np.repeat(dataset.target["Q"] * area * 1e3 / 86400, 24, axis=0)
    flow[np.random.default_rng(0).random(flow.shape) < 0.3] = np.nan
    hourly = replace(
        dataset,
        times=hours,
        step=3600.0,
        forcing={},
        target={"discharge": flow},
        units={"discharge": "m3 s-1"},
    )
    netcdf.write(given.folder / "gauges.nc", hourly)
    keys = {"last": "2001-03-10"}
    found = values(run(given(given.folder / "out", observations="gauges.nc", **keys)))
    assert np.allclose(found, values(run(given(given.folder / "file", **keys))), rtol=1e-4, atol=1e-5)


def test_mean_flow_is_that_before_the_first_forecast(given, dataset):
    past = dataset.target["Q"][dataset.times < np.datetime64(FIRST)]
    keys = {"last": "2001-03-10"}
    found = values(run(given(given.folder / "out", mean_flow=None, **keys)))
    mean = np.nanmean(past, axis=0).tolist()
    assert np.allclose(found, values(run(given(given.folder / "given", mean_flow=mean, **keys))), rtol=1e-5)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"leads": 0}, "leads: must be at least 1"),
        ({"lags": 0, "every": -1}, "every, lags: must be at least 1"),
        ({"last": "2000-03-01"}, "last .* lies before first"),
        ({"observations": None}, "observations: name their file, or write loop: open"),
        ({"observations": "none.nc"}, "none.nc"),
        ({"observations": "run.yaml"}, "run.yaml: cannot be read as NetCDF"),
        ({"mean_flow": 0}, "mean_flow: must be above zero"),
        ({"mean_flow": [1.0, 2.0]}, "mean_flow has 2 values for 3 catchments"),
        ({"loop": "closde"}, "did you mean 'closed'"),
        ({"lag": 3}, "unknown key 'lag'; did you mean 'lags'"),
        ({"run": "measured.nc"}, "measured.nc"),
        ({"forcing": None}, "forcing: name a file here, or stored forcing"),
        ({"first": "2000-01-05"}, "needs a state 20 steps before, and there is one of 2000-01-01"),
        ({"first": "2001-03-01T06:00"}, "a forecast begins 2001-03-01T06:00:00; the forcing has steps"),
        ({"last": "2001-12-31"}, "look 4 steps ahead: name forecast weather, or end earlier"),
        ({"last": "2005-01-01"}, "a forecast begins 2005-01-01"),
        ({"start": "none.state"}, "none.state: cannot be read"),
        ({"start": "measured.nc"}, "measured.nc: is not a state saved by dmg_bmi"),
        ({"weather": "measured.nc"}, "measured.nc: has no dimension and variable 'lead_time'"),
        ({"assimilation": {"window": 0}}, "assimilation: .*window.*must be above zero"),
        ({"assimilation": {"states": {"SWE": 1.0}}}, "no store SWE; the model has"),
    ],
)
def test_what_is_wrong_is_told_and_no_forecast_is_written(given, capsys, keys, said):
    path = given(given.folder / "out", **keys)
    assert main(["forecast", str(path)]) == 2
    assert re.search(said, capsys.readouterr().err)
    assert not [*given.folder.glob("out/*")]


def test_weather_without_an_issue_or_too_short_is_named(given, dataset, capsys):
    issued, series = weather(dataset, 1, last="2001-03-05")
    write_weather(given.folder / "weather.nc", dataset, issued, series)
    for keys, said in (
        ({"last": "2001-03-08"}, "has no forecast from 2001-03-06"),
        ({"last": "2001-03-05", "lags": 5}, "looks 518400 s ahead; leads and lags need 691200 s"),
    ):
        path = given(given.folder / "out", weather="weather.nc", **keys)
        assert main(["forecast", str(path)]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("keys", "said"),
    [({"every": 2}, "forecasts at another distance"), ({"run": "two.yaml"}, "other catchments")],
)
def test_a_state_of_something_else_is_refused(given, capsys, keys, said):
    content = yaml.safe_load((given.folder / "run.yaml").read_text())
    content["catchments"]["ids"][2] = content["catchments"]["ids"][2] + "x"
    (given.folder / "two.yaml").write_text(yaml.safe_dump(content))
    run(given(given.folder / "out", last=FIRST))
    assert main(["forecast", str(given(given.folder / "out", **keys))]) == 2
    error = capsys.readouterr().err
    assert said in error or "has no catchment" in error


def test_the_command_prints_its_files(given, capsys):
    path = given(given.folder / "out", last="2001-03-20")
    assert main(["forecast", str(path)]) == 0
    said = capsys.readouterr().out.split()
    assert [p.rpartition("/")[2] for p in said] == [
        "forecast_2001-03-01T0000.nc",
        "forecast_2001-03-13T0000.nc",
    ]


def test_blocks_of_any_length_give_the_same_forecasts(given, dataset, monkeypatch):
    """Measured weather and observations are read block by block, and the open loop runs so."""
    before = values(run(given(given.folder / "whole")))
    longest = []

    def series(file, name, steps, columns=slice(None), read=netcdf.Reader.series):
        longest.append(steps.stop - steps.start)
        return read(file, name, steps, columns)

    monkeypatch.setattr(netcdf, "block_length", lambda width: 11)
    monkeypatch.setattr(cycle, "ADVANCED", 17 * 3)
    monkeypatch.setattr(netcdf.Reader, "series", series)
    found = values(run(given(given.folder / "blocks", per_file=5)))
    np.testing.assert_allclose(found, before, rtol=1e-5, atol=1e-6)
    # The longest is what the issues of a file see: their windows and what is ahead, of 731 days.
    assert 11 < max(longest) <= 20 + 5 + 4
    assert len(longest) > 50


def test_a_part_of_the_series_is_read_when_a_step_lies_outside_of_it():
    read = []

    def part(steps):
        read.append((steps.start, steps.stop))
        return {"x": torch.tensor(steps)[:, None] * 10}

    held = HeldPart(part, length=30, at_once=8)
    for steps in (torch.arange(0, 3), torch.tensor([[7, 4]]), torch.arange(5, 17), torch.tensor(29)):
        assert torch.equal(held(steps)["x"], steps.unsqueeze(-1) * 10)
    assert read == [(0, 8), (5, 17), (29, 30)]
