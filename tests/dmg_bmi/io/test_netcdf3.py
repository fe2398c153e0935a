"""A file of NetCDF's classic formats that was cut off is refused; its library reads the rest as zeros."""

import netCDF4
import numpy as np
import pytest

from dmg_bmi.errors import ForcingError
from dmg_bmi.io import netcdf

FORMATS = ("NETCDF3_CLASSIC", "NETCDF3_64BIT_OFFSET", "NETCDF3_64BIT_DATA")
STEPS, N = 50, 3


def write(path, form, unlimited=False, kind="f8", more=()):
    with netCDF4.Dataset(path, "w", format=form) as data:
        data.history = "made by hand"
        data.createDimension("time", None if unlimited else STEPS)
        data.createDimension("catchment", N)
        time = data.createVariable("time", "f8", ("time",))
        time.units = "hours since 2000-01-01"
        data.createVariable("catchment", "i4", ("catchment",))[:] = np.arange(N)
        for name in ("P", *more):
            series = data.createVariable(name, kind, ("time", "catchment"))
            series.units = "mm"
            series[:] = np.full((STEPS, N), 2)
        time[:] = np.arange(STEPS)
    return path


@pytest.mark.parametrize("unlimited", [False, True])
@pytest.mark.parametrize("form", FORMATS)
def test_a_whole_file_is_read_and_one_that_lacks_values_is_not(tmp_path, form, unlimited):
    path = write(tmp_path / "f.nc", form, unlimited)
    assert (netcdf.read(path).forcing["P"] == 2).all()
    whole = path.read_bytes()
    for lost in (8, 100, len(whole) // 3, len(whole) - 40):
        path.write_bytes(whole[:-lost])
        with pytest.raises(ForcingError, match=r"f\.nc: (is truncated, \d+ bytes|.*its header ends)"):
            netcdf.read(path)


@pytest.mark.parametrize("kind", ["i1", "i2", "f4"])
@pytest.mark.parametrize("more", [(), ("T",)])
def test_records_of_any_type_are_counted_as_they_are_padded(tmp_path, kind, more):
    path = write(tmp_path / "f.nc", "NETCDF3_CLASSIC", True, kind, more)
    assert (netcdf.read(path).forcing["P"] == 2).all()
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ForcingError, match="is truncated"):
        netcdf.read(path)


def test_a_header_that_promises_more_than_any_file_holds_takes_no_memory(tmp_path):
    path = write(tmp_path / "f.nc", "NETCDF3_CLASSIC")
    content = bytearray(path.read_bytes())
    place = content.index(b"catchment") + len(b"catchment") + 3
    content[place : place + 4] = (2**31 - 4).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ForcingError, match="is truncated"):
        netcdf.read(path)
