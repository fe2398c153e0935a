"""Forcing files of ngen as spreadsheets, crashes and other tools leave them."""

import re
import shutil
from datetime import datetime

import netCDF4
import numpy as np
import pytest

from dmg_bmi.errors import NextGenError
from dmg_bmi.findings import Findings
from dmg_bmi.io.ngen_forcing import open_forcing
from dmg_bmi.nextgen.check.forcing import check_forcing

#: The last cell of the fourth record.
LAST = r"(?m)^(2015-12-01 03.*),[^,]*$"
DIMENSIONS = ("catchment-id", "time")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "\ufeff" + text, None),
        (lambda text: text.replace(",", ";"), r"columns are separated by ';'"),
        (lambda text: text.replace(",", "\t"), r"columns are separated by '\\t'"),
        (lambda text: re.sub(r"(?m)^([^,]*),", r'"\1",', text), "cells in quotes"),
        (lambda text: "", "is empty"),
        (lambda text: text.splitlines()[0], "is empty, or has a header alone"),
        (lambda text: text.replace("time,", "when,"), "has no column time; it has when"),
        (lambda text: re.sub(r"(?m)^(2015-12-01 03.*)$", r"\1,9", text), "line 5 has 10 cells, the header 9"),
        (
            lambda text: re.sub(LAST, r"\1", text),
            "line 5 has 8 cells, the header 9",
        ),
        (
            lambda text: re.sub(LAST, r"\1,--", text),
            "line 5, column .*'--' is not a number",
        ),
        (
            lambda text: text.replace("2015-12-01 03", "2015-12-41 03"),
            "line 5: the date .* is not understood",
        ),
        (lambda text: text.replace("\n", "\r"), "line ends of the old Macintosh"),
        (lambda text: text.replace("\n", "\r\n"), None),
        (lambda text: text.replace("\n", "\r", 3), "line ends of the old Macintosh"),
        (lambda text: re.sub(r"2015-12-01 0(\d):", r"2015-12-01 \1:", text), None),
    ],
)
def test_a_csv_that_is_none_is_named_with_its_row_and_column(small, tmp_path, change, said):
    folder = tmp_path / "csv"
    shutil.copytree(small.forcing.parent / "forcing", folder)
    first = sorted(folder.glob("*.csv"))[0]
    first.write_bytes(change(first.read_text()).encode("utf-8"))
    findings = Findings()
    try:
        forcing = open_forcing(folder)
        ids = forcing.ids
        check_forcing(forcing, ["precip_rate"], ids, None, True, findings)
        found = "\n".join(str(f) for f in findings.errors)
    except NextGenError as problem:
        found = str(problem)
    if said is None:
        assert not found
    else:
        assert first.name in found
        assert re.search(said, found)


def test_two_files_of_one_catchment_are_refused(small, tmp_path):
    shutil.copytree(small.forcing.parent / "forcing", tmp_path / "csv")
    shutil.copy(tmp_path / "csv" / "cat-11371.csv", tmp_path / "csv" / "old_cat-11371.csv")
    with pytest.raises(NextGenError, match=r"cat-11371.csv and old_cat-11371.csv are both of cat-11371"):
        open_forcing(tmp_path / "csv")


def netcdf(
    path, *, time=("catchment-id", "time"), rain=("catchment-id", "time"), ids=("cat-1", "cat-2"), units="s"
):
    sizes = {"catchment-id": len(ids), "time": 5}
    with netCDF4.Dataset(path, "w") as data:
        for name, size in sizes.items():
            data.createDimension(name, size)
        data.createVariable("ids", str, ("catchment-id",))[:] = np.array(ids, object)
        data.createVariable("Time", "f8", time)
        hours = 3600.0 * np.arange(5) / (1.0 if units.startswith("s") else 3600.0)
        shape = [sizes[name] for name in time]
        data["Time"][:] = np.broadcast_to(hours if time[-1] == "time" else hours[:, None], shape)
        data["Time"].units = units
        data.createVariable("precip_rate", "f4", rain)[:] = 1.0
    return path


@pytest.mark.parametrize("units", ["s", "seconds since 1970-01-01 00:00:00", "hours since 1970-1-1 0:00"])
def test_times_of_a_file_are_read(tmp_path, units):
    forcing = open_forcing(netcdf(tmp_path / "f.nc", units=units))
    np.testing.assert_array_equal(
        forcing.times, np.datetime64(0, "s") + np.arange(5) * np.timedelta64(3600, "s")
    )


@pytest.mark.parametrize("units", ["h", "hours", "minutes", "s"])
@pytest.mark.parametrize("epoch", ["01/01/1970 00:00:00", "12/31/2015 06:00:00", "1/2/2015 6:00:00"])
def test_times_count_from_the_epoch_that_a_file_names(tmp_path, units, epoch):
    path = netcdf(tmp_path / "f.nc", units="s")
    with netCDF4.Dataset(path, "a") as data:
        data["Time"].units, data["Time"].epoch_start = units, epoch
        data["Time"][:] = data["Time"][:] / {"h": 3600, "m": 60, "s": 1}[units[0]]
    expected = datetime.strptime(epoch, "%m/%d/%Y %H:%M:%S")
    assert open_forcing(path).times[0] == np.datetime64(expected, "s")
    assert open_forcing(path).times[1] - open_forcing(path).times[0] == np.timedelta64(3600, "s")


