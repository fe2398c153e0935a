"""The skill benchmarks run by their command, leave out what they say, and read back what is finished."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

BASINS = ("01333000", "10234500")
SHORT = (
    "periods.train=[2002-01-01, 2003-09-30]",
    "periods.test=[2003-10-01, 2004-09-30]",
    "training.max_steps=2",
    "training.batch_size=3",
    "training.seq_length=400",
)


@pytest.fixture(scope="module")
def benchmarks():
    """The folder's scripts, importable as they are when one of them is run."""
    folder = str(Path(__file__).resolve().parents[2] / "benchmarks")
    sys.path.insert(0, folder)
    import camels531
    import skill

    sys.path.remove(folder)
    return skill, camels531


@pytest.fixture(scope="module")
def run_twice(benchmarks, shared_data, tmp_path_factory):
    """Output folder of the skill benchmark, what it printed, and what a second run printed."""
    skill, _ = benchmarks
    output = tmp_path_factory.mktemp("skill")
    patch = pytest.MonkeyPatch()
    patch.setattr(skill, "UPDATES", 2)
    patch.setattr(skill, "FOLDS", len(BASINS))
    sets = [item for override in SHORT for item in ("--set", override)]
    command = [
        str(shared_data / "camels_us"),
        "--output",
        str(output),
        "--seeds",
        "0",
        "--basins",
        *BASINS,
        *sets,
    ]
    printed = []
    patch.setattr("builtins.print", lambda *text, **_: printed.append(" ".join(map(str, text))))
    skill.main(command)
    first = "\n".join(printed)
    printed.clear()
    skill.main(command)
    patch.undo()
    return output, first, "\n".join(printed)


def test_every_model_has_a_score_in_every_basin_gauged_and_left_out(benchmarks, run_twice):
    skill, _ = benchmarks
    output, _, _ = run_twice
    rows = list(csv.DictReader((output / "skill.csv").open(encoding="utf-8")))
    assert {row["basins"] for row in rows} == {"gauged", "left out"}
    for kind, third in (("gauged", "per basin"), ("left out", "of the most similar basin")):
        for model in ("hybrid", "LSTM alone", *(f"{name}, {third}" for name in skill.CALIBRATED)):
            of = [r for r in rows if r["basins"] == kind and r["model"] == model and r["seed"] == "0"]
            assert tuple(row["basin"] for row in of) == BASINS
            assert all(np.isfinite(float(row["NSE"])) for row in of)


def test_a_left_out_basin_is_in_no_part_of_its_training(run_twice):
    output, _, _ = run_twice
    for fold, basin in enumerate(BASINS):
        for model in ("hybrid", "LSTM_alone"):
            bundle = yaml.safe_load(
                (output / f"{model}-0-without_{fold}" / "bundle" / "bundle.yaml").read_text()
            )
            assert basin not in str(bundle["provenance"])
            assert all(other in bundle["provenance"]["basins"] for other in BASINS if other != basin)


def test_a_second_run_trains_nothing_and_prints_the_same_tables(run_twice):
    _, first, second = run_twice
    assert "CPU minutes" in first
    assert "CPU minutes" not in second
    assert second.strip() == first[first.index("\n## Basins of the training") :].strip()


def test_parameters_come_from_the_nearest_basin_that_is_known(benchmarks, camels):
    skill, _ = benchmarks
    dataset = camels(aridity=[1.0, 1.1, 5.0, 4.0], slope=[10.0, 12.0, 1.0, 3.0])
    assert skill.most_similar(dataset, [*dataset.attributes], [0, 2], [1, 3]) == [0, 2]
    assert skill.most_similar(dataset, [*dataset.attributes], [2, 3], [0, 1]) == [3, 3]


@pytest.fixture
def camels(benchmarks):
    """A dataset of nothing but attributes."""
    skill, _ = benchmarks

    def make(**attributes):
        values = {name: np.array(value) for name, value in attributes.items()}
        ids = tuple("abcd")
        times = np.arange(0, 2).astype("datetime64[D]").astype("datetime64[s]")
        return skill.BasinDataset(ids, times, 86400.0, {}, values, {}, {name: "1" for name in values})

    return make


def test_the_protocol_of_531_basins_runs_on_those_of_a_list(benchmarks, shared_data, tmp_path, capsys):
    _, camels531 = benchmarks
    listed = tmp_path / "list.txt"
    listed.write_text("\n".join(BASINS), encoding="utf-8")
    options = ["--forcing", "nldas", "--short", "--models", "static", "--output", str(tmp_path)]
    camels531.main([str(shared_data / "camels_us"), "--basins", str(listed), *options])
    printed = capsys.readouterr().out
    assert "2 basins, forcing nldas" in printed
    assert "| static |" in printed
    config = yaml.safe_load((tmp_path / "static-0" / "config.yaml").read_text())
    assert config["periods"]["train"] == ["1999-10-01", "2008-09-30"]
    assert config["periods"]["test"] == ["1989-10-01", "1999-09-30"]
