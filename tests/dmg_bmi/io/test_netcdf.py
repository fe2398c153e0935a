"""NetCDF files that cannot be used say why, by file and variable."""

import os
from dataclasses import replace

import netCDF4
import numpy as np
import pytest

from dmg_bmi.errors import DmgBmiError, ForcingError
from dmg_bmi.io import netcdf
from dmg_bmi.io.timeseries import BasinDataset

DAY = 86400.0


@pytest.fixture
def dataset():
    times = np.arange("2000-02-27", "2000-03-01", dtype="datetime64[D]").astype("datetime64[s]")
    rain = np.arange(6.0).reshape(3, 2)
    return BasinDataset(("a", "b"), times, DAY, {"P": rain}, {}, {}, {"P": "mm d-1"})


def changed(path, dataset, change):
    """A file of the dataset with something done to it."""
    netcdf.write(path, dataset)
    with netCDF4.Dataset(path, "a") as data:
        change(data)
    return path


def shuffle(data):
    data["time"][:] = data["time"][:][[0, 2, 1]]


def of_another_dimension(data):
    data.createDimension("other", 2)
    data.renameVariable("time", "when")
    data.createVariable("time", "i4", ("other",))[:] = [0, 1]
    data["time"].units = "days since 2000-01-01"


def repeat(data):
    data["time"][:] = data["time"][0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda data: data.renameVariable("time", "when"),
            "has no coordinate of its dimension 'time'; add it",
        ),
        (
            lambda data: data.renameDimension("catchment", "basin"),
            "has no dimension and coordinate 'catchment', its dimensions are .*basin",
        ),
        (of_another_dimension, r"time has dimensions \(other\); it must lie along time"),
        (lambda data: data["time"].setncattr("units", "fortnights"), "variable 'time': "),
        (shuffle, "its records are not evenly spaced: see 2000-02"),
        (repeat, "its records are not evenly spaced: see 2000-02"),
    ],
)
def test_a_file_that_is_no_series_of_basins_says_why(tmp_path, dataset, change, reason):
    path = changed(tmp_path / "odd.nc", dataset, change)
    with pytest.raises(ForcingError, match=rf"odd\.nc: {reason}"):
        netcdf.read(path)


@pytest.mark.parametrize("content", [b"", b"CDF", b"no such thing", None])
def test_what_is_no_netcdf_is_named(tmp_path, content):
    path = tmp_path / "torn.nc"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ForcingError, match=r"torn\.nc: cannot be read"):
        netcdf.read(path)


def test_one_record_has_no_step(tmp_path, dataset):
    one = replace(dataset, times=dataset.times[:1], forcing={"P": dataset.forcing["P"][:1]})
    netcdf.write(tmp_path / "one.nc", one)
    with pytest.raises(ForcingError, match=r"one\.nc: needs at least two records to tell its step"):
        netcdf.read(tmp_path / "one.nc")


def test_a_series_in_either_order_of_its_dimensions_is_read_alike(tmp_path, dataset):
    def turn(data):
        other = data.createVariable("T", "f8", ("catchment", "time"))
        other.units, other[:] = "degC", dataset.forcing["P"].T + 1.0

    read = netcdf.read(changed(tmp_path / "turned.nc", dataset, turn))
    np.testing.assert_array_equal(read.forcing["T"], dataset.forcing["P"] + 1.0)
    assert read.times.tolist() == dataset.times.tolist()


def test_a_place_that_cannot_be_written_is_named(tmp_path, dataset):
    (tmp_path / "taken").write_text("")
    with pytest.raises(DmgBmiError, match=r"taken: cannot be written"):
        netcdf.write(tmp_path / "taken" / "x.nc", dataset)


# -- files that somebody else wrote -----------------------------------------------------


