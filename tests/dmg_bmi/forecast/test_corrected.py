"""Forecasts by files that the learned error of a bundle corrects, and whose quantiles it tells."""

from dataclasses import replace

import netCDF4
import numpy as np
import pytest
from operations import WINDOW, content, make_config, make_dataset, run, values, weather, write_weather

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.forecast import Assimilation, LearnedError, hindcast, stored_error
from dmg_bmi.io import netcdf
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.training.probabilistic import WRITTEN

OPTIONS = Assimilation(window=WINDOW["window"], ages=tuple(WINDOW["ages"]))
QUANTILES = [f"Q__quantile_{level:g}" for level in WRITTEN]


@pytest.fixture(scope="module")
def dataset():
    return make_dataset()


@pytest.fixture(scope="module")
def model():
    return Bundle.load("demo_daily").model


@pytest.fixture(scope="module")
def error(model, dataset):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dmg_bmi.forecast.learned_error.STEPS", 40)
        first, last = np.datetime64("2000-03-01"), np.datetime64("2000-12-20")
        mean = np.nanmean(dataset.target["Q"], axis=0)
        past = hindcast(model, dataset, first, last, mean, OPTIONS, leads=5, every=3)
        return LearnedError.fit(past).calibrated(past)


@pytest.fixture
def given(tmp_path, dataset, error):
    """As in the other tests, its bundle with a learned error."""
    info = BundleInfo.read("demo_daily")
    info.copy(tmp_path / "bundle", stored_error.to_part(error, info))
    return make_config(tmp_path, dataset, bundle="bundle", mean_flow=None, assimilation=None)


