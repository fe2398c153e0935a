"""Training with compiled equations by the command line, stopped and gone on."""

import csv
import logging
import shutil

import pytest
import torch

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.model import compiled_blocks
from dmg_bmi.model.registry import PROCESS_MODELS
from dmg_bmi.training.trainer import _Loop

pytestmark = pytest.mark.slow

CONFIG = """
name: small
data: {reader: synthetic, basins: 4, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-03-31], spin_up: 0}
model:
  nn: {name: lstm, hidden_size: 3, dropout: 0.3}
  phy_model: {name: linear_reservoir}
  roles: [{inputs: [P, T, PET], dynamic: [k]}]
training: {max_steps: 8, batch_size: 6, seq_length: 21, learning_rate: 0.03, ema: 0.1,
  checkpoint_every: 2, seed: 1}
"""


@pytest.fixture
def command(tmp_path_factory, tmp_path, monkeypatch, linear_reservoir):
    """Trains a model that compiles in seconds, and gives the losses and the kept weights."""
    base = tmp_path_factory.getbasetemp() / "compiled"
    monkeypatch.setenv("XDG_CACHE_HOME", str(base))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(base / "torch"))
    kind = type(linear_reservoir)
    monkeypatch.setitem(PROCESS_MODELS, "linear_reservoir", f"{kind.__module__}:{kind.__name__}")
    (tmp_path / "small.yaml").write_text(CONFIG)

    def run(folder, engine="compiled", status=0):
        monkeypatch.setattr(compiled_blocks, "_BLOCKS", {})  # as in a process of its own
        torch._dynamo.reset()
        arguments = ["--set", f"training.engine={engine}", "--output", str(tmp_path / folder)]
        assert main(["train", str(tmp_path / "small.yaml"), *arguments]) == status
        if status:
            return None
        with open(tmp_path / folder / "history.csv", encoding="utf-8") as file:
            losses = [float(row["loss"]) for row in csv.DictReader(file)]
        return losses, Bundle.load(tmp_path / folder / "bundle").model.state_dict()

    return run


@pytest.mark.timeout(1200)  # waits for a C++ compiler, on a busy machine for minutes
@pytest.mark.skipif(shutil.which("g++") is None, reason="no C++ compiler here")
def test_a_compiled_training_that_is_stopped_ends_with_the_same_weights(command, monkeypatch, caplog):
    with caplog.at_level(logging.INFO):
        losses, weights = command("whole")
    assert "linear_reservoir: compiled in" in caplog.text
    assert "not compiled" not in caplog.text
    eager, _ = command("eager", engine="eager")
    assert losses == pytest.approx(eager, rel=1e-4)
    assert losses[0] != losses[-1]

    step = _Loop.step

    def stopped(self, batch):
        if len(self.history.loss) == 5:
            raise KeyboardInterrupt
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(_Loop, "step", stopped)
        command("cut", status=130)
    with caplog.at_level(logging.INFO):
        again, same = command("cut")
    assert "resumes after step 4" in caplog.text
    assert again == losses
    for name, values in weights.items():
        assert torch.equal(values, same[name]), name
