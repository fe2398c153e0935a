"""The command line as its user meets it: files, pictures, messages, exit states."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from importlib import resources
from pathlib import Path

import netCDF4
import numpy as np
import pytest
import torch
import yaml
from commands import CALIBRATED, PROTOCOL
from weathers import weather

from dmg_bmi import Bundle
from dmg_bmi.cli import main, nextgen
from dmg_bmi.cli.demo import STORES
from dmg_bmi.errors import NextGenError
from dmg_bmi.hydrofabric import reader as hydrofabric
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.model.bundle_files import SHIPPED

CONFIGS = resources.files("dmg_bmi.bmi_configs")
OUT = ["--output", "out"]
TABLE = "id,elev_mean,area,aridity,frac_snow,frac_forest,clay_frac\ncat-1,640,320,0.8,0.2,0.6,18\n"


def png_size(path: Path) -> tuple[int, int]:
    """Width and height from the file's own header."""
    head = path.read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    return int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "--output", str(folder)]) == 0
    return folder


def test_demo_writes_a_cf_file_whose_runoff_is_that_of_one_forward(demo):
    forcing = netcdf.read(demo / "forcing.nc")
    model = Bundle.load("demo_hourly").model
    state = model.init_state(len(forcing.ids)) | {
        name: torch.full_like(model.init_state(len(forcing.ids))[name], depth)
        for name, depth in STORES.items()
    }
    with torch.no_grad():
        fluxes, _ = model(
            {name: torch.from_numpy(forcing.forcing[name]) for name in model.forcing_names},
            {name: torch.from_numpy(forcing.attributes[name]) for name in model.attribute_names},
            state,
        )
    with netCDF4.Dataset(demo / "runoff.nc") as data:
        assert data.Conventions.startswith("CF-")
        assert data.featureType == "timeSeries"
        assert data["catchment"].cf_role == "timeseries_id"
        assert data["time"].bounds == "time_bnds"
        assert data["Q"].cell_methods == "time: sum"
        assert not hasattr(data["SWE"], "cell_methods")
        assert data["SWE"].comment == "value at the end of the step, the later of time_bnds"
        runoff = data["Q"][:] * 1000.0
    expected = fluxes["Q"].numpy()
    assert expected.max() > 0.1
    np.testing.assert_allclose(runoff, expected, rtol=1e-5, atol=1e-6)


def test_demo_routes_all_of_its_runoff_to_the_outlet(demo):
    network = hydrofabric.read(demo / "basin.gpkg").network
    runoff, river = netcdf.read(demo / "runoff.nc"), netcdf.read(demo / "river.nc")
    entered = (runoff.forcing["Q"] @ network.area).sum() * 1e6
    outlet = int(network.columns()["upstream_area"].argmax())
    # Flow is that at the end of each hour; what leaves within hours is their mean to some percent.
    left = river.forcing["discharge"][:, outlet].sum() * 3600.0
    assert left + river.forcing["volume"][-1].sum() == pytest.approx(entered, rel=0.01)
    assert left > 0.5 * entered


@pytest.mark.parametrize("name", ["hydrograph.png", "map.png"])
def test_demo_draws_pictures_of_some_size(demo, name):
    width, height = png_size(demo / name)
    assert width > 800
    assert height > 300


@pytest.mark.parametrize("name", ["daily", "daily_stepped_hourly", "hourly", "many"])
def test_each_shipped_configuration_runs(name, tmp_path):
    with resources.as_file(CONFIGS) as folder:
        config = Path(folder) / f"{name}.yaml"
        hourly = "hourly" in name
        ids = tuple(f"demo-{k}" for k in range(1, 13 if name == "many" else 2))
        write_forcing(tmp_path / "forcing.nc", ids, 3600.0 if hourly else 86400.0)
        status = main(
            ["run", str(config), "--forcing", str(tmp_path / "forcing.nc"), "--output", str(tmp_path / "o")]
        )
    assert status == 0
    with netCDF4.Dataset(tmp_path / "o" / "output.nc") as data:
        runoff = data["Q"][:]
        assert runoff.shape == (240, len(ids))
        assert np.isfinite(runoff).all()
        assert runoff.sum() > 0


def write_forcing(path: Path, ids: tuple[str, ...], step: float, **changes: np.ndarray) -> BasinDataset:
    """240 wet steps without snow for some catchments."""
    some = weather(ids, 240, step)
    rain, air = some.forcing["P"] + 5.0 * step / 86400.0, np.maximum(some.forcing["T"], 8.0)
    wet = some.forcing | {"P": rain, "T": air}
    dataset = replace(some, forcing=wet | changes, attributes={})
    netcdf.write(path, dataset)
    return dataset