def foreign(path, times, units="days since 2000-01-01", calendar="standard", ids=("a", "b"), bounds=None):
    """A file of one variable as public tools write it."""
    with netCDF4.Dataset(path, "w") as data:
        data.createDimension("time", len(times))
        data.createDimension("catchment", len(ids))
        data.createVariable("time", "f8", ("time",))[:] = times
        data["time"].setncatts({"units": units, "calendar": calendar})
        if bounds is not None:
            data.createDimension("nv", 2)
            data["time"].bounds = "bnds"
            data.createVariable("bnds", "f8", ("time", "nv"))[:] = bounds
        kind = np.asarray(ids).dtype.kind
        if kind in "iuf":
            data.createVariable("catchment", "f8" if kind == "f" else "i8", ("catchment",))[:] = ids
        elif kind == "S":
            data.createDimension("chars", 8)
            data.createVariable("catchment", "S1", ("catchment", "chars"))[:] = netCDF4.stringtochar(
                np.array(ids, "S8")
            )
        else:
            data.createVariable("catchment", str, ("catchment",))[:] = np.array(ids, object)
        variable = data.createVariable("P", "f8", ("time", "catchment"))
        variable.units = "mm"
        variable[:] = np.arange(len(times) * len(ids)).reshape(len(times), -1)
    return path


@pytest.mark.parametrize("ids", [("a", "b"), (b"a", b"b"), (7, 8), (7.0, 8.0), ("cat-ä", " b ")])
def test_ids_of_any_kind_are_read_as_text(tmp_path, ids):
    found = netcdf.read(foreign(tmp_path / "f.nc", [0, 1, 2], ids=ids)).ids
    assert found == tuple(
        (i.decode() if isinstance(i, bytes) else str(int(i)) if isinstance(i, float) else str(i)).strip()
        for i in ids
    )


@pytest.mark.parametrize(
    ("ids", "said"),
    [
        (("a", "a"), "has 'a' twice"),
        (("a", " a"), "has 'a' twice"),
        (("", "b"), "has rows without an id"),
        ((b"", b"b"), "has rows without an id"),
        ((7.5, 8.0), "not ids, such as 7.5"),
        ((1.0, 2.0**53), "not ids, such as 9007199254740992"),
        ((np.nan, 1.0), "not ids, such as nan"),
        ((1e300, 1.0), "not ids, such as 1e"),
    ],
)
def test_ids_that_are_none_are_refused(tmp_path, ids, said):
    with pytest.raises(ForcingError, match=said):
        netcdf.read(foreign(tmp_path / "f.nc", [0, 1, 2], ids=ids))


def test_a_record_begins_where_its_bounds_say(tmp_path):
    """Files that stamp the end of a step would be one step off."""
    days = np.arange(5)
    ends = foreign(tmp_path / "ends.nc", days + 1, bounds=np.stack([days, days + 1], 1))
    starts = foreign(tmp_path / "starts.nc", days)
    np.testing.assert_array_equal(netcdf.read(ends).times, netcdf.read(starts).times)


def test_a_day_twice_is_refused_in_a_calendar_without_leap_days_too(tmp_path):
    with pytest.raises(ForcingError, match="2000-02-28T00:00:00 does not lie after the record before it"):
        netcdf.read(foreign(tmp_path / "f.nc", [57, 58, 58, 59, 60], calendar="noleap"))


def test_a_leap_day_that_lies_between_bounds_alone_is_a_gap_too(tmp_path):
    days = np.arange(58, 61)  # 28 February 2000 and on; the first ends on 1 March
    edges = np.stack([days, days + 1], axis=1)
    found = netcdf.read(foreign(tmp_path / "f.nc", days + 1, calendar="noleap", bounds=edges))
    expected = ["2000-02-28", "2000-02-29", "2000-03-01", "2000-03-02"]
    assert found.times.astype("M8[D]").astype(str).tolist() == expected


@pytest.mark.parametrize("name", ["scale_factor", "add_offset"])
def test_packing_by_what_is_no_number_is_refused(tmp_path, dataset, name):
    path = changed(tmp_path / "f.nc", dataset, lambda data: data["P"].setncattr(name, "two"))
    with pytest.raises(ForcingError, match=f"P has {name} 'two', which is not a number"):
        netcdf.read(path)


