"""Every year of the training period is new to exactly one of the models of a cross-fit."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import netCDF4
import numpy as np
import pytest
import torch
from commands import SMALL as CONFIG
from hypothesis import given
from hypothesis import strategies as st

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError, TrainingError
from dmg_bmi.training import TrainingConfig
from dmg_bmi.training.cross_fitting import cross_fit, parts

FIRST = datetime(2000, 10, 1)


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    return TrainingConfig.read(file, ["training.max_steps=1", "training.validate_every=1"])


@given(st.integers(4, 4000), st.integers(2, 12))
def test_parts_are_all_days_once_in_order_and_of_nearly_one_length(days, count):
    last = FIRST + timedelta(days=days - 1)
    if count > days // 2:
        with pytest.raises(ConfigError, match=f"cut into 2 to {days // 2} parts, not {count}"):
            parts((FIRST, last), count)
        return
    found = parts((FIRST, last), count)
    each = [(end - start).days + 1 for start, end in found]
    assert len(found) == count
    assert sum(each) == days
    assert max(each) - min(each) <= 1
    assert (found[0][0], found[-1][1]) == (FIRST, last)
    assert all(b[0] - a[1] == timedelta(days=1) for a, b in pairwise(found))


@pytest.mark.parametrize("count", [1, 0, -2])
def test_a_period_is_cut_into_two_parts_or_more(count):
    with pytest.raises(ConfigError, match=f"cut into 2 to 182 parts, not {count}"):
        parts((FIRST, datetime(2001, 9, 30)), count)


def test_each_training_leaves_out_its_part_and_what_is_finished_is_read_back(config, tmp_path):
    found = cross_fit(config, tmp_path / "out", 2)
    names = [files.path.name for _, files in found]
    assert names == ["without-1-of-2", "without-2-of-2"]
    assert [files.read_config().periods.withheld for _, files in found] == [part for part, _ in found]
    weights = [Bundle.load(files / "bundle").model.state_dict() for _, files in found]
    assert any(not torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    times = [(files / "train.log").stat().st_mtime_ns for _, files in found]
    again = cross_fit(config, tmp_path / "out", 2)
    assert [(files / "train.log").stat().st_mtime_ns for _, files in again] == times


def test_runs_of_another_configuration_are_refused(config, tmp_path):
    cross_fit(config, tmp_path, 2)
    other = replace(config, training=replace(config.training, seed=7))
    with pytest.raises(
        TrainingError, match=r"without-1-of-2: holds a finished run with training\.seed 1 and not 7"
    ):
        cross_fit(other, tmp_path, 2)


def test_a_configuration_that_withholds_a_part_itself_is_refused(config, tmp_path):
    withheld = datetime(2001, 1, 1), datetime(2001, 3, 1)
    with pytest.raises(ConfigError, match=r"periods\.withheld is set already"):
        cross_fit(replace(config, periods=replace(config.periods, withheld=withheld)), tmp_path, 2)


def test_a_hindcast_learns_from_errors_of_models_that_have_not_seen_the_years(tmp_path, monkeypatch):
    from dmg_bmi.forecast import LearnedError

    monkeypatch.setattr("dmg_bmi.forecast.learned_error.STEPS", 20)
    (tmp_path / "small.yaml").write_text(CONFIG)
    run, out = tmp_path / "run", tmp_path / "out"
    assert main(["train", str(tmp_path / "small.yaml"), "--output", str(run), "-q"]) == 0
    learned = []
    fit = LearnedError.fit.__func__
    monkeypatch.setattr(
        LearnedError, "fit", classmethod(lambda cls, past: (learned.append(past), fit(cls, past))[1])
    )
    command = [
        "hindcast",
        str(run),
        "--every",
        "90",
        "--fit-every",
        "10",
        "--leads",
        "3",
        "--output",
        str(out),
    ]
    assert main(command) == 0
    assert main([*command, "--cross-fit", "2"]) == 0
    alone, crossed = learned
    assert crossed.issued[0] == alone.issued[0]
    assert len(crossed.issued) >= len(alone.issued) - 1
    first = crossed.issued < np.datetime64("2000-12-31")
    assert first.any()
    assert not first.all()
    assert np.array_equal(alone.typical, crossed.typical)
    of = [str(out / "without-2-of-2"), "--split", "withheld", "--every", "10"]
    assert main(["hindcast", *of, *command[4:8], "--output", str(tmp_path / "second")]) == 0
    with netCDF4.Dataset(tmp_path / "second" / "hindcast.nc") as data:
        np.testing.assert_allclose(crossed.open_loop.flow[~first], data["open_loop"][:], rtol=1e-6)


def test_a_cross_fit_that_cannot_be_is_told_before_the_work(tmp_path, capsys):
    out = tmp_path / "out"
    assert (
        main(["hindcast", "demo_daily", "--split", "validation", "--cross-fit", "1", "--output", str(out)])
        == 2
    )
    assert "parts, not 1" in capsys.readouterr().err
    assert not out.exists()
