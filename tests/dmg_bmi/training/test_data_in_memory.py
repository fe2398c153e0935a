"""Data that are an xarray Dataset or a BasinDataset train, calibrate and fine-tune as files do."""

import numpy as np
import pytest
import torch
import yaml

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.datasets import from_xarray, simulate, to_xarray
from dmg_bmi.errors import ConfigError, ForcingError, TrainingError
from dmg_bmi.io import netcdf
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import TrainingConfig, calibrate, fine_tune, train

xarray = pytest.importorskip("xarray", reason="install the extra xarray")
CONFIG = """
name: small
data: {reader: camels, path: nowhere}
periods: {train: [2000-10-01, 2001-01-31], test: [2001-02-01, 2001-05-31], spin_up: 20}
model:
  nn: {static: {name: mlp, hidden_sizes: [4]}, daily: {name: lstm, hidden_size: 4}}
  phy_model: {name: hbv, routing: 5}
  roles:
    - {network: static}
    - {network: daily, inputs: [P, T], attributes: [], dynamic: [BETA]}
training: {max_steps: 3, batch_size: 2, seq_length: 50, checkpoint_every: 1}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "small.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def ds():
    return to_xarray(generate(basins=3, years=1, seed=5)).isel(time=slice(243))


@pytest.fixture(scope="module")
def run(config, ds, tmp_path_factory):
    return train(config, tmp_path_factory.mktemp("runs") / "given", data=ds)


def weights(run):
    return Bundle.load(run.bundle).model.state_dict()


def require_equal(one, other):
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_a_dataset_trains_as_its_file_does(run, config, ds, tmp_path):
    netcdf.write(tmp_path / "basins.nc", from_xarray(ds))
    of_file = train(config, tmp_path / "run", [f"data={{reader: netcdf, path: {tmp_path / 'basins.nc'}}}"])
    require_equal(weights(run), weights(of_file))


def test_a_dataset_of_ours_needs_no_xarray(run, config, ds, tmp_path):
    require_equal(weights(run), weights(train(config, tmp_path / "run", data=from_xarray(ds))))


def test_units_and_the_order_of_dimensions_do_not_matter(run, config, ds, tmp_path):
    other = ds.transpose("catchment", "time").copy()
    other["T"] = (ds["T"] + 273.15).assign_attrs(units="K")
    other["P"] = (ds["P"] / 86400.0).assign_attrs(units="kg m-2 s-1")
    made = train(config, tmp_path / "run", data=other)
    for name, value in weights(made).items():
        torch.testing.assert_close(value, weights(run)[name], rtol=1e-3, atol=1e-4)


def test_the_folder_is_all_that_is_needed_to_score_and_to_simulate(run, ds, capsys):
    assert main(["evaluate", str(run.folder), "--split", "test", "--bmi"]) == 0
    assert f"{run.scores['test'].median('NSE'):.3f}" in capsys.readouterr().out
    simulated, observed = simulate(run.folder, ds).Q.values[-120:] * 1000.0, ds.Q.values[-120:]
    nse = 1 - ((simulated - observed) ** 2).sum(0) / ((observed - observed.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(run.scores["test"].values["NSE"], nse, rtol=1e-3)


def test_an_interrupted_one_goes_on_with_the_same_data_and_refuses_others(
    run, config, ds, tmp_path, monkeypatch
):
    steps = iter((torch.optim.AdamW.step,) * 2)  # the third raises StopIteration
    with monkeypatch.context() as patched:
        patched.setattr("torch.optim.AdamW.step", lambda optimiser: next(steps)(optimiser))
        with pytest.raises(StopIteration):
            train(config, tmp_path / "cut", data=ds)
    for change in (
        lambda: ds.assign(P=(ds.P + 0.1).assign_attrs(ds.P.attrs)),
        lambda: ds.assign(P=ds.P.assign_attrs(units="cm")),
        lambda: ds.isel(catchment=[0, 1]),
        lambda: ds.assign(aridity=ds.aridity + 0.1),
        lambda: ds.drop_vars("clay_frac"),
    ):
        with pytest.raises(TrainingError, match="unfinished run on other data"):
            train(config, tmp_path / "cut", data=change())
    require_equal(weights(train(config, tmp_path / "cut", data=ds)), weights(run))


def test_data_that_were_wrong_are_replaced_by_the_next(config, ds, tmp_path):
    for wrong, error, said in (
        (ds.assign(Q=ds.Q.assign_attrs(role="")), ConfigError, 'role = "target" of Q'),
        (ds.drop_vars("Q"), ConfigError, "training.loss compares Q; the data has none"),
        (ds.assign(P=ds.P.assign_attrs(units="K")), ForcingError, "P: .*K"),
        (ds.assign(P=ds.P.assign_attrs(units="")), ForcingError, "P has no units"),
        (ds.isel(time=slice(30)), ConfigError, "periods.test: no data"),
        (ds.rename(catchment="basin"), ForcingError, "no dimension and coordinate 'catchment'"),
    ):
        with pytest.raises(error, match=said):
            train(config, tmp_path / "run", data=wrong)
    assert train(config, tmp_path / "run", {"training.max_steps": 1}, data=ds).bundle.is_dir()


def test_overrides_may_be_a_mapping_and_choose_of_the_data(config, ds, tmp_path):
    given = {"data.basins": ["synthetic-002"], "training.max_steps": 1, "periods.test": None}
    made = train(config, tmp_path / "run", given, data=ds)
    assert given == {"data.basins": ["synthetic-002"], "training.max_steps": 1, "periods.test": None}
    assert made.scores["train"].ids == ("synthetic-002",)
    assert {*made.scores} == {"train"}
    texts = ["data.basins=['synthetic-002']", "training.max_steps=1", "periods.test=null"]
    assert TrainingConfig.read(config, texts) == TrainingConfig.read(config, given)


def test_a_calibration_takes_a_dataset(config, ds, tmp_path):
    settings = TrainingConfig.read("calibrate", {"periods": yaml.safe_load(CONFIG)["periods"]})
    few = {"training.max_steps": 2, "training.starts": 1, "training.seq_length": 50}
    made = calibrate(settings, tmp_path / "run", few, data=ds)
    assert made.scores["test"].ids == tuple(ds.catchment.values)
    assert len(made.history.loss) == 2


def test_fine_tuning_begins_with_the_bundle_its_options_and_periods(run, ds, tmp_path):
    gauge = ds.isel(catchment=[2])
    made = fine_tune(run.folder, tmp_path / "tuned", data=gauge, learns=["stat*"])
    before, after = weights(run), weights(made)
    moved = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"static"}
    assert len(made.history.loss) == 3
    assert made.scores["test"].ids == ("synthetic-003",)
    assert BundleInfo.read(made.folder).summary == "small, trained further"


def test_fine_tuning_of_a_bundle_that_records_no_training_asks_for_the_period(run, ds, tmp_path):
    Bundle(Bundle.load(run.bundle).model, "bare").save(tmp_path / "bare")
    with pytest.raises(ConfigError, match="missing key 'periods'"):
        fine_tune(tmp_path / "bare", tmp_path / "tuned", data=ds)
    given = {"periods.train": ["2000-10-01", "2001-05-31"], "training.max_steps": 1}
    small = {"periods.spin_up": 20, "training.seq_length": 50, "training.batch_size": 2}
    made = fine_tune(tmp_path / "bare", tmp_path / "tuned", given | small, data=ds)
    assert {*made.scores} == {"train"}
