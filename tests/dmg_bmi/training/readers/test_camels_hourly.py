"""The reader of hourly CAMELS-US: one NetCDF file or CSV files, the same series."""

import netCDF4
import numpy as np
import pytest

from dmg_bmi.errors import ConfigError, DmgBmiError, ForcingError
from dmg_bmi.training.readers.camels_hourly import HourlyCamelsData, camels_hourly
from dmg_bmi.training.readers.loading import load

IDS = ("01013500", "01022500")
TIMES = np.datetime64("1979-01-01T13:00:00") + np.arange(6) * np.timedelta64(1, "h")
KELVIN = np.array([[270.0, 271, 272, 273, 274, 275], [280, 281, 282, 283, 284, 285]])
RAIN = np.array([[0.0, 1, 0, 2, 0, 0], [3, 0, 0, 0, 0, 4]])
EVAPORATION = np.array([[0.1, -0.2, 0.3, 0, 0, 0], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])
FLOW = np.array([[0.1, 0.2, np.nan, -999, 0.5, 0.6], [1, 1, 1, 1, 1, 2]])
WIND = np.arange(12.0).reshape(2, 6)


def write_tables(root):
    folder = root / "camels_attributes_v2.0"
    folder.mkdir(parents=True)
    (folder / "camels_topo.txt").write_text(
        "gauge_id;slope_mean;gauge_lat\n" + "".join(f"{name};{k + 1}.5;44.0\n" for k, name in enumerate(IDS))
    )


def write_csv(root, temperature=KELVIN, flows="usgs-streamflow"):
    for folder in ("nldas_hourly", flows):
        (root / "hourly" / folder).mkdir(parents=True, exist_ok=True)
    for k, name in enumerate(IDS):
        head = "date,potential_evaporation,temperature,total_precipitation,wind_u\n"
        dates = [str(t).replace("T", " ") for t in TIMES]
        columns = zip(dates, EVAPORATION[k], temperature[k], RAIN[k], WIND[k], strict=True)
        lines = [",".join(map(str, row)) for row in columns]
        (root / "hourly" / "nldas_hourly" / f"{name}_hourly_nldas.csv").write_text(
            head + "\n".join(lines) + "\n"
        )
        # Flow begins before the weather, ends after it, and has no row where it is unknown.
        rows = ["1979-01-01 12:00:00,9.0,4"]
        rows += [f"{d},{q},4" for d, q in zip(dates, FLOW[k], strict=True) if np.isfinite(q)]
        rows += ["1979-01-01 19:00:00,9.0,4"]
        (root / "hourly" / flows / f"{name}-usgs-hourly.csv").write_text(
            "date,QObs(mm/h),QObs count\n" + "\n".join(rows) + "\n"
        )


def write_netcdf(root, dimensions=("basin", "date")):
    (root / "hourly").mkdir(parents=True, exist_ok=True)
    with netCDF4.Dataset(root / "hourly" / "usgs-streamflow-nldas_hourly.nc", "w") as data:
        data.createDimension("basin", 2)
        data.createDimension("date", len(TIMES))
        data.createVariable("basin", str, ("basin",))[:] = np.array(IDS, dtype=object)
        date = data.createVariable("date", "i8", ("date",))
        date.units = "hours since 1979-01-01 13:00:00"
        date[:] = np.arange(len(TIMES))
        for name, values in {
            "total_precipitation": RAIN,
            "temperature": KELVIN,
            "potential_evaporation": EVAPORATION,
            "qobs_mm_per_hour": FLOW,
            "wind_u": WIND,
        }.items():
            data.createVariable(name, "f8", dimensions)[:] = values if dimensions[0] == "basin" else values.T


@pytest.mark.parametrize("kind", ["csv", "csv of others", "netcdf", "netcdf by date"])
def test_the_series_are_those_of_the_files_in_our_units(tmp_path, kind):
    write_tables(tmp_path)
    if kind.startswith("csv"):
        write_csv(tmp_path, flows="usgs_streamflow" if "others" in kind else "usgs-streamflow")
    else:
        write_netcdf(tmp_path, ("date", "basin") if "date" in kind else ("basin", "date"))
    data = load(camels_hourly(tmp_path, attributes=("slope_mean",), inputs=("wind_u",)))
    assert data.ids == IDS
    assert data.step == 3600.0
    np.testing.assert_array_equal(data.times, TIMES)
    np.testing.assert_array_equal(data.forcing["P"], RAIN.T)
    np.testing.assert_allclose(data.forcing["T"], KELVIN.T - 273.15)
    np.testing.assert_array_equal(data.forcing["PET"], np.maximum(EVAPORATION, 0).T)
    np.testing.assert_array_equal(data.forcing["wind_u"], WIND.T)
    np.testing.assert_array_equal(data.target["Q"], np.where(FLOW < 0, np.nan, FLOW).T)
    assert data.attributes["slope_mean"].tolist() == [1.5, 2.5]
    assert data.units["T"] == "degC"


def test_degrees_stay_degrees(tmp_path):
    write_tables(tmp_path)
    write_csv(tmp_path, KELVIN - 273.15)
    data = load(camels_hourly(tmp_path, attributes=("slope_mean",)))
    np.testing.assert_allclose(data.forcing["T"], KELVIN.T - 273.15)


def test_a_basin_of_choice_is_read_by_the_configuration(tmp_path):
    write_tables(tmp_path)
    write_netcdf(tmp_path)
    data = HourlyCamelsData(path=tmp_path, basins=IDS[1:], attributes=("slope_mean",)).read()
    assert data.ids == IDS[1:]
    np.testing.assert_array_equal(data.forcing["P"][:, 0], RAIN[1])


def _cut(root):
    (root / "hourly" / "nldas_hourly" / f"{IDS[0]}_hourly_nldas.csv").write_text("date,temperature\n")


def _rename(root):
    file = root / "hourly" / "nldas_hourly" / f"{IDS[0]}_hourly_nldas.csv"
    file.write_text(file.read_text().replace("total_precipitation", "rain"))


def _half_hours(root):
    file = root / "hourly" / "nldas_hourly" / f"{IDS[0]}_hourly_nldas.csv"
    file.write_text(file.read_text().replace("14:00:00", "14:30:00"))


def _no_flow(root):
    for file in (root / "hourly" / "usgs-streamflow").iterdir():
        file.unlink()


@pytest.mark.parametrize(
    ("damage", "message", "error"),
    [
        (_cut, "needs a header line", ForcingError),
        (_rename, "has no total_precipitation; available: date, ", ConfigError),
        (_half_hours, "not full hours in order", ForcingError),
        (_no_flow, "no basin with both", ConfigError),
    ],
)
def test_files_of_another_kind_are_refused_by_name(tmp_path, damage, message, error):
    write_tables(tmp_path)
    write_csv(tmp_path)
    damage(tmp_path)
    with pytest.raises(error, match=message) as caught:
        load(camels_hourly(tmp_path, attributes=("slope_mean",)))
    assert isinstance(caught.value, DmgBmiError)
    assert str(tmp_path) in str(caught.value)


def test_an_unknown_basin_is_named_with_those_there_are(tmp_path):
    write_tables(tmp_path)
    write_netcdf(tmp_path)
    with pytest.raises(ConfigError, match="no forcing and flow of basin '0101350'"):
        camels_hourly(tmp_path, ["0101350"], ("slope_mean",))
