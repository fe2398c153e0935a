"""Protocols: those that ship can be read, and basins are held out as they say."""

from pathlib import Path

import pytest

from dmg_bmi.errors import ConfigError
from dmg_bmi.training.benchmark import Options, Protocol
from dmg_bmi.training.benchmark.rivals import configured
from dmg_bmi.training.config import TrainingConfig, find

IDS = ("01022500", "01031500", "02046000", "03010655", "12010000", "99999999")
OWN = """
name: own
periods: {train: [2000-10-01, 2001-09-30], test: [2001-10-01, 2002-09-30]}
rivals: {one: {config: demo_daily}}
"""


def read(folder, text):
    path = folder / "protocol.yaml"
    path.write_text(text)
    return Protocol.read(path)


BENCHMARKS = Path(__file__).resolve().parents[4] / "benchmarks"


@pytest.mark.parametrize("name", ["kratzert", "feng", "pub", "pur", *BENCHMARKS.glob("skill*.yaml")])
def test_every_protocol_configures_every_rival(name):
    protocol = Protocol.read(name)
    assert protocol.summary
    for rival in protocol.rivals:
        config = configured(protocol, rival, Options(Path("runs")), seed=3)
        assert config.periods.test == protocol.periods.test
        assert config.training.seed == 3
        assert bool(config.model.nn) != protocol.rivals[rival].calibrate


def test_the_531_basins_are_531():
    for name in ("kratzert", "pub", "pur"):
        protocol = Protocol.read(name)
        assert len(protocol.basins.read_text().split("\n")[1:-1]) == 531
        assert protocol.select(IDS) == ["01022500", "01031500", "02046000", "03010655", "12010000"]
    assert Protocol.read("feng").select(IDS) == [*IDS]


def test_nothing_is_held_out_of_gauged_protocols():
    assert Protocol.read("kratzert").held_out(IDS) == {}


def test_every_basin_is_held_out_once():
    for name in ("pub", "pur"):
        parts = Protocol.read(name).held_out(IDS)
        assert sorted(basin for part in parts.values() for basin in part) == sorted(IDS)
    assert len(Protocol.read("pub").held_out([f"{k:08}" for k in range(100)])) == 12


def test_a_region_is_held_out_whole():
    parts = Protocol.read("pur").held_out(IDS)
    assert parts["northeast"] == ["01022500", "01031500"]
    assert parts["west"] == ["12010000"]
    assert parts["elsewhere"] == ["99999999"]
    with pytest.raises(ConfigError, match="all 2 basins are in one region, northeast"):
        Protocol.read("pur").held_out(IDS[:2])


def test_data_of_the_user_keep_the_attributes_of_each_rival(tmp_path):
    protocol = Protocol.read("pub")
    data = {"reader": "netcdf", "path": "some.nc"}
    config = configured(protocol, "hybrid", Options(tmp_path, data))
    assert config.data.reader == "netcdf"
    assert "aridity" in config.data.attributes
    assert config.data.cache == tmp_path / "cache"
    own = configured(protocol, "hybrid", Options(tmp_path, {**data, "attributes": ["area"], "cache": "c"}))
    assert own.data.attributes == ("area",)
    assert own.data.cache == Path("c")


def test_years_of_validation_within_the_training_are_kept(tmp_path):
    rival = "rivals: {one: {config: demo_daily, set: {periods.validation: [2001-01-01, 2001-05-01]}}}"
    protocol = read(tmp_path, OWN.replace("rivals: {one: {config: demo_daily}}", rival))
    config = configured(protocol, "one", Options(tmp_path))
    assert f"{config.periods.validation[1]:%Y-%m-%d}" == "2001-05-01"
    assert configured(read(tmp_path, OWN), "one", Options(tmp_path)).periods.validation is None


def test_lists_of_rivals_and_basins_are_found_beside_the_protocol(tmp_path):
    (tmp_path / "mine.yaml").write_text("one: {config: demo_daily}\n")
    (tmp_path / "ids.txt").write_text("b\nc\n")
    text = OWN.replace("rivals: {one: {config: demo_daily}}", "rivals: mine.yaml\nbasins: ids.txt")
    protocol = read(tmp_path, text)
    assert [*protocol.rivals] == ["one"]
    assert protocol.select(["a", "b", "c"]) == ["b", "c"]


@pytest.mark.parametrize("listed", ["rivals.yaml", "sub/rivals.yaml", None])
def test_a_configuration_is_found_beside_the_file_that_names_it_wherever_one_stands(
    tmp_path, monkeypatch, listed
):
    monkeypatch.chdir(tmp_path.parent)
    folder = tmp_path / "sub" if listed and "/" in listed else tmp_path
    folder.mkdir(exist_ok=True)
    shipped = TrainingConfig.read("demo_daily").summary
    (folder / "mine.yaml").write_text(find("demo_daily").read_text().replace(shipped, "of mine"))
    text = "{one: {config: mine.yaml}, two: {config: demo_daily}}"
    if listed:
        (tmp_path / listed).write_text(text)
    own = OWN.replace("{one: {config: demo_daily}}", listed or text)
    protocol = read(tmp_path, own)
    assert configured(protocol, "one", Options(tmp_path)).summary == "of mine"
    assert configured(protocol, "two", Options(tmp_path)).summary == shipped
    (folder / "mine.yaml").unlink()
    with pytest.raises(ConfigError, match=r"mine\.yaml: no such file; shipped configurations: "):
        configured(protocol, "one", Options(tmp_path))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("name: own", "nam: own"), "unknown key 'nam'"),
        (("{one: {config: demo_daily}}", "{}"), "rivals is empty"),
        (("{one: {config: demo_daily}}", "{one: {}}"), "missing key 'rivals.one.config'"),
        (("{one: {config: demo_daily}}", "absent.yaml"), "absent.yaml"),
        (("name: own", "name: own\nfolds: 3\nregions: {a: ['01']}"), "either folds or regions"),
        (("2001-09-30]", "1999-09-30]"), "before it starts"),
    ],
)
def test_a_wrong_protocol_is_refused(change, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, OWN.replace(*change))


def test_an_unknown_protocol_lists_those_that_ship():
    with pytest.raises(ConfigError, match=r"shipped protocols: feng, kratzert, pub, pur$"):
        Protocol.read("kratzer")


def test_a_wrong_key_of_a_rival_is_named(tmp_path):
    rival = "{one: {config: demo_daily, set: {training.max_step: 3}}}"
    protocol = read(tmp_path, OWN.replace("{one: {config: demo_daily}}", rival))
    with pytest.raises(ConfigError, match=r"training\.max_step"):
        configured(protocol, "one", Options(tmp_path))


def test_basins_of_another_country_are_refused():
    with pytest.raises(ConfigError, match="none of its 531 basins"):
        Protocol.read("kratzert").select(["DE110000"])
