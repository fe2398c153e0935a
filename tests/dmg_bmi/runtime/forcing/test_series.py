"""Forcing of each layout is found by name, id and unit, and is the same from every one."""

import re
from dataclasses import replace

import numpy as np
import pytest

from dmg_bmi.errors import DmgBmiError, ForcingError
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset
from dmg_bmi.model.bundle import BundleInfo
from dmg_bmi.runtime.forcing import series

DAY = 86400.0
TABLE = BundleInfo.read("demo_daily").by_name


@pytest.fixture
def dataset():
    times = np.arange("2000-02-27", "2000-03-01", dtype="datetime64[D]").astype("datetime64[s]")
    rain = np.arange(6.0).reshape(3, 2)
    return BasinDataset(("a", "b"), times, DAY, {"P": rain}, {}, {}, {"P": "mm d-1"})


@pytest.mark.parametrize(
    ("change", "ids", "reason"),
    [
        (
            {"forcing": {"rain": np.ones((3, 2))}, "units": {"rain": "mm d-1"}},
            ("a",),
            r"has no P \(.*it holds rain",
        ),
        ({}, ("b", "c", "d"), "has no catchment c, d"),
        ({"units": {"P": ""}}, ("a",), "P has no units; it should be convertible to mm d-1"),
        ({"units": {"P": "degC"}}, ("a",), "P: .*measure different things"),
        ({"units": {"P": "buckets"}}, ("a",), "P: .*is not understood"),
    ],
)
def test_what_a_component_needs_and_a_file_lacks_is_named(dataset, change, ids, reason):
    with pytest.raises(ForcingError, match=f"^here: {reason}"):
        series.model_input(replace(dataset, **change), TABLE["P"], ids, "here")


def test_inputs_are_chosen_by_id_and_converted(dataset):
    for units, factor in (("mm d-1", 1.0), ("m s-1", 1000.0 * DAY), ("mm", 1.0)):
        given = replace(dataset, units={"P": units})
        values = series.model_input(given, TABLE["P"], ("b", "a"), "here")
        np.testing.assert_allclose(values, dataset.forcing["P"][:, ::-1] * factor, rtol=1e-12)


def test_an_input_that_is_there_under_two_names_is_refused(dataset):
    rain = dataset.forcing["P"]
    for other in (TABLE["P"].name, "precip_rate"):
        twice = replace(dataset, forcing={"P": rain, other: 2 * rain}, units={"P": "mm", other: "mm"})
        with pytest.raises(ForcingError, match=f"precipitation several times, as P and {re.escape(other)}"):
            series.model_input(twice, TABLE["P"], ("a",), "here")


def folder_of_csv(folder, ids=("cat-1", "cat-2"), hours=3):
    """Forcing as ngen's example has it: 2, 4, 6 mm/h of rain at 283.15 K, of each next one twice as much."""
    folder.mkdir()
    for k, name in enumerate(ids):
        lines = ["time,precip_rate,TMP_2maboveground,PET [mm h-1]"]
        lines += [f"2015-12-01 {h}:00:00,{(k + 1) * (h + 1) * 2 / 3600},283.15,0.1" for h in range(hours)]
        (folder / f"{name}_2015.csv").write_text("\n".join(lines) + "\n")
    return folder


def test_a_folder_of_ngen_is_read_as_it_is(tmp_path):
    found = series.read(folder_of_csv(tmp_path / "csv"))
    assert found.ids == ("cat-1", "cat-2")
    assert found.step == 3600.0
    assert found.times.astype(str).tolist() == [f"2015-12-01T0{h}:00:00" for h in range(3)]
    rain = series.model_input(found, TABLE["P"], ("cat-2", "cat-1"), "here")  # mm d-1
    np.testing.assert_allclose(rain / 24.0, [[4, 2], [8, 4], [12, 6]], rtol=1e-12)
    np.testing.assert_allclose(series.model_input(found, TABLE["T"], ("cat-1",), "here"), 10.0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("283.15", "--", 1), r"cat-2_2015.csv: line 2, .*'--' is not a number"),
        (lambda text: text.replace("2015-12-01 2", "2015-12-01 4"), "cat-2_2015.csv: .*hour after"),
        (lambda text: text.replace("[mm h-1]", "[m h-1]"), "cat-2_2015.csv: other columns or other units"),
    ],
)
def test_a_file_among_those_of_ngen_that_is_wrong_is_named(tmp_path, change, said):
    file = folder_of_csv(tmp_path / "csv") / "cat-2_2015.csv"
    file.write_text(change(file.read_text()))
    with pytest.raises(DmgBmiError, match=said):
        series.read(tmp_path / "csv")


