"""The configuration of a training: what is wrong in it is named, with the file and the remedy."""

from copy import deepcopy
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path

import numpy as np
import pytest
import yaml

from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.training import TrainingConfig
from dmg_bmi.training.config import SHIPPED, bounds
from dmg_bmi.training.readers.camels import ATTRIBUTES, CamelsData
from dmg_bmi.training.readers.synthetic import SyntheticData

GOOD = {
    "name": "small",
    "data": {"reader": "camels", "path": "camels_us"},
    "periods": {"train": ["1993-10-01", "2003-09-30"], "test": ["2003-10-01", "2013-09-30"]},
    "model": {
        "nn": {"name": "mlp", "hidden_sizes": [8]},
        "phy_model": {"name": "hbv"},
        "roles": [{}],
    },
    "training": {"max_steps": 5, "seq_length": 500, "loss": {"nse": 1}},
}

ALONE = """
name: alone
data: {reader: synthetic, basins: 3, years: 2, seed: 3, attributes: [elev_mean, aridity]}
periods: {train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-09-30], spin_up: 60}
model:
  nn: {name: lstm, hidden_size: 4}
  roles: [{role: output, inputs: [P, T, PET], outputs: [Q]}]
training: {max_steps: 3, batch_size: 6, seq_length: 100}
"""


@pytest.fixture
def written(tmp_path):
    """Writes a configuration with changes ``{"section.key": value}``; None removes the key."""

    def write(changes=()):
        content = deepcopy(GOOD)
        for key, value in dict(changes).items():
            *sections, last = key.split(".")
            place = content
            for section in sections:
                place = place[section]
            if value is None:
                del place[last]
            else:
                place[last] = value
        file = tmp_path / "train.yaml"
        file.write_text(yaml.safe_dump(content))
        return file

    return write


def test_a_good_file_is_read_and_defaults_are_filled_in(written):
    config = TrainingConfig.read(written())
    assert isinstance(config.data, CamelsData)
    assert config.data.attributes == tuple(ATTRIBUTES)
    assert config.periods.train == (datetime(1993, 10, 1), datetime(2003, 9, 30))
    assert config.periods.validation is None
    assert config.training.loss == {"nse": 1.0}


def test_the_last_day_of_a_period_belongs_to_it(written):
    start, end = bounds(TrainingConfig.read(written()).periods.train)
    assert start == np.datetime64("1993-10-01T00:00:00")
    assert end == np.datetime64("2003-10-01T00:00:00")


def test_overrides_take_the_place_of_what_the_file_says(written):
    config = TrainingConfig.read(written(), ["data.path=elsewhere/x", "training.seed=7", "summary=a model"])
    assert str(config.data.path) == "elsewhere/x"
    assert config.training.seed == 7
    assert config.summary == "a model"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": None}, "missing key 'name'"),
        ({"datas": {}}, "unknown key 'datas'; did you mean 'data'"),
        (
            {"data.reader": "camel"},
            "'data.reader' must be one of camels, .*caravan, netcdf, synthetic.*did you mean 'camels'",
        ),
        (
            {"data.reader": None},
            "missing key 'data.reader'; choose one of camels, .*caravan, netcdf, synthetic",
        ),
        ({"data.path": None}, "missing key 'data.path'"),
        ({"data.pet": "penman"}, "'data.pet' must be one of priestley_taylor, hargreaves, oudin"),
        ({"data.area": "area"}, "'data.area' must be one of area_gages2"),
        ({"data.basins": [1022500]}, r"'data.basins\[0\]' must be text.*put it in quotes: '1022500'"),
        ({"data.basins": 1022500}, r"'data.basins' must be a list or a path.*write \['1022500'\] for a list"),
        (
            {"data.noise": 0.1},
            "unknown key 'data.noise'; .*known keys are reader, .* additional_forcing, next_step, path",
        ),
        ({"periods.train": ["1993-10-01"]}, "'periods.train' must be a list of 2 values"),
        ({"periods.train": date(1993, 10, 1)}, "'periods.train' must be a list of 2 values, not 1993-10-01"),
        ({"periods.train": ["2003-10-01", "1993-10-01"]}, "train ends on 1993-10-01, before it starts"),
        ({"periods.test": ["soon", "later"]}, r"'periods.test\[0\]' must be a date such as 2000-10-01"),
        ({"periods.spin_up": -1}, "spin_up must not be negative"),
        (
            {"periods.withheld": ["2003-09-01", "2003-10-31"]},
            "withheld must be a part of train, which is from 1993-10-01",
        ),
        ({"periods.withheld": ["1993-10-01", "2003-09-30"]}, "withheld must be a part of train"),
        ({"periods.withheld": ["1995-10-01", "1994-09-30"]}, "withheld ends on 1994-09-30, before it starts"),
        ({"model.step": 3600}, "unknown key 'model.step'"),
        ({"training.max_steps": 0}, "max_steps must be above zero"),
        ({"training.max_steps": 1.5}, "'training.max_steps' must be a whole number"),
        ({"training.learning_rat": 0.1}, "unknown key 'training.learning_rat'; did you mean 'learning_rate'"),
        ({"training.loss": {"nes": 1}}, "no loss named 'nes'; registered:"),
        ({"training.loss": {"nse": -1.0}}, "the weight of loss nse must be a number from 0, it is -1.0"),
        ({"training.loss": {"Q": {"kge": float("nan")}}}, "'training.loss.Q.kge' must be a finite number"),
        ({"training.weight_decay": -0.1}, "weight_decay must not be negative, it is -0.1"),
        ({"training.range_penalty": -1}, "range_penalty must not be negative"),
        (
            {"training.clip_gradient_norm": float("nan")},
            "'training.clip_gradient_norm' must be a finite number, not nan",
        ),
        ({"training.loss": "nse"}, "'training.loss' must be a mapping"),
        ({"training.schedule": "cosine"}, "'training.schedule' must be one of one_cycle, constant"),
        ({"training.learning_rate": {10: 0.1}}, "learning_rate must map steps, of which 0 is one, to rates"),
        ({"training.learning_rate": {0: 0.1, 5: 0.0}}, "learning_rate must be above zero"),
        ({"training.tbptt": -1}, "tbptt must not be negative"),
        ({"training.precision": "float16"}, "'training.precision' must be one of float32, bfloat16"),
        (
            {"training.engine": "compiled", "training.activation_checkpointing": 30},
            "engine: compiled and activation_checkpointing exclude each other",
        ),
        ({"training.patience": 3}, "patience needs periods.validation"),
        ({"basins": {"validation": ["a"]}}, "basins.validation needs periods.validation"),
        ({"training.ema": 1.0}, "ema must be at least 0 and below 1"),
        ({"training.seq_length": 365}, "seq_length .365 days. must be longer than periods.spin_up"),
    ],
)
def test_what_is_wrong_is_named_with_the_file(written, changes, said):
    file = written(changes)
    with pytest.raises(ConfigError, match=said) as error:
        TrainingConfig.read(file)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.path", "write section.key=value"),
        ("name.x=1", "name holds a value, not keys"),
        ("training.loss={nse: 1", "--set training.loss: is not valid YAML"),
        ("data.basins=[01333000]", "--set data.basins: 01333000 means 374272, .* in quotes, '01333000'"),
    ],
)
def test_overrides_that_cannot_be_are_named(written, override, said):
    with pytest.raises(ConfigError, match=said):
        TrainingConfig.read(written(), [override])


