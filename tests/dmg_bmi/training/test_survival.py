"""A training that is killed, out of disk or not finite loses nothing, and goes on as if nothing had been."""

import multiprocessing
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from time import sleep
from unittest.mock import patch

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle, DeltaModel
from dmg_bmi.errors import DmgBmiError, TrainingError
from dmg_bmi.io import netcdf
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import train
from dmg_bmi.training.config import Training
from dmg_bmi.training.data import Tensors
from dmg_bmi.training.run_folder import CHECKPOINT
from dmg_bmi.training.trainer import fit

pytestmark = pytest.mark.slow

CONFIG = """
name: small
data: {reader: synthetic, basins: 5, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], validation: [2001-10-01, 2002-03-31], spin_up: 20}
model:
  nn:
    static: {name: mlp, hidden_sizes: [4]}
    dynamic: {name: lstm, hidden_size: 4, dropout: 0.3}
  phy_model: {name: hbv, nmul: 1, routing: 3}
  roles:
    - {network: static}
    - {network: dynamic, inputs: [P, T, PET], attributes: [], dynamic: [BETA], dropout: 0.2}
training: {max_steps: 24, batch_size: 7, seq_length: 50, ema: 0.1,
  validate_every: 5, checkpoint_every: 1, seed: 1}
"""


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    return file


def test_sigkill_at_any_time_and_the_same_command_give_the_same_run(config, tmp_path):
    peaceful, killed = tmp_path / "peaceful", tmp_path / "killed"
    script = Path(__file__).with_name("killed.py")
    arguments = [sys.executable, str(script), str(config), str(peaceful), str(killed), "4", "7"]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 3  # kills that came in time
    steps = [
        int(line.split()[-1]) for line in (killed / "train.log").read_text().splitlines() if "resumes" in line
    ]
    assert len({*steps}) >= 3
    one, other = (Bundle.load(folder / "bundle").model.state_dict() for folder in (peaceful, killed))
    for name, weights in one.items():
        assert torch.equal(weights, other[name]), name
    for file in ("history.csv", "metrics.csv", "config.yaml"):
        assert (peaceful / file).read_text() == (killed / file).read_text()
    assert {p.name for p in peaceful.iterdir()} == {p.name for p in killed.iterdir()}
    assert not (killed / CHECKPOINT).exists()


def test_where_another_process_trains_nobody_else_does(config, tmp_path):
    folder = tmp_path / "run"
    once = multiprocessing.get_context("fork")
    begun, first = once.Event(), folder / "config.yaml"

    def long() -> None:
        with patch("dmg_bmi.training.experiment.fit", side_effect=lambda *_, **__: (begun.set(), sleep(60))):
            train(config, folder)

    other = once.Process(target=long)
    other.start()
    try:
        assert begun.wait(60)
        before = first.read_bytes()
        with pytest.raises(TrainingError, match=r"run: another process is writing there; wait for it"):
            train(config, folder)
        assert first.read_bytes() == before
    finally:
        other.kill()
        other.join()
    train(config, folder)
    assert (folder / "metrics.csv").exists()
    assert not list(folder.glob(".*"))


# -- the loop alone ---------------------------------------------------------------

OPTIONS = Training(
    max_steps=9, batch_size=4, validate_every=4, checkpoint_every=2, learning_rate=0.05, ema=0.1
)
SIZES = {"window": 20, "spin_up": 5}


def make_model(dropout: float = 0.2) -> DeltaModel:
    torch.manual_seed(0)
    return DeltaModel.build(
        nn={"name": "lstm", "hidden_size": 4, "dropout": dropout},
        phy_model={"name": "hbv", "routing": 3},
        roles=[{"inputs": ["P", "T", "PET"], "dynamic": ["BETA"], "freeze_after": 10}],
    )


def make_data() -> Tensors:
    g = torch.Generator().manual_seed(0)
    forcing = {"P": 9 * torch.rand(60, 3, generator=g), "T": 9 + torch.randn(60, 3, generator=g)}
    forcing["PET"] = torch.full((60, 3), 2.0)
    return Tensors(forcing, {}, {"Q": torch.rand(60, 3, generator=g)})


@pytest.fixture
def data() -> Tensors:
    return make_data()


class Kept(list):
    """Weights of every model that was kept."""

    def __call__(self, model):
        self.append(torch.nn.utils.parameters_to_vector(model.parameters()).detach().clone())


class Stopped(Exception):
    """Stands for a process that ends."""


def stop_at(step):
    def watch(now, values):
        if now == step:
            raise Stopped

    return watch


@pytest.mark.parametrize("step", [1, 3, 5, 8])
def test_a_checkpoint_gives_the_same_losses_and_weights(data, tmp_path, step):
    whole, parts = Kept(), Kept()
    expected = fit(make_model(), data, OPTIONS, **SIZES, on_best=whole)
    saved = tmp_path / "checkpoint"
    with pytest.raises(Stopped):
        fit(make_model(), data, OPTIONS, **SIZES, on_best=parts, saved=saved, on_step=stop_at(step))
    history = fit(make_model(), data, OPTIONS, **SIZES, on_best=parts, saved=saved)
    assert history.loss == expected.loss
    assert torch.equal(parts[-1], whole[-1])


