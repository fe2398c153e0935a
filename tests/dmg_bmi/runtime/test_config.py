"""What a run configuration may say, and how it says what is wrong."""

import logging
import re
import shutil
from datetime import UTC, datetime

import numpy as np
import pytest

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.errors import AttributeTableError, BundleError, ConfigError, DmgBmiError
from dmg_bmi.model.bundle_files import SHIPPED
from dmg_bmi.model.delta_model import DAY
from dmg_bmi.runtime.config import RunConfig, shipped_folder


@pytest.fixture
def read(tmp_path):
    def of(text):
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return RunConfig.read(path)

    return of


def test_paths_are_relative_to_the_configuration(read, tmp_path):
    (tmp_path / "mine").mkdir()
    config = read(
        "bundle: mine\nforcing: f\ncatchments: {file: sub/c.csv}\nrestart: {read: a.bin, write: /b.bin}\n"
    )
    assert config.bundle == str(tmp_path / "mine")
    assert config.forcing == tmp_path / "f"
    assert config.catchments.file == tmp_path / "sub" / "c.csv"
    assert str(config.restart.read) == str(tmp_path / "a.bin")
    assert str(config.restart.write) == "/b.bin"


def test_what_is_no_folder_is_the_name_of_a_shipped_bundle(read):
    assert read("bundle: demo").bundle == "demo"


def test_an_end_is_a_date_or_seconds(read):
    assert read("bundle: b\nstart_time: 2000-01-01\nend_time: 2000-01-03 12:00:00").end_seconds == 2.5 * DAY
    assert read("bundle: b\nend_time: 7200").end_seconds == 7200.0
    assert read("bundle: b").end_seconds is None


def test_a_time_without_a_zone_is_utc(read):
    config = read("bundle: b\nstart_time: 2000-01-01T00:00:00+02:00\nend_time: 2000-01-01")
    assert config.end_seconds == 7200.0
    assert read("bundle: b\nstart_time: 2000-01-01").start_time == datetime(2000, 1, 1)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must hold keys and values"),
        ("- a\n- b", "must hold keys and values, not list"),
        ("bundle: [", "is not valid YAML"),
        ("bundle: a\nbundle: b", "key 'bundle' appears twice"),
        ("bundel: demo", "unknown key 'bundel'; did you mean 'bundle'"),
        ("bundle: demo\nstrat_time: 2000-01-01", "did you mean 'start_time'"),
        ("bundle: demo\ncatchments: {attribute: {}}", "unknown key 'catchments.attribute'; did you mean"),
        ("bundle: 5", "key 'bundle' must be text, not 5; put it in quotes"),
        ("bundle:", "key 'bundle' must be text, not empty"),
        ("bundle: demo\ncatchments: cat-1", "key 'catchments' must be a mapping"),
        ("bundle: demo\ncatchments: {ids: cat-1}", r"key 'catchments.ids' must be a list.*write \[cat-1\]"),
        ("bundle: demo\ncatchments: {ids: [01333000]}", "line 2: 01333000 means 374272.* quotes, '01333000'"),
        ("bundle: demo\ncatchments: {ids: [10234500]}", r"'catchments.ids\[0\]' must be .*: '10234500'"),
        ("bundle: demo\ncatchments: {attributes: {slope: steep}}", "'catchments.attributes.slope' must be"),
        ("bundle: demo\ncatchments: {area: [1, big]}", r"'catchments.area\[1\]' must be a number, not 'big'"),
        ("bundle: demo\ntime_step: 0", "time_step must be a positive number of seconds, not 0"),
        ("bundle: demo\ntime_step: -3600", "time_step must be a positive number of seconds, not -3600"),
        ("bundle: demo\ntime_step: .nan", "key 'time_step' must be a finite number, not nan"),
        ("bundle: demo\ntime_step: hourly", "key 'time_step' must be a number, not 'hourly'"),
        ("bundle: demo\ntime_step: true", "key 'time_step' must be a number, not True"),
        ("bundle: demo\nstart_time: yesterday", "key 'start_time' must be a date such as"),
        ("bundle: demo\nstart_time: 2000-02-30", "'2000-02-30' is not a valid date"),
        ("bundle: demo\nstart_time: 2000-01-02\nend_time: 2000-01-01", "end_time must be a finite time that"),
        ("bundle: demo\nend_time: -1", "end_time must be a finite time"),
        ("bundle: demo\nend_time: .inf", "key 'end_time' must be a finite number, not inf"),
        ("bundle: demo\nend_time: .nan", "key 'end_time' must be a finite number, not nan"),
        ("bundle: demo\nend_time: '1e999'", "key 'end_time' must be a date .* or a number, not '1e999'"),
        ("bundle: demo\nthreads: '99999999999999999999'", "key 'threads' must be a number below 2"),
        (
            "bundle: demo\nstart_time: '0001-01-01T00:00+14:00'",
            "in the years 1 to 9999 by UTC",
        ),
        (
            "bundle: demo\nstart_time: '9999-12-31T23:00-02:00'",
            "in the years 1 to 9999 by UTC",
        ),
        ("restart: {write: x, every: .inf}", "key 'restart.every' must be a finite number, not inf"),
        ("bundle: demo\nend_time: 2000-01-01", "end_time is a date, so start_time is needed too"),
        ("bundle: demo\nday_start_hour: 24", "day_start_hour must be at least 0 and below 24, not 24"),
        ("bundle: demo\nday_start_hour: -1", "day_start_hour must be at least 0"),
        ("bundle: demo\nmissing_forcing: guess", "must be one of error, hold"),
        ("bundle: demo\nengine: warp", "must be one of auto, eager, compiled"),
        ("bundle: demo\nthreads: 0", "threads must be from 1 to 4096, not 0"),
        ("bundle: demo\nthreads: 99999999999999999999", "is too large a number"),
        ("bundle: demo\nthreads: 1.5", "key 'threads' must be a whole number"),
        ("bundle: demo\nrestart: {write: 3}", "key 'restart.write' must be a path"),
    ],
)
def test_a_wrong_configuration_names_file_key_and_remedy(read, text, reason):
    with pytest.raises(ConfigError, match=reason) as caught:
        read(text)
    assert "run.yaml" in str(caught.value)


