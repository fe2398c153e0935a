"""The command ``import`` tells whose model it is given, and imports it whole or not at all."""

import os

import dmg_models
import nh_runs
import pytest
import torch

from dmg_bmi import Bundle
from dmg_bmi.cli import main
from dmg_bmi.errors import ConfigError
from dmg_bmi.interop.importers import import_model, recognise
from dmg_bmi.model.bundle_files import SHIPPED


@pytest.fixture
def dmg_folder(tmp_path):
    config, weights, statistics = dmg_models.parts()
    dmg_models.write(tmp_path / "theirs", config, weights, statistics, epoch=5)
    return tmp_path / "theirs"


def test_a_model_of_dmg_is_recognised_and_becomes_a_bundle(dmg_folder, tmp_path, capsys):
    assert main(["import", str(dmg_folder), "--output", str(tmp_path / "bundle")]) == 0
    said = capsys.readouterr().out
    assert "a model of dmg or dhbv2" in said
    assert "within 1e-4 mm/d of theirs" in said
    assert "freezing" in said
    assert Bundle.load(tmp_path / "bundle").provenance["checkpoint"].endswith("_ep5.pt")


def test_a_bundle_of_links_as_a_download_cache_holds_it_becomes_a_folder_of_files(tmp_path, capsys):
    snapshot = tmp_path / "snapshots" / "main"
    snapshot.mkdir(parents=True)
    for file in (SHIPPED / "demo_daily").iterdir():
        (snapshot / file.name).symlink_to(file)
    (snapshot / "README.md").write_text("a model card")
    assert main(["import", str(snapshot), "--output", str(tmp_path / "bundle")]) == 0
    assert "the same weights" in capsys.readouterr().out
    ours, theirs = Bundle.load(tmp_path / "bundle"), Bundle.load("demo_daily")
    assert not any(file.is_symlink() for file in (tmp_path / "bundle").iterdir())
    assert ours.provenance == theirs.provenance
    for (name, weight), other in zip(
        ours.model.state_dict().items(), theirs.model.state_dict().values(), strict=True
    ):
        assert torch.equal(weight, other), name


@pytest.mark.parametrize(
    "content", [[], ["model.pt"], ["config.yml"], ["weights.safetensors", "README.md"], ["_ep5.pth"]]
)
def test_what_no_reader_knows_is_refused_with_what_was_looked_for(tmp_path, content):
    for name in content:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(ConfigError, match=r"holds no model that can be imported; looked for .*bundle\.yaml"):
        recognise(tmp_path)


def test_a_model_is_found_in_the_folder_of_its_run(tmp_path):
    model = tmp_path / "output" / "camels" / "lstm" / "model"
    model.mkdir(parents=True)
    (model / "hbv_ep5.pt").write_bytes(b"")
    importer, folder = recognise(tmp_path)
    assert (importer.package, folder) == ("dmg or dhbv2", model)
    Bundle.load("demo_daily").save(tmp_path / "run" / "bundle")
    assert recognise(tmp_path / "run")[1] == tmp_path / "run" / "bundle"


def test_of_several_models_one_has_to_be_named(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "hbv_ep5.pt").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"holds 2 models; name one of .*one, .*two"):
        recognise(tmp_path)


@pytest.mark.parametrize("path", ["none", "a\0b", "x" * 300, 7])
def test_a_path_that_is_none_is_told_in_words(path):
    with pytest.raises(ConfigError):
        recognise(path)


def test_an_option_of_another_reader_is_refused_by_name(tmp_path):
    with pytest.raises(ConfigError, match="--epoch has no meaning for a model of dmg_bmi"):
        import_model(SHIPPED / "demo_daily", epoch=3)


def test_a_checkpoint_that_does_not_fit_leaves_no_bundle(dmg_folder, tmp_path, capsys):
    file = next(dmg_folder.glob("*.pt"))
    weights = torch.load(file, weights_only=True)
    torch.save(dict(list(weights.items())[1:]), file)
    assert main(["import", str(dmg_folder), "--output", str(tmp_path / "bundle")]) == 2
    assert file.name in capsys.readouterr().err
    assert not os.path.exists(tmp_path / "bundle")


def test_a_run_of_neuralhydrology_is_recognised_and_the_way_of_stepping_is_chosen(tmp_path, capsys):
    folder = nh_runs.write(tmp_path / "run", *nh_runs.parts())
    for stepping in ([], ["--stepping", "window"]):
        output = tmp_path / f"bundle{len(stepping)}"
        assert main(["import", str(folder), "--output", str(output), *stepping]) == 0
        assert "a model of neuralhydrology" in capsys.readouterr().out
        network = Bundle.load(output).model.networks["lstm"]
        assert network.seq_length == (7 if stepping else None)
    assert main(["compile", str(output)]) == 2
    assert "a network runs over a window at each step; it runs eagerly" in capsys.readouterr().err