def test_a_checkpoint_of_another_model_or_other_options_is_refused(data, tmp_path):
    saved = tmp_path / "checkpoint"
    fit(make_model(), data, replace(OPTIONS, max_steps=2), **SIZES, saved=saved)
    with pytest.raises(TrainingError, match="was saved by a training of another model"):
        fit(make_model(), data, OPTIONS, **SIZES, saved=saved)
    saved.write_bytes(saved.read_bytes()[:100])
    with pytest.raises(TrainingError, match=r"is not a checkpoint .*; remove it to start again"):
        fit(make_model(), data, OPTIONS, **SIZES, saved=saved)


@pytest.fixture
def no_file_beyond():
    """Sets how many bytes the system lets a file have, as a disk that fills up."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(
        resource.RLIMIT_FSIZE, (unlimited[0] if size is None else size, unlimited[1])
    )
    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)


def test_a_full_disk_stops_with_the_remedy_and_what_was_saved_is_whole(data, tmp_path, no_file_beyond):
    expected = fit(make_model(), data, OPTIONS, **SIZES)
    saved = tmp_path / "checkpoint"

    def fill_the_disk(step, values):
        if step == 6:
            no_file_beyond(100)

    with pytest.raises(TrainingError, match=r"checkpoint: cannot be written .*the same command resumes"):
        fit(make_model(), data, OPTIONS, **SIZES, saved=saved, on_step=fill_the_disk)
    no_file_beyond(None)
    assert [p.name for p in tmp_path.iterdir()] == ["checkpoint"]
    model = make_model()
    assert fit(model, data, OPTIONS, **SIZES, saved=saved).loss == expected.loss


def test_a_netcdf_file_that_does_not_fit_is_told_of_and_leaves_nothing(tmp_path, no_file_beyond):
    dataset = generate(basins=12, years=2)
    no_file_beyond(20_000)
    with pytest.raises(DmgBmiError, match=r"forcing\.nc: cannot be written .*is there room on the disk"):
        netcdf.write(tmp_path / "forcing.nc", dataset)
    assert not list(tmp_path.iterdir())


# -- a run folder -----------------------------------------------------------------

FEW = ["training.max_steps=6", "training.validate_every=2"]


def test_a_run_that_cannot_save_its_bundle_keeps_the_last_one_and_goes_on_later(
    config, tmp_path, monkeypatch
):
    from dmg_bmi.io import files

    whole = train(config, tmp_path / "whole", FEW)
    folder, replaced, count = tmp_path / "run", files.os.replace, 0

    def no_space_left(source, target):
        nonlocal count
        count += Path(target).name == "bundle.yaml"
        if count == 2:
            raise OSError(28, "No space left on device", str(target))
        replaced(source, target)

    monkeypatch.setattr(files.os, "replace", no_space_left)
    with pytest.raises(TrainingError, match=r"bundle\.yaml: cannot be written \(No space left on device\)"):
        train(config, folder, FEW)
    good = Bundle.load(folder / "bundle")
    assert "No space left" in (folder / "train.log").read_text()
    monkeypatch.undo()
    again = train(config, folder, FEW)
    assert again.history.loss == whole.history.loss
    assert Bundle.load(folder / "bundle").model.state_dict().keys() == good.model.state_dict().keys()
    np.testing.assert_array_equal(
        again.scores["validation"].values["NSE"], whole.scores["validation"].values["NSE"]
    )


def test_a_folder_that_cannot_be_made_is_named_with_the_remedy(config, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match=r"file/run: cannot be written \(Not a directory\).*writable"):
        train(config, tmp_path / "file" / "run")


def test_nan_names_the_basin_and_the_day_and_keeps_the_last_good_bundle(config, tmp_path, monkeypatch):
    from dmg_bmi.training import experiment

    def with_nan(*arguments, **options):
        result = tensors(*arguments, **options)
        result.forcing["P"][100:, 2] = float("nan")
        return result

    tensors = experiment.tensors
    monkeypatch.setattr(experiment, "tensors", with_nan)
    with pytest.raises(
        TrainingError, match=r"not finite in basin synthetic-003 from 200[01]-.*last good"
    ) as told:
        train(config, tmp_path / "run", ["training.batch_size=1", "training.validate_every=1"])
    model = Bundle.load(tmp_path / "run" / "bundle").model
    assert all(weights.isfinite().all() for weights in model.parameters())
    assert str(told.value) in (tmp_path / "run" / "train.log").read_text()


def test_an_unfinished_run_of_another_configuration_is_not_touched(config, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    train(config, folder, FEW)
    (folder / "metrics.csv").unlink()
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    said = r"unfinished run with training\.max_steps 6 and not 24, training\.seed 1 and not 2; choose another"
    with pytest.raises(TrainingError, match=said):
        train(config, folder, ["training.validate_every=2", "training.seed=2"])
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before