def message_of(capsys, *arguments: object) -> str:
    """What a failing command says; it must not be a traceback."""
    assert main([str(a) for a in arguments]) == 2
    captured = capsys.readouterr().err
    assert "Traceback" not in captured
    assert "dmg-bmi: error:" in captured
    return captured


def test_run_names_a_missing_catchment_and_leaves_no_output(demo, tmp_path, capsys):
    write_forcing(tmp_path / "forcing.nc", ("other",), 3600.0)
    # The file begins earlier than the demo.
    config = tmp_path / "runoff.yaml"
    text = (demo / "runoff.yaml").read_text().split("start_time")[0]
    config.write_text(text.replace("catchments.csv", str(demo / "catchments.csv")))
    said = message_of(capsys, "run", config, "--forcing", tmp_path / "forcing.nc", "--output", tmp_path / "o")
    assert "has no catchment cat-1" in said
    assert not list((tmp_path / "o").glob("*")) if (tmp_path / "o").exists() else True


def test_a_run_that_fails_on_the_way_leaves_no_file_that_looks_complete(tmp_path, capsys):
    with resources.as_file(CONFIGS) as folder:
        rain = np.full((240, 1), 5.0)
        rain[200] = np.nan
        write_forcing(tmp_path / "forcing.nc", ("demo-1",), 86400.0, P=rain)
        said = message_of(
            capsys,
            "run",
            Path(folder) / "daily.yaml",
            "--forcing",
            tmp_path / "forcing.nc",
            "--output",
            tmp_path / "o",
        )
    assert "demo-1" in said
    assert "precipitation" in said
    assert not [p.name for p in (tmp_path / "o").iterdir()]


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["inspect", "no-such-bundle"], "no-such-bundle"),
        (["run", "no-such.yaml", "--forcing", "x.nc"], "no-such.yaml"),
        (["train", "no-such.yaml", "--output", "runs/x"], "no-such"),
    ],
)
def test_what_is_not_there_is_named(arguments, names, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert names in message_of(capsys, *arguments)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("bundle: demo_daily\ncatchment_file: x.csv\n", "catchment_file"),
        ("bundle: demo_daily\ntime_step: fast\n", "time_step"),
        ("bundle: demo_daily\n", "elev_mean"),
        ("{}\n", "bundle"),
        ("bundle: [unclosed\n", "config.yaml"),
    ],
)
def test_a_broken_configuration_is_named_by_file_and_key(text, names, tmp_path, capsys):
    (tmp_path / "config.yaml").write_text(text, encoding="utf-8")
    said = message_of(capsys, "inspect", tmp_path / "config.yaml")
    assert names in said


@pytest.mark.parametrize(
    ("keys", "arguments", "names"),
    [
        ("", ["--catchment", "demo-9"], "--catchment: no catchment 'demo-9'; did you mean demo-1?"),
        (
            "start_time: 2000-09-30",
            [],
            "has no record at start_time 2000-09-30T00:00:00; it begins 2000-10-01",
        ),
        (
            "start_time: 2000-10-02\nend_time: 2001-10-01",
            [],
            "ends 2001-05-28T00:00:00, before end_time 2001",
        ),
        ("forcing: store", [], "the component reads stored forcing, so --forcing has no use"),
    ],
)
def test_a_run_that_cannot_be_says_why(keys, arguments, names, tmp_path, capsys):
    known = write_forcing(tmp_path / "forcing.nc", ("demo-1",), 86400.0)
    text = (CONFIGS / "daily.yaml").read_text().split("start_time")[0]
    if "forcing" in keys:
        store = tmp_path / "store"
        store.mkdir()
        for name in ("P", "T", "PET"):
            np.save(store / f"{name}.npy", known.forcing[name])
        units = {"P": "mm d-1", "T": "degC", "PET": "mm d-1"}
        index = {"ids": ["demo-1"], "start_time": "2000-10-01", "step": 86400.0}
        index["variables"] = {name: {"file": f"{name}.npy", "units": unit} for name, unit in units.items()}
        (store / "forcing.yaml").write_text(yaml.safe_dump(index))
        keys += "\nstart_time: 2000-10-01"
    (tmp_path / "run.yaml").write_text(f"{text}\n{keys}\n")
    given = ["run", tmp_path / "run.yaml", "--forcing", tmp_path / "forcing.nc", "--output", tmp_path / "o"]
    assert names in message_of(capsys, *given, *arguments)
    assert not (tmp_path / "o").exists()


def test_a_file_that_cannot_be_written_is_named_and_ctrl_c_is_no_traceback(tmp_path, monkeypatch, capsys):
    (tmp_path / "taken").write_text("")
    write_forcing(tmp_path / "forcing.nc", ("demo-1",), 86400.0)
    config = tmp_path / "run.yaml"
    config.write_text((CONFIGS / "daily.yaml").read_text())
    given = ["run", config, "--forcing", tmp_path / "forcing.nc", "--output", tmp_path / "taken"]
    assert f"{tmp_path / 'taken'}: cannot be written (File exists)" in message_of(capsys, *given)

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("dmg_bmi.cli.driver.drive", stopped)
    assert main([str(a) for a in given]) == 130
    said = capsys.readouterr().err
    assert said.endswith(
        "interrupted; the same command goes on from the last state that was kept, one a minute\n"
    )