def test_bounds_that_a_file_names_and_lacks_are_told(tmp_path, caplog):
    path = foreign(tmp_path / "f.nc", [0, 1, 2])
    with netCDF4.Dataset(path, "a") as data:
        data["time"].bounds = "time_bnds"
    with caplog.at_level("WARNING"):
        found = netcdf.read(path)
    assert "has no time_bnds, which its time names" in caplog.text
    assert str(found.times[0]) == "2000-01-01T00:00:00"


def test_bounds_of_another_shape_are_refused(tmp_path):
    path = foreign(tmp_path / "f.nc", [0, 1, 2])
    with netCDF4.Dataset(path, "a") as data:
        data["time"].bounds = "edges"
        data.createVariable("edges", "f8", ("time",))[:] = 0.0
    with pytest.raises(ForcingError, match=r"edges has shape \(3,\), not \(3, 2\)"):
        netcdf.read(path)


def test_times_of_two_dimensions_are_refused(tmp_path):
    path = foreign(tmp_path / "f.nc", [0, 1, 2])
    with netCDF4.Dataset(path, "a") as data:
        data.renameVariable("time", "old")
        time = data.createVariable("time", "f8", ("catchment", "time"))
        time.units = "days since 2000-01-01"
        time[:] = np.arange(3.0)
    with pytest.raises(
        ForcingError, match=r"time has dimensions \(catchment, time\); it must lie along time"
    ):
        netcdf.read(path)


def test_a_calendar_without_leap_days_has_a_gap_that_is_told(tmp_path, caplog):
    with caplog.at_level("WARNING"):
        found = netcdf.read(foreign(tmp_path / "f.nc", np.arange(400), calendar="noleap"))
    assert "no 29 February, in 1 years" in caplog.text
    assert len(found.times) == 401
    assert (np.diff(found.times) == np.timedelta64(1, "D")).all()
    gap = found.times == np.datetime64("2000-02-29")
    assert np.isnan(found.forcing["P"][gap]).all()
    np.testing.assert_array_equal(found.forcing["P"][~gap].ravel(), np.arange(800))
    assert found.times[-1] == np.datetime64("2001-02-04")


def test_a_directory_or_a_pipe_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.nc")
    for path in (tmp_path, tmp_path / "pipe.nc"):
        with pytest.raises(ForcingError, match="is not a regular file"):
            netcdf.read(path)


def with_bounds(*edges):
    """Change the bounds of a file to days from the begins of its records."""

    def change(data):
        data["time_bnds"][:] = data["time"][:][:, None] + DAY * np.array(edges)

    return change


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (with_bounds(0, 2), "record from .* overlaps the next, from 2000-02-28T00:00:00"),
        (with_bounds(1, 2), "2000-02-28T00:00:00 to 2000-02-29T00:00:00 for the time 2000-02-27T00:00:00"),
        (with_bounds(1, 0), "lies outside"),
        (lambda data: data["time_bnds"].setncattr("units", "minutes since 1970-01-01"), "lies outside"),
    ],
)
def test_bounds_that_do_not_fit_their_times_or_overlap_are_named(tmp_path, dataset, change, reason):
    path = changed(tmp_path / "odd.nc", dataset, change)
    with pytest.raises(ForcingError, match=rf"odd\.nc: time_bnds.*{reason}"):
        netcdf.read(path)


@pytest.mark.parametrize(
    ("name", "value"), [("scale_factor", 0.0), ("scale_factor", np.nan), ("add_offset", [1.0, 2.0])]
)
def test_packing_that_leaves_no_values_is_named(tmp_path, dataset, name, value):
    path = changed(tmp_path / "odd.nc", dataset, lambda data: data["P"].setncattr(name, value))
    with pytest.raises(ForcingError, match=rf"odd\.nc: P has {name} .*, which is not a number to scale by"):
        netcdf.read(path)


def test_a_variable_of_lists_is_no_attribute(tmp_path, dataset):
    def add_lists(data):
        data.createVariable("soils", data.createVLType(np.int32, "soil_classes"), ("catchment",))

    with netcdf.Reader(changed(tmp_path / "lists.nc", dataset, add_lists)) as file:
        assert file.attributes == []