def test_a_configuration_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.yaml: cannot be read \(No such file"):
        RunConfig.read(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="no folder of a run or a bundle"):
        RunConfig.read(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"bundle: \xff\xfe")
    with pytest.raises(ConfigError, match=r"bytes\.yaml: is not UTF-8"):
        RunConfig.read(tmp_path / "bytes.yaml")


# -- through initialize --------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "error", "reason"),
    [
        ({"bundle": "nowhere"}, BundleError, "nowhere: no bundle found.*shipped:"),
        ({"bundle": ""}, ConfigError, "missing key 'bundle'"),
        ({"time_step": 7000.0}, ConfigError, "time_step: a step of 7000 s does not divide.*86400 s"),
        ({"time_step": 172800.0}, ConfigError, "time_step: a step of 172800 s does not divide"),
        ({"time_step": float("inf")}, ConfigError, "key 'time_step' must be a finite number, not inf"),
        (
            {"time_step": 3600.0, "start_time": "2000-01-01 12:30"},
            ConfigError,
            "start_time: 2000-01-01 12:30:00 is not a whole number of steps of 3600 s after day_start_hour 0",
        ),
        ({"catchments": {"ids": ["a"]}}, AttributeTableError, "attribute 'aridity' is missing"),
        ({"catchments": {"file": "none.csv"}}, AttributeTableError, r"none\.csv: cannot be read"),
        ({"device": "abacus"}, ConfigError, "device: 'abacus' cannot be used here; choose cpu or cuda"),
        ({"device": "meta:1:2"}, ConfigError, "device: 'meta:1:2' cannot be used here"),
        ({"forcing": "none"}, ConfigError, r"none/forcing\.yaml: cannot be read"),
    ],
)
def test_initialize_names_the_configuration_and_the_cause(configure, keys, error, reason):
    path = configure(**keys)
    with pytest.raises(error, match=reason) as caught:
        DeltaModelBmi().initialize(str(path))
    assert re.search(r"run-0\.yaml", str(caught.value))
    assert isinstance(caught.value, DmgBmiError)


def test_dates_with_zones_and_without_mean_the_same(configure, bmi_run):
    bmi = bmi_run.start(configure(start_time="2000-01-01T06:00:00+06:00", end_time="2000-01-02"))
    assert bmi.get_end_time() == DAY
    assert bmi.component.config.start_time == datetime(2000, 1, 1, tzinfo=UTC)


# -- names ------------------------------------------------------------------------


def test_initialize_takes_files_folders_of_runs_and_of_bundles_and_shipped_names(tmp_path, monkeypatch):
    run = tmp_path / "run"
    shutil.copytree(SHIPPED / "demo_daily", run / "bundle")
    daily = (shipped_folder() / "daily.yaml").read_text()
    (run / "bmi.yaml").write_text(daily.replace("bundle: demo_daily", "bundle: bundle"))
    monkeypatch.chdir(tmp_path)
    flow = {}
    names = (str(run / "bmi.yaml"), "run", "daily", "run/bundle", "run/bundle/bundle.yaml", "demo_daily")
    for name in names:
        bmi = DeltaModelBmi()
        bmi.initialize(name)
        for variable, value in zip(bmi.get_input_var_names(), (12.0, 9.0, 1.5), strict=True):
            bmi.set_value(variable, np.array([value]))
        bmi.update()
        flow[name] = bmi.get_value_ptr("Q")[0]
    assert flow["run"] == flow["daily"] == flow[names[0]] > 0
    assert flow["run/bundle"] == flow["demo_daily"] == flow["run/bundle/bundle.yaml"] != flow["run"]


def test_a_bundle_alone_is_a_catchment_of_mean_attributes_which_is_told(caplog):
    caplog.set_level(logging.INFO, "dmg_bmi")
    config = RunConfig.read("demo_daily")
    assert config.catchments.attributes["elev_mean"] == pytest.approx(567.78, abs=0.01)
    assert "one with the mean attributes of the training: elev_mean 567.8" in caplog.text


def test_a_name_that_is_nothing_lists_what_is_shipped(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        ConfigError, match=r"weekly: no such file.*configurations daily, .*bundles demo_daily"
    ):
        RunConfig.read("weekly")
