"""The report of a run of NextGen holds what ngen wrote, catchment by catchment and nexus by nexus."""

import gzip
import json
import re
from base64 import b64decode

import netCDF4
import numpy as np

from dmg_bmi import hydrofabric
from dmg_bmi.cli import main

RUNOFF = "land_surface_water__runoff_depth"


def read(page):
    """What a page says, and a function that returns one of its series, ``[items, steps]``."""
    text = page.read_text(encoding="utf-8")
    content = json.loads(re.search(r'id="content">(.*?)</script>', text)[1])
    block = gzip.decompress(b64decode(re.search(r'id="numbers">(.*?)</script>', text)[1]))

    def series(name):
        variable = next(v for v in content["variables"] if v["name"] == name)
        part = variable["group"]["series"]["value"]["steps"]
        values = np.frombuffer(block, "<f2", part["count"], part["at"]).astype(float) * part["scale"]
        return values.reshape(-1, variable["group"]["length"])

    return content, series


def test_it_shows_the_runoff_of_catchments_and_what_nexuses_get(prepared, ngen, small, capsys):
    folder = prepared(stored_forcing=True)
    run = ngen(folder)
    assert run.status == 0, run.stderr
    fabric = hydrofabric.read(next((folder / "config").glob("*.gpkg")))
    # Routed flow, in the layout of t-route's NetCDF.
    (folder / "outputs" / "troute").mkdir(exist_ok=True)
    numbers = [int(re.search(r"\d+$", name)[0]) for name in fabric.network.ids]
    flow = np.arange(len(numbers) * 72.0).reshape(-1, 72)
    with netCDF4.Dataset(folder / "outputs" / "troute" / "troute_output_201512010000.nc", "w") as data:
        data.createDimension("feature_id", len(numbers))
        data.createDimension("time", 72)
        data.createVariable("feature_id", "i8", ("feature_id",))[:] = numbers
        time = data.createVariable("time", "i8", ("time",))
        time.units, time[:] = "seconds since 2015-12-01 00:00:00", 3600 * np.arange(1, 73)
        routed = data.createVariable("flow", "f4", ("feature_id", "time"))
        routed.units, routed[:] = "m3 s-1", flow
    assert main(["report", str(folder)]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    content, series = read(folder / "report.html")
    depth = series(RUNOFF)
    for name, row in zip(content["divides"]["ids"], depth, strict=True):
        np.testing.assert_allclose(row, [float(r[RUNOFF]) for r in run.catchment(name)], rtol=1e-3, atol=1e-9)
    inflow = series("nexus inflow")
    for divide, reach in zip(fabric.divides.ids, fabric.divides.reach, strict=True):
        np.testing.assert_allclose(inflow[reach], run.nexus(small.nexus[divide]), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(series("flow"), flow, rtol=1e-3, atol=1e-3)


def test_a_folder_that_ngen_has_not_run_in_is_named(prepared, capsys):
    folder = prepared(stored_forcing=True)
    assert main(["report", str(folder)]) == 2
    assert "give the folder of a finished run" in capsys.readouterr().err