def test_a_folder_that_has_the_name_of_a_shipped_configuration_does_not_hide_it(
    tmp_path, monkeypatch, caplog
):
    monkeypatch.chdir(tmp_path)
    said = "demo_daily: is not a {}; the shipped {} of that name is taken"
    for make in (lambda: None, lambda: Path("demo_daily").mkdir()):
        make()
        assert TrainingConfig.read("demo_daily").name == "demo_daily"
        assert Bundle.load("demo_daily").model is not None
        told = Path("demo_daily").exists()
        assert ("demo_daily: is not a file; the shipped configuration of that" in caplog.text) is told
        assert (said.format("bundle", "bundle") in caplog.text) is told


def test_a_file_that_is_not_there_is_named_with_those_that_are_shipped():
    with pytest.raises(
        ConfigError,
        match=r"none\.yaml: no such file; shipped configurations: calibrate, camels,.* demo_daily",
    ):
        TrainingConfig.read("none.yaml")


@pytest.mark.parametrize("name", sorted(p.stem for p in SHIPPED.glob("*.yaml")))
def test_shipped_configurations_are_valid(name):
    config = TrainingConfig.read(name)
    assert config.name == name
    assert isinstance(config.data, SyntheticData if name.startswith("demo") else CamelsData)


def test_a_network_alone_trains_without_the_key_of_process_models(tmp_path):
    (tmp_path / "alone.yaml").write_text(ALONE)
    assert main(["train", str(tmp_path / "alone.yaml"), "--output", str(tmp_path / "run")]) == 0
    assert Bundle.load(tmp_path / "run" / "bundle").model.phy_model is None
    assert main(["evaluate", str(tmp_path / "run"), "--split", "test", "--bmi"]) == 0


def test_equations_are_compiled_where_that_is_worth_its_minute(written):
    config = TrainingConfig.read
    much, little = config("camels", []).training, config("demo_daily", []).training
    assert much.compiles(910)
    assert not little.compiles(545)
    assert not much.compiles(10)
    assert not replace(much, engine="eager").compiles(910)
    assert replace(little, engine="compiled").compiles(1)
    assert not replace(much, activation_checkpointing=30).compiles(910)


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("[aridity, aridity]", "names aridity more than once"),
        ("[aridity, nonsense]", "have no nonsense; avail"),
    ],
)
def test_attributes_that_cannot_be_chosen_are_named(attributes, said):
    with pytest.raises(ConfigError, match=said):
        TrainingConfig.read("demo_daily", [f"data.attributes={attributes}"]).data.read()


def test_synthetic_basins_have_the_attributes_that_are_chosen_and_coordinates():
    chosen = TrainingConfig.read("demo_daily", ["data.attributes=[aridity]", "data.basins=2", "data.years=1"])
    assert {*chosen.data.read().attributes} == {"aridity", "gauge_lat"}
