"""Runs over files: in blocks of any length, stopped and gone on with, of chosen days and outputs."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib import resources

import numpy as np
import pytest
import torch
import yaml
from weathers import weather

from dmg_bmi.bmi import DeltaModelBmi
from dmg_bmi.cli import main
from dmg_bmi.datasets import to_xarray
from dmg_bmi.errors import ForcingError
from dmg_bmi.io import netcdf
from dmg_bmi.model.bundle import Bundle
from dmg_bmi.plotting import hydrographs as plots
from dmg_bmi.runtime import unfinished_run
from dmg_bmi.runtime.config import write_config
from dmg_bmi.synthetic.basins import generate

STEPS, IDS = 100, ("cat-1", "cat-2", "cat-3")
ATTRIBUTES = {"elev_mean": 640.0, "area": 320.0, "aridity": 0.8}
ATTRIBUTES |= {"frac_snow": 0.2, "frac_forest": 0.6, "clay_frac": 18.0}
UNFINISHED = {unfinished_run.RECORDS, unfinished_run.STATE}
#: Bundle, framework step, and what is special.
CASES = {
    "daily": ("demo_daily", 86400.0, ""),
    "a daily model by the hour": ("demo_daily", 3600.0, ""),
    "stored": ("demo_hourly", 3600.0, "stored"),
    "stored, a daily model by the hour": ("demo_daily", 3600.0, "stored"),
    "in line with gauges": ("demo_daily", 86400.0, "assimilate"),
}


@pytest.fixture(autouse=True)
def no_drawing(monkeypatch):
    """Draw nothing, which takes longer than all else."""
    monkeypatch.setattr(plots, "hydrograph", lambda path, *_, **__: path.write_bytes(b"drawn"))


@pytest.fixture(
    params=[
        pytest.param(case, id=name, marks=pytest.mark.slow if "assimilate" in case else ())
        for name, case in CASES.items()
    ]
)
def case(request, tmp_path):
    """A folder with a configuration and forcing of three catchments; what ``run`` is given, and the data."""
    bundle, step, special = request.param
    data = replace(weather(IDS, STEPS, step), attributes={})
    data.forcing["P"] += 0.3
    config = {"bundle": bundle, "catchments": {"ids": [*IDS], "attributes": ATTRIBUTES}, "time_step": step}
    config["start_time"] = str(data.times[0])
    given = ["run", str(tmp_path / "run.yaml")]
    if special == "stored":
        (tmp_path / "store").mkdir()
        variables = {}
        for name, values in data.forcing.items():
            np.save(tmp_path / "store" / f"{name}.npy", values.astype(np.float32))
            variables[name] = {"file": f"{name}.npy", "units": data.units[name]}
        index = {"ids": [*IDS], "start_time": str(data.times[0]), "step": step, "variables": variables}
        (tmp_path / "store" / "forcing.yaml").write_text(yaml.safe_dump(index))
        config["forcing"] = "store"
    else:
        netcdf.write(tmp_path / "forcing.nc", data)
        given += ["--forcing", str(tmp_path / "forcing.nc")]
    if special == "assimilate":
        flow = np.random.default_rng(1).gamma(1.0, 2.0, (STEPS, len(IDS)))
        netcdf.write(tmp_path / "gauges.nc", replace(data, forcing={}, target={"Q": flow}, units={"Q": "mm"}))
        given += ["--assimilate", str(tmp_path / "gauges.nc")]
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    return tmp_path, given, data


@pytest.fixture
def at_noon(monkeypatch):
    """Write every file at the same time of day, and keep a state after every block."""

    class Noon(unfinished_run.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2001, 5, 1, 12, tzinfo=tz)

    monkeypatch.setattr(unfinished_run, "datetime", Noon)
    monkeypatch.setattr(unfinished_run, "SECONDS", 0.0)


def blocks_of(monkeypatch, length):
    monkeypatch.setattr(netcdf, "block_length", lambda width: length)


def run(given, folder, *more):
    assert main([*given, "--output", str(folder), *more]) == 0
    return (folder / "output.nc").read_bytes()


@pytest.mark.parametrize("length", [1, 7, 99])
def test_blocks_of_any_length_give_the_same_numbers(case, monkeypatch, length):
    folder, given, _ = case
    run(given, folder / "whole")
    blocks_of(monkeypatch, length)
    run(given, folder / "blocks")
    whole, blocks = (netcdf.read(folder / name / "output.nc") for name in ("whole", "blocks"))
    for name, values in whole.forcing.items():
        np.testing.assert_array_equal(blocks.forcing[name], values)
    np.testing.assert_array_equal(blocks.times, whole.times)


@pytest.mark.parametrize("stop", [5, 24, 95])
def test_stopped_at_any_step_it_goes_on_to_the_same_bytes(case, monkeypatch, at_noon, stop):
    folder, given, _ = case
    blocks_of(monkeypatch, 7)
    expected = run(given, folder / "whole")
    update, taken = DeltaModelBmi.update, []

    def stopping(self):
        if len(taken) == stop:
            raise KeyboardInterrupt
        taken.append(0)
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaModelBmi, "update", stopping)
        assert main([*given, "--output", str(folder / "out")]) == 130
    assert {file.name for file in (folder / "out").iterdir()} == (UNFINISHED if stop >= 7 else set())
    with monkeypatch.context() as patch:
        patch.setattr(DeltaModelBmi, "update", lambda self: (taken.append(0), update(self)))
        assert run(given, folder / "out") == expected
    # Only what came after the last state is stepped again.
    assert len(taken) == len(netcdf.read(folder / "whole" / "output.nc").times) + stop % 7
    assert {file.name for file in (folder / "out").iterdir()} == {"output.nc", "hydrograph.png"}


def test_a_run_with_other_inputs_begins_anew(case, monkeypatch, at_noon, caplog):
    folder, given, _ = case
    blocks_of(monkeypatch, 7)
    expected = run(given, folder / "whole", "--outputs", "Q")
    update = DeltaModelBmi.update

    def stopping(self):
        if self.get_current_time() == 50 * self.get_time_step():
            raise ForcingError("enough")
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaModelBmi, "update", stopping)
        assert main([*given, "--output", str(folder / "out")]) == 2
    assert run(given, folder / "out", "--outputs", "Q") == expected
    assert "another run" in caplog.text


def test_what_is_no_record_of_a_run_is_refused_and_stays(case, capsys):
    folder, given, _ = case
    for name, content in ((unfinished_run.RECORDS, b"notes of mine"), (unfinished_run.STATE, b"mine, too")):
        (folder / name).mkdir()
        file = folder / name / name
        file.write_bytes(content)
        assert main([*given, "--output", str(file.parent)]) == 2
        assert f"{file}: " in capsys.readouterr().err
        assert file.read_bytes() == content
        assert [*file.parent.iterdir()] == [file]


def test_records_that_were_lost_are_computed_again(case, monkeypatch, at_noon, caplog):
    folder, given, _ = case
    blocks_of(monkeypatch, 7)
    expected = run(given, folder / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(netcdf, "Writer", None)
        assert main([*given, "--output", str(folder / "out")]) == 70
    records = folder / "out" / unfinished_run.RECORDS
    records.write_bytes(records.read_bytes()[:-1])
    assert run(given, folder / "out") == expected
    assert "lost records" in caplog.text


def test_outputs_are_chosen_by_symbol_or_name_and_kept_in_single_precision(case, capsys):
    folder, given, _ = case
    run(given, folder / "all")
    runoff = "land_surface_water__runoff_depth"
    run(given, folder / "some", "--outputs", f"SWE,{runoff},Q", "--float32")
    every, some = (netcdf.read(folder / name / "output.nc") for name in ("all", "some"))
    assert [*some.forcing] == ["SWE", "Q"]
    for name, values in some.forcing.items():
        np.testing.assert_array_equal(values, every.forcing[name].astype(np.float32))
    with netcdf.Reader(folder / "some" / "output.nc") as file:
        assert file.data["Q"].dtype == np.float32
    assert main([*given, "--output", str(folder / "none"), "--outputs", "Q,SWF"]) == 2
    assert "--outputs: no output 'SWF'; available: Q, ET" in capsys.readouterr().err


def test_days_are_chosen_by_start_and_end(case, capsys):
    folder, given, data = case
    first, last = (data.times[0] + np.timedelta64(k, "D") for k in (1, 2))
    run(given, folder / "days", "--start", str(first.astype("M8[D]")), "--end", str(last.astype("M8[D]")))
    times = netcdf.read(folder / "days" / "output.nc").times
    assert times[0] == first
    assert times[-1] + np.timedelta64(int(data.step), "s") == last + np.timedelta64(1, "D")
    for option in ("--start", "--end"):
        assert main([*given, "--output", str(folder / "none"), option, "tomorrow"]) == 2
        assert f"{option}: the date 'tomorrow' is not understood" in capsys.readouterr().err


def test_a_run_without_forcing_of_any_kind_is_told_what_it_requires(tmp_path, capsys):
    with resources.as_file(resources.files("dmg_bmi.bmi_configs")) as configs:
        assert main(["run", str(configs / "daily.yaml"), "--output", str(tmp_path / "out")]) == 2
    assert "the run needs --forcing" in capsys.readouterr().err


@pytest.mark.parametrize("changed", ["area", "state"])
def test_a_run_whose_areas_or_first_state_changed_begins_anew(case, monkeypatch, at_noon, caplog, changed):
    folder, given, _ = case
    blocks_of(monkeypatch, 7)
    config = yaml.safe_load((folder / "run.yaml").read_text())
    config["catchments"] |= {"file": "table.csv"}
    attributes = config["catchments"].pop("attributes")
    del config["catchments"]["ids"]
    start = folder / "start.state"

    def write(area):
        rows = [",".join(["id", *attributes, "area_km2"])]
        rows += [",".join([name, *map(str, attributes.values()), str(area)]) for name in IDS]
        (folder / "table.csv").write_text("\n".join(rows))

    write(10.0)
    (folder / "run.yaml").write_text(yaml.safe_dump(config))
    bmi = DeltaModelBmi()
    bmi.initialize(str(folder / "run.yaml"))
    start.write_bytes(bmi.component.save())
    bmi.finalize()
    (folder / "run.yaml").write_text(yaml.safe_dump(config | {"restart": {"read": "start.state"}}))
    update = DeltaModelBmi.update

    def stopping(self):
        if self.get_current_time() == 50 * self.get_time_step():
            raise KeyboardInterrupt
        update(self)

    with monkeypatch.context() as patch:
        patch.setattr(DeltaModelBmi, "update", stopping)
        assert main([*given, "--output", str(folder / "out")]) == 130
    if changed == "area":
        write(20.0)
    else:
        start.write_bytes(start.read_bytes())
        os.utime(start, (1, 1))
    expected = run(given, folder / "whole")
    assert run(given, folder / "out") == expected
    assert "another run" in caplog.text


def test_days_that_the_forcing_lacks_are_told_before_the_work(case, capsys):
    folder, given, data = case
    begin, end = data.times[0].astype("M8[D]"), data.times[-1].astype("M8[D]")
    for days, said in (
        (["--end", str(end + 400)], "before end_time"),
        (["--start", str(begin + 400)], "start_time"),
        (["--start", str(begin + 1), "--end", str(begin)], "end_time"),
    ):
        assert main([*given, "--output", str(folder / "none"), *days]) == 2
        assert said in capsys.readouterr().err
        assert not (folder / "none").exists()


# -- what is run ------------------------------------------------------------------


def test_a_bundle_alone_runs_over_the_catchments_of_its_forcing(tmp_path):
    """As a configuration with a table of the same attributes does."""
    data = generate(basins=3, years=1, seed=3)
    data = replace(data, units=data.units | {"elev_mean": "km"})
    data.attributes["elev_mean"] = data.attributes["elev_mean"] / 1000.0
    netcdf.write(tmp_path / "forcing.nc", data)
    given = ["--forcing", str(tmp_path / "forcing.nc"), "--end", str(data.times[40].astype("M8[D]"))]
    run(["run", "demo_daily", *given], tmp_path / "alone")
    attributes = {name: (values * (1000.0 if name == "elev_mean" else 1.0)).tolist()
                  for name, values in data.attributes.items() if name in ATTRIBUTES}  # fmt: skip
    catchments = {"ids": [*data.ids], "attributes": attributes}
    config = {"bundle": "demo_daily", "catchments": catchments, "start_time": str(data.times[0])}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    run(["run", str(tmp_path / "run.yaml"), *given], tmp_path / "configured")
    alone, configured = (netcdf.read(tmp_path / name / "output.nc") for name in ("alone", "configured"))
    assert alone.ids == data.ids
    np.testing.assert_allclose(alone.forcing["Q"], configured.forcing["Q"], rtol=1e-12)


def test_a_bundle_alone_needs_the_attributes_in_its_forcing(tmp_path, capsys):
    netcdf.write(tmp_path / "forcing.nc", replace(generate(basins=2, years=1, seed=3), attributes={}))
    given = [
        "run",
        "demo_daily",
        "--forcing",
        str(tmp_path / "forcing.nc"),
        "--output",
        str(tmp_path / "out"),
    ]
    assert main(given) == 2
    assert "forcing.nc: has no attribute 'elev_mean'" in capsys.readouterr().err


def test_the_folder_of_a_training_brings_its_forcing(tmp_path, monkeypatch):
    data = generate(basins=2, years=1, seed=3)
    folder = tmp_path / "run"
    Bundle.load("demo_daily").save(folder / "bundle")
    write_config(folder / "bmi.yaml", "bundle", data, [*ATTRIBUTES])
    netcdf.write(folder / "forcing.nc", data)
    explicit = ["run", str(folder / "bmi.yaml"), "--forcing", str(folder / "forcing.nc")]
    monkeypatch.chdir(tmp_path)
    for given, name in ((["run", "run"], "short"), (explicit, "long")):
        run(given, tmp_path / name, "--outputs", "Q")
    short, long = (netcdf.read(tmp_path / name / "output.nc").forcing["Q"] for name in ("short", "long"))
    np.testing.assert_array_equal(short, long)


# -- what is kept -----------------------------------------------------------------


def test_states_and_parameters_are_kept_beside_outputs(tmp_path):
    data = generate(basins=2, years=1, seed=3)
    data = data.period(data.times[0], data.times[30])
    netcdf.write(tmp_path / "forcing.nc", data)
    given = ["run", "demo_daily", "--forcing", str(tmp_path / "forcing.nc")]
    run(given, tmp_path / "out", "--outputs", "Q,SM,phy.BETA,FC")
    kept = netcdf.read(tmp_path / "out" / "output.nc").forcing
    assert [*kept] == ["Q", *(f"phy.{name}_{k}" for name in ("SM", "BETA", "FC") for k in (1, 2))]
    model = Bundle.load("demo_daily").model
    forcing = {n: torch.from_numpy(data.forcing[n].astype(np.float64)) for n in model.forcing_names}
    attributes = {n: torch.from_numpy(data.attributes[n]) for n in model.attribute_names}
    with torch.inference_mode():
        expected = model.row_parameters(forcing, attributes)
        states = [model({n: v[:k] for n, v in forcing.items()}, attributes)[1] for k in (1, 30)]
    for k in (0, 1):
        np.testing.assert_allclose(kept[f"phy.BETA_{k + 1}"], expected["phy.BETA"][..., k], rtol=1e-5)
        fc = np.broadcast_to(expected["phy.FC"][..., k], kept["Q"].shape)
        np.testing.assert_allclose(kept[f"phy.FC_{k + 1}"], fc, rtol=1e-6)
        for row, state in zip((0, 29), states, strict=True):
            np.testing.assert_allclose(kept[f"phy.SM_{k + 1}"][row], state["phy.SM"][:, k], rtol=1e-5)


def test_parameters_by_another_step_than_the_model_s_are_refused(tmp_path, capsys):
    netcdf.write(tmp_path / "forcing.nc", weather(IDS, 365 * 24, 3600.0))
    given = ["run", "demo_daily", "--forcing", str(tmp_path / "forcing.nc"), "--outputs", "BETA"]
    assert main([*given, "--output", str(tmp_path / "out")]) == 2
    assert "phy.BETA is a parameter, which changes by the model's step" in capsys.readouterr().err


def test_what_was_observed_stands_beside_what_was_simulated(tmp_path):
    data = generate(basins=2, years=1, seed=3)
    target = {"Q": data.forcing["P"][:, ::-1] * 0.1}  # mm
    netcdf.write(tmp_path / "forcing.nc", replace(data, target=target, units=data.units | {"Q": "mm"}))
    run(["run", "demo_daily", "--forcing", str(tmp_path / "forcing.nc")], tmp_path / "out")
    written = netcdf.read(tmp_path / "out" / "output.nc")
    np.testing.assert_allclose(written.target["Q_observed"], target["Q"] / 1000.0, rtol=1e-6)
    assert written.units["Q_observed"] == written.units["Q"] == "m"


@pytest.mark.parametrize(
    "order", [("time", "catchment"), ("catchment", "time")], ids=["time first", "time last"]
)
def test_a_zarr_store_is_read_block_by_block_as_a_netcdf_file_is(tmp_path, monkeypatch, order):
    pytest.importorskip("zarr")
    blocks_of(monkeypatch, 30)
    data = replace(weather(IDS, STEPS, 86400.0), attributes={})
    netcdf.write(tmp_path / "forcing.nc", data)
    store = to_xarray(data).transpose(*order).chunk({"time": 40})
    store.to_zarr(tmp_path / "forcing.zarr")
    config = {"bundle": "demo_daily", "catchments": {"ids": [*IDS], "attributes": ATTRIBUTES}}
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({**config, "time_step": 86400.0}))
    answers = []
    for name in ("forcing.nc", "forcing.zarr"):
        run(["run", str(tmp_path / "run.yaml"), "--forcing", str(tmp_path / name)], tmp_path / f"of {name}")
        answers.append(netcdf.read(tmp_path / f"of {name}" / "output.nc"))
    for name, values in answers[0].forcing.items():
        np.testing.assert_array_equal(answers[1].forcing[name], values)


def test_a_folder_that_only_looks_like_a_zarr_store_is_told(tmp_path, capsys):
    pytest.importorskip("zarr")
    (tmp_path / "forcing.zarr").mkdir()
    (tmp_path / "forcing.zarr" / "zarr.json").write_text("{")
    (tmp_path / "run.yaml").write_text(yaml.safe_dump({"bundle": "demo_daily"}))
    given = ["run", str(tmp_path / "run.yaml"), "--forcing", str(tmp_path / "forcing.zarr")]
    assert main([*given, "--output", str(tmp_path / "out")]) == 2
    assert "forcing.zarr: cannot be read as a Zarr store" in capsys.readouterr().err