def test_inspect_of_a_configuration_says_what_a_run_would_take(tmp_path, capsys):
    ids = [f"cat-{k}" for k in range(7)]
    values = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
    values |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
    config = {"bundle": "demo_daily", "catchments": {"ids": ids, "attributes": values}, "time_step": 3600.0}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    assert main(["inspect", str(tmp_path / "run.yaml")]) == 0
    said = capsys.readouterr().out
    assert "catchments   7: cat-0, cat-1, cat-2, cat-3, cat-4, ...\n" in said
    assert "start_time   not given\n" in said
    assert "time_step    3600 s\n" in said
    assert "forcing      set by the framework, step by step\n" in said
    assert "bundle demo_daily" in said


def test_run_refuses_forcing_of_another_step(demo, tmp_path, capsys):
    write_forcing(tmp_path / "forcing.nc", netcdf.read(demo / "forcing.nc").ids, 86400.0)
    said = message_of(capsys, "run", demo / "runoff.yaml", "--forcing", tmp_path / "forcing.nc")
    assert "3600" in said
    assert "86400" in said


def test_run_converts_units_that_files_say(demo, tmp_path):
    dataset = netcdf.read(demo / "forcing.nc")
    kelvin = BasinDataset(
        dataset.ids,
        dataset.times,
        dataset.step,
        {
            "P": dataset.forcing["P"] / 3600.0,
            "T": dataset.forcing["T"] + 273.15,
            "PET": dataset.forcing["PET"] * 24.0,
        },
        {},
        {},
        {"P": "kg m-2 s-1", "T": "K", "PET": "mm d-1"},
    )
    netcdf.write(tmp_path / "forcing.nc", kelvin)
    status = main(
        [
            "run",
            str(demo / "runoff.yaml"),
            "--forcing",
            str(tmp_path / "forcing.nc"),
            "--output",
            str(tmp_path),
        ]
    )
    assert status == 0
    with netCDF4.Dataset(tmp_path / "output.nc") as other, netCDF4.Dataset(demo / "runoff.nc") as data:
        np.testing.assert_allclose(other["Q"][:], data["Q"][:], rtol=1e-6, atol=1e-9)


def test_inspect_lists_variables_units_parameters_and_states(capsys):
    assert main(["inspect", "demo_daily"]) == 0
    said = capsys.readouterr().out
    for pattern in (
        r"Q +land_surface_water__runoff_depth +m ",
        r"P +atmosphere_water__liquid_equivalent_precipitation_rate +mm d-1",
        r"phy\.SM +mm",
        r"FC +50 \.\. 1000 +mm",
        r"fingerprint +[0-9a-f]{64}",
    ):
        assert re.search(pattern, said), pattern


def test_help_names_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    said = capsys.readouterr().out
    for name in ("demo", "run", "inspect", "train", "compile"):
        assert name in said


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "is not valid JSON: "),
        ("[1, 2]", "must be a JSON object of names and values"),
        ("\udcff", "is not UTF-8 text"),
    ],
)
def test_parameters_for_nextgen_are_names_and_values_in_json(tmp_path, content, reason):
    path = tmp_path / "params.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    with pytest.raises(NextGenError, match=rf"params\.json: {reason}"):
        nextgen._params(path)
    path.write_text('{"slope": 1.5}', encoding="utf-8")
    assert nextgen._params(path) == {"slope": 1.5}
    assert nextgen._params(None) == {}


