"""``dmg-bmi evaluate`` and ``dmg-bmi report`` on a run that was trained for a moment."""

import csv
import json
import re
import shutil
import sys
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from dmg_bmi.physics import run

from dmg_bmi import Bundle, DeltaModelBmi
from dmg_bmi.cli import driver, main
from dmg_bmi.io import netcdf
from dmg_bmi.training.metrics import per_basin
from dmg_bmi.training.readers.synthetic import SyntheticData

CONFIG = """
name: small <model>
data: {reader: synthetic, basins: 4, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods:
  train: [2000-10-01, 2001-09-30]
  validation: [2001-10-01, 2002-03-31]
  test: [2002-04-01, 2002-09-30]
  spin_up: 60
model:
  nn: {static: {name: mlp, hidden_sizes: [4]}, dynamic: {name: lstm, hidden_size: 4}}
  phy_model: {name: hbv, nmul: 2, routing: 3}
  roles: [{network: static}, {network: dynamic, inputs: [P, T, PET], attributes: [], dynamic: [BETA]}]
training: {max_steps: 3, batch_size: 6, seq_length: 100}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    where = tmp_path_factory.mktemp("evaluate")
    (where / "small.yaml").write_text(CONFIG)
    assert main(["train", str(where / "small.yaml"), "--output", str(where / "run")]) == 0
    return where / "run"


def rows(path):
    with open(path) as file:
        return list(csv.DictReader(file))


def test_a_run_is_scored_as_at_its_training(folder, tmp_path, capsys):
    assert main(["evaluate", str(folder), "--output", str(tmp_path / "scores.csv")]) == 0
    assert rows(tmp_path / "scores.csv") == rows(folder / "metrics.csv")
    said = capsys.readouterr().out
    assert re.findall(r"^(\w+) Q:", said, re.MULTILINE) == ["train", "validation", "test"]


def test_what_was_simulated_and_observed_stands_in_one_file(folder, tmp_path):
    assert main(["evaluate", str(folder), "--split", "test", "--series", str(tmp_path / "flow.nc")]) == 0
    written, given = netcdf.read(tmp_path / "flow.nc"), netcdf.read(folder / "forcing.nc")
    given = given.period(written.times[0], written.times[-1] + np.timedelta64(1, "D"))
    np.testing.assert_allclose(written.target["Q_observed"], given.target["Q"], rtol=1e-6)
    assert written.units["Q"] == written.units["Q_observed"] == given.units["Q"]
    scores = per_basin(written.forcing["Q"][-183:], written.target["Q_observed"][-183:])
    expected = [row["NSE"] for row in rows(folder / "metrics.csv") if row["split"] == "test"][:-1]
    np.testing.assert_allclose(scores["NSE"], np.array(expected, dtype=float), atol=1e-3)


def test_its_bundle_remembers_the_data_and_agrees_with_its_bmi(folder, capsys):
    assert main(["evaluate", str(folder / "bundle"), "--split", "test", "--bmi"]) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^(\w+) Q:", said, re.MULTILINE) == ["test"]
    assert "730 steps of 4 catchments through the BMI and one forward agree" in said
    shares = dict(re.findall(r"(\w+) +differs by at most [-+.e\d]+, ([\d.]+)% of", said))
    assert {"Q", "ET", "SWE", "soil_moisture"} <= shares.keys()
    assert all(float(share) < 50 for share in shares.values())


def test_a_bmi_that_says_something_else_is_found_out(folder, monkeypatch, capsys):
    class Wet(DeltaModelBmi):
        def update(self):
            super().update()
            self.component.array("land_surface_water__runoff_depth")[2] *= 1.0001

    monkeypatch.setattr(driver, "DeltaModelBmi", Wet)
    assert main(["evaluate", str(folder), "--split", "test", "--bmi"]) == 2
    captured = capsys.readouterr()
    assert "do not agree:" in captured.out
    assert "do not agree" in captured.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["{run}", "--split", "tests"], "no split tests; available: train, validation, test"),
        (["{run}/nothing"], "no bundle found"),
        (["{run}", "--set", "periods.test=[2010-01-01, 2011-01-01]"], "no data from 2010"),
        (["muskingum_cunge"], "does not record its training data"),
    ],
)
def test_what_cannot_be_scored_is_named(folder, arguments, said, capsys):
    assert main(["evaluate", *(a.format(run=folder) for a in arguments)]) == 2
    assert said in capsys.readouterr().err


class Page(HTMLParser):
    """What a browser would load of a page, and the texts of its scripts by their ids."""

    def __init__(self, text):
        super().__init__()
        self.scripts, self._id = {}, None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        assert tag not in ("link", "iframe", "object", "img"), tag
        assert not {name for name, _ in attrs} & {"href", "src", "srcset", "onload"}, (tag, attrs)
        self._id = dict(attrs).get("id") if tag == "script" else None

    def handle_endtag(self, tag):
        self._id = None

    def handle_data(self, data):
        if self._id:
            self.scripts[self._id] = data


def test_the_report_is_one_page_that_needs_nothing_else(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["report", str(folder)]) == 0
    path = folder / "report.html"
    assert capsys.readouterr().out.strip() == str(path)
    text = path.read_text(encoding="utf-8")
    assert "small &lt;model&gt;" in text
    content = json.loads(Page(text).scripts["content"])
    assert content["title"] == "small <model>"
    assert content["judged"] == "test"
    scored = [row for row in rows(folder / "metrics.csv") if row["basin"] != "median"]
    for row in scored:
        place = content["ids"].index(row["basin"])
        assert content["scores"][row["split"]]["NSE"][place] == pytest.approx(float(row["NSE"]))
    assert {"BETA", "FC"} <= content["parameters"].keys()
    assert content["parameters"]["BETA"]["dynamic"]
    assert {"in P", "out Q", "out ET", "change", "residual"} <= content["basin"].keys()


def test_a_reference_without_scores_is_named(folder, tmp_path, capsys):
    assert main(["report", str(folder), "--reference", str(tmp_path)]) == 2
    assert "(no metrics.csv) to compare with" in capsys.readouterr().err


def test_a_folder_without_a_finished_run_has_no_report(tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "holds no finished run of dmg-bmi train" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["metrics.csv", "history.csv"])
@pytest.mark.parametrize(
    "change", ["x\n1\n", "", "target,basin,split,NSE\nQ,a,test,good\n", "step,loss,validation_NSE\nx,1,1\n"]
)
def test_a_damaged_table_of_a_run_is_named(folder, tmp_path, capsys, name, change):
    damaged = tmp_path / "run"
    shutil.copytree(folder, damaged)
    (damaged / name).write_text(change, encoding="utf-8")
    assert main(["report", str(damaged)]) == 2
    assert f"{name}: " in capsys.readouterr().err


def test_learned_parameters_are_those_that_the_equations_get(folder):
    model = Bundle.load(folder / "bundle").model
    data = netcdf.read(folder / "forcing.nc")
    forcing = {n: torch.from_numpy(data.forcing[n][:50]) for n in model.forcing_names}
    attributes = {n: torch.from_numpy(data.attributes[n]) for n in model.attribute_names}
    found = model.learned_parameters(forcing, attributes)
    assert found.keys() == {*model.learned}
    assert found["phy.BETA"].shape == (50, 4, 2)
    assert found["phy.FC"].shape == (4, 2)
    dynamic = {"BETA": found.pop("phy.BETA")}
    constant = {name.removeprefix("phy."): values for name, values in found.items()}
    phy = model.process_models["phy"]
    fluxes, _ = run(phy, forcing, phy.init_state(4), constant, {}, 1.0, dynamic=dynamic)
    np.testing.assert_array_equal(fluxes["Q"], model(forcing, attributes)[0]["Q"])


def test_data_without_an_attribute_of_the_model_is_refused_by_name(folder, monkeypatch, capsys):
    read = SyntheticData.read

    def lacking(data):
        dataset = read(data)
        return replace(dataset, attributes={"elev_mean": dataset.attributes["elev_mean"]})

    monkeypatch.setattr(SyntheticData, "read", lacking)
    assert main(["evaluate", str(folder / "bundle")]) == 2
    assert "the model needs attribute aridity; the data has elev_mean" in capsys.readouterr().err


def test_without_matplotlib_the_bmi_is_compared_all_the_same(folder, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["evaluate", str(folder / "bundle"), "--split", "test", "--bmi"]) == 0
    assert "one forward agree" in capsys.readouterr().out