def test_an_epoch_of_another_form_is_refused(tmp_path):
    path = netcdf(tmp_path / "f.nc")
    with netCDF4.Dataset(path, "a") as data:
        data["Time"].epoch_start = "1970-01-01"
    with pytest.raises(NextGenError, match=r"f\.nc: epoch_start '1970-01-01' of Time must be like"):
        open_forcing(path)


def _with_ids(path, kind):
    """The same file with ids of another kind."""
    with netCDF4.Dataset(path, "w") as data:
        for name, size in {"catchment-id": 2, "time": 5, "length": 5}.items():
            data.createDimension(name, size)
        if kind == "characters":
            ids = netCDF4.stringtochar(np.array(["cat-1", "cat-2"], "S5"))
            data.createVariable("ids", "S1", ("catchment-id", "length"))[:] = ids
        else:
            ids = {"numbers": [1, 2], "blanks": ["cat-1 ", "cat-2 "], "strings": ["cat-1", "cat-2"]}[kind]
            dtype = "i4" if kind == "numbers" else str
            values = np.array(ids, None if kind == "numbers" else object)
            data.createVariable("ids", dtype, ("catchment-id",))[:] = values
        both = ("catchment-id", "time")
        data.createVariable("Time", "f8", both)[:] = np.broadcast_to(3600.0 * np.arange(5), (2, 5))
        data.createVariable("precip_rate", "f4", both)[:] = 1.0
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("strings", None),
        ("characters", "ids are characters of two dimensions, where ngen stops"),
        ("numbers", "ids are of the type int32, which ngen takes for strings"),
        ("blanks", "ids such as 'cat-1 ' have blanks, so ngen silently gives"),
    ],
)
def test_ids_that_ngen_would_not_find_are_told_though_they_can_be_read(tmp_path, kind, said):
    forcing = open_forcing(_with_ids(tmp_path / "f.nc", kind))
    assert forcing.read("precip_rate", forcing.ids).shape == (2, 5)
    findings = Findings()
    check_forcing(forcing, [], forcing.ids, None, "error", findings)
    assert [str(found).partition("f.nc: ")[2][: len(said or "")] for found in findings.errors] == [
        said
    ] * bool(said)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time": ("time",)}, r"Time has dimensions \(time\); ngen reads \(catchment-id, time\)"),
        ({"time": ("time", "catchment-id")}, r"Time has dimensions \(time, catchment-id\)"),
        ({"rain": ("time", "catchment-id")}, "precip_rate has dimensions time, catchment-id"),
        ({"ids": ("cat-1", "cat-1")}, "ids has 'cat-1' twice"),
        ({"units": "fortnights"}, "units 'fortnights' of Time"),
    ],
)
def test_a_file_that_ngen_would_misread_is_refused(tmp_path, change, said):
    with pytest.raises(NextGenError, match=rf"f\.nc: {said}"):
        open_forcing(netcdf(tmp_path / "f.nc", **change))


@pytest.mark.parametrize("row", [1, 699])
def test_times_that_differ_between_catchments_are_refused(tmp_path, row):
    path = netcdf(tmp_path / "f.nc", ids=tuple(f"cat-{k}" for k in range(700)))
    with netCDF4.Dataset(path, "a") as data:
        data["Time"][row, 3] += 3600
    with pytest.raises(NextGenError, match=rf"f\.nc: Time of cat-{row} is not that of cat-0; ngen takes"):
        open_forcing(path)


@pytest.mark.parametrize("calendar", ["noleap", "360_day", "julian", "365_day"])
def test_a_calendar_that_ngen_ignores_is_refused(tmp_path, calendar):
    path = netcdf(tmp_path / "f.nc", units="seconds since 1970-01-01")
    with netCDF4.Dataset(path, "a") as data:
        data["Time"].calendar = calendar
    with pytest.raises(NextGenError, match=rf"f\.nc: Time has the calendar '{calendar}', which ngen ignores"):
        open_forcing(path)


def test_a_catchment_that_a_file_lacks_is_named_with_an_id_of_the_file(tmp_path):
    forcing = open_forcing(netcdf(tmp_path / "f.nc", ids=("wb-1", "wb-2")))
    with pytest.raises(NextGenError, match=r"f\.nc: has no catchment cat-1"):
        forcing.read("precip_rate", ["cat-1"])
    findings = Findings()
    check_forcing(forcing, [], ["cat-1"], None, True, findings)
    assert "such as 'wb-1'" in str(findings.errors[0])


def test_two_columns_of_one_field_are_told_and_lists_in_cells_are_no_column(tmp_path):
    path = netcdf(tmp_path / "f.nc")
    with netCDF4.Dataset(path, "a") as data:
        data.createVariable("RAINRATE", "f4", DIMENSIONS)[:] = 0.0
        data.createVariable("soils", data.createVLType(np.int32, "classes"), DIMENSIONS)
    forcing = open_forcing(path)
    assert {*forcing.units} == {"precip_rate", "RAINRATE"}
    ((file, fault, _),) = forcing.misread()
    assert file == path
    assert "are one field: ngen mixes their values; keep one" in fault
