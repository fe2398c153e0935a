"""Stores hold what the forcing holds, and no weather that cannot be."""

import numpy as np
import pytest
import yaml

from dmg_bmi.errors import NextGenError
from dmg_bmi.nextgen.prepare.prepare import prepare


def test_a_store_holds_what_the_file_holds(plan, juniata, tmp_path):
    import netCDF4

    prepare(plan(stored_forcing=True, start=np.datetime64("2010-06-02"), end=np.datetime64("2010-06-04")))
    folder = tmp_path / "run" / "forcings" / "store"
    index = yaml.safe_load((folder / "forcing.yaml").read_text())
    assert index["ids"] == list(juniata.ids)
    assert {name: v["units"] for name, v in index["variables"].items()} == {"P": "mm s^-1", "T": "K"}
    with netCDF4.Dataset(juniata.forcing) as data:
        for name, column in (("P", "precip_rate"), ("T", "TMP_2maboveground")):
            stored = np.load(folder / index["variables"][name]["file"])
            np.testing.assert_array_equal(stored, data[column][:, 24:72].T)


def test_a_store_reaches_to_the_end_of_the_last_day_of_the_model(plan, tmp_path):
    prepare(
        plan(
            stored_forcing=True,
            start=np.datetime64("2010-06-01T05:00"),
            end=np.datetime64("2010-06-03T07:00"),
        )
    )
    stored = np.load(tmp_path / "run" / "forcings" / "store" / "P.npy", mmap_mode="r")
    assert len(stored) == 3 * 24 - 5
    with pytest.raises(NextGenError, match=r"required is every hour from"):
        prepare(plan(stored_forcing=True, end=np.datetime64("2010-06-06T01:00")))


def test_a_gap_stops_a_store_and_names_the_catchment(plan, juniata, tmp_path, write_forcing):
    write, weather = write_forcing
    values = weather(72, 794)
    values["precip_rate"][5, 30] = np.nan
    write(tmp_path / "gap.nc", juniata.ids, values, np.datetime64("2010-06-01"))
    with pytest.raises(NextGenError, match=f"precip_rate is missing .* in {juniata.ids[5]}"):
        prepare(plan(stored_forcing=True, forcing=tmp_path / "gap.nc"))
    assert not (tmp_path / "run" / "forcings" / "store" / "forcing.yaml").exists()
    prepare(plan(stored_forcing=True, forcing=tmp_path / "gap.nc", missing_forcing="hold"))


WRONG = [
    (
        "TMP_2maboveground",
        lambda v: v - 273.15,
        {},
        "TMP_2maboveground of cat-.* at 2010-06-01.* K, possible are",
    ),
    ("precip_rate", lambda v: v * 3600, {}, "precip_rate of cat-.* mm s\\^-1, possible are 0 to 500 mm h-1"),
    ("precip_rate", lambda v: np.where(v > 0, v, -9999.0), {}, "precip_rate of cat-.* is -9999"),
    ("precip_rate", lambda v: v - 1e-3, {}, "precip_rate of cat-.* is -0.001"),
    ("TMP_2maboveground", lambda v: v, {"TMP_2maboveground": "degC"}, "TMP_2maboveground of cat-.* degC"),
    ("TMP_2maboveground", lambda v: v * np.inf, {}, "TMP_2maboveground of cat-.* is inf"),
]


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize(("column", "wrong", "units", "match"), WRONG)
def test_values_that_no_weather_has_stop_with_catchment_and_hour(
    plan, juniata, tmp_path, write_forcing, own, column, wrong, units, match
):
    write, weather = write_forcing
    values = weather(24 * 5, len(juniata.ids))
    values[column] = wrong(values[column])
    aorc = {"precip_rate": "mm s^-1", "TMP_2maboveground": "K"}
    write(tmp_path / "odd.nc", juniata.ids, values, np.datetime64("2010-06-01"), units=aorc | units)
    with pytest.raises(NextGenError, match=match):
        prepare(plan(stored_forcing=own, forcing=tmp_path / "odd.nc"))
    assert not (tmp_path / "run" / "forcings" / "store" / "forcing.yaml").exists()


def test_rain_below_zero_by_rounding_becomes_zero_and_is_counted(
    plan, juniata, tmp_path, write_forcing, caplog
):
    write, weather = write_forcing
    values = weather(24 * 5, len(juniata.ids))
    dry = values["precip_rate"] == 0.0
    values["precip_rate"][dry] = -1e-9
    write(tmp_path / "odd.nc", juniata.ids, values, np.datetime64("2010-06-01"))
    caplog.set_level("INFO")
    prepare(plan(stored_forcing=True, forcing=tmp_path / "odd.nc"))
    rain = np.load(tmp_path / "run" / "forcings" / "store" / "P.npy")
    assert rain.min() == 0.0
    assert rain.max() > 0.0
    count = int(dry[:, : len(rain)].sum())
    assert f"precip_rate: {count} values below zero by rounding became zero" in caplog.text
    done = prepare(plan(forcing=tmp_path / "odd.nc", output=tmp_path / "fed"))
    assert any(f"{dry.sum()} values below zero by rounding" in f.message for f in done.findings)


def test_own_forcing_without_pet_says_what_to_choose(plan):
    with pytest.raises(NextGenError, match=r"has no PET.*choose --pet"):
        prepare(plan(stored_forcing=True, pet=None))
