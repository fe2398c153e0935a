"""Calibration basin by basin: what it finds, what it keeps, what it refuses."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import AttributeTableError, ConfigError, TrainingError
from dmg_bmi.model.registry import build_process_model
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import calibrate, calibration
from dmg_bmi.training.calibration import ParameterTable
from dmg_bmi.training.readers.attributes import with_table

pytestmark = pytest.mark.slow

CONFIG = """
name: small
data: {reader: synthetic, basins: 3, years: 2, seed: 3, noise: 0.0}
periods:
  train: [2000-10-01, 2001-09-30]
  test: [2001-10-01, 2002-09-30]
  spin_up: 60
model:
  phy_model: {name: hbv, betaet: true, routing: 15}
training: {max_steps: 2, starts: 3, seq_length: 200, learning_rate: 0.2, ema: 0.1}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("calibration") / "small.yaml"
    path.write_text(CONFIG)
    return path


@pytest.fixture(scope="module")
def run(config):
    return calibrate(config, config.parent / "run", ["training.max_steps=70", "training.seq_length=300"])


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def declared(**description):
    return build_process_model(description).declaration.parameters


def test_flow_that_the_equations_made_is_found_again(run):
    assert run.scores["train"].median("NSE") > 0.85
    assert run.history.loss[-1] < run.history.loss[0] / 2


def test_the_table_has_every_parameter_of_every_basin_within_its_bounds(run):
    table = rows(run.folder / "parameters.csv")
    assert [row.pop("basin") for row in table] == list(run.scores["train"].ids)
    parameters = declared(name="hbv", betaet=True, routing=15)
    for row in table:
        assert [*row] == [p.name for p in parameters]
        assert all(p.lower <= float(row[p.name]) <= p.upper for p in parameters)


def test_the_start_with_the_lowest_loss_is_kept(run):
    starts, kept = rows(run.folder / "starts.csv"), rows(run.folder / "parameters.csv")
    assert len(starts) == 3 * 3
    for row in kept:
        of = [start for start in starts if start["basin"] == row["basin"]]
        best = min(of, key=lambda start: float(start["loss"]))
        assert [start for start in of if start["kept"] == "1"] == [best]
        assert float(best["FC"]) == pytest.approx(float(row["FC"]), rel=1e-5)
        assert len({start["FC"] for start in of}) == 3


def test_the_losses_are_those_of_the_kept_parameters(run):
    # The loss is the squared error over (standard deviation + 0.1)^2, the score one less that over variance.
    dataset = generate(3, 2, seed=3, noise=0.0)
    observed = dataset.target["Q"][:365][60:]
    spread = dataset.target["Q"][:365].std(0)
    kept = [float(start["loss"]) for start in rows(run.folder / "starts.csv") if start["kept"] == "1"]
    nse = 1.0 - np.array(kept) * (spread + 0.1) ** 2 / observed.var(0)
    assert nse == pytest.approx(run.scores["train"].values["NSE"], abs=1e-3)


def test_a_basin_keeps_the_start_that_is_best_in_the_validation_period(config, tmp_path):
    periods = ["periods.validation=[2001-10-01, 2002-03-31]", "periods.test=[2002-04-01, 2002-09-30]"]
    found = calibrate(config, tmp_path / "run", [*periods, "training.loss={mse: 1.0}"])
    kept = [float(start["loss"]) for start in rows(tmp_path / "run" / "starts.csv") if start["kept"] == "1"]
    rmse = found.scores["validation"].values["RMSE"]
    assert np.sqrt(kept) == pytest.approx(rmse, rel=1e-3)


def test_the_result_is_evaluated_reported_and_stepped_as_any_run(run, tmp_path, capsys):
    assert main(["evaluate", str(run.folder), "--split", "test", "--bmi"]) == 0
    assert "the BMI and one forward agree" in capsys.readouterr().out
    assert main(["report", str(run.folder)]) == 0
    assert '"parameters":{"' in (run.folder / "report.html").read_text()
    forcing = ["--forcing", str(run.folder / "forcing.nc"), "--output", str(tmp_path)]
    assert main(["run", str(run.folder / "bmi.yaml"), *forcing]) == 0


def test_its_bundle_takes_the_parameters_of_any_table(run, capsys):
    table = f"data.parameters={run.folder / 'parameters.csv'}"
    assert main(["evaluate", str(run.bundle), "--split", "train", "--set", table]) == 0
    assert f"{run.scores['train'].median('NSE'):.3f}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "model",
    [
        {"name": "hbv_1_1p", "nmul": 2, "routing": 5},
        {"name": "gr4j"},
        {"name": "simhyd", "routing": 3},
        {"name": "exphydro"},
    ],
    ids=lambda model: model["name"],
)
def test_any_process_model_is_calibrated_each_component_for_itself(model, config, tmp_path):
    found = calibrate(config, tmp_path / "run", [f"model.phy_model={model}", "training.starts=2"])
    assert np.isfinite(found.scores["test"].values["NSE"]).all()
    (row, *_) = rows(tmp_path / "run" / "parameters.csv")
    assert len(row) - 1 == sum(p.size for p in declared(**model))
    if model.get("nmul") == 2:
        assert row["BETA_1"] != row["BETA_2"]
        loaded = Bundle.load(found.bundle).model
        assert loaded.fixed["BETA"] == ["BETA_1", "BETA_2"]


def test_a_fixed_parameter_stays_what_it_is(config, tmp_path):
    found = calibrate(config, tmp_path / "run", ["model.fixed={CFR: 0.05}", "training.starts=1"])
    assert "CFR" not in rows(tmp_path / "run" / "parameters.csv")[0]
    assert Bundle.load(found.bundle).model.fixed["CFR"] == 0.05


