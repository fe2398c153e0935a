"""A training from its configuration file to a bundle, and what it leaves in its folder."""

import csv
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError, TrainingError
from dmg_bmi.io import netcdf
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.evaluate import predict
from dmg_bmi.training.experiment import Experiment
from dmg_bmi.training.metrics import per_basin

CONFIG = """
name: small
summary: for a test
data: {reader: synthetic, basins: 8, years: 4, seed: 3, attributes: [elev_mean, aridity]}
periods:
  train: [2000-10-01, 2002-09-30]
  validation: [2002-10-01, 2003-09-30]
  test: [2003-10-01, 2004-09-30]
  spin_up: 180
model:
  nn:
    static: {name: mlp, hidden_sizes: [8]}
    dynamic: {name: lstm, hidden_size: 4, dropout: 0.2}
  phy_model: {name: hbv, nmul: 1, routing: 5}
  roles:
    - {network: static}
    - {network: dynamic, inputs: [P, T, PET], attributes: [aridity], dynamic: [BETA]}
training: {max_steps: 40, batch_size: 24, seq_length: 300, learning_rate: 0.03, validate_every: 10, seed: 1}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("train") / "small.yaml"
    file.write_text(CONFIG)
    return file


@pytest.fixture(scope="module")
def run(config, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("runs") / "a")


def test_training_makes_the_validation_better(run, config):
    settings = TrainingConfig.read(config)
    experiment = Experiment.load(settings)
    data, untrained = experiment.dataset, experiment.build_model()
    years = slice(730, 1095)
    before, after = (
        np.median(per_basin(predict(model, data)["Q"][years], data.target["Q"][years])["NSE"])
        for model in (untrained, Bundle.load(run.bundle).model)
    )
    assert after > before + 0.1
    assert run.history.best[1] == max(score for _, score in run.history.scores)
    assert run.scores["validation"].median("NSE") == pytest.approx(run.history.best[1], abs=1e-6)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bundle(config, tmp_path):
    weights = []
    for seed, folder in ((1, "a"), (1, "b"), (2, "c")):
        made = train(config, tmp_path / folder, ["training.max_steps=3", f"training.seed={seed}"])
        weights.append(Bundle.load(made.bundle).model.state_dict())
    for name, tensor in weights[0].items():
        assert torch.equal(tensor, weights[1][name])
    assert any(not torch.equal(tensor, weights[2][name]) for name, tensor in weights[0].items())


def test_statistics_know_the_training_years_alone(config):
    settings = TrainingConfig.read(config)
    experiment = Experiment.load(settings)
    data, expected = experiment.dataset, experiment.build_model().statistics
    assert expected["T"].mean == pytest.approx(data.forcing["T"][:730].mean())
    for values in data.forcing.values():
        values[730:] = 1e6
    assert Experiment.load(settings, data).build_model().statistics == expected


def test_a_role_sees_all_attributes_unless_it_names_its_own(config):
    settings = TrainingConfig.read(config)
    roles = {r.network: r for r in Experiment.load(settings).build_model().roles}
    assert roles["static"].attributes == ("elev_mean", "aridity")
    assert roles["dynamic"].attributes == ("aridity",)


def test_the_folder_tells_the_whole_story(run, config):
    names = {p.name for p in run.folder.iterdir()}
    assert names == {
        "config.yaml",
        "train.log",
        "history.csv",
        "metrics.csv",
        "training_curve.png",
        "hydrograph_best.png",
        "hydrograph_median.png",
        "hydrograph_worst.png",
        "bundle",
        "bmi.yaml",
        "catchments.csv",
        "forcing.nc",
    }
    assert TrainingConfig.read(run.folder / "config.yaml") == TrainingConfig.read(config)
    log = (run.folder / "train.log").read_text()
    assert "small: trained on 8 of 8 basins" in log
    assert "median" in log
    for picture in run.folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    with open(run.folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    assert [float(r["loss"]) for r in rows] == pytest.approx(run.history.loss, rel=1e-5)


def test_metrics_are_per_basin_and_split_with_medians(run):
    with open(run.folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    for split in ("train", "validation", "test"):
        of_split = [r for r in rows if r["split"] == split]
        assert len(of_split) == 9
        assert of_split[-1]["basin"] == "median"
        each = [float(r["NSE"]) for r in of_split[:-1]]
        assert float(of_split[-1]["NSE"]) == pytest.approx(np.median(each), abs=1e-4)
        np.testing.assert_allclose(run.scores[split].values["NSE"], each, atol=1e-4)


def test_the_bundle_says_where_it_comes_from(run):
    provenance = Bundle.load(run.bundle).provenance
    assert provenance["basins"] == [f"synthetic-00{i}" for i in range(1, 9)]
    assert provenance["training"]["periods"]["train"] == ["2000-10-01", "2002-09-30"]
    assert provenance["scores"]["test"]["NSE"] == pytest.approx(run.scores["test"].median("NSE"))


def test_the_trained_bundle_steps_through_bmi_to_the_flow_that_was_scored(run):
    import netCDF4

    from dmg_bmi import DeltaModelBmi

    bmi = DeltaModelBmi()
    bmi.initialize(str(run.folder / "bmi.yaml"))
    with netCDF4.Dataset(run.folder / "forcing.nc") as file:
        forcing = {name: np.array(file[name][:200]) for name in ("P", "T", "PET")}
    simulated = []
    flow = np.empty(8)
    for step in range(200):
        for name in bmi.get_input_var_names():
            symbol = bmi.component.info.by_name[name].symbol
            bmi.set_value(name, forcing[symbol][step])
        bmi.update()
        simulated.append(bmi.get_value("land_surface_water__runoff_depth", flow).copy())
    bmi.finalize()
    settings = TrainingConfig.read(run.folder / "config.yaml")
    data = settings.data.read()
    expected = predict(Bundle.load(run.bundle).model, data)["Q"][:200]
    np.testing.assert_allclose(np.array(simulated) * 1000.0, expected, rtol=1e-3, atol=1e-4)


def test_a_folder_that_holds_a_run_is_not_written_to(run, config):
    before = {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")}
    with pytest.raises(TrainingError, match="holds a finished run; choose another folder"):
        train(config, run.folder)
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*")} == before


def test_a_mistake_in_the_configuration_leaves_no_folder(config, tmp_path):
    with pytest.raises(ConfigError):
        train(config, tmp_path / "run", ["training.stepps=3"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_mistake_in_the_data_leaves_no_bundle_and_the_folder_usable(config, tmp_path):
    with pytest.raises(ConfigError, match="no data from 1980"):
        train(config, tmp_path / "run", ["periods.train=[1980-01-01, 1981-01-01]"])
    assert not (tmp_path / "run" / "bundle").exists()
    train(config, tmp_path / "run", ["training.max_steps=1"])


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (["training.device=gpu"], "training.device is 'gpu'; it must be cpu, cuda"),
        (
            ["periods.test=[2030-10-01, 2031-09-30]"],
            r"periods\.test: no data from 2030.*available: 2000-10-01",
        ),
        # Before the data begins there is nothing to spin up on.
        (["periods.validation=[2000-10-01, 2001-03-29]"], r"periods\.validation: .* 180 days of spin-up"),
    ],
)
def test_what_cannot_be_is_said_before_the_training(config, tmp_path, keys, said):
    with pytest.raises(ConfigError, match=said):
        train(config, tmp_path / "run", keys)
    assert not (tmp_path / "run" / "bundle").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_a_gpu_that_is_not_there_is_told_of(config, tmp_path):
    with pytest.raises(ConfigError, match="PyTorch finds no GPU; choose cpu"):
        train(config, tmp_path / "run", ["training.device=cuda"])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_period_may_end_after_the_data_and_is_said_to(config, tmp_path):
    keys = ["training.max_steps=1", "periods.test=[2003-10-01, 2019-09-30]"]
    whole = train(config, tmp_path / "run", keys)
    assert "periods.test: the data end on 2004-09-30" in (whole.folder / "train.log").read_text()
    expected = train(config, tmp_path / "same", ["training.max_steps=1"])
    np.testing.assert_array_equal(whole.scores["test"].values["NSE"], expected.scores["test"].values["NSE"])


def test_importing_the_package_loads_no_training():
    code = (
        "import sys, dmg_bmi; from dmg_bmi import DeltaModel, Bundle, DeltaModelBmi; "
        "bad = [m for m in sys.modules if m.startswith('dmg_bmi.training')]; assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["camels", "camels_ensemble", "camels_ungauged_ensemble"])
def test_a_training_of_real_basins_is_scored_on_the_test_years(config, shared_data, tmp_path):
    run = train(
        config,
        tmp_path / "run",
        [
            f"data.path={shared_data / 'camels_us'}",
            "data.basins=['01022500', '01333000', '03010655']",
            "training.max_steps=2",
            "training.batch_size=4",
        ],
    )
    assert run.scores["test"].ids == ("01333000", "03010655")
    assert np.isfinite(run.scores["test"].values["NSE"]).all()
    log = (run.folder / "train.log").read_text()
    assert "basin 01022500 is left out: no attribute " in log
    assert "areas from area_gages2 (km2): 01333000 112.2" in log
    assert "PET by priestley-taylor" in log
    settings = yaml.safe_load((run.folder / "config.yaml").read_text())
    assert settings["periods"]["test"] == ["2003-10-01", "2013-09-30"]


HBV_2 = """
name: hbv_2
data:
  reader: camels
  path: {camels}
  basins: ["01333000", "05291000"]
  attributes: {{elevation: elev_mean, upstream_area: area_gages2, dryness: aridity, rock: geol_1st_class}}