@pytest.mark.parametrize("text", ["slope", "=slope", "slope=", "="])
def test_an_attribute_for_nextgen_is_a_name_and_a_column(text):
    with pytest.raises(NextGenError, match=f"--columns: '{text}' is not NAME=COLUMN"):
        nextgen._pair(text)
    assert nextgen._pair("slope=mean=slope") == ("slope", "mean=slope")


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "demo_daily"],
        ["export", "demo_daily", *OUT],
        ["import", str(SHIPPED / "demo_daily"), *OUT],
        pytest.param(
            [
                *("hindcast", "demo_daily", "--split", "validation", *OUT),
                *("--every", "99", "--fit-every", "20", "--leads", "1", "--assimilation", "quick.yaml"),
            ],
            marks=pytest.mark.slow,
        ),
        ["parameters", "demo_daily", "--attributes", "table.csv", "--forcing", "forcing.nc", *OUT],
        pytest.param(["calibrate", "alone.yaml", *OUT], marks=pytest.mark.slow),
        pytest.param(["benchmark", "one.yaml", *OUT], marks=pytest.mark.slow),
    ],
    ids=lambda arguments: arguments[0],
)
def test_a_reader_that_has_had_enough_ends_a_command_quietly(arguments, tmp_path):
    """As in ``dmg-bmi inspect BUNDLE | head -1``; what the command writes is there all the same."""
    (tmp_path / "one.yaml").write_text(PROTOCOL)
    (tmp_path / "alone.yaml").write_text(CALIBRATED)
    (tmp_path / "quick.yaml").write_text("window: 5\nages: [1]\n")
    (tmp_path / "table.csv").write_text(TABLE)
    write_forcing(tmp_path / "forcing.nc", ("cat-1",), 86400.0)
    command = [sys.executable, "-m", "dmg_bmi.cli", *arguments]
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = subprocess.run(
            command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=240, cwd=tmp_path
        )
    finally:
        os.close(writer)
    assert "Traceback" not in done.stderr
    assert "error" not in done.stderr.lower()
    assert bool([*tmp_path.glob("out*")]) == ("--output" in arguments)
    assert done.returncode == 141  # what a shell says of a process that SIGPIPE has ended


def test_what_is_no_error_of_the_family_is_told_as_a_bug(monkeypatch, capsys):
    monkeypatch.setattr("dmg_bmi.cli.inspect.describe", lambda what: 1 // 0)
    assert main(["inspect", "demo_daily"]) == 70
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert "this is a bug (ZeroDivisionError): please report it" in said


@pytest.mark.parametrize("name", ["a" * 256, "nul\0", "\udc80", "", "/dev/null", "."])
@pytest.mark.parametrize(
    "command",
    [
        ["inspect"],
        ["compile"],
        ["couple"],
        ["train", "--output", "out"],
        ["evaluate"],
        ["report"],
        ["import", "--output", "out"],
        ["freeze", "--forcing", "none.nc", "--output", "out"],
        ["run", "--forcing", "none.nc"],
        ["run", "daily.yaml", "--forcing"],
        ["nextgen", "check", "--hydrofabric", "none.gpkg"],
        ["export", "--output", "out"],
        ["hindcast", "--output", "out"],
        ["hindcast", "demo_daily", "--output", "out", "--assimilation"],
        ["hindcast", "demo_daily", "--output", "out", "--data"],
        ["calibrate", "--output", "out"],
        ["benchmark", "--output", "out"],
        ["benchmark", "one.yaml", "--output", "out", "--data"],
        ["benchmark", "one.yaml", "--output", "out", "--published"],
        ["parameters", "--attributes", "none.csv", "--output", "out.csv"],
        ["parameters", "demo_daily", "--output", "out.csv", "--attributes"],
        ["parameters", "demo_daily", "--output", "out.csv", "--attributes", "table.csv", "--forcing"],
    ],
    ids=" ".join,
)
def test_a_name_that_names_no_file_is_a_mistake_and_no_bug(command, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "daily.yaml").write_bytes((CONFIGS / "daily.yaml").read_bytes())
    (tmp_path / "one.yaml").write_text(PROTOCOL)
    (tmp_path / "alone.yaml").write_text(CALIBRATED)
    (tmp_path / "quick.yaml").write_text("window: 5\nages: [1]\n")
    (tmp_path / "table.csv").write_text(TABLE)
    status = main([*command, name])
    said = capsys.readouterr().err
    assert status == 2, said
    assert "Traceback" not in said


@pytest.mark.parametrize("place", ["taken", "taken/below", "nul\0", "\ud800"])
@pytest.mark.parametrize(
    "command",
    [
        ["calibrate", "alone.yaml"],
        ["benchmark", "one.yaml"],
        ["hindcast", "demo_daily", "--split", "validation", "--assimilation", "quick.yaml"],
        ["train", "demo_daily"],
        ["export", "demo_daily"],
    ],
    ids=lambda command: command[0],
)
def test_a_place_that_cannot_be_written_is_told_before_the_work(
    command, place, tmp_path, monkeypatch, capsys
):
    def work(*_, **__):
        raise AssertionError("it has begun")

    for name in ("training.experiment.fit", "training.calibration.fit", "forecast.hindcast"):
        monkeypatch.setattr(f"dmg_bmi.{name}", work)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "one.yaml").write_text(PROTOCOL)
    (tmp_path / "alone.yaml").write_text(CALIBRATED)
    (tmp_path / "quick.yaml").write_text("window: 5\nages: [1]\n")
    (tmp_path / "taken").write_text("of a user")
    said = message_of(capsys, *command, "--output", place)
    assert place.split("/")[0] in said or "no file can have such a name" in said
    assert (tmp_path / "taken").read_text() == "of a user"
