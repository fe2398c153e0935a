"""A benchmark by its command: every model, seed and basin is scored, compared, and read back."""

import csv
import re

import numpy as np
import pytest

from dmg_bmi.cli import main
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training.benchmark import Options, benchmark
from dmg_bmi.training.benchmark.rivals import most_similar
from dmg_bmi.training.run_folder import RunFolder

pytestmark = pytest.mark.slow

CONFIG = """
name: {name}
data: {{reader: synthetic, basins: 6, years: 2, seed: 3}}
periods: {{train: [1990-01-01, 1991-01-01], spin_up: 30}}
model: {{{nn}phy_model: {{name: gr4j}}}}
training: {{max_steps: 2, starts: 2, batch_size: 6, seq_length: 60}}
"""
PROTOCOL = """
name: small
summary: six basins that never were
source: https://example.org
periods: {{train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-09-30], spin_up: 60}}
rivals:
  hybrid: {{config: {folder}/hybrid.yaml, set: {{training.seq_length: 100}}}}
  per basin: {{config: {folder}/alone.yaml, calibrate: true, set: {{training.seq_length: 100}}}}
published: {{lstm: LSTM of somebody, absent: nobody's}}
medians: {{LSTM of somebody else: 0.7}}
{more}
"""
KINDS = {
    "gauged": "",
    "folds": "folds: 3",
    "regions": "regions: {low: [synthetic-001, synthetic-002], high: [synthetic-003]}",
}


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    folder = tmp_path_factory.mktemp(kind)
    nn = "nn: {name: mlp, hidden_sizes: [4]}, "
    (folder / "hybrid.yaml").write_text(CONFIG.format(name="hybrid", nn=nn))
    (folder / "alone.yaml").write_text(CONFIG.format(name="alone", nn=""))
    (folder / "small.yaml").write_text(PROTOCOL.format(folder=folder, more=KINDS[kind]))
    ids = generate(6, 1, seed=3).ids
    lines = [f"{basin},{0.5 + k / 10}" for k, basin in enumerate(ids[:4])]
    (folder / "figures.csv").write_text("\n".join(["basin,lstm", *lines]))
    return folder


def command(folder, *more):
    published = ["--published", str(folder / "figures.csv")]
    return ["benchmark", str(folder / "small.yaml"), "--output", str(folder / "runs"), *published, *more]


@pytest.fixture(scope="module")
def ran(folder):
    assert main(command(folder, "--seeds", "0", "1")) == 0
    with open(folder / "runs" / "benchmark.csv") as file:
        return list(csv.DictReader(file))


def values(rows, model, seed):
    return {row["basin"]: float(row["NSE"]) for row in rows if (row["model"], row["seed"]) == (model, seed)}


def test_every_model_seed_and_basin_has_a_score(ran):
    ids = generate(6, 1, seed=3).ids
    for model in ("hybrid", "per basin"):
        for seed in ("0", "1", "mean flow"):
            of = values(ran, model, seed)
            assert tuple(of) == ids
            assert np.isfinite([*of.values()]).all()
    assert values(ran, "LSTM of somebody", "published") == {
        basin: pytest.approx(0.5 + k / 10) for k, basin in enumerate(ids[:4])
    }


def test_a_basin_that_is_held_out_is_in_no_part_of_its_training(kind, folder, ran):
    bundles = [Bundle.load(path) for path in sorted((folder / "runs").glob("hybrid-0*/bundle"))]
    trained = [set(bundle.provenance["basins"]) for bundle in bundles]
    if kind == "gauged":
        assert [len(basins) for basins in trained] == [6]
        return
    held_out = [{*generate(6, 1, seed=3).ids} - basins for basins in trained]
    assert sorted(basin for part in held_out for basin in part) == [*generate(6, 1, seed=3).ids]
    for bundle, part in zip(bundles, held_out, strict=True):
        assert not any(basin in str(bundle.provenance["basins"]) for basin in part)


def test_the_scores_are_those_of_the_run_folders(kind, folder, ran):
    split = "test" if kind == "gauged" else "ungauged"
    stored = {}
    for path in (folder / "runs").glob("hybrid-1*/metrics.csv"):
        with open(path) as file:
            stored |= {
                row["basin"]: float(row["NSE"])
                for row in csv.DictReader(file)
                if row["split"] == split and row["basin"] != "median"
            }
    assert values(ran, "hybrid", "1") == stored


