"""A trained model is trained further: on other basins, with all of its networks or some."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import BundleError, ConfigError
from dmg_bmi.model.training_range import outside
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import train
from dmg_bmi.training.config import Model, TrainingConfig
from dmg_bmi.training.ensemble import members
from dmg_bmi.training.experiment import Experiment

CONFIG = """
name: {name}
data: {{reader: synthetic, basins: 5, years: 3, seed: {seed}, attributes: [elev_mean, aridity]}}
periods: {{train: [2000-10-01, 2002-09-30], test: [2002-10-01, 2003-09-30], spin_up: 60}}
model:
  nn: {{static: {{name: mlp, hidden_sizes: [4]}}, daily: {{name: lstm, hidden_size: 4}}}}
  phy_model: {{name: hbv, routing: 5}}
  roles:
    - {{network: static}}
    - {{network: daily, inputs: [P, T], attributes: [], dynamic: [BETA]}}
training: {{max_steps: {steps}, batch_size: 5, seq_length: 150, ensemble: 2, checkpoint_every: 2}}
"""


def written(folder: Path, name: str, seed: int, steps: int = 3) -> Path:
    path = folder / f"{name}.yaml"
    path.write_text(CONFIG.format(name=name, seed=seed, steps=steps))
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return train(written(folder, "first", 3), folder / "run").folder


def further(trained: Path, **model: object) -> list[str]:
    learns = model.get("learns", [])
    return [f"model={{bundle: {trained}, learns: {learns}}}", "training.ensemble=1"]


def experiment(config: Path, overrides: list[str]) -> Experiment:
    return Experiment.load(TrainingConfig.read(config, overrides))


def test_it_begins_with_the_weights_and_the_members_of_the_bundle(trained, tmp_path):
    model = experiment(written(tmp_path, "second", 8), further(trained)).build_model()
    before = Bundle.load(trained).model
    assert all(torch.equal(w, before.state_dict()[name]) for name, w in model.state_dict().items())
    assert members(model) == ["phy_1", "phy_2"]
    learning = {name.split(".")[1] for name, w in model.named_parameters() if w.requires_grad}
    assert learning == {"static_1", "daily_1", "static_2", "daily_2"}


def test_only_the_named_networks_learn(trained, tmp_path):
    overrides = further(trained, learns=["static_*"])
    run = train(written(tmp_path, "second", 8), tmp_path / "run", overrides)
    after, before = Bundle.load(run.bundle).model.state_dict(), Bundle.load(trained).model.state_dict()
    moved = {name.split(".")[1] for name in after if not torch.equal(after[name], before[name])}
    assert moved == {"static_1", "static_2"}


@pytest.mark.slow
def test_an_interrupted_one_ends_with_the_same_weights(trained, tmp_path, monkeypatch):
    config, overrides = written(tmp_path, "second", 8, steps=6), further(trained)
    whole = train(config, tmp_path / "whole", overrides)

    steps = iter((torch.optim.AdamW.step,) * 3)  # the fourth raises StopIteration
    with monkeypatch.context() as patched:
        patched.setattr("torch.optim.AdamW.step", lambda optimiser: next(steps)(optimiser))
        with pytest.raises(StopIteration):
            train(config, tmp_path / "cut", overrides)
    cut = train(config, tmp_path / "cut", overrides)
    expected = Bundle.load(whole.bundle).model.state_dict()
    assert all(torch.equal(w, expected[n]) for n, w in Bundle.load(cut.bundle).model.state_dict().items())


def test_the_range_of_attributes_takes_in_the_new_basins(trained, tmp_path):
    loaded = experiment(written(tmp_path, "second", 8), further(trained))
    model, before = loaded.build_model(), Bundle.load(trained).model
    old, new = generate(5, 3, seed=3).attributes, loaded.dataset.attributes
    for name in ("elev_mean", "aridity"):
        statistic = model.statistics[name]
        assert (statistic.mean, statistic.std) == (before.statistics[name].mean, before.statistics[name].std)
        everything = np.concatenate([old[name], new[name]])
        assert not np.any(outside(statistic, everything))
        assert (statistic.lower, statistic.upper) == (everything.min(), everything.max())


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["model={bundle: BUNDLE, learns: [dynamic]}"], "no network 'dynamic'; .*static_1"),
        (["model={bundle: BUNDLE}", "training.ensemble=2"], "training.ensemble copies a new model"),
        (["model.bundle=BUNDLE"], "bundle is a whole model, beside nn; keep one of them"),
        (["model={learns: [static]}"], "learns names networks of a bundle, and there is no bundle"),
        (["model={bundle: nowhere}"], "nowhere"),
        (["model={bundle: demo_hourly}"], "steps of|several time scales"),
    ],
)
def test_what_is_wrong_is_said_before_the_work(trained, tmp_path, overrides, said):
    config = written(tmp_path, "second", 8)
    given = ["training.ensemble=1", *(o.replace("BUNDLE", str(trained)) for o in overrides)]
    with pytest.raises((ConfigError, BundleError), match=said):
        train(config, tmp_path / "run", given)


def test_a_bundle_names_no_folder_of_the_one_it_came_from(trained, tmp_path):
    config = TrainingConfig.read(written(tmp_path, "second", 8), further(trained))
    assert config.portable()["model"]["bundle"] == trained.name
    assert replace(config, model=Model(bundle=trained)).model.learns == ()


@pytest.mark.slow
def test_the_command_takes_the_bundle_and_what_may_move(trained, tmp_path, capsys):
    arguments = ["train", str(written(tmp_path, "second", 8)), "--output", str(tmp_path / "run")]
    assert main([*arguments, "--learns", "static_1"]) == 2
    assert "--from" in capsys.readouterr().err
    assert main([*arguments, "--from", str(trained), "--learns", "static_1"]) == 0
    assert "networks that learn: static_1" in (tmp_path / "run" / "train.log").read_text()
