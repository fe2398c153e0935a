"""Forecasts whose catchments are shared out to processes: those of one, also after one was killed."""

from __future__ import annotations

import numpy as np
import pytest
from operations import content, make_config, make_dataset, run, values, weather, write_weather

from dmg_bmi import processes
from dmg_bmi.errors import ConfigError, DmgBmiError
from dmg_bmi.forecast.operation import STATE, Issuing

FLOW = [3.0, 1.0, 0.5]  # by catchment: each process has to find its own


@pytest.fixture
def given(tmp_path):
    """Three files of forecasts, a lagged ensemble with forecast weather, of three catchments."""
    dataset = make_dataset()
    write_weather(tmp_path / "weather.nc", dataset, *weather(dataset, 2, leads=6))
    short = {"last": "2001-03-06", "per_file": 2}
    return make_config(tmp_path, dataset, weather="weather.nc", lags=2, mean_flow=FLOW, **short)


@pytest.fixture
def as_process(monkeypatch):
    """Run a configuration as one of two processes, which does not wait for the other before file `ends`.

    Shares lie on disk, so that processes may also come one after the other. What is returned is how
    many files it forecast itself.
    """

    def start(number, config, ends=None):
        waits, made, forecast = [], [], Issuing.forecast

        def wait():
            if len(waits) == ends:
                raise DmgBmiError("another one has ended")
            waits.append(number)

        def counted(issuing, issues):
            made.append(issues)
            return forecast(issuing, issues)

        with monkeypatch.context() as patch:
            patch.setattr(processes, "rank", lambda: number)
            patch.setattr(processes, "size", lambda: 2)
            patch.setattr(processes, "wait", wait)
            patch.setattr(Issuing, "forecast", counted)
            try:
                run(config)
            except DmgBmiError:
                assert ends is not None
        return len(made)

    return start


def test_two_processes_forecast_what_one_does_and_a_killed_one_costs_its_share(given, tmp_path, as_process):
    alone = run(given(tmp_path / "one"))
    config = given(tmp_path / "two")
    assert as_process(1, config) == 3
    assert not {*tmp_path.glob("two/*.nc")}  # the first process writes
    assert as_process(0, config) == 3
    assert content(tmp_path / "two").keys() == content(tmp_path / "one").keys()
    together = [tmp_path / "two" / path.name for path in alone]
    for name in ("Q", "discharge"):
        expected = values(alone, name)
        assert np.nanmax(expected) > 0.0
        np.testing.assert_allclose(values(together, name), expected, rtol=1e-5, atol=1e-6)

    config = given(tmp_path / "killed")
    as_process(1, config, ends=0)  # it is killed in the second file
    assert as_process(0, config, ends=1) == 2
    assert {path.name for path in tmp_path.glob("killed/forecast*")} >= {alone[0].name, STATE}
    assert as_process(1, config) == 2
    assert as_process(0, config) == 1  # its share of the second file was there
    assert content(tmp_path / "killed") == content(tmp_path / "two")


def test_one_process_goes_on_from_what_two_have_forecast(given, tmp_path, as_process):
    first = given(tmp_path / "first", last="2001-03-02")
    for number in (1, 0):
        as_process(number, first)
    then = run(given(tmp_path / "first"))
    alone = run(given(tmp_path / "alone"))
    assert [path.name for path in then] == [path.name for path in alone[1:]]
    np.testing.assert_allclose(values(then), values(alone[1:]), rtol=1e-5, atol=1e-6)


def test_a_share_of_other_forecasts_is_made_again(given, tmp_path, as_process):
    config = given(tmp_path / "out")
    as_process(1, config)
    other = given(tmp_path / "out", mean_flow=[1.0, 1.0, 1.0])
    assert as_process(1, other) == 3


def test_fewer_catchments_than_processes_are_refused(given, tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "size", lambda: 4)
    with pytest.raises(ConfigError, match="4 processes have no use for 3 catchments"):
        run(given(tmp_path / "none"))