def test_what_is_calibrated_takes_the_parameters_of_another_part(kind, folder, ran):
    with open(folder / "runs" / "per_basin-0" / "metrics.csv") as file:
        own = {row["basin"]: float(row["NSE"]) for row in csv.DictReader(file) if row["split"] == "test"}
    own.pop("median")
    scores = values(ran, "per basin", "0")
    same = [scores[basin] == own[basin] for basin in own]
    assert all(same) if kind == "gauged" else not any(same)


def test_the_page_compares_the_first_model_with_all_others(folder, ran):
    page = (folder / "runs" / "benchmark.html").read_text()
    for words in ("six basins that never were", "LSTM of somebody", "LSTM of somebody else", "sign test"):
        assert words in page
    assert "nobody's" not in page
    assert len(re.findall("data:image/png", page)) >= 1
    assert "<h2>By aridity" in page
    assert "<h2>By share of precipitation as snow" in page
    assert not re.search(r"<script|src=.http", page)


def test_a_second_command_trains_nothing_and_says_the_same(folder, ran, capsys, monkeypatch):
    def never(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr("dmg_bmi.training.benchmark.rivals.train", never)
    monkeypatch.setattr("dmg_bmi.training.benchmark.rivals.calibrate", never)
    before = (folder / "runs" / "benchmark.csv").read_text()
    assert main(command(folder, "--seeds", "0", "1")) == 0
    assert (folder / "runs" / "benchmark.csv").read_text() == before
    said = capsys.readouterr().out
    assert re.search(r"^\| hybrid \| 6 \| ", said, re.MULTILINE)
    assert re.search(r"^\| LSTM of somebody \| 4 \| 0\.650 \|", said, re.MULTILINE)


def test_a_finished_run_of_other_settings_is_refused(folder, ran, capsys):
    assert main(command(folder, "--set", "training.max_steps=3")) == 2
    assert "holds a finished run with training.max_steps 2 and not 3" in capsys.readouterr().err


def test_some_models_with_other_seeds_are_run_alone(folder, ran):
    result = benchmark(folder / "small.yaml", Options(folder / "runs"), ["per basin"], [0])
    assert [*result.models] == ["per basin"]
    assert result.models["per basin"].mean_flow is None
    assert result.published == {}
    assert result.models["per basin"].minutes > 0


def test_equal_budgets_become_steps(kind, folder, tmp_path, monkeypatch):
    if kind != "gauged":
        pytest.skip("one kind is enough")
    for name, each in (("seconds_per_step", 2.0), ("seconds_per_calibration_step", 6.0)):
        monkeypatch.setattr(f"dmg_bmi.training.benchmark.rivals.{name}", lambda config, each=each: each)
    options = Options(tmp_path / "runs", minutes=0.1)
    benchmark(folder / "small.yaml", options)
    steps = [
        RunFolder(tmp_path / "runs" / name).read_config().training.max_steps
        for name in ("hybrid-0", "per_basin-0")
    ]
    assert steps == [3, 1]
    monkeypatch.undo()
    # What has begun keeps its steps, however long one takes now.
    benchmark(folder / "small.yaml", options)


def test_the_time_of_a_step_is_measured(kind, folder, tmp_path):
    if kind != "gauged":
        pytest.skip("one kind is enough")
    result = benchmark(folder / "small.yaml", Options(tmp_path / "runs", minutes=0.005))
    for name in result.models:
        assert np.isfinite(result.models[name].mean("NSE")).all()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--models", "hybrit"], "no model 'hybrit'"),
        (["--minutes", "-1"], "--minutes must not be negative"),
        (["--set", "training.max_step=3"], "max_step"),
        (["--data", "absent.yaml"], "absent.yaml"),
        (["--published", "absent.csv"], "absent.csv"),
        (["--seeds", "one"], "invalid int value"),
    ],
)
def test_a_wrong_option_is_refused_before_the_work(more, message, folder, tmp_path, capsys):
    arguments = [*command(folder), "--output", str(tmp_path / "new"), *more]
    try:
        status = main(arguments)
    except SystemExit as stop:
        status = stop.code
    assert status == 2
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "new").glob("*/metrics.csv"))


def test_donors_are_the_nearest_of_the_other_parts():
    dataset = generate(4, 1)
    attributes = {"aridity": np.array([1.0, 1.1, 5.0, 4.0]), "slope": np.array([10.0, 12.0, 1.0, 3.0])}
    dataset = type(dataset)(**{**vars(dataset), "attributes": attributes})
    a, b, c, d = dataset.ids
    assert most_similar(dataset, [[b, d], [a, c]]) == {b: a, d: c, a: b, c: d}
    assert most_similar(dataset, [[a, b], [c, d]]) == {a: d, b: d, c: b, d: b}