def test_they_are_those_of_the_hindcast(given, dataset, model, error):
    paths = run(given(given.folder / "out"))
    first, last = np.datetime64("2001-03-01"), np.datetime64("2001-04-09")
    made = hindcast(model, dataset, first, last, error.typical, OPTIONS, leads=4)
    expected = error(made)
    np.testing.assert_allclose(values(paths, "Q__mean"), expected.mean, rtol=1e-3, atol=1e-4)
    for name, level in zip(QUANTILES, (0, 4, 9, 14, 18), strict=True):
        np.testing.assert_allclose(values(paths, name), expected.quantiles[level], rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(values(paths)[:, :, 0], made.analysed.flow, rtol=1e-4, atol=1e-5)
    with netCDF4.Dataset(paths[0]) as data:
        assert data["Q__quantile_0.95"].quantile == 0.95
        assert data["Q__quantile_0.95"].dimensions == ("reference_time", "lead_time", "catchment")
        assert data["discharge__mean"].standard_name == "water_volume_transport_in_river_channel"


def test_cut_at_the_end_of_a_file_they_resume_to_the_same_bytes(given):
    whole, cut = given.folder / "whole", given.folder / "cut"
    run(given(whole, lags=2))
    run(given(cut, lags=2, last="2001-03-24"))
    run(given(cut, lags=2))
    assert content(cut) == content(whole)


def test_without_observations_they_are_those_of_the_open_loop_bit_for_bit(given, dataset):
    blind = replace(dataset, target={"Q": np.full_like(dataset.target["Q"], np.nan)})
    netcdf.write(given.folder / "blind.nc", blind)
    closed = run(given(given.folder / "closed", observations="blind.nc"))
    opened = run(given(given.folder / "open", loop="open", observations=None))
    for name in ("Q", "Q__mean", *QUANTILES):
        assert np.array_equal(values(closed, name), values(opened, name))


def test_what_is_not_corrected_is_what_a_bundle_without_a_learned_error_gives(given):
    keys = {"mean_flow": 1.0, "assimilation": WINDOW}
    plain = run(given(given.folder / "plain", run="plain.yaml", **keys))
    switched = run(given(given.folder / "off", learned_error=False, **keys))
    corrected = run(given(given.folder / "on", **keys))
    for name in ("Q", "discharge"):
        assert np.array_equal(values(plain, name), values(switched, name))
        assert np.array_equal(values(plain, name), values(corrected, name))
    with netCDF4.Dataset(switched[0]) as data:
        assert "Q__mean" not in data.variables


def test_many_weathers_that_are_the_one_that_came_tell_the_same(given, dataset):
    issued, series = weather(dataset, 3)
    series["P"] = np.broadcast_to(series["P"][:, :, :1], series["P"].shape)
    write_weather(given.folder / "weather.nc", dataset, issued, series)
    keys = {"last": "2001-03-10", "lags": 2}
    found = run(given(given.folder / "out", weather="weather.nc", **keys))
    expected = run(given(given.folder / "perfect", **keys))
    for name in ("Q__mean", *QUANTILES):
        np.testing.assert_allclose(values(found, name), values(expected, name), rtol=1e-3, atol=1e-4)


def test_weathers_that_differ_make_it_less_sure(given, dataset):
    issued, series = weather(dataset, 8)
    write_weather(given.folder / "weather.nc", dataset, issued, series)
    found = run(given(given.folder / "out", weather="weather.nc", last="2001-03-10"))
    one = run(given(given.folder / "one", last="2001-03-10"))
    width = [values(p, QUANTILES[-1])[:, 3] - values(p, QUANTILES[0])[:, 3] for p in (found, one)]
    assert width[0].mean() > 1.02 * width[1].mean()
    levels = np.stack([values(found, name) for name in QUANTILES])
    assert (np.diff(levels, axis=0) >= 0).all()


def test_quantiles_may_be_chosen(given):
    paths = run(given(given.folder / "out", quantiles=[0.1, 0.9], last="2001-03-02"))
    with netCDF4.Dataset(paths[0]) as data:
        found = {name for name in data.variables if name.startswith("Q__quantile")}
    assert found == {"Q__quantile_0.1", "Q__quantile_0.9"}


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"leads": 6}, "leads: the bundle's learned error looks 5 steps ahead, not 6; learn it again"),
        ({"assimilation": {"window": 25}}, "analyses with other options; without the key those are taken"),
        ({"quantiles": [0.5, 0.99]}, "quantiles: 0.99 not known; the learned error has 0.05, 0.1"),
        ({"quantiles": "many"}, "quantiles"),
        ({"learned_error": 3}, "learned_error"),
    ],
)
def test_what_is_wrong_is_told_and_no_forecast_is_written(given, capsys, keys, said):
    assert main(["forecast", str(given(given.folder / "out", **keys))]) == 2
    assert said in capsys.readouterr().err
    assert not [*given.folder.glob("out/*")]


def test_a_bundle_trained_further_keeps_no_old_error(given):
    """Its forecasts are plain again, and are not called corrected."""
    bundle = Bundle.load(given.folder / "bundle")
    bundle.model.load_state_dict({n: v * 1.001 for n, v in bundle.model.state_dict().items()})
    bundle.save(given.folder / "bundle")
    with netCDF4.Dataset(run(given(given.folder / "out", last="2001-03-02"))[0]) as data:
        assert "Q__mean" not in data.variables


def test_the_command_saves_it_and_the_next_one_applies_it(tmp_path, dataset, monkeypatch, capsys):
    monkeypatch.setattr("dmg_bmi.forecast.learned_error.STEPS", 9)
    folder = tmp_path / "bundle"
    command = ["hindcast", "demo_daily", "--split", "validation", "--every", "40", "--fit-every", "60"]
    command += ["--leads", "4", "--save-bundle", str(folder), "--output", str(tmp_path / "hindcast")]
    assert main(command) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(folder)
    given = make_config(tmp_path, dataset, bundle="bundle", mean_flow=None, assimilation=None)
    found = values(run(given(tmp_path / "out", last="2001-03-02")), "Q__mean")
    assert np.isfinite(found).all()
    assert main(["inspect", str(folder)]) == 0
    assert "learned error  4 steps ahead, of" in capsys.readouterr().out
