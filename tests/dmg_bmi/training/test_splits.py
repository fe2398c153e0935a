"""Which basins and years train, choose and judge: and that the training knows nothing of the others."""

from dataclasses import replace
from datetime import datetime

import numpy as np
import pytest
import torch

from dmg_bmi import Bundle
from dmg_bmi.errors import ConfigError
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import TrainingConfig, train
from dmg_bmi.training.config import Basins
from dmg_bmi.training.evaluate import evaluate, predict
from dmg_bmi.training.experiment import Experiment
from dmg_bmi.training.metrics import nse
from dmg_bmi.training.readers.basin_ids import read_ids
from dmg_bmi.training.readers.synthetic import SyntheticData
from dmg_bmi.training.splits import folds, splits

CONFIG = """
name: small
data: {reader: synthetic, basins: 7, years: 3, seed: 3, attributes: [elev_mean, aridity]}
periods:
  train: [2000-10-01, 2001-09-30]
  test: [2001-10-01, 2003-09-30]
  spin_up: 60
model:
  nn:
    static: {name: mlp, hidden_sizes: [4]}
    dynamic: {name: lstm, hidden_size: 3}
  phy_model: {name: hbv, nmul: 1, routing: 5}
  roles:
    - {network: static}
    - {network: dynamic, inputs: [P, T, PET], dynamic: [BETA]}
training: {max_steps: 3, batch_size: 6, seq_length: 120, learning_rate: 0.03, validate_every: 3, seed: 1}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    file = tmp_path_factory.mktemp("splits") / "small.yaml"
    file.write_text(CONFIG)
    return TrainingConfig.read(file)


@pytest.fixture
def dataset():
    return generate(7, 3, seed=3)


def resolved(config, dataset, **basins):
    parts = splits(replace(config, basins=Basins(**basins)), dataset)
    return {name: [dataset.ids[c][-1] for c in part.columns] for name, part in parts.items()}


def named(*digits):
    return tuple(f"synthetic-00{d}" for d in digits)


def test_without_lists_every_basin_is_in_every_period(config, dataset):
    assert resolved(config, dataset) == {"train": [*"1234567"], "test": [*"1234567"]}


def test_the_basins_held_out_are_ungauged_and_the_others_train(config, dataset):
    found = resolved(config, dataset, test=named(6, 2))
    assert found == {"train": [*"13457"], "test": [*"13457"], "ungauged": [*"62"]}


def test_basins_in_no_list_are_in_no_split(config, dataset):
    assert resolved(config, dataset, train=named(3, 1)) == {"train": [*"31"], "test": [*"31"]}


def test_ungauged_basins_are_judged_in_the_test_period_or_the_latest_there_is(config, dataset):
    parts = splits(replace(config, basins=Basins(test=named(1))), dataset)
    assert parts["ungauged"].period == config.periods.test
    alone = replace(config, periods=replace(config.periods, test=None), basins=Basins(test=named(1)))
    assert splits(alone, dataset)["ungauged"].period == config.periods.train


def test_basins_of_the_validation_choose_and_train_nothing(config, dataset):
    period = datetime(2001, 10, 1), datetime(2002, 9, 30)
    config = replace(config, periods=replace(config.periods, validation=period))
    assert resolved(config, dataset)["validation"] == [*"1234567"]
    found = resolved(config, dataset, validation=named(4), test=named(5))
    assert found == {
        "train": [*"12367"],
        "validation": ["4"],
        "test": [*"12367"],
        "ungauged": ["5"],
    }


def test_lists_may_stand_in_files(config, dataset, tmp_path):
    file = tmp_path / "held_out.txt"
    file.write_text("synthetic-003\n\nsynthetic-001\n")
    assert resolved(config, dataset, test=file)["ungauged"] == ["3", "1"]
    with pytest.raises(
        ConfigError, match=r"none.txt: cannot be read \(No such .*a text file of one id a line"
    ):
        resolved(config, dataset, test=tmp_path / "none.txt")


def test_folds_hold_each_basin_out_once(config, dataset):
    held_out = []
    for fold in range(3):
        found = resolved(config, dataset, folds=3, fold=fold)
        assert {*found["train"]}.isdisjoint(found["ungauged"])
        assert sorted(found["train"] + found["ungauged"]) == [*"1234567"]
        held_out += found["ungauged"]
    assert sorted(held_out) == [*"1234567"]


def test_folds_are_even_and_depend_on_the_seed_and_not_on_the_order():
    ids = [f"b{k}" for k in range(17)]
    parts = folds(ids, 5, seed=3)
    assert sorted(map(len, parts)) == [3, 3, 3, 4, 4]
    assert folds(ids[::-1], 5, seed=3) == parts
    assert folds(ids, 5, seed=4) != parts


@pytest.mark.parametrize(
    ("basins", "said"),
    [
        (
            {"test": ("synthetic-009",)},
            "basins.test: the data has no basin synthetic-009; .*available: synth",
        ),
        ({"train": named(1, 2), "test": named(2)}, "basins.train and basins.test both have synthetic-002"),
        ({"test": named(*range(1, 8))}, "no basin is left to train on"),
        ({"folds": 8}, "basins.folds is 8; it must be from 2 to the number of basins, 7"),
        ({"folds": 3, "fold": 3}, "fold is 3; with folds: 3 it goes from 0 to 2"),
        ({"folds": 3, "test": named(1)}, "either folds or lists of basins"),
    ],
)
def test_splits_that_cannot_be_are_refused(config, dataset, basins, said):
    with pytest.raises(ConfigError, match=said):
        resolved(config, dataset, **basins)


def test_overrides_choose_the_basins(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text(CONFIG)
    assert TrainingConfig.read(file, ["basins.folds=5", "basins.fold=2"]).basins == Basins(folds=5, fold=2)
    listed = TrainingConfig.read(file, ["basins.test=[synthetic-001]"]).basins
    assert listed == Basins(test=("synthetic-001",))
    assert str(TrainingConfig.read(file, ["basins.test=held_out.txt"]).basins.test) == "held_out.txt"


def test_a_split_is_scored_over_its_basins_and_years_after_the_spin_up(config, dataset):
    config = replace(config, basins=Basins(test=named(6, 2)))
    model = Experiment.load(config, dataset).build_model()
    simulated = predict(model, dataset)["Q"]
    parts = splits(config, dataset)
    found = evaluate(model, dataset, parts.values(), ["Q"], spin_up=60)
    steps = {"train": slice(60, 365), "test": slice(365, 1095), "ungauged": slice(365, 1095)}
    assert [s.split for s in found] == [*parts]
    for scores in found:
        columns = parts[scores.split].columns
        assert scores.ids == tuple(dataset.ids[c] for c in columns)
        expected = [
            nse(simulated[steps[scores.split], c], dataset.target["Q"][steps[scores.split], c])
            for c in columns
        ]
        np.testing.assert_allclose(scores.values["NSE"], expected, rtol=1e-4)


def test_nothing_outside_the_training_basins_and_years_reaches_the_model(config, tmp_path, monkeypatch):
    config = replace(config, basins=Basins(test=named(6, 2)))
    monkeypatch.setattr("dmg_bmi.training.experiment._draw_hydrographs", lambda *_: None)
    trained = []
    for changed in (False, True):
        data = generate(7, 3, seed=3)
        if changed:
            rng = np.random.default_rng(0)
            for series in (*data.forcing.values(), *data.target.values()):
                series[365:] *= rng.uniform(0.1, 2.0)
                series[:, [1, 5]] *= rng.uniform(0.1, 2.0)
            for values in data.attributes.values():
                values[[1, 5]] *= 3.0
        monkeypatch.setattr(SyntheticData, "read", lambda _, data=data: data)
        run = train(config, tmp_path / str(changed))
        trained.append((Bundle.load(run.bundle).model, run))
    (one, before), (other, after) = trained
    assert one.statistics == other.statistics
    for name, weight in one.state_dict().items():
        assert torch.equal(weight, other.state_dict()[name]), name
    np.testing.assert_array_equal(before.scores["train"].values["NSE"], after.scores["train"].values["NSE"])
    assert {*before.scores} == {"train", "test", "ungauged"}
    assert before.scores["ungauged"].ids == named(6, 2)
    assert (before.scores["ungauged"].values["NSE"] != after.scores["ungauged"].values["NSE"]).all()
    assert Bundle.load(before.bundle).provenance["basins"] == [*named(1, 3, 4, 5, 7)]


@pytest.mark.parametrize(
    "text", ["\ufeffa\nb\n", "# the basins of a study\na\n\nb  # the second\n", "a\r\nb\r\n"]
)
def test_a_list_may_have_a_byte_order_mark_comments_and_any_line_ends(tmp_path, text):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8", newline="")
    assert read_ids(tmp_path / "list.txt", "data.basins") == ["a", "b"]


def test_lists_of_windows_and_with_comments_are_read(tmp_path):
    file = tmp_path / "basins.txt"
    file.write_bytes(b"\xef\xbb\xbf01022500\r\n# not these\r\n01547700  # the second\r\n\r\n")
    assert read_ids(file, "data.basins") == ["01022500", "01547700"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff\xfea\x00", "is not UTF-8 text; give a list of ids"),
        (b"# nothing\n", "has no ids"),
        (b"a\nb\na\n", "lists a more than once"),
    ],
)
def test_lists_that_cannot_be_meant_are_refused(tmp_path, content, said):
    file = tmp_path / "basins.txt"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=f"data.basins: .*{said}"):
        read_ids(file, "data.basins")
    with pytest.raises(ConfigError, match=r"data\.basins lists a more than once"):
        read_ids(("a", "a"), "data.basins")


WITHHELD = (datetime(2001, 4, 1), datetime(2001, 6, 30))


def withholding(config):
    return replace(config, periods=replace(config.periods, withheld=WITHHELD))


def test_what_is_withheld_of_the_training_period_is_neither_learned_from_nor_scored_with_it(config, dataset):
    experiment = Experiment.load(withholding(config), dataset)
    seen, whole = experiment.training_period, Experiment.load(config, dataset).training_period
    hidden = (seen.times >= np.datetime64("2001-04-01")) & (seen.times < np.datetime64("2001-07-01"))
    assert np.isnan(seen.target["Q"][hidden]).all()
    assert np.array_equal(seen.target["Q"][~hidden], whole.target["Q"][~hidden])
    assert np.array_equal(seen.forcing["P"], whole.forcing["P"])
    model = experiment.build_model()
    scores = {part.split: part.values["NSE"] for part in experiment.score(model, experiment.splits.values())}
    assert [*scores] == ["train", "withheld", "test"]
    data = experiment.observed
    flow, steps = predict(model, data)["Q"], {}
    for name, start, end in (
        ("train", "2000-11-30", "2001-10-01"),  # after the spin-up
        ("withheld", "2001-04-01", "2001-07-01"),
    ):
        steps[name] = (data.times >= np.datetime64(start)) & (data.times < np.datetime64(end))
    steps["train"] &= ~steps["withheld"]
    for name, some in steps.items():
        expected = [nse(flow[some, k], data.target["Q"][some, k]) for k in range(7)]
        np.testing.assert_allclose(scores[name], expected, rtol=1e-5)


def test_observations_that_are_withheld_change_no_weight(config, dataset, tmp_path):
    other = dataset.target["Q"].copy()
    hidden = (dataset.times >= np.datetime64("2001-04-01")) & (dataset.times < np.datetime64("2001-07-01"))
    other[hidden] *= 7.0
    bundles = [
        Bundle.load(train(withholding(config), tmp_path / name, data=data).bundle)
        for name, data in (("one", dataset), ("other", replace(dataset, target={"Q": other})))
    ]
    one, two = (bundle.model.state_dict() for bundle in bundles)
    assert all(torch.equal(one[name], two[name]) for name in one)
