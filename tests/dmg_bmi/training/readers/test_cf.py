"""Training from a NetCDF file of our own layout: the one that a training leaves behind."""

from dataclasses import replace

import netCDF4
import numpy as np
import pytest

from dmg_bmi.errors import ConfigError, ForcingError
from dmg_bmi.io import netcdf
from dmg_bmi.synthetic.basins import generate
from dmg_bmi.training import TrainingConfig
from dmg_bmi.training.experiment import Experiment
from dmg_bmi.training.readers.cf import cf
from dmg_bmi.training.readers.loading import load

CONFIG = """
name: small
data: {data}
periods: {{train: [2000-10-01, 2001-09-30], spin_up: 60}}
model:
  nn: {{name: lstm, hidden_size: 3}}
  phy_model: {{name: hbv}}
  roles: [{{inputs: [P, T, PET], dynamic: [BETA]}}]
"""


@pytest.fixture(scope="module")
def dataset():
    data = generate(4, 1, seed=5)
    data.target["Q"][:40, 2] = np.nan
    return data


@pytest.fixture
def file(dataset, tmp_path):
    netcdf.write(tmp_path / "forcing.nc", dataset)
    return tmp_path / "forcing.nc"


def same(one, other):
    assert one.ids == other.ids
    np.testing.assert_array_equal(one.times, other.times)
    for part in ("forcing", "attributes", "target"):
        assert [*getattr(one, part)] == [*getattr(other, part)]
        for name, values in getattr(one, part).items():
            np.testing.assert_allclose(values, getattr(other, part)[name], rtol=1e-12, err_msg=name)


def test_what_was_written_comes_back(dataset, file):
    found = load(cf(file))
    same(found, dataset)
    assert found.step == 86400.0
    assert {n: found.units[n] for n in ("P", "T", "area", "Q")} == {
        "P": "mm",
        "T": "degC",
        "area": "km2",
        "Q": "mm",
    }


def test_the_file_says_what_is_summed_and_what_is_averaged(file):
    with netCDF4.Dataset(file) as data:
        assert data["P"].cell_methods == data["PET"].cell_methods == data["Q"].cell_methods == "time: sum"
        assert data["T"].cell_methods == "time: mean"
        assert data["Q"].role == "target"


def test_names_and_notes_in_a_file_are_no_attributes(dataset, file):
    with netCDF4.Dataset(file, "a") as data:
        data.createVariable("river", str, ("catchment",))[:] = np.array(["a", "b", "c", "d"], dtype=object)
    same(load(cf(file)), dataset)


def test_other_units_become_those_of_the_models(dataset, tmp_path):
    other = replace(
        dataset,
        forcing={
            "P": dataset.forcing["P"] / 86400.0,
            "T": dataset.forcing["T"] + 273.15,
            "PET": dataset.forcing["PET"] / 24.0,
        },
        target={"Q": dataset.target["Q"] / 1000.0},
        units={**dataset.units, "P": "kg m-2 s-1", "T": "K", "PET": "mm h-1", "Q": "m d-1"},
    )
    netcdf.write(tmp_path / "other.nc", other)
    found = load(cf(tmp_path / "other.nc"))
    np.testing.assert_allclose(found.forcing["T"], dataset.forcing["T"], atol=1e-9)
    same(replace(found, forcing={**found.forcing, "T": dataset.forcing["T"]}), dataset)
    with netCDF4.Dataset(tmp_path / "other.nc") as data:
        assert data["P"].cell_methods == "time: mean"


def test_some_basins_and_attributes_may_be_chosen_and_coordinates_come_along(dataset, file):
    found = load(cf(file, ["synthetic-003", "synthetic-001"], ["aridity"]))
    chosen = dataset.columns([2, 0])
    same(found, replace(chosen, attributes={n: chosen.attributes[n] for n in ("aridity", "gauge_lat")}))


def test_attributes_may_stand_in_a_table_of_their_own(dataset, file, tmp_path, caplog):
    (tmp_path / "table.csv").write_text("id,slope\nsynthetic-002,0.5\nsynthetic-004,0.25\n")
    found = load(cf(file, table=tmp_path / "table.csv"))
    assert found.ids == ("synthetic-002", "synthetic-004")
    np.testing.assert_array_equal(found.attributes["slope"], [0.5, 0.25])
    np.testing.assert_array_equal(found.forcing["P"], dataset.forcing["P"][:, [1, 3]])
    assert "basin synthetic-001 is left out: no attribute slope" in caplog.text


def test_what_is_not_there_or_makes_no_sense_is_named(dataset, file, tmp_path):
    with pytest.raises(ConfigError, match="no basin x; available: synthetic-001"):
        cf(file, ["x"])
    with pytest.raises(ConfigError, match="no attribute slope; available: gauge_lat"):
        cf(file, attributes=["slope"])
    with pytest.raises(ForcingError, match="cannot be read"):
        cf(tmp_path / "none.nc")
    netcdf.write(tmp_path / "odd.nc", replace(dataset, units={**dataset.units, "P": "K"}))
    with pytest.raises(ForcingError, match=r"odd\.nc: P: 'K' cannot be converted to 'mm'"):
        cf(tmp_path / "odd.nc")
    netcdf.write(tmp_path / "bare.nc", replace(dataset, units={**dataset.units, "P": ""}))
    with pytest.raises(ForcingError, match=r"bare\.nc: P"):
        cf(tmp_path / "bare.nc")


def test_networks_see_coordinates_only_when_asked_to(file, tmp_path):
    (tmp_path / "a.yaml").write_text(CONFIG.format(data=f"{{reader: netcdf, path: {file}}}"))
    for more, seen in (([], False), (["data.attributes=[aridity, gauge_lat]"], True)):
        config = TrainingConfig.read(tmp_path / "a.yaml", more)
        (role,) = Experiment.load(config).build_model().roles
        assert ("gauge_lat" in role.attributes) is seen
        assert "aridity" in role.attributes


def test_the_forcing_of_a_training_trains_the_same_model_again(tmp_path):
    given = "attributes: [elev_mean, aridity]"
    (tmp_path / "a.yaml").write_text(
        CONFIG.format(data=f"{{reader: synthetic, basins: 4, years: 1, seed: 5, {given}}}")
    )
    first = TrainingConfig.read(tmp_path / "a.yaml")
    netcdf.write(tmp_path / "forcing.nc", first.data.read())
    (tmp_path / "b.yaml").write_text(
        CONFIG.format(data=f"{{reader: netcdf, path: {tmp_path}/forcing.nc, {given}}}")
    )
    again = TrainingConfig.read(tmp_path / "b.yaml")
    assert Experiment.load(again).build_model().statistics == Experiment.load(first).build_model().statistics
