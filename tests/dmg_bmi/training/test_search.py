"""Search and TensorBoard, where they are installed."""

import pytest

from dmg_bmi.errors import ConfigError
from dmg_bmi.training import train
from dmg_bmi.training.search import search

CONFIG = """
name: small
data: {reader: synthetic, basins: 3, years: 2, seed: 3, attributes: [elev_mean]}
periods: {train: [2000-10-01, 2001-09-30], validation: [2001-10-01, 2002-03-31], spin_up: 20}
model:
  nn: {name: mlp, hidden_sizes: [4]}
  phy_model: {name: hbv, routing: 3}
training: {max_steps: 2, batch_size: 4, seq_length: 40}
"""
SPACE = {"training.learning_rate": {"low": 0.001, "high": 0.1, "log": True}, "training.seed": [1, 2]}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    return file


@pytest.mark.slow
def test_a_search_names_the_trial_with_the_best_validation_and_goes_on(config, tmp_path):
    optuna = pytest.importorskip("optuna", reason="extra `search`")
    best = search(config, SPACE, tmp_path / "study", trials=2)
    assert best.keys() == SPACE.keys()
    search(config, SPACE, tmp_path / "study", trials=3)
    folders = sorted(p.name for p in (tmp_path / "study").glob("trial-*"))
    assert folders == ["trial-000", "trial-001", "trial-002"]
    storage = optuna.storages.JournalStorage(
        optuna.storages.journal.JournalFileBackend(str(tmp_path / "study" / "study.log"))
    )
    study = optuna.load_study(study_name="search", storage=storage)
    logs = [(tmp_path / "study" / name / "train.log").read_text() for name in folders]
    for trial, log in zip(study.trials, logs, strict=True):
        assert f"validation {trial.value:.4f}" in log
    assert study.best_value == max(trial.value for trial in study.trials)


@pytest.mark.parametrize(
    ("space", "overrides", "said"),
    [
        (SPACE, ["periods.validation=null"], "needs periods.validation; test years must not choose"),
        ({"training.seed": {"low": 1}}, [], "training.seed: missing key 'high'"),
        ({}, [], "names no key to search"),
    ],
)
def test_a_search_that_cannot_be_is_refused(config, tmp_path, space, overrides, said):
    pytest.importorskip("optuna", reason="extra `search`")
    with pytest.raises(ConfigError, match=said):
        search(config, space, tmp_path / "study", overrides=overrides)
    assert not list((tmp_path / "study").glob("trial-*"))


@pytest.mark.slow
def test_tensorboard_sees_losses_rates_and_scores(config, tmp_path):
    pytest.importorskip("tensorboard", reason="extra `train`")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = train(config, tmp_path / "run", ["training.tensorboard=true"])
    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    assert {*events.Tags()["scalars"]} == {"loss", "learning_rate", "score"}
    assert [e.step for e in events.Scalars("loss")] == [1, 2]
    assert [e.value for e in events.Scalars("loss")] == pytest.approx(run.history.loss)


def test_without_tensorboard_and_optuna_the_remedy_is_named(config, tmp_path, monkeypatch):
    import sys

    for name in ("optuna", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=r"pip install 'dmg_bmi\[search\]'"):
        search(config, SPACE, tmp_path / "study")
    with pytest.raises(ConfigError, match=r"pip install 'dmg_bmi\[train\]'"):
        train(config, tmp_path / "run", ["training.tensorboard=true"])
