"""Losses and readers of other packages join by an entry point alone."""

import sys

import pytest
import torch

from dmg_bmi.errors import ConfigError
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.losses import Objective
from dmg_bmi.training.run_folder import RunFolder

PACKAGE = """
from dataclasses import dataclass

from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training.losses import Loss
from dmg_bmi.training.readers.base import DataConfig


def scaled_mae(simulated, observed, mean):
    return ((simulated - observed).abs() / mean).nanmean()


SCALED_MAE = Loss(scaled_mae, statistic=lambda observed: observed.nanmean(0))
NUMBER = 3


@dataclass(frozen=True, kw_only=True)
class Lysimeters(DataConfig):
    seed: int
    attributes: tuple[str, ...] = ("aridity",)

    def read(self):
        return generate(3, 2, seed=self.seed)
"""
ENTRY_POINTS = """
[dmg_bmi.losses]
scaled_mae = my_training:SCALED_MAE
number = my_training:NUMBER
broken = my_training:NOTHING

[dmg_bmi.readers]
lysimeters = my_training:Lysimeters
number = my_training:NUMBER
"""
CONFIG = """
name: small
data: {reader: lysimeters, seed: 4}
periods: {train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-09-30], spin_up: 20}
model:
  nn: {name: mlp, hidden_sizes: [4]}
  phy_model: {name: hbv}
training: {max_steps: 2, batch_size: 4, seq_length: 50, loss: {scaled_mae: 1.0}}
"""


@pytest.fixture
def installed(tmp_path, monkeypatch):
    site = tmp_path / "site"
    info = site / "my_training-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "my_training.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_training\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    monkeypatch.syspath_prepend(site)
    (tmp_path / "small.yaml").write_text(CONFIG)
    yield tmp_path
    sys.modules.pop("my_training", None)


def test_a_training_takes_its_data_and_loss_from_another_package(installed):
    run = train(installed / "small.yaml", installed / "run")
    assert run.scores["test"].ids == ("synthetic-001", "synthetic-002", "synthetic-003")
    stored = RunFolder(run.folder).read_config()
    assert stored.data.seed == 4
    assert stored == TrainingConfig.read(installed / "small.yaml")


def test_a_loss_fits_its_statistic_to_each_basin_of_the_training_data(installed):
    observed = torch.tensor([[1.0, 10.0], [3.0, float("nan")], [2.0, 30.0]])
    objective = Objective({"scaled_mae": 1.0}, {"Q": observed})
    # Means of 2 and 20; errors of 1 and 10 are half of each.
    simulated = observed[:, [1, 0, 1]] + torch.tensor([10.0, 1.0, -10.0])
    loss = objective({"Q": simulated}, {"Q": observed[:, [1, 0, 1]]}, torch.tensor([1, 0, 1]))
    assert loss.item() == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.loss={number: 1.0}", "loss 'number' is not a dmg_bmi.training.losses.Loss"),
        ("training.loss={broken: 1.0}", r"loss 'broken' \(my_training:NOTHING\) cannot be imported"),
        ("training.loss={unknown: 1.0}", "registered: .*nse.*scaled_mae"),
        ("data.reader=number", "reader 'number' is not a subclass of .*DataConfig"),
        ("data.reader=lysimeter", "must be one of .*lysimeters.*did you mean 'lysimeters'"),
        ("data.sed=3", "unknown key 'data.sed'; did you mean 'seed'"),
    ],
)
def test_what_is_not_a_loss_or_reader_is_refused_by_name(installed, change, said):
    with pytest.raises(ConfigError, match=said):
        TrainingConfig.read(installed / "small.yaml", [change])
