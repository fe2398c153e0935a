"""Forecasts of the past know nothing of their future but the weather, and are what they would be alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError, ForcingError
from dmg_bmi.forecast import Assimilation, hindcast
from dmg_bmi.forecast.cycle import Cycle
from dmg_bmi.synthetic.basins import generate

OPTIONS = Assimilation(window=20, ages=(1, 5))
FIRST, LAST = np.datetime64("2001-06-01"), np.datetime64("2001-09-01")


@pytest.fixture(scope="module")
def dataset():
    """Two years of three basins from 2000-01-01 on."""
    basins = generate(3, 2, seed=4)
    start = basins.times[0]
    return replace(basins, times=basins.times + (np.datetime64("2000-01-01", "s") - start))


@pytest.fixture(scope="module")
def model():
    return Bundle.load("demo_daily").model


def run(model, dataset, **keys):
    return hindcast(model, dataset, FIRST, LAST, np.ones(3), OPTIONS, **{"leads": 5, "every": 9, **keys})


def test_the_open_loop_is_one_forward(model, dataset):
    found = run(model, dataset)
    forcing = {n: torch.from_numpy(np.float64(dataset.forcing[n])) for n in model.forcing_names}
    attributes = {n: torch.from_numpy(np.float64(dataset.attributes[n])) for n in model.attribute_names}
    with torch.no_grad():
        flow = model(forcing, attributes, outputs=("Q",))[0]["Q"].numpy()
    for k, issued in enumerate(found.issued):
        at = int(np.searchsorted(dataset.times, issued))
        assert np.allclose(found.open_loop.flow[k], flow[at : at + 5], rtol=1e-5, atol=1e-6)
        assert np.allclose(found.open_loop.latest[k], flow[at - 1], rtol=1e-5, atol=1e-6)


def test_a_forecast_does_not_know_flow_after_its_issue(model, dataset):
    found = run(model, dataset)
    issue = found.issued[4]
    later = dataset.target["Q"].copy()
    later[dataset.times >= issue] *= 3.0
    other = run(model, replace(dataset, target={"Q": later}))
    assert np.array_equal(found.analysed.flow[:5], other.analysed.flow[:5])
    assert not np.array_equal(found.analysed.flow[5:], other.analysed.flow[5:])


def test_an_issue_is_the_same_alone_and_among_others(model, dataset):
    every, third = run(model, dataset, every=3), run(model, dataset)
    assert np.array_equal(every.issued[::3], third.issued)
    assert np.allclose(every.analysed.flow[::3], third.analysed.flow, rtol=1e-9, atol=1e-9)


def test_without_observations_forecasts_are_those_of_the_open_loop(model, dataset):
    blind = replace(dataset, target={"Q": np.full_like(dataset.target["Q"], np.nan)})
    found = hindcast(model, blind, FIRST, LAST, np.ones(3), OPTIONS, 5, 9)
    assert np.array_equal(found.analysed.flow, found.open_loop.flow)


@pytest.mark.slow
def test_compiled_too_forecasts_without_observations_are_those_of_the_open_loop(dataset):
    blind = replace(dataset, target={"Q": np.full_like(dataset.target["Q"], np.nan)})
    plain = run(Bundle.load("demo_daily").model, blind)
    model = Bundle.load("demo_daily").model
    model.compiled = True
    found = run(model, blind)
    assert np.array_equal(found.analysed.flow, found.open_loop.flow)
    assert np.array_equal(found.analysed.recent, found.open_loop.recent)
    np.testing.assert_allclose(found.open_loop.flow, plain.open_loop.flow, rtol=1e-9)


def test_one_who_has_no_observations_is_blind(model, dataset):
    blind = replace(dataset, target={"Q": np.full_like(dataset.target["Q"], np.nan)})
    found, expected = run(model, blind), run(model, dataset).blind()
    assert np.array_equal(found.analysed.recent, expected.analysed.recent)
    assert np.array_equal(found.observed_recent, expected.observed_recent, equal_nan=True)
    assert all(np.array_equal(found.moved[name], values) for name, values in expected.moved.items())


def test_what_is_kept_of_a_shorter_window_is_missing_before_it(model, dataset):
    short = hindcast(
        model, dataset, FIRST, LAST, np.ones(3), Assimilation(window=5, ages=(1,)), leads=2, every=30
    )
    whole = run(model, dataset, leads=2, every=30)
    assert np.isnan(short.open_loop.recent[:, :3]).all()
    np.testing.assert_allclose(short.open_loop.recent[:, 3:], whole.open_loop.recent[:, 3:], rtol=1e-9)
    assert np.array_equal(short.weather["P"], whole.weather["P"])


def test_observations_improve_the_forecast_of_a_wrong_model(model, dataset):
    found = run(model, replace(dataset, target={"Q": 1.3 * dataset.target["Q"] + 0.1}), every=3)
    off, left = (np.nanmean(np.square(f.flow - found.observed), 0) for f in (found.open_loop, found.analysed))
    assert (left[0] < off[0]).all()


@pytest.mark.parametrize("cut", [0, 2, 3])
def test_killed_it_goes_on_from_the_blocks_that_are_done_to_the_same_bits(
    model, dataset, monkeypatch, tmp_path, cut
):
    monkeypatch.setattr("dmg_bmi.forecast.cycle.ROWS", 9)
    whole = run(model, dataset)
    analysed, calls = Cycle.analysed, []

    def killed(self, *given):
        calls.append(given)
        if len(calls) == cut + 1:
            raise KeyboardInterrupt
        return analysed(self, *given)

    monkeypatch.setattr(Cycle, "analysed", killed)
    with pytest.raises(KeyboardInterrupt):
        run(model, dataset, keep=tmp_path / "kept")
    assert len([*tmp_path.glob("kept/*.part")]) == cut
    calls[:] = [None] * 100
    found = run(model, dataset, keep=tmp_path / "kept")
    assert len(calls) - 100 == -(-len(whole.issued) // 3) - cut
    for one, other in ((whole.open_loop, found.open_loop), (whole.analysed, found.analysed)):
        assert np.array_equal(one.flow, other.flow)
        assert np.array_equal(one.recent, other.recent, equal_nan=True)
    assert np.array_equal(whole.observed, found.observed, equal_nan=True)
    assert all(np.array_equal(whole.weather[name], found.weather[name]) for name in whole.weather)
    assert all(np.array_equal(whole.moved[name], found.moved[name]) for name in whole.moved)


def test_what_was_kept_of_something_else_or_is_damaged_is_made_again(model, dataset, monkeypatch, tmp_path):
    monkeypatch.setattr("dmg_bmi.forecast.cycle.ROWS", 9)
    run(model, dataset, keep=tmp_path)
    other = replace(dataset, target={"Q": dataset.target["Q"] * 1.1})
    found = run(model, other, keep=tmp_path)
    assert np.array_equal(found.analysed.flow, run(model, other).analysed.flow)
    for path, content in zip(sorted(tmp_path.glob("*.part")), (b"", b"x" * 50, b"\x80\x04."), strict=False):
        path.write_bytes(content)
    assert np.array_equal(run(model, other, keep=tmp_path).analysed.flow, found.analysed.flow)


def test_a_filter_may_be_the_analysis(model, dataset):
    options = Assimilation(method="ensemble", window=20)
    wrong = replace(dataset, target={"Q": 1.3 * dataset.target["Q"] + 0.1})
    found = hindcast(model, wrong, FIRST, LAST, np.ones(3), options, 5, 3)
    off, left = (np.nanmean(np.square(f.flow - found.observed), 0) for f in (found.open_loop, found.analysed))
    assert (left[0] < off[0]).all()
    assert all(np.isfinite(values).all() for values in found.moved.values())


def test_a_period_without_data_is_refused_with_what_there_is(model, dataset):
    with pytest.raises(ConfigError, match="no forecast can be issued from 2010"):
        hindcast(model, dataset, np.datetime64("2010-01-01"), np.datetime64("2011-01-01"), np.ones(3))


def test_negative_flow_is_refused(model, dataset):
    wrong = dataset.target["Q"].copy()
    wrong[100, 1] = -999.0
    with pytest.raises(ForcingError, match="row 1 in step 100"):
        run(model, replace(dataset, target={"Q": wrong}))


def test_the_command_writes_forecasts_and_their_skill(tmp_path, capsys, monkeypatch):
    import netCDF4

    monkeypatch.setattr("dmg_bmi.forecast.learned_error.STEPS", 20)

    command = [
        "hindcast",
        "demo_daily",
        "--split",
        "validation",
        "--every",
        "40",
        "--fit-every",
        "60",
        "--leads",
        "3",
    ]
    assert main([*command, "--output", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "median NSE by lead" in said
    with netCDF4.Dataset(tmp_path / "out" / "hindcast.nc") as data:
        shape = tuple(len(data.dimensions[n]) for n in ("reference_time", "lead_time", "catchment"))
        assert data["analysed_corrected"].shape == shape
        assert data["lead_time"][:].tolist() == [86400.0, 172800.0, 259200.0]
        assert data["time"][0, 1] - data["reference_time"][0] == 172800.0
        assert np.isfinite(np.ma.filled(data["analysed_corrected"][:], np.nan)).all()
        low, middle, high = (data[f"learned__quantile_{level}"][:] for level in ("0.05", "0.5", "0.95"))
        assert ((low <= middle) & (middle <= high)).all()
    lines = (tmp_path / "out" / "skill.csv").read_text().splitlines()
    assert len(lines) == 1 + 6 * shape[1] * shape[2]
    lines = (tmp_path / "out" / "distribution.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * shape[1] * shape[2]
    assert "90% intervals, not calibrated" in said
    assert not [*(tmp_path / "out").glob("*.dmg_bmi/*")]
    for picture in ("fan.png", "ranks.png", "reliability.png"):
        assert (tmp_path / "out" / picture).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--leads", "0"], "--leads must be at least 1"),
        (["--fit-every", "-3"], "--fit-every must be at least 1"),
        (["--split", "none"], "no split none"),
        (["--assimilation", "none.yaml"], "none.yaml"),
    ],
)
def test_wrong_options_are_told_and_nothing_is_written(tmp_path, capsys, arguments, said):
    assert main(["hindcast", "demo_daily", *arguments, "--output", str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_data_of_another_step_are_refused_before_the_work(tmp_path, capsys):
    hourly = ["--set", "data={reader: synthetic, basins: 3, years: 2, step: 3600}"]
    for name in ("hindcast", "evaluate"):
        out = tmp_path / name
        assert main([name, "demo_daily", "--split", "validation", *hourly, "--output", str(out)]) == 2
        assert "the data step by 3600 s, the model by 86400 s" in capsys.readouterr().err
        assert not out.exists()


def test_a_basin_without_flow_in_the_training_period_is_named(tmp_path, capsys, monkeypatch):
    from dmg_bmi.training.experiment import Experiment

    real = Experiment.load.__func__

    def blind(cls, config, dataset=None):
        experiment = real(cls, config, dataset)
        experiment.training_period.target["Q"][:, 1] = np.nan  # a view of the data
        return experiment

    monkeypatch.setattr(Experiment, "load", classmethod(blind))
    assert main(["hindcast", "demo_daily", "--split", "validation", "--output", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "no flow was observed in the training period" in said
    assert "data.basins" in said


@pytest.mark.parametrize("name", ["hindcast.nc", "skill.csv"])
def test_a_folder_in_the_place_of_a_result_is_told_before_the_work(tmp_path, capsys, monkeypatch, name):
    def never(*_):
        raise AssertionError("worked in vain")

    monkeypatch.setattr("dmg_bmi.forecast.hindcast", never)
    (tmp_path / name).mkdir()
    assert main(["hindcast", "demo_daily", "--split", "validation", "--output", str(tmp_path)]) == 2
    assert "it exists and is not a regular file" in capsys.readouterr().err
    assert [p.name for p in tmp_path.iterdir()] == [name]