periods: {{train: [1999-10-01, 2000-09-30], test: [2000-10-01, 2001-09-30], spin_up: 100}}
model:
  nn: {{name: mlp, hidden_sizes: [4]}}
  phy_model: {{name: hbv_2, nmul: 2, routing: 15}}
training: {{max_steps: 3, batch_size: 2, seq_length: 150}}
"""


@pytest.mark.slow
def test_hbv_2_trains_on_camels_by_renamed_and_categorical_attributes(tmp_path, shared_data, capsys):
    (tmp_path / "hbv_2.yaml").write_text(HBV_2.format(camels=shared_data / "camels_us"))
    assert main(["train", str(tmp_path / "hbv_2.yaml"), "--output", str(tmp_path / "run")]) == 0
    info = BundleInfo.read(tmp_path / "run" / "bundle")
    assert {v.name for v in info.variables if v.kind == "attribute"} == {
        "elevation", "upstream_area", "dryness", "rock"
    }  # fmt: skip
    # camels_topo.txt of the two basins.
    assert (info.statistics["elevation"].lower, info.statistics["elevation"].upper) == (432.13, 485.91)
    assert info.by_name["elevation"].units == "m"
    assert info.by_name["upstream_area"].units == "km2"
    rock = info.statistics["rock"]
    assert rock.lower == int(rock.lower)
    assert main(["evaluate", str(tmp_path / "run"), "--split", "test", "--bmi"]) == 0
    assert "through the BMI and one forward agree" in capsys.readouterr().out


ALONE = """
name: alone
data: {reader: netcdf, path: data.nc}
periods: {train: [2000-10-01, 2001-06-30], test: [2001-07-01, 2002-06-30], spin_up: 20}
model: {nn: {name: lstm, hidden_size: 4}, phy_model: {}, roles: [{role: output, outputs: [TARGET]}]}
training: {max_steps: 1, batch_size: 2, seq_length: 60, engine: eager, loss: {TARGET: {nse: 1.0}}}
"""


@pytest.mark.parametrize("target", ["Q", "SWE"])
@pytest.mark.parametrize("rain", ["P", "rain"])
def test_a_network_of_whatever_weather_and_target_leaves_all_results(tmp_path, monkeypatch, target, rain):
    """Also where nothing is called P or Q."""
    monkeypatch.chdir(tmp_path)
    data = generate(2, 2, seed=1)
    forcing = {rain if name == "P" else name: values for name, values in data.forcing.items()}
    units = {**data.units, rain: "mm", target: "mm"}
    netcdf.write("data.nc", replace(data, forcing=forcing, target={target: data.target["Q"]}, units=units))
    (tmp_path / "alone.yaml").write_text(ALONE.replace("TARGET", target))
    for command in (["train", "alone.yaml", "--output", "run"], ["evaluate", "run"], ["report", "run"]):
        assert main(command) == 0
    assert {"report.html", "forcing.nc", "metrics.csv"} <= {
        file.name for file in (tmp_path / "run").iterdir()
    }
    assert len([*(tmp_path / "run").glob("hydrograph*.png")]) == 3
