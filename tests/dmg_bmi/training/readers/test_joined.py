"""Observations from a file of their own join the data, and a training can be held to them."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.errors import ConfigError, ForcingError
from dmg_bmi.io import netcdf
from dmg_bmi.synthetic.basins import generate, true_parameters
from dmg_bmi.training import calibrate
from dmg_bmi.training.config import TrainingConfig
from dmg_bmi.training.evaluate import predict
from dmg_bmi.training.readers.attributes import with_table
from dmg_bmi.training.readers.joined import read_data, with_forcing, with_next_step, with_observations

CONFIG = """
name: several
data: {{reader: synthetic, basins: 3, years: 2, seed: 3, noise: 0.3, observations: {file}}}
periods: {{train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-09-30], spin_up: 60}}
model: {{phy_model: {{name: hbv, betaet: true, routing: 15}}}}
training: {{max_steps: 40, starts: 2, seq_length: 250, learning_rate: 0.2, ema: 0.1, loss: {loss}}}
"""


@pytest.fixture(scope="module")
def dataset():
    return generate(3, 2, seed=3, noise=0.3)


@pytest.fixture(scope="module")
def truth(dataset):
    """Evaporation and snow of the equations that made the flow."""
    parameters = true_parameters(dataset.attributes)
    model = DeltaModel.build(
        phy_model={"name": "hbv", "betaet": True, "routing": 15}, fixed={name: name for name in parameters}
    )
    forcing = {name: torch.from_numpy(dataset.forcing[name]) for name in model.forcing_names}
    attributes = {name: torch.from_numpy(np.asarray(v)) for name, v in parameters.items()}
    fluxes, _ = model(forcing, attributes, outputs=("ET", "SWE"))
    return {name: fluxes[name].numpy() for name in ("ET", "SWE")}


def written(path, dataset, target, units=None):
    observed = replace(
        dataset, forcing={}, attributes={}, target=target, units=units or dict.fromkeys(target, "mm")
    )
    netcdf.write(path, observed)
    return path


def test_observations_stand_at_their_basins_and_days(dataset, truth, tmp_path):
    first, _, third = dataset.ids
    part = replace(dataset, ids=("elsewhere", third, first))
    target = {"SWE": truth["SWE"][:, [1, 2, 0]]}
    part = replace(part, forcing={}, attributes={}, target=target, units={"SWE": "mm"})
    netcdf.write(tmp_path / "snow.nc", part.period(dataset.times[100], dataset.times[200]))
    joined = with_observations(dataset, tmp_path / "snow.nc")
    assert [*joined.target] == ["Q", "SWE"]
    swe = joined.target["SWE"]
    assert swe[100:200, 0] == pytest.approx(truth["SWE"][100:200, 0])
    assert swe[100:200, 2] == pytest.approx(truth["SWE"][100:200, 2])
    assert np.isnan(swe[:, 1]).all()
    assert np.isnan(swe[:100]).all()
    assert np.isnan(swe[200:]).all()
    assert joined.target["Q"] is dataset.target["Q"]


def test_units_are_brought_to_those_of_training(dataset, truth, tmp_path):
    path = written(tmp_path / "snow.nc", dataset, {"SWE": truth["SWE"] / 1000}, {"SWE": "m"})
    joined = with_observations(dataset, path)
    assert joined.target["SWE"] == pytest.approx(truth["SWE"])
    assert joined.units["SWE"] == "mm"


def test_what_does_not_fit_is_refused(dataset, truth, tmp_path):
    swe = {"SWE": truth["SWE"]}
    with pytest.raises(ConfigError, match="has observed Q, which the data have too"):
        with_observations(dataset, written(tmp_path / "flow.nc", dataset, dict(dataset.target)))
    forcing = replace(dataset, attributes={}, target={})
    netcdf.write(tmp_path / "weather.nc", forcing)
    with pytest.raises(ForcingError, match="marks no series as observations"):
        with_observations(dataset, tmp_path / "weather.nc")
    others = replace(dataset, ids=("a", "b", "c"))
    with pytest.raises(ForcingError, match="has none of the basins"):
        with_observations(dataset, written(tmp_path / "others.nc", others, swe))
    later = replace(dataset, times=dataset.times + np.timedelta64(9000, "D"))
    with pytest.raises(ForcingError, match="has data from"):
        with_observations(dataset, written(tmp_path / "later.nc", later, swe))
    hourly = replace(
        dataset, step=3600.0, times=dataset.times[0] + np.arange(len(dataset.times)) * np.timedelta64(1, "h")
    )
    with pytest.raises(ForcingError, match="steps by 3600 s"):
        with_observations(dataset, written(tmp_path / "hourly.nc", hourly, swe))
    with pytest.raises(ForcingError, match="absent"):
        with_observations(dataset, tmp_path / "absent.nc")


@pytest.mark.slow
def test_a_calibration_is_held_to_all_targets_and_each_is_scored(dataset, truth, tmp_path):
    # Half of the days of one basin are missing: they count in no loss and no score.
    swe = truth["SWE"].copy()
    swe[::2, 0] = np.nan
    file = written(tmp_path / "more.nc", dataset, {"SWE": swe, "ET": truth["ET"]})
    config = tmp_path / "all.yaml"
    config.write_text(CONFIG.format(file=file, loss="{Q: {nse: 1.0}, SWE: {nse: 1.0}, ET: {nse: 1.0}}"))
    calibrate(config, tmp_path / "all", ["training.max_steps=3"])
    with open(tmp_path / "all" / "metrics.csv") as table:
        rows = list(csv.DictReader(table))
    assert {(row["target"], row["split"]) for row in rows} == {
        (target, split) for target in ("Q", "SWE", "ET") for split in ("train", "test")
    }
    assert all(np.isfinite(float(row["RMSE"])) for row in rows)
    model = Bundle.load(tmp_path / "all" / "bundle").model
    calibrated = with_table(dataset, tmp_path / "all" / "parameters.csv")
    simulated = predict(model, calibrated, ["SWE"])["SWE"][365:]
    test = {
        row["basin"]: float(row["RMSE"]) for row in rows if (row["target"], row["split"]) == ("SWE", "test")
    }
    for k, basin in enumerate(dataset.ids):
        seen = np.isfinite(swe[365:, k])
        error = np.sqrt(np.mean((simulated[seen, k] - swe[365:, k][seen]) ** 2))
        assert test[basin] == pytest.approx(error, rel=1e-3, abs=1e-3)


# -- weather ---------------------------------------------------------------------------------------


def weather_of(dataset, ids, days, **factors):
    """Other weather of some basins and days: forcings of the dataset times factors."""
    part = dataset.basins(ids).period(dataset.times[days][0], dataset.times[days][-1] + 1)
    forcing = {name: factor * part.forcing[name] for name, factor in factors.items()}
    return replace(part, forcing=forcing, target={}, attributes={})


def test_other_weather_stands_beside_the_own_which_stands_in_where_it_is_missing(dataset):
    first, _, third = dataset.ids
    days = slice(100, 200)
    other = weather_of(dataset, (third, first), days, P=3.0, PET=0.5)
    other.forcing["PET"][7, 0] = np.nan
    joined = with_forcing(dataset, {"radar": other})
    assert [*joined.forcing] == [*dataset.forcing, "P_radar", "PET_radar"]
    own = dataset.forcing["P"]
    expected = np.array(own)
    expected[days, 0] *= 3
    expected[days, 2] *= 3
    np.testing.assert_array_equal(joined.forcing["P_radar"], expected)
    np.testing.assert_array_equal(joined.forcing["P"], own)
    np.testing.assert_array_equal(joined.forcing["PET"], dataset.forcing["PET"])
    assert joined.forcing["PET_radar"][107, 2] == dataset.forcing["PET"][107, 2]
    assert joined.forcing["PET_radar"][108, 2] == 0.5 * dataset.forcing["PET"][108, 2]
    assert joined.units["P_radar"] == dataset.units["P"]


def test_rain_of_the_next_day_stands_beside_that_of_its_own(dataset):
    joined = with_next_step(dataset, ["P"])
    np.testing.assert_array_equal(joined.forcing["P_next"], dataset.forcing["P"][1:])
    for part, whole in ((joined.forcing, dataset.forcing), (joined.target, dataset.target)):
        for name, values in whole.items():
            np.testing.assert_array_equal(part[name], values[:-1])
    np.testing.assert_array_equal(joined.times, dataset.times[:-1])
    assert joined.units["P_next"] == dataset.units["P"]
    with pytest.raises(ConfigError, match="no forcing 'rain'; available: P, T, PET"):
        with_next_step(dataset, ["rain"])
    with pytest.raises(ConfigError, match="have a forcing P_next already"):
        with_next_step(joined, ["P"])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda d: replace(d, step=3600.0), "radar: steps by 3600 s, the data by 86400 s"),
        (lambda d: replace(d, ids=tuple("xyz")), "radar: has none of the basins"),
        (
            lambda d: replace(d, times=d.times + np.timedelta64(20000, "D")),
            "radar: has data from .*",
        ),
        (lambda d: replace(d, forcing={"snow": d.forcing["P"]}), "radar: has none of the forcings P, T, PET"),
    ],
)
def test_weather_that_does_not_fit_is_refused(dataset, change, said):
    with pytest.raises(ForcingError, match=said):
        with_forcing(dataset, {"radar": change(dataset)})


def test_a_configuration_names_other_weather_and_its_bundle_no_folder_of_it(dataset, tmp_path):
    netcdf.write(tmp_path / "radar.nc", weather_of(dataset, dataset.ids, slice(0, len(dataset.times)), P=2.0))
    file = tmp_path / "c.yaml"
    file.write_text(CONFIG.format(file="null", loss="{nse: 1.0}"))
    radar = f"{{reader: netcdf, path: {tmp_path / 'radar.nc'}}}"
    config = TrainingConfig.read(file, [f"data.additional_forcing={{radar: {radar}}}"])
    np.testing.assert_allclose(read_data(config.data).forcing["P_radar"], 2.0 * dataset.forcing["P"])
    assert config.portable()["data"]["additional_forcing"]["radar"]["path"] == "radar.nc"
