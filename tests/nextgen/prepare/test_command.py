"""Preparing by the command, and in a run folder of NextGen In A Box."""

import json
import shutil

import numpy as np
import pytest

from dmg_bmi.cli import main
from dmg_bmi.errors import NextGenError
from dmg_bmi.nextgen.prepare import ngiab

# -- NextGen In A Box -----------------------------------------------------------------------


@pytest.fixture
def run_folder(juniata, tmp_path):
    """A run folder as NGIAB_data_preprocess lays it out."""
    root = tmp_path / "ngiab"
    (root / "config").mkdir(parents=True)
    (root / "forcings").mkdir()
    shutil.copyfile(juniata.hydrofabric, root / "config" / "gage_subset.gpkg")
    shutil.copyfile(juniata.forcing, root / "forcings" / "forcings.nc")
    time = {"start_time": "2010-06-01 00:00:00", "end_time": "2010-06-03 23:00:00", "output_interval": 3600}
    (root / "config" / "realization.json").write_text(json.dumps({"time": time}))
    return root


@pytest.mark.parametrize(
    "own", [pytest.param(False, marks=pytest.mark.slow, id="pushed"), pytest.param(True, id="own")]
)
def test_a_run_folder_is_read_written_and_run(run_folder, bundle, ngen, own):
    command = ["nextgen", "prepare", str(bundle("hybrid")), "--ngiab", str(run_folder), "--pet", "oudin"]
    original = (run_folder / "config" / "gage_subset.gpkg").read_bytes()
    assert (
        main(
            [
                *command,
                "--missing-attributes",
                "neighbours",
                "--multi",
                *(["--stored-forcing"] if own else []),
            ]
        )
        == 0
    )
    assert (run_folder / "config" / "gage_subset.gpkg").read_bytes() == original
    document = json.loads((run_folder / "config" / "realization.json").read_text())
    assert document["time"]["end_time"] == "2010-06-03 23:00:00"
    assert document["global"]["formulations"][0]["name"] == "bmi_multi"
    if not own:
        assert document["global"]["forcing"] == {"path": "./forcings/forcings.nc", "provider": "NetCDF"}
    run = ngen(run_folder)
    assert run.status == 0, run.stderr
    assert "mass_balance" not in run.stderr


def test_a_run_folder_keeps_its_divides(run_folder, bundle, capsys):
    command = ["nextgen", "prepare", str(bundle("hybrid")), "--ngiab", str(run_folder), "--pet", "oudin"]
    assert main([*command, "--missing-attributes", "drop"]) == 2
    assert "choose --missing-attributes neighbours" in capsys.readouterr().err


def test_a_folder_that_is_no_run_folder_is_refused(tmp_path):
    with pytest.raises(NextGenError, match=r"has 0 .gpkg"):
        ngiab.read(tmp_path)


@pytest.mark.parametrize(
    ("time", "said"),
    [
        ({"start_time": "2010-6-1 0:00:00", "end_time": "2010-06-03 23:00:00"}, None),
        ({"start_time": "2010-06-01 00:00:00"}, "realization.json: time.end_time: the date '' is not"),
        ({"start_time": "soon", "end_time": "2010-06-03"}, "time.start_time: the date 'soon' is not"),
        ({"start_time": ["2010-06-01"], "end_time": 3}, "time.start_time: the date .* is not"),
        ({"start_time": "0000-06-01", "end_time": "2010-06-03"}, "time.start_time: the date .* is not"),
        (None, "realization.json: time must be an object"),
        ("2010", "realization.json: time must be an object"),
    ],
)
def test_the_period_of_a_run_folder_is_read_as_every_date(run_folder, time, said):
    (run_folder / "config" / "realization.json").write_text(json.dumps({"time": time}))
    if said is None:
        found = ngiab.read(run_folder)
        assert (found.start, found.end) == (np.datetime64("2010-06-01"), np.datetime64("2010-06-04"))
    else:
        with pytest.raises(NextGenError, match=said):
            ngiab.read(run_folder)


# -- the command line -------------------------------------------------------------------------


def test_the_command_prepares_and_says_how_to_run(small, bundle, tmp_path, capsys, ngen):
    command = [
        "nextgen", "prepare", str(bundle()), "--output", str(tmp_path / "run"),
        "--hydrofabric", str(small.hydrofabric), "--forcing", str(small.forcing),
        "--start", "2015-12-01", "--end", "2015-12-03", "--pet", "penman_monteith",
    ]  # fmt: skip
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "5 catchments are ready" in said
    fabric = "config/gauge_01073000.gpkg"
    assert f"ngen {fabric} all {fabric} all config/realization.json" in said
    assert ngen(tmp_path / "run").status == 0
    check = ["nextgen", "check", str(tmp_path / "run" / "config" / "realization.json"), "--hydrofabric"]
    assert main([*check, str(tmp_path / "run" / fabric)]) == 0
    path = tmp_path / "run" / "config" / "realization.json"
    path.write_text(path.read_text().replace("3600", "86400"))
    assert main([*check, str(tmp_path / "run" / fabric)]) == 2
    captured = capsys.readouterr()
    assert "output_interval" in captured.out
    assert "errors found: 1; correct them" in captured.err


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ([], "--output for a new folder, or --ngiab"),
        (["--output", "x", "--ngiab", "y"], "--output for a new folder, or --ngiab"),
        (["--output", "x"], "give --hydrofabric"),
        (["--output", "x", "--hydrofabric", "h.gpkg"], "give --start"),
        (
            ["--output", "x", "--hydrofabric", "h.gpkg", "--start", "tomorrow"],
            "the date 'tomorrow' is not understood",
        ),
        (
            [
                "--output",
                "x",
                "--hydrofabric",
                "h.gpkg",
                "--start",
                "2000-01-01",
                "--end",
                "2000-01-02",
                "--columns",
                "a",
            ],
            "'a' is not NAME=COLUMN",
        ),
    ],
)
def test_what_the_command_lacks_is_said(bundle, capsys, tmp_path, monkeypatch, arguments, match):
    monkeypatch.chdir(tmp_path)
    assert main(["nextgen", "prepare", str(bundle()), *arguments]) == 2
    assert match in capsys.readouterr().err
