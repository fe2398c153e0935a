"""Keys that were renamed: refused in a user's file by the new name, read in what a training has stored."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import yaml
from safetensors import safe_open

from dmg_bmi.cli.evaluate import find
from dmg_bmi.errors import ConfigError
from dmg_bmi.io.files import canonical, sha256
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.run_folder import CHECKPOINT, CONFIG, METRICS, RunFolder
from dmg_bmi.training.trainer import _Loop

NEW = {
    "steps": "max_steps",
    "batch": "batch_size",
    "window": "seq_length",
    "clip": "clip_gradient_norm",
    "average": "ema",
    "check_every": "validate_every",
    "save_every": "checkpoint_every",
    "recompute": "activation_checkpointing",
    "truncate": "tbptt",
    "members": "ensemble",
}
SMALL = """
name: small
data: {reader: synthetic, basins: 3, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], spin_up: 20}
model:
  nn: {name: mlp, hidden_sizes: [4]}
  phy_model: {name: hbv}
training: {max_steps: 4, batch_size: 4, seq_length: 50, checkpoint_every: 1, ema: 0.1}
"""


@pytest.fixture
def small(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    return file


def as_before(text):
    """A configuration as it was written before keys were renamed."""
    content = yaml.safe_load(text)
    old = {new: old for old, new in NEW.items()}
    content["training"] = {old.get(key, key): value for key, value in content["training"].items()}
    return yaml.safe_dump(content, sort_keys=False)


@pytest.mark.parametrize("key", NEW)
def test_an_old_key_is_refused_in_one_line_that_names_the_new_one(small, key):
    said = rf"training\.{key} is now {NEW[key]}"
    with pytest.raises(ConfigError, match=said) as error:
        TrainingConfig.read(small, [f"training.{key}=1"])
    assert str(error.value).startswith(str(small))
    assert "\n" not in str(error.value)


def test_all_old_keys_of_a_file_are_told_at_once(small):
    small.write_text(as_before(SMALL))
    with pytest.raises(ConfigError) as error:
        TrainingConfig.read(small, [])
    told = [key for key in NEW if f"training.{key} is now {NEW[key]}" in str(error.value)]
    assert len(told) > 2
    assert told == [key for key in NEW if key in yaml.safe_load(small.read_text())["training"]]


def test_an_old_value_of_missing_forcing_is_refused_with_the_new_one(small):
    changes = ["data={reader: netcdf, path: forcing.nc, missing_forcing: leave_out}"]
    with pytest.raises(ConfigError, match=r"data\.missing_forcing: leave_out is now drop"):
        TrainingConfig.read(small, changes)


@pytest.mark.slow
def test_a_run_folder_and_a_bundle_with_old_keys_are_read(small, tmp_path):
    run = train(small, tmp_path / "run")
    expected = TrainingConfig.read(small)
    file = run.folder / CONFIG
    file.write_text(as_before(file.read_text()))
    assert "steps" in yaml.safe_load(file.read_text())["training"]
    assert RunFolder(run.folder).read_config() == expected
    assert find(str(run.folder), None, [])[1] == expected
    # The demos were saved before the keys were renamed.
    demo = BundleInfo.read("demo_daily")
    stored = demo.provenance["training"]
    assert "batch" in stored["training"]
    config = find("demo_daily", None, ["training.seed=3"])[1].training
    assert (config.batch_size, config.max_steps, config.seq_length, config.seed) == (60, 120, 545, 3)


def test_a_stored_value_of_missing_forcing_is_translated(small):
    content = yaml.safe_load(SMALL)
    content["data"] = {"reader": "netcdf", "path": "forcing.nc", "missing_forcing": "leave_out"}
    assert TrainingConfig.from_stored(content, "stored").data.missing_forcing == "drop"


@pytest.mark.slow
def test_an_interrupted_training_with_old_keys_resumes_with_the_same_weights(small, tmp_path, monkeypatch):
    whole = train(small, tmp_path / "whole")
    folder = tmp_path / "run"
    step, steps = _Loop.step, []

    def stopped(loop, batch):
        steps.append(len(loop.history.loss))
        if len(loop.history.loss) == 2:
            raise KeyboardInterrupt
        return step(loop, batch)

    monkeypatch.setattr(_Loop, "step", stopped)
    identity = _Loop.identity
    loops = []
    monkeypatch.setattr(_Loop, "identity", lambda *a: (loops.append(a[0]), identity(*a))[1])
    with pytest.raises(KeyboardInterrupt):
        train(small, folder)
    monkeypatch.undo()
    (folder / CONFIG).write_text(as_before((folder / CONFIG).read_text()))
    rename_identity(folder / CHECKPOINT, loops[0])
    again = train(small, folder)
    assert again.history.loss == whole.history.loss
    assert (folder / METRICS).exists()
    assert "resumes after step 2" in (folder / "train.log").read_text()


def rename_identity(checkpoint: Path, loop):
    """Give a checkpoint the key that it had before options were renamed."""
    old = {new: old for old, new in NEW.items()}
    options = {old.get(name, name): str(value) for name, value in vars(loop.options).items()}
    with safe_open(checkpoint, framework="pt") as file:
        ((key, header),) = file.metadata().items()
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    facts = json.loads(header)
    before = sha256(canonical([loop.model.describe(), options, 1]))
    assert before != facts["identity"]
    safetensors.torch.save_file(tensors, checkpoint, {key: json.dumps(facts | {"identity": before})})


def test_no_old_key_is_left_in_what_the_package_ships():
    root = Path(__file__).resolve().parents[3]
    for file in (root / "dmg_bmi" / "training" / "configs").glob("*.yaml"):
        assert not {*yaml.safe_load(file.read_text())["training"]} & {*NEW}, file