def test_basins_that_are_held_out_have_no_parameters(config, tmp_path):
    found = calibrate(config, tmp_path / "run", ["basins.folds=3", "basins.fold=1", "training.starts=1"])
    assert len(rows(tmp_path / "run" / "parameters.csv")) == 2
    assert "ungauged" not in found.scores
    assert main(["evaluate", str(found.folder)]) == 0


def test_a_calibration_that_was_stopped_goes_on_after_the_basins_that_were_finished(
    config, tmp_path, monkeypatch
):
    one_by_one = ["training.batch_size=1"]
    whole = calibrate(config, tmp_path / "whole", one_by_one)
    fitted, fit = [], calibration._Group._fit

    def stopped(self, device):
        if len(fitted) == 2:
            raise KeyboardInterrupt
        fitted.append(self.basins)
        fit(self, device)

    monkeypatch.setattr(calibration._Group, "_fit", stopped)
    with pytest.raises(KeyboardInterrupt):
        calibrate(config, tmp_path / "run", one_by_one)
    with pytest.raises(TrainingError, match=r"training\.starts 3 and not 4"):
        calibrate(config, tmp_path / "run", [*one_by_one, "training.starts=4"])
    fitted.clear()
    resumed = calibrate(config, tmp_path / "run", one_by_one)
    assert fitted == [[2]]
    for name in ("parameters.csv", "starts.csv", "history.csv"):
        assert (resumed.folder / name).read_text() == (whole.folder / name).read_text()
    assert not list(resumed.folder.glob("*.safetensors"))
    with pytest.raises(TrainingError, match="holds a finished run"):
        calibrate(config, tmp_path / "run", one_by_one)


def test_a_row_with_a_huge_gradient_does_not_slow_the_others():
    table = ParameterTable(1, 2, rows=3)
    scale = torch.tensor([[1e9, 1e9], [0.1, 0.2], [0.0, 0.0]]) / 3
    (table.weight * scale).sum().backward()
    assert table.weight.grad[0].norm() * 3 == pytest.approx(1.0)
    assert torch.equal(table.weight.grad[1:], scale[1:])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (["model.nn={name: mlp}"], "no networks"),
        (["training.ensemble=2"], "no networks"),
        (["model.phy_model={}"], "one process model"),
        (["model.phy_model={a: {name: hbv}, b: {name: gr4j}}"], "one process model"),
        (["model.phy_model={name: hbw}"], "no process model named 'hbw'"),
        (["model.phy_model={name: gr4j}", "model.fixed={X1: 1, X2: 0, X3: 9, X4: 2}"], "nothing is left"),
        (["model.fixed={BETTA: 1}"], "BETTA"),
        (["training.starts=0"], "starts must be above zero"),
        (["training.loss={SWE: {mse: 1.0}}"], "SWE"),
        (["periods.train=[1990-10-01, 1991-09-30]"], "periods.train: no data"),
    ],
)
def test_what_cannot_be_calibrated_is_refused_before_the_work(settings, message, config, tmp_path):
    with pytest.raises(ConfigError, match=message):
        calibrate(config, tmp_path / "run", settings)
    assert not (tmp_path / "run" / "parameters.csv").exists()


def test_training_without_networks_says_which_command_takes_it(config, tmp_path, capsys):
    assert main(["train", str(config), "--output", str(tmp_path / "run")]) == 2
    assert "dmg-bmi calibrate" in capsys.readouterr().err


@pytest.fixture
def dataset():
    return generate(3, 1)


def table(folder, text):
    path = folder / "parameters.csv"
    path.write_text(text)
    return path


def test_a_table_of_parameters_joins_the_attributes_in_the_order_of_the_basins(dataset, tmp_path, caplog):
    first, second, third = dataset.ids
    path = table(tmp_path, f"basin,FC,LP\n{third},30,0.3\n{first},10,0.1\nother,5,5\n")
    joined = with_table(dataset, path)
    assert joined.ids == (first, third)
    assert joined.attributes["FC"].tolist() == [10.0, 30.0]
    assert joined.attributes["area"].tolist() == dataset.attributes["area"][[0, 2]].tolist()
    assert f"has no row of {second}" in caplog.text.replace(f"{path} ", "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("basin,FC\nnowhere,1\n", "has none of the basins"),
        ("basin,FC\n{0},\n{1},2\n{2},3\n", "has no value of FC"),
        ("basin,FC\n{0},much\n", "much"),
        ("basin,FC\n{0},1\n{0},2\n", "{0}"),
        ("basin,FC\n", "line"),
    ],
)
def test_a_wrong_table_of_parameters_is_refused(text, message, dataset, tmp_path):
    path = table(tmp_path, text.format(*dataset.ids))
    with pytest.raises(AttributeTableError, match=message.format(*dataset.ids)):
        with_table(dataset, path)
    with pytest.raises(AttributeTableError, match="No such file"):
        with_table(dataset, tmp_path / "absent.csv")


def test_parameters_outside_of_their_bounds_are_refused(run, tmp_path):
    table = rows(run.folder / "parameters.csv")
    table[1]["FC"] = "7"
    path = tmp_path / "parameters.csv"
    path.write_text("\n".join([",".join(table[0]), *(",".join(row.values()) for row in table)]))
    assert main(["evaluate", str(run.bundle), "--set", f"data.parameters={path}"]) == 2


def test_one_configuration_calibrates_as_python_reads_it(config, tmp_path):
    read = calibration.TrainingConfig.read(config)
    short = replace(read, training=replace(read.training, starts=1))
    assert calibrate(short, tmp_path / "run").scores["train"].ids == run_ids(tmp_path / "run")


def run_ids(folder):
    return tuple(row["basin"] for row in rows(folder / "parameters.csv"))