def test_files_of_ngen_are_the_same_as_netcdf_and_as_csv(shared_data):
    folder = shared_data / "nextgen_01073000"
    if not folder.is_dir():
        pytest.skip("no nextgen_01073000 among the shared data")
    one, other = series.read(folder / "forcing.nc"), series.read(folder / "forcing")
    np.testing.assert_array_equal(one.times, other.times)
    for symbol in ("P", "T"):
        values = [series.model_input(d, TABLE[symbol], other.ids, "here") for d in (one, other)]
        np.testing.assert_allclose(*values, rtol=1e-5, atol=1e-4)


def test_a_run_on_forcing_of_ngen_is_that_on_the_same_values_in_cf(tmp_path):
    from dmg_bmi.cli.driver import drive
    from dmg_bmi.synthetic.basins import ATTRIBUTES, generate

    csv = folder_of_csv(tmp_path / "csv", hours=10)
    basins = generate(2, 1, seed=4)
    attributes = {n: basins.attributes[n].tolist() for n in ATTRIBUTES if not n.startswith("gauge")}
    lines = ["bundle: demo_hourly", "time_step: 3600", "start_time: 2015-12-01 01:00", "catchments:"]
    lines += ["  ids: [cat-1, cat-2]", "  area: 10.0", f"  attributes: {attributes}"]
    (tmp_path / "run.yaml").write_text("\n".join(lines))
    hours = np.datetime64("2015-12-01", "s") + np.arange(10) * np.timedelta64(3600, "s")
    rain = 2.0 * np.arange(1, 11)[:, None] * [1.0, 2.0]
    series = {"P": rain, "T": np.full((10, 2), 10.0), "PET": np.full((10, 2), 0.1)}
    units = {"P": "mm", "T": "degC", "PET": "mm"}
    netcdf.write(tmp_path / "cf.nc", BasinDataset(("cat-1", "cat-2"), hours, 3600.0, series, {}, {}, units))
    flows = []
    for forcing in (csv, tmp_path / "cf.nc"):
        result = drive(tmp_path / "run.yaml", forcing, tmp_path / forcing.stem)
        assert result.picture.is_file()
        flows.append(netcdf.read(result.output).forcing["Q"])
    assert len(flows[0]) == 9
    assert flows[0].max() > 0
    np.testing.assert_allclose(*flows, rtol=1e-6)


def test_who_needs_pet_and_gives_none_is_told_how_to_compute_it(tmp_path):
    csv = folder_of_csv(tmp_path / "csv")
    for file in csv.glob("*.csv"):
        file.write_text(file.read_text().replace("PET [mm h-1]", "other [mm]"))
    with pytest.raises(ForcingError, match=r"has no PET .*to compute it set `pet` in the configuration"):
        series.model_input(series.read(csv), TABLE["PET"], ("cat-1",), "here")


def test_a_model_without_runoff_runs_without_a_picture_and_not_for_less_than_a_step(tmp_path):
    from dmg_bmi.cli import main
    from dmg_bmi.cli.driver import drive
    from dmg_bmi.model.bundle import Bundle
    from dmg_bmi.model.delta_model import DeltaModel
    from dmg_bmi.model.registry import build_process_model

    declared = build_process_model({"name": "photosynthesis"}).declaration
    fixed = {p.name: (p.lower + p.upper) / 2 for p in declared.parameters}
    Bundle(DeltaModel.build(phy_model={"name": "photosynthesis"}, fixed=fixed), "leaf").save(
        tmp_path / "leaf"
    )
    table = BundleInfo.read(tmp_path / "leaf").by_name
    hours = np.datetime64("2015-12-01", "s") + np.arange(4) * np.timedelta64(3600, "s")
    inputs = [v for v in {v.symbol: v for v in table.values()}.values() if v.kind == "input"]
    legal = {"PAR": 800.0, "T_leaf": 20.0, "CO2": 400.0, "VPD": 1.0}
    series = {v.symbol: np.full((4, 1), legal[v.symbol]) for v in inputs}
    units = {v.symbol: v.units for v in inputs}
    netcdf.write(tmp_path / "f.nc", BasinDataset(("a",), hours, 3600.0, series, {}, {}, units))
    (tmp_path / "run.yaml").write_text("bundle: leaf\ntime_step: 3600\ncatchments: {ids: [a], area: 1.0}\n")
    out = tmp_path / "out"
    assert (
        main(["run", str(tmp_path / "run.yaml"), "--forcing", str(tmp_path / "f.nc"), "--output", str(out)])
        == 0
    )
    assert [p.name for p in out.iterdir()] == ["output.nc"]
    assert len(netcdf.read(out / "output.nc").times) == 4
    with open(tmp_path / "run.yaml", "a") as file:
        file.write("start_time: 2015-12-01\nend_time: 1800.0\n")
    with pytest.raises(DmgBmiError, match="no whole step of 3600 s"):
        drive(tmp_path / "run.yaml", tmp_path / "f.nc", out)
